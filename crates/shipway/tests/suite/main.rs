//! The tests of the whole: one binary, one module for each promise.

mod architecture;
mod clients;
mod disk_full;
mod harness;
mod image_tree;
mod interruption;
mod pipelines;
mod registry;
mod static_binary;
mod workloads;

//! The tests of the whole: one binary, one module for each promise.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what a test cannot do ends the test, with its reason"
)]

mod accounts;
mod architecture;
mod attestations;
mod build_cache;
mod build_context;
mod build_screen;
mod buildah;
mod clients;
mod commit_tags;
mod crash;
mod dependencies;
mod disk_full;
mod docker_bare;
mod docker_default;
mod docker_engine;
mod documents;
mod escapes;
mod fragments;
mod harness;
mod image_tree;
mod images;
mod interrupted_build;
mod interruption;
mod job_images;
mod keywords;
mod logged;
mod mirror;
mod mistakes;
mod mountless;
mod origins;
mod other_runners;
mod outputs;
mod pipelines;
mod places;
mod private_images;
mod registration;
mod registry;
mod static_binary;
mod terminal;
mod together;
mod upkeep;
mod workloads;

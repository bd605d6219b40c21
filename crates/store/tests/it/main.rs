//! The store as its callers see it, on real directories; with other processes, some of them killed.

#![expect(clippy::unwrap_used, reason = "a test fails where it is")]

mod blobs;
mod cache_listing;
mod collection;
mod crash;
mod images;
mod layer_pieces;
mod model;
mod nameless;
mod opening;
mod registry;
mod support;
mod untagged;
mod uploads;

//! Our client against our server, both against the protocol, and skopeo against both.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests are tests, which clippy only sees in functions marked as such"
)]

mod client;
mod connection;
mod egress;
mod fixture;
mod front;
mod in_process;
mod lists;
mod login;
mod manifests;
mod mirrors;
mod mounts;
mod round_trip;
mod skopeo;
mod tls;
mod uploads;

//! The engine driven by real docker command lines: one binary with its own main, since the keeper of a pod is this binary
//! re-executed. Every test runs once for each release of the CLI that is there.

// The lints know tests by their attribute, which tests of an own main do not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod build;
mod containers;
mod files;
mod harness;
mod health;
mod house;
mod images;
mod protocol;
mod resources;
mod system;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    harness::run(&[
        build::TESTS,
        containers::TESTS,
        files::TESTS,
        health::TESTS,
        images::TESTS,
        protocol::TESTS,
        resources::TESTS,
        system::TESTS,
    ])
}

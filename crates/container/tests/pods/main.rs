//! Pods with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

// The lints know tests by their attribute, which tests of an own main do not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod crash;
mod disk;
mod harness;
mod house;
mod images;
mod layers;
mod lifecycle;
mod network;
mod streams;
mod volumes;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    if let Some(data) = crash::asked() {
        crash::leave_a_pod_behind(&data);
    }
    harness::run(&[
        crash::TESTS,
        disk::TESTS,
        images::TESTS,
        layers::TESTS,
        lifecycle::TESTS,
        network::TESTS,
        streams::TESTS,
        volumes::TESTS,
    ])
}

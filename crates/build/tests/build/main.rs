//! Real builds with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

// The lints know tests by their attribute, which tests of an own main do not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cache;
mod conformance;
mod failure;
mod fetch;
mod golden;
mod house;
mod reproducible;
mod run;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    shipway_testkit::harness::run(&[
        cache::TESTS,
        conformance::TESTS,
        failure::TESTS,
        fetch::TESTS,
        golden::TESTS,
        reproducible::TESTS,
        run::TESTS,
    ])
}

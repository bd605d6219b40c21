//! Real builds with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

// The lints know tests by their attribute, which tests of an own main do not have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attest;
mod cache;
mod carried;
mod checks;
mod conformance;
mod contexts;
mod explained;
mod exported;
mod failure;
mod fetch;
mod git;
mod golden;
mod hostile;
mod house;
mod link;
mod mounts;
mod pieces;
mod platforms;
mod reproducible;
mod run;
mod straight;
mod tiers;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    shipway_testkit::harness::run(&[
        attest::TESTS,
        cache::TESTS,
        carried::TESTS,
        checks::TESTS,
        conformance::TESTS,
        contexts::TESTS,
        explained::TESTS,
        exported::TESTS,
        failure::TESTS,
        fetch::TESTS,
        git::TESTS,
        git::trust::TESTS,
        golden::TESTS,
        hostile::TESTS,
        link::TESTS,
        mounts::TESTS,
        pieces::TESTS,
        platforms::TESTS,
        reproducible::TESTS,
        run::TESTS,
        straight::TESTS,
        tiers::TESTS,
    ])
}

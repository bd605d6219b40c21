//! Jobs for real: one binary with its own main, since the keeper of every pod is this binary re-executed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside;
mod files;
mod images;
mod kept;
mod machine;
mod place;
mod script;
mod services;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    shipway_testkit::harness::run_blocking(&[
        script::TESTS,
        files::TESTS,
        images::TESTS,
        beside::TESTS,
        kept::TESTS,
        machine::TESTS,
        services::TESTS,
    ])
}

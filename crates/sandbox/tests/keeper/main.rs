//! The keeper with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

// Without the harness these are not tests to the compiler, so what clippy.toml allows in tests is allowed here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod archives;
mod escapes;
mod house;
mod lifecycle;
mod mortality;
mod network;
mod place;
mod tarball;
mod users;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    if escapes::attack().is_some() {
        return std::process::ExitCode::SUCCESS;
    }
    shipway_testkit::harness::run_blocking(&[
        archives::TESTS,
        escapes::TESTS,
        lifecycle::TESTS,
        mortality::TESTS,
        network::TESTS,
        place::TESTS,
        users::TESTS,
    ])
}

//! The keeper with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

// Without the harness these are not tests to the compiler, so what clippy.toml allows in tests is allowed here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod archives;
mod attacks;
mod bare;
mod escapes;
mod house;
mod lifecycle;
mod mortality;
mod network;
mod no_mounts;
mod one_id;
mod place;
mod tarball;
mod trees;
mod users;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    if attacks::attack().is_some() {
        return std::process::ExitCode::SUCCESS;
    }
    shipway_testkit::harness::run_blocking(&[
        archives::TESTS,
        attacks::TESTS,
        bare::TESTS,
        escapes::TESTS,
        lifecycle::TESTS,
        mortality::TESTS,
        network::TESTS,
        no_mounts::TESTS,
        one_id::TESTS,
        place::TESTS,
        trees::TESTS,
        users::TESTS,
    ])
}

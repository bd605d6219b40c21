//! The keeper with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

mod archives;
mod house;
mod lifecycle;
mod mortality;
mod network;
mod users;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    house::run(&[
        archives::TESTS,
        lifecycle::TESTS,
        mortality::TESTS,
        network::TESTS,
        users::TESTS,
        scratch::TESTS,
    ])
}

//! The keeper with a real kernel: one binary with its own main, since the keeper is this binary re-executed.

mod house;
mod lifecycle;

fn main() -> std::process::ExitCode {
    shipway_sandbox::enter_keeper_if_asked();
    house::run(&[lifecycle::TESTS])
}

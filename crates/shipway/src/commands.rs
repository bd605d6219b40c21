//! One file for each verb; this one only leads to it.

pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod doctor;
pub(crate) mod engine;
pub(crate) mod findings;
pub(crate) mod image;
pub(crate) mod lint;
pub(crate) mod login;
pub(crate) mod prune;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod serve;
mod signals;
pub(crate) mod upkeep;
pub(crate) mod user;

use std::future::Future;
use std::process::ExitCode;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;

/// Does what the arguments ask for.
pub(crate) fn execute(arguments: Arguments) -> Result<ExitCode, Failure> {
    let global = arguments.global;
    match arguments.command {
        Command::Doctor(command) => doctor::execute(&command, &global),
        Command::Lint(command) => lint::execute(command, &global),
        Command::User(command) => user::execute(command, &Installation::open(&global)?),
        Command::Login(command) => wait(login::login(command, Installation::open(&global)?)),
        Command::Logout(command) => login::logout(&command),
        Command::Prune(command) => wait(prune::prune(command, Installation::open_to_free(&global)?)),
        Command::Gc(command) => wait(upkeep::gc(command, Installation::open_to_free(&global)?)),
        Command::Fsck(command) => upkeep::fsck(&command, &Installation::open_to_free(&global)?),
        Command::Serve(command) => over(Installation::open(&global)?, |installation| {
            serve::execute(command, installation)
        }),
        Command::Image(command) => {
            let installation = if command.fills_the_store() {
                Installation::open(&global)?
            } else {
                Installation::open_to_free(&global)?
            };
            over(installation, |installation| image::execute(command, installation))
        }
        Command::Build(command) => over(Installation::open(&global)?, |installation| {
            build::execute(*command, installation)
        }),
        Command::Cache(command) => wait(cache::execute(command, Installation::open_to_free(&global)?)),
        Command::Engine(command) => over(Installation::open(&global)?, |installation| {
            engine::execute(command, installation)
        }),
        Command::Runner(command) => wait(runner::execute(command)),
        Command::Run(command) => over(Installation::open(&global)?, |installation| {
            run::execute(command, installation)
        }),
    }
}

/// Runs a verb that writes into the store and may be asked to end before it has.
fn over<V>(installation: Installation, verb: impl FnOnce(Installation) -> V) -> Result<ExitCode, Failure>
where
    V: Future<Output = Result<ExitCode, Failure>>,
{
    let store = installation.store.clone();
    let outcome = wait(verb(installation));
    // Threads that still write are not waited for.
    store.give_up_unfinished();
    outcome
}

/// Runs a verb that waits for the network or for processes.
fn wait(verb: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::caused(
                FailureKind::Place,
                "starting the threads that do the work",
                &error,
            )
        })?;
    let outcome = runtime.block_on(verb);
    // A thread that still waits for a peer must not keep the process; what had to last is on disk by now.
    runtime.shutdown_background();
    outcome
}

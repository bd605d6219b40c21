//! The section of a `config.toml` that `shipway run` works by.

use std::path::Path;

use clap::ValueEnum;
use shipway_runner::configuration::{Configuration, Executor, RunnerSettings};

use crate::commands::runner::{of_no_use, tell};
use crate::failure::Failure;

/// The executors by gitlab-runner's names.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ExecutorName {
    Docker,
    Shell,
}

impl From<ExecutorName> for Executor {
    fn from(name: ExecutorName) -> Self {
        match name {
            ExecutorName::Docker => Self::Container,
            ExecutorName::Shell => Self::Shell,
        }
    }
}

/// What a section says about a run.
pub(super) struct ChosenRunner {
    pub(super) settings: RunnerSettings,
    /// How many jobs run at once.
    pub(super) concurrency: usize,
}

/// Reads the file, says what there is to say about it, and takes the section of that name, or the only one.
pub(super) fn choose(file: &Path, name: Option<&str>) -> Result<ChosenRunner, Failure> {
    let configuration = Configuration::load(file).map_err(of_no_use)?;
    // A refusal is the one line that counts.
    let runner = configuration.choose(name).map_err(of_no_use)?;
    tell(&configuration.findings);
    let limit = match usize::try_from(runner.limit) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    Ok(ChosenRunner {
        settings: runner.settings.clone(),
        concurrency: configuration.concurrent.min(limit),
    })
}

//! The section of a `config.toml` that `shipway run` works by.

use std::path::Path;

use clap::ValueEnum;
use shipway_oci::with_causes;
use shipway_runner::configuration::{Configuration, ConfigurationError, Executor, RunnerSettings, Severity};

use crate::failure::{Failure, FailureKind};
use crate::screen;

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
    let failed = |error: ConfigurationError| {
        let kind = match error {
            ConfigurationError::Refused(_) => FailureKind::Place,
            _ => FailureKind::Use,
        };
        Failure::new(kind, with_causes(&error))
    };
    let configuration = Configuration::load(file).map_err(failed)?;
    // A refusal is the one line that counts.
    let runner = configuration.choose(name).map_err(failed)?;
    for finding in &configuration.findings {
        match finding.severity {
            Severity::Note => screen::error_line(&format!("note: {finding}")),
            Severity::Warning => screen::warning(&finding.to_string()),
            // Of another section: this one would have been refused.
            Severity::Error => screen::warning(&format!("{finding}; that runner is of no use")),
        }
    }
    let limit = match usize::try_from(runner.limit) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(limit) => limit,
    };
    Ok(ChosenRunner {
        settings: runner.settings.clone(),
        concurrency: configuration.concurrent.min(limit),
    })
}

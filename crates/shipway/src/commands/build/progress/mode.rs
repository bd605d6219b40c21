//! `--progress`, and what it comes to in this place.

use clap::ValueEnum;
use indicatif::ProgressDrawTarget;

/// How a build is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::commands::build) enum ProgressMode {
    /// Live on a terminal, else `plain`
    Auto,
    /// Every line of every step, for logs
    Plain,
    /// Live: the steps that run, with the last lines of each
    Tty,
    /// A JSON object in each line, as BuildKit's `SolveStatus`
    #[value(name = "rawjson")]
    RawJson,
    /// Nothing but errors
    Quiet,
}

impl ProgressMode {
    /// What can be had on this standard error: a live screen needs a terminal whose cursor can be moved.
    pub(super) fn here(self) -> Self {
        match self {
            Self::Auto | Self::Tty if ProgressDrawTarget::stderr().is_hidden() => Self::Plain,
            Self::Auto => Self::Tty,
            other => other,
        }
    }
}

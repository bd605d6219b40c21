//! Commands of a test, run to their end with all that they said in the error.

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, ensure};

/// Runs a command to its end and insists on success; what it printed is in the error.
///
/// # Errors
/// When the command cannot be started or does not succeed.
pub fn succeed(command: &mut Command) -> anyhow::Result<Output> {
    succeed_fed(command, Stdio::null())
}

/// Runs a command with `input` as its standard input to its end and insists on success.
///
/// # Errors
/// When the command cannot be started or does not succeed.
pub fn succeed_fed(command: &mut Command, input: impl Into<Stdio>) -> anyhow::Result<Output> {
    let output = finish_fed(command, input)?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}",
        output.status,
        text(&output)
    );
    Ok(output)
}

/// Runs a command to its end, whatever that is, with nothing on its standard input.
///
/// # Errors
/// When the command cannot be started.
pub fn finish(command: &mut Command) -> anyhow::Result<Output> {
    finish_fed(command, Stdio::null())
}

/// Runs a command to its end, whatever that is, with `input` as its standard input.
///
/// # Errors
/// When the command cannot be started.
pub fn finish_fed(command: &mut Command, input: impl Into<Stdio>) -> anyhow::Result<Output> {
    command
        .stdin(input)
        .output()
        .with_context(|| format!("starting {command:?}"))
}

/// Everything that a command printed: standard output, then standard error.
#[must_use]
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

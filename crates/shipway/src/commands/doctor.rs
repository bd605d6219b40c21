//! `shipway doctor`: which isolation this place gives, and why not a stronger one.

use std::process::ExitCode;

use clap::Args;
use shipway_sandbox::{Tier, probe_in};

use crate::arguments::GlobalArguments;
use crate::failure::{Failure, FailureKind};
use crate::installation::data_directory;
use crate::screen;

/// Say which isolation tier this place gives, and why not a higher one
///
/// Ends with 3 when jobs and RUN steps cannot run here at all.
#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(arguments: &DoctorArguments, global: &GlobalArguments) -> Result<ExitCode, Failure> {
    // In the data directory, since its file system has a say in what works.
    let (_, data) = data_directory(global)?;
    std::fs::create_dir_all(&data).map_err(|error| {
        Failure::caused(
            FailureKind::Place,
            &format!("the data directory `{}`", data.display()),
            &error,
        )
        .hint("name one that you may write with --data or SHIPWAY_DATA")
    })?;
    let report = probe_in(&data.join("keeper/probe"));
    if arguments.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::caused(FailureKind::Internal, "writing the report", &error))?;
        screen::document(&text);
    } else {
        screen::line(&format!("isolation: {}", report.tier));
        for finding in &report.findings {
            let mark = if finding.ok {
                screen::green("ok")
            } else {
                screen::red("no")
            };
            screen::line(&format!("  {mark}  {}: {}", finding.name, finding.detail));
            if let Some(remedy) = &finding.remedy {
                screen::line(&format!("      {} {remedy}", screen::cyan("to change that:")));
            }
        }
    }
    if report.tier == Tier::Unsupported {
        Ok(FailureKind::Place.code())
    } else {
        Ok(ExitCode::SUCCESS)
    }
}

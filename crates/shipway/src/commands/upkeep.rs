//! `shipway prune`, `gc` and `fsck`: disk use shown, what is not needed removed, every byte checked.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shipway_store::{CollectOptions, FsckOptions};

use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Show what the data directory holds and remove what nothing refers to
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Only show
    #[arg(long)]
    dry_run: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Remove blobs that no image, repository or cache record refers to; safe beside a running registry
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Leave what was used within this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    grace: u64,
    /// Only count
    #[arg(long)]
    dry_run: bool,
}

/// Read every blob and check it against its digest; ends with 1 when something is wrong
#[derive(Debug, Args)]
pub(crate) struct FsckArguments {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn prune(arguments: &PruneArguments, installation: &Installation) -> Result<ExitCode, Failure> {
    let usage = installation
        .store
        .usage()
        .map_err(|error| broken("reading the store", &error))?;
    let options = CollectOptions {
        grace: Duration::from_secs(3600),
        dry_run: arguments.dry_run,
    };
    let report = installation
        .store
        .collect(&options)
        .map_err(|error| broken("removing blobs", &error))?;
    if arguments.json {
        let figures = serde_json::json!({
            "blobs": usage.blobs, "blob_bytes": usage.blob_bytes, "repositories": usage.repositories,
            "removed_blobs": report.blobs, "removed_bytes": report.bytes, "dry_run": arguments.dry_run,
        });
        screen::line(&figures.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    screen::line(&format!(
        "{} in {} blobs, {} repositories",
        screen::size(usage.blob_bytes),
        usage.blobs,
        usage.repositories
    ));
    let verb = if arguments.dry_run {
        "could be removed"
    } else {
        "removed"
    };
    screen::line(&format!(
        "{} in {} blobs {verb}",
        screen::size(report.bytes),
        report.blobs
    ));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn gc(arguments: &GcArguments, installation: &Installation) -> Result<ExitCode, Failure> {
    let options = CollectOptions {
        grace: Duration::from_secs(arguments.grace),
        dry_run: arguments.dry_run,
    };
    let report = installation
        .store
        .collect(&options)
        .map_err(|error| broken("removing blobs", &error))?;
    screen::line(&format!("{} blobs, {}", report.blobs, screen::size(report.bytes)));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn fsck(arguments: &FsckArguments, installation: &Installation) -> Result<ExitCode, Failure> {
    let report = installation
        .store
        .fsck(&FsckOptions::default())
        .map_err(|error| broken("checking the store", &error))?;
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| broken("writing the report", &error))?;
        screen::line(&text);
    } else {
        screen::line(&report.to_string());
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        FailureKind::Work.code()
    })
}

fn broken(doing: &str, error: &dyn std::error::Error) -> Failure {
    Failure::caused(FailureKind::Internal, doing, error)
}

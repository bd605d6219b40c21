//! `shipway gc` and `fsck`: what is not needed removed from the store, every byte checked.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shipway_container::{Leftovers, Runtime, Swept, dead_pods};
use shipway_runner::forget_dead_jobs;
use shipway_store::{CollectOptions, FsckOptions};

use crate::arguments::span;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// A day: whoever pushes by digest first and tags at the end has had time for it.
const DEFAULT_UNTAGGED: &str = "24h";

/// Remove blobs that no image, repository or cache record refers to, and what killed processes left; safe beside a running registry
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    /// Leave what was used within this time, such as `30m` or `2h`; a bare number is seconds. What builds and pulls under way use stays in
    /// any case; a push that takes longer than this has to begin again
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = span)]
    grace: Duration,
    /// First remove manifests that no tag, no index and no subject keeps, if they were pushed or lost their last tag longer
    /// ago than this
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_UNTAGGED,
          value_parser = span)]
    untagged: Option<Duration>,
    /// Only count
    #[arg(long)]
    dry_run: bool,
}

/// Read every blob and check it against its digest; ends with 1 when something is wrong
#[derive(Debug, Args)]
pub(crate) struct FsckArguments {
    /// Compare sizes only
    #[arg(long)]
    quick: bool,
    /// Remove files that no row knows: a process that was killed between writing a blob and saying so leaves them
    #[arg(long)]
    repair: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Removes what pods of dead processes left; only a keeper can, so a place without isolation keeps it, and is told so. The runtime that
/// did it is given on: whoever still has the store open when this process ends takes back no room that was given up.
pub(super) async fn sweep(installation: &Installation) -> (Option<Runtime>, Swept) {
    if dead_pods(&installation.data) == 0 {
        return (None, Swept::default());
    }
    let client = installation.client.clone();
    match installation.find_runtime(client, Leftovers::Sweep).await {
        Ok(runtime) => {
            let swept = runtime.settled().await;
            if swept.failed > 0 {
                screen::warning(&format!(
                    "what {} left stays, the log above says why",
                    count(swept.failed as u64, "dead pod")
                ));
            }
            (Some(runtime), swept)
        }
        Err(error) => {
            let why = shipway_oci::with_causes(&*error);
            screen::warning(&format!(
                "what dead pods left stays, nothing runs containers here: {why}"
            ));
            (None, Swept::default())
        }
    }
}

/// A number of things: `1 image`, `2 images`.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

pub(crate) async fn gc(arguments: GcArguments, installation: Installation) -> Result<ExitCode, Failure> {
    if let Some(age) = arguments.untagged {
        let untagged = installation
            .store
            .expire_untagged(age, arguments.dry_run)
            .map_err(|error| broken("removing untagged manifests", &error))?;
        for manifest in &untagged {
            screen::line(&format!("{}@{}", manifest.repository, manifest.digest));
        }
        screen::line(&count(untagged.len() as u64, "untagged manifest"));
    }
    let mut swept = (None, Swept::default());
    if !arguments.dry_run {
        forget_dead_jobs(&installation.data, &installation.store);
        swept = sweep(&installation).await;
    }
    let options = CollectOptions {
        grace: arguments.grace,
        dry_run: arguments.dry_run,
    };
    let report = installation
        .store
        .collect(&options)
        .map_err(|error| broken("removing blobs", &error))?;
    let size = screen::size(report.bytes);
    screen::line(&format!("{}, {size}", count(report.blobs, "blob")));
    if swept.1.pods > 0 {
        screen::line(&format!("what {} left", count(swept.1.pods as u64, "dead pod")));
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn fsck(arguments: &FsckArguments, installation: &Installation) -> Result<ExitCode, Failure> {
    let report = installation
        .store
        .fsck(&FsckOptions {
            quick: arguments.quick,
            remove_unknown_files: arguments.repair,
        })
        .map_err(|error| broken("checking the store", &error))?;
    if arguments.json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|error| broken("writing the report", &error))?;
        screen::document(&text);
    } else {
        screen::line(&report.to_string());
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        FailureKind::Work.code()
    })
}

pub(super) fn broken(doing: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(FailureKind::Internal, doing, error)
}

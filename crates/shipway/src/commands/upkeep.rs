//! `shipway prune`, `gc` and `fsck`: disk use shown, what is not needed removed, every byte checked.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shipway_container::{PruneLayersError, Runtime};
use shipway_runner::{forget_dead_jobs, forget_histories};
use shipway_store::{CollectOptions, FsckOptions, Store, StoreError};

use crate::arguments::span;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// What was used in the last hour may be about to be used again by somebody.
const GRACE: Duration = Duration::from_secs(3600);
/// A day: whoever pushes by digest first and tags at the end has had time for it.
const DEFAULT_UNTAGGED: &str = "24h";

/// Show what the data directory holds and remove what nothing refers to, images without a name included
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Also remove the build cache, unpacked layers, the images that jobs pulled, copies of work trees' histories, and what
    /// is in the volumes that a runner's configuration gives jobs, such as `/cache`
    #[arg(short, long)]
    all: bool,
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
    /// Leave what was used within this time: a number and a unit, such as `30m` or `2h`
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

pub(crate) async fn prune(
    arguments: PruneArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let usage = installation
        .store
        .usage()
        .map_err(|error| broken("reading the store", &error))?;
    let whole = size_on_disk(&installation.data);
    let mut layers = Ok(Layers::Removed(0));
    if !arguments.dry_run {
        forget_dead_jobs(&installation.data, &installation.store);
    }
    let nameless = installation.store.expire_nameless(GRACE, arguments.dry_run);
    let nameless = nameless
        .map_err(|error| broken("removing images without a name", &error))?
        .len();
    if arguments.all && !arguments.dry_run {
        installation
            .store
            .prune_cache(Duration::ZERO)
            .map_err(|error| broken("dropping the build cache", &error))?;
        forget_pulled(&installation.store).map_err(|error| broken("forgetting what jobs pulled", &error))?;
        forget_histories(&installation.data.join("histories"))
            .map_err(|error| broken("removing copies of histories", &error))?;
        // Blobs are freed whatever becomes of the layers.
        layers = prune_layers(&installation).await;
    }
    let options = CollectOptions {
        grace: GRACE,
        dry_run: arguments.dry_run,
    };
    let report = installation
        .store
        .collect(&options)
        .map_err(|error| broken("removing blobs", &error))?;
    let left = installation.store.nameless_images();
    let left = left.map_err(|error| broken("reading the store", &error))?.len();
    let kept = if arguments.dry_run {
        left - nameless.min(left)
    } else {
        left
    };
    if arguments.json {
        let removed = layers.as_ref().map_or(0, Layers::removed);
        let figures = serde_json::json!({
            "blobs": usage.blobs, "blob_bytes": usage.blob_bytes, "repositories": usage.repositories,
            "bytes_on_disk": whole, "removed_images": nameless, "kept_nameless_images": kept, "removed_blobs": report.blobs, "removed_bytes": report.bytes, "removed_layers": removed,
            "layers_in_use": matches!(layers, Ok(Layers::InUse)), "dry_run": arguments.dry_run,
        });
        screen::document(&figures.to_string());
        return layers.map(|_| ExitCode::SUCCESS);
    }
    let held = screen::size(usage.blob_bytes);
    screen::line(&format!(
        "{held} in {} blobs, {} repositories",
        usage.blobs, usage.repositories
    ));
    let verb = if arguments.dry_run {
        "could be removed"
    } else {
        "removed"
    };
    screen::line(&format!("{nameless} images without a name {verb}"));
    if kept > 0 {
        screen::line(&format!(
            "{kept} images without a name stay: they are younger than an hour, or containers of an engine stand on them"
        ));
    }
    screen::line(&format!(
        "{} in {} blobs {verb}",
        screen::size(report.bytes),
        report.blobs
    ));
    match layers? {
        Layers::Removed(0) => {}
        Layers::Removed(layers) => screen::line(&format!("{layers} unpacked layers removed")),
        Layers::InUse => screen::warning(
            "the unpacked layers stay, and with them the volumes of jobs: a job, a build or an engine of this installation is \
             running and may use them; end it and run `shipway prune --all` again",
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn forget_pulled(store: &Store) -> Result<(), StoreError> {
    for scope in store.pulled_scopes()? {
        store.forget_scope(&scope)?;
    }
    Ok(())
}

/// The bytes of all files below a directory, as far as this user may look: a lower bound where layers hold private directories.
fn size_on_disk(directory: &Path) -> u64 {
    let mut waiting = vec![directory.to_path_buf()];
    let mut total = 0;
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        for entry in entries {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => waiting.push(entry.path()),
                Ok(metadata) => total += metadata.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// What became of the unpacked layers.
enum Layers {
    /// So many are gone.
    Removed(usize),
    /// All are left to the pods that live.
    InUse,
}

impl Layers {
    fn removed(&self) -> usize {
        match self {
            Self::Removed(layers) => *layers,
            Self::InUse => 0,
        }
    }
}

/// Removes what was unpacked for containers and the volumes that jobs left; an installation that never unpacked anything
/// needs no isolation for that.
async fn prune_layers(installation: &Installation) -> Result<Layers, Failure> {
    if !installation.data.join("keeper").is_dir() {
        return Ok(Layers::Removed(0));
    }
    let runtime = installation.runtime(installation.client.clone()).await?;
    let pruned = prune_with(&runtime).await;
    // Whoever still has the store open when this process ends takes back no room that was given up.
    runtime.settled().await;
    pruned
}

async fn prune_with(runtime: &Runtime) -> Result<Layers, Failure> {
    let failed = |doing, error: &PruneLayersError| Failure::caused(FailureKind::Work, doing, error);
    match runtime.prune_kept_volumes().await {
        Ok(_) => {}
        Err(PruneLayersError::InUse) => return Ok(Layers::InUse),
        Err(error) => return Err(failed("removing the volumes of jobs", &error)),
    }
    match runtime.prune_layers().await {
        Ok(layers) => Ok(Layers::Removed(layers)),
        Err(PruneLayersError::InUse) => Ok(Layers::InUse),
        Err(error) => Err(failed("removing unpacked layers", &error)),
    }
}

pub(crate) fn gc(arguments: &GcArguments, installation: &Installation) -> Result<ExitCode, Failure> {
    if let Some(age) = arguments.untagged {
        let untagged = installation
            .store
            .expire_untagged(age, arguments.dry_run)
            .map_err(|error| broken("removing untagged manifests", &error))?;
        for manifest in &untagged {
            screen::line(&format!("{}@{}", manifest.repository, manifest.digest));
        }
        screen::line(&format!("{} untagged manifests", untagged.len()));
    }
    if !arguments.dry_run {
        forget_dead_jobs(&installation.data, &installation.store);
    }
    let options = CollectOptions {
        grace: arguments.grace,
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

fn broken(doing: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::caused(FailureKind::Internal, doing, error)
}

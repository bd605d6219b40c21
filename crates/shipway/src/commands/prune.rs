//! `shipway prune`: what the data directory holds, shown; what is not needed, removed.
//!
//! In this order, since each step frees what a later one removes: what dead processes left, images without a name, what pipelines left
//! for longer than it is kept, with `--all` the caches and the volumes of jobs, and at the end the blobs that nothing refers to any more.

mod report;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use shipway_build::{CacheMounts, CacheMountsError, KeptMount};
use shipway_container::{KeptVolume, Leftovers, PruneLayersError, Runtime, Swept, dead_pods};
use shipway_runner::retention::{self, Caches, Retention};
use shipway_runner::{forget_dead_jobs, forget_histories};
use shipway_store::{CollectOptions, CollectReport, Store};

use self::report::{Figures, Forgotten, Layers};
use super::upkeep::{broken, sweep};
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// What was used in the last hour may be about to be used again by somebody.
const GRACE: Duration = Duration::from_secs(3600);

/// Show what the data directory holds and remove what is not needed
///
/// Removed are blobs that nothing refers to, images without a name and what killed processes left; artifacts when their `expire_in` is
/// over (30 days, or 50 pipelines, where the job does not say), traces after the same time, and caches that no job used for 30 days. The
/// artifacts of the latest successful pipeline of each branch and tag stay. What was used in the last hour stays.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    /// Also remove the build cache with its cache mounts, unpacked layers, the images that jobs pulled, copies of work trees' histories, all caches of jobs,
    /// and what is in the volumes that a runner's configuration gives jobs, such as `/cache`
    #[arg(short, long)]
    all: bool,
    /// Only show
    #[arg(long)]
    dry_run: bool,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn prune(
    arguments: PruneArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let store = &installation.store;
    let usage = store
        .usage()
        .map_err(|error| broken("reading the store", &error))?;
    let bytes_on_disk = size_on_disk(&installation.data);
    let (runtime, swept) = if arguments.dry_run {
        let pods = dead_pods(&installation.data);
        (None, Swept { pods, failed: 0 })
    } else {
        forget_dead_jobs(&installation.data, store);
        sweep(&installation).await
    };
    let nameless = store
        .expire_nameless(GRACE, arguments.dry_run)
        .map_err(|error| broken("removing images without a name", &error))?;
    let caches = if arguments.all {
        Caches::All
    } else {
        Caches::Unused
    };
    let expired = retention::expire(
        &installation.data,
        &Retention::default(),
        caches,
        arguments.dry_run,
    );
    // Blobs are freed whatever becomes of what only a keeper can remove.
    let of_pods = prune_pods(&installation, &arguments, runtime).await;
    let forgotten = if arguments.all {
        forget(&installation, arguments.dry_run)?
    } else {
        Forgotten::default()
    };
    let (removed, collectable) = if arguments.all && arguments.dry_run {
        let collectable = |grace| {
            let counted = store.collectable_without_caches(grace);
            counted.map_err(|error| broken("reading the store", &error))
        };
        (collectable(GRACE)?, collectable(Duration::ZERO)?)
    } else {
        let removed = collect(store, GRACE, arguments.dry_run)?;
        (removed, collect(store, Duration::ZERO, true)?)
    };
    let left = store
        .nameless_images()
        .map_err(|error| broken("reading the store", &error))?
        .into_iter()
        .filter(|image| !nameless.contains(&(image.scope.clone(), image.manifest.clone())));
    let figures = Figures {
        usage,
        bytes_on_disk,
        swept,
        nameless: nameless.len() as u64,
        kept_nameless: left.count() as u64,
        expired,
        forgotten,
        volumes: of_pods.volumes,
        mounts: of_pods.mounts,
        takes_all: arguments.all,
        removed,
        // A dry run has removed nothing of what could be collected.
        young: if arguments.dry_run {
            collectable.less(removed)
        } else {
            collectable
        },
        layers: of_pods.layers,
        only_asked: arguments.dry_run,
    };
    if arguments.json {
        screen::document(&figures.json().to_string());
    } else {
        for line in figures.lines() {
            screen::line(&line);
        }
    }
    if let Some(warning) = figures.warning().filter(|_| !arguments.json) {
        screen::warning(&warning);
    }
    match of_pods.failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(failure),
    }
}

fn collect(store: &Store, grace: Duration, dry_run: bool) -> Result<CollectReport, Failure> {
    store
        .collect(&CollectOptions { grace, dry_run })
        .map_err(|error| broken("removing blobs", &error))
}

/// What only `--all` takes away and needs no keeper, apart from caches of jobs.
fn forget(installation: &Installation, only_ask: bool) -> Result<Forgotten, Failure> {
    let store = &installation.store;
    Ok(Forgotten {
        cache_records: store
            .prune_cache(Duration::ZERO, only_ask)
            .map_err(|error| broken("dropping the build cache", &error))?,
        pulled_names: store
            .forget_pulled(only_ask)
            .map_err(|error| broken("forgetting what jobs pulled", &error))?,
        histories: forget_histories(&installation.data.join("histories"), only_ask)
            .map_err(|error| broken("removing copies of histories", &error))?,
    })
}

/// What was done in the keepers' directory.
struct OfPods {
    volumes: Vec<KeptVolume>,
    /// Cache mounts that are gone, or would be.
    mounts: Vec<KeptMount>,
    layers: Layers,
    /// Why not all of what was asked for.
    failure: Option<Failure>,
}

/// Measures the volumes of jobs, and counts the unpacked layers if they would go; removes both if that is asked for. An installation that never unpacked
/// anything needs no isolation for that, and whoever only wants to see the volumes goes without where there is none.
async fn prune_pods(
    installation: &Installation,
    arguments: &PruneArguments,
    runtime: Option<Runtime>,
) -> OfPods {
    let mut done = OfPods {
        volumes: Vec::new(),
        mounts: Vec::new(),
        layers: Layers::Removed(0),
        failure: None,
    };
    let removes = arguments.all && !arguments.dry_run;
    if !installation.data.join("keeper").is_dir() || !(arguments.all || has_kept_volumes(&installation.data))
    {
        return done;
    }
    let client = installation.client.clone();
    let opened = match runtime {
        Some(runtime) => Ok(runtime),
        None => installation.find_runtime(client, Leftovers::Leave).await,
    };
    let runtime = match opened {
        Ok(runtime) => runtime,
        Err(error) if removes => {
            let failure = Failure::caused(FailureKind::Place, "removing what containers leave", &*error);
            done.failure = Some(failure.hint("`shipway doctor` says what this place can do"));
            return done;
        }
        Err(_) => return done,
    };
    let volumes = if removes {
        runtime.prune_kept().await
    } else {
        runtime.kept().await
    };
    match volumes {
        Ok(volumes) => done.volumes = volumes,
        Err(error) => done.failure = Some(Failure::caused(FailureKind::Work, "the volumes of jobs", &error)),
    }
    if arguments.all {
        match prune_mounts(CacheMounts::of(&runtime), removes).await {
            Ok(mounts) => done.mounts = mounts,
            Err(failure) => {
                done.failure.get_or_insert(failure);
            }
        }
        let layers = if removes {
            runtime.prune_layers().await
        } else {
            runtime.count_layers().await
        };
        match layers {
            Ok(layers) => done.layers = Layers::Removed(layers),
            Err(PruneLayersError::InUse) => done.layers = Layers::InUse,
            Err(error) => {
                let failure = Failure::caused(FailureKind::Work, "removing unpacked layers", &error);
                done.failure.get_or_insert(failure);
            }
        }
    }
    done
}

/// The cache mounts that no build has, with their sizes; gone, if that is asked for.
async fn prune_mounts(mounts: CacheMounts, removes: bool) -> Result<Vec<KeptMount>, Failure> {
    let pruning = tokio::task::spawn_blocking(move || -> Result<_, CacheMountsError> {
        let found = mounts.measured()?;
        match removes {
            true => mounts.remove(&found),
            false => Ok(found),
        }
    });
    pruning
        .await
        .map_err(|error| Failure::caused(FailureKind::Internal, "a thread ended early", &error))?
        .map_err(|error| Failure::caused(FailureKind::Work, "removing cache mounts", &error))
}

/// Whether pods of any ids left volumes that outlive them.
fn has_kept_volumes(data: &Path) -> bool {
    std::fs::read_dir(data.join("kept-volumes")).is_ok_and(|mut classes| classes.next().is_some())
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

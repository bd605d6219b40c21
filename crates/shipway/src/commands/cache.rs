//! `shipway cache`: the build cache looked at and made smaller.
//!
//! What a build that runs has found or made stays: its records are younger than the look that decides, and its blobs are held.

mod filter;
mod limits;
mod mounts;
mod show;

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use shipway_build::{CacheMounts, KeptMount, sweep_turns};
use shipway_container::ByteSize;
use shipway_store::{CacheEntry, CollectOptions, Store};

use self::filter::Filter;
pub(crate) use self::limits::keep_within;
use self::limits::{Dropped, LimitError};
use super::upkeep::broken;
use crate::arguments::span;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;

/// Blobs that were used in the last hour may be about to be used again by somebody.
const GRACE: Duration = Duration::from_secs(3600);

/// Look at the build cache, or make it smaller
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List the steps whose results are kept, and cache mounts (`RUN --mount=type=cache`), the last used first
    Ls(ListArguments),
    /// Show what the build cache takes, by scope
    Du(ListArguments),
    /// Remove results of steps and cache mounts: those that the limits of `shipway.toml` do not cover, or what the options name
    Prune(PruneArguments),
}

/// What is listed.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only what fits: `kind=step|mount`, `scope=NAME`, `step=run|copy|workdir`, `id=KEY`, `until=TIME`, `shared=true|false`; may be
    /// given several times
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is removed. Mounts that a build has stay.
#[derive(Debug, Args)]
pub(crate) struct PruneArguments {
    #[command(flatten)]
    list: ListArguments,
    /// Remove everything that fits
    #[arg(short, long)]
    all: bool,
    /// Remove what was not used within this time: a number and a unit, such as `12h` or `30d`
    #[arg(long, value_name = "TIME", value_parser = span)]
    until: Option<Duration>,
    /// Remove what was used longest ago until no more than this is kept, such as `10GB`
    #[arg(
        long,
        value_name = "SIZE",
        visible_alias = "keep-storage",
        conflicts_with = "filter"
    )]
    max_used_space: Option<ByteSize>,
    /// Only show
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn execute(command: CacheCommand, installation: Installation) -> Result<ExitCode, Failure> {
    let mounts = mounts::open(&installation).await?;
    let work = move || match command {
        CacheCommand::Ls(arguments) => {
            let found = Found::of(&installation.store, mounts.as_ref(), &arguments.filter)?;
            show::list(&found, arguments.json);
            Ok(())
        }
        CacheCommand::Du(arguments) => {
            let found = Found::of(&installation.store, mounts.as_ref(), &arguments.filter)?;
            show::usage(&found, arguments.json);
            Ok(())
        }
        CacheCommand::Prune(arguments) => prune(&arguments, &installation, mounts.as_ref()),
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Failure::new(FailureKind::Work, "the command was interrupted"))??;
    Ok(ExitCode::SUCCESS)
}

/// What fits.
#[derive(Default)]
struct Found {
    steps: Vec<CacheEntry>,
    mounts: Vec<KeptMount>,
}

impl Found {
    fn of(store: &Store, mounts: Option<&CacheMounts>, filters: &[Filter]) -> Result<Self, Failure> {
        Ok(Self {
            steps: entries(store, filters)?,
            mounts: mounts::entries(mounts, filters)?,
        })
    }
}

fn entries(store: &Store, filters: &[Filter]) -> Result<Vec<CacheEntry>, Failure> {
    let now = SystemTime::now();
    let mut entries = store
        .cache_entries()
        .map_err(|error| broken("reading the build cache", &error))?;
    entries.retain(|entry| filters.iter().all(|filter| filter.fits(entry, now)));
    Ok(entries)
}

fn id(entry: &CacheEntry) -> String {
    entry.key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prune(
    arguments: &PruneArguments,
    installation: &Installation,
    mounts: Option<&CacheMounts>,
) -> Result<(), Failure> {
    let store = &installation.store;
    let failed = |error: shipway_store::StoreError| broken("dropping records of the build cache", &error);
    let limits_failed = |error: LimitError| match error {
        LimitError::Store(error) => failed(error),
        LimitError::Mounts(error) => mounts::failed(&error),
    };
    let usual = !arguments.all
        && arguments.until.is_none()
        && arguments.max_used_space.is_none()
        && arguments.list.filter.is_empty();
    let (mut dropped, mut own) = (Dropped::default(), None);
    if usual {
        dropped = limits::drop_beyond(store, mounts, &installation.settings.cache, arguments.dry_run)
            .map_err(limits_failed)?;
    } else {
        let now = SystemTime::now();
        let until = Filter::Until(arguments.until.unwrap_or_default());
        let by_size = arguments.max_used_space.is_some() && arguments.until.is_none() && !arguments.all;
        if !by_size {
            let mut steps = entries(store, &arguments.list.filter)?;
            steps.retain(|step| until.fits(step, now));
            own = arguments.max_used_space.is_none().then(|| show::total(&steps).1);
            for step in &steps {
                if arguments.dry_run || store.remove_cache_record(step).map_err(failed)? {
                    dropped.steps += 1;
                }
            }
            let mut going = mounts::entries(mounts, &arguments.list.filter)?;
            going.retain(|mount| until.fits_mount(mount, now));
            if let Some(mounts) = mounts {
                dropped.mounts = limits::remove(mounts, going, arguments.dry_run)
                    .map_err(|error| mounts::failed(&error))?;
            }
        }
        if let Some(most) = arguments.max_used_space {
            let beyond =
                limits::shrink(store, mounts, most.get(), arguments.dry_run).map_err(limits_failed)?;
            dropped.steps += beyond.steps;
            dropped.mounts.extend(beyond.mounts);
        }
    }
    if !arguments.dry_run {
        sweep_turns(&installation.data);
    }
    let options = CollectOptions {
        grace: GRACE,
        dry_run: arguments.dry_run,
    };
    let freed = store
        .collect(&options)
        .map_err(|error| broken("removing blobs", &error))?;
    show::pruned(&dropped, own, &freed, arguments);
    Ok(())
}

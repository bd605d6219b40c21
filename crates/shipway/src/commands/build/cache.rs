//! Caches from elsewhere and to elsewhere, as buildx names them.
//!
//! Exports come last: when one fails, the image is built, named and pushed.

use clap::Args;
use shipway_build::{
    BuildRequest, Builder, Built, CacheExport, CacheExportPlace, CacheExported, CacheImport, Compression,
    ExportedMount,
};
use shipway_oci::with_causes;

use super::progress::Progress;
use crate::commands::upkeep::count;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// The arguments about caches.
#[derive(Debug, Args)]
pub(super) struct CacheArguments {
    /// Take results from a cache: NAME or `type=registry,ref=NAME`, `type=local,src=DIRECTORY`; may be given several times
    #[arg(long, value_name = "CACHE", value_parser = import)]
    cache_from: Vec<CacheImport>,
    /// Write results to a cache: NAME or `type=registry,ref=NAME`, `type=local,dest=DIRECTORY`, or `type=inline` into the image;
    /// with `mode=max` the layers of all steps and the cache mounts that they used, with `ignore-error=true` as far as it goes; may be
    /// given several times. `mounts=true|false` says otherwise, `mounts=ID` (several times) names some, and `mounts-max-size=SIZE` is how
    /// much disk they may take together (10GB). `--cache-from` fills a cache mount that is not here when a step mounts it
    #[arg(long, value_name = "CACHE", value_parser = export)]
    cache_to: Vec<CacheExport>,
    /// Say of each step that is not cached which of its inputs changed: a file, a build argument, the base
    #[arg(long)]
    explain: bool,
}

fn import(text: &str) -> Result<CacheImport, String> {
    text.parse().map_err(|error| with_causes(&error))
}

fn export(text: &str) -> Result<CacheExport, String> {
    text.parse().map_err(|error| with_causes(&error))
}

impl CacheArguments {
    /// Says in a request what the caches need of the build, whose image is laid out as it says already.
    pub(super) fn apply(&self, request: &mut BuildRequest) -> Result<(), Failure> {
        request.cache_from.clone_from(&self.cache_from);
        request.explain = self.explain;
        request.inline_cache = self
            .cache_to
            .iter()
            .any(|export| export.place == CacheExportPlace::Inline);
        for export in &self.cache_to {
            let image = request.image.compression;
            if let Some(wanted) = export.compression.filter(|wanted| *wanted != image) {
                let (wanted, image) = (words(wanted), words(image));
                let message = format!(
                    "--cache-to {}: {wanted} is not the image's, which is {image}",
                    export.place
                );
                return Err(Failure::new(FailureKind::Use, message).hint(format!(
                    "a cache has the layers of its image: give {wanted} to --output as well, or leave it out here"
                )));
            }
        }
        Ok(())
    }

    /// Writes the caches that were asked for. The first failure that counts is told when all were tried.
    pub(super) async fn export(
        &self,
        installation: &Installation,
        builder: &Builder,
        built: &Built,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let mut outcome = Ok(());
        for export in &self.cache_to {
            if export.place == CacheExportPlace::Inline {
                continue;
            }
            let credentials = match &export.place {
                CacheExportPlace::Registry(reference) => Some(installation.credentials(reference)),
                CacheExportPlace::Local { .. } | CacheExportPlace::Inline => None,
            };
            let watching = progress.activity(match &export.place {
                CacheExportPlace::Registry(_) => "exporting cache to registry",
                CacheExportPlace::Local { .. } | CacheExportPlace::Inline => {
                    "exporting cache to client directory"
                }
            });
            let exported = builder.export_cache(export, &built.steps, credentials.as_ref(), &watching);
            let exported = exported.await;
            let ended = match &exported {
                Ok(_) => Ok(()),
                Err(error) => Err(Failure::caused(FailureKind::Work, "exporting the cache", error)),
            };
            // What becomes of a failure is said below.
            let _ = watching.end(ended);
            match exported {
                Ok(exported) => {
                    exported.notes.iter().for_each(|note| screen::warning(note));
                    if progress.is_for_people() {
                        screen::error_line(&told(export, &exported));
                    }
                }
                Err(error) if export.ignore_error => {
                    screen::warning(&format!("the cache was not exported: {}", with_causes(&error)));
                }
                Err(error) => {
                    let failed = Failure::caused(FailureKind::Work, "exporting the cache", &error)
                        .hint("the image is built all the same; with ignore-error=true this is a warning");
                    outcome = outcome.and(Err(failed));
                }
            }
        }
        outcome
    }
}

/// A compression as options have it.
fn words(compression: Compression) -> String {
    match compression.level() {
        None => format!("compression={compression}"),
        Some(level) => format!("compression={compression},compression-level={level}"),
    }
}

/// What is said of an export.
fn told(export: &CacheExport, exported: &CacheExported) -> String {
    let mut told = format!("exported the cache to {}", export.place);
    if !exported.mounts.is_empty() {
        let sum =
            |bytes: fn(&ExportedMount) -> u64| exported.mounts.iter().map(bytes).fold(0, u64::saturating_add);
        let mounts = count(exported.mounts.len() as u64, "cache mount");
        let (all, new) = (
            screen::size(sum(|mount| mount.bytes)),
            screen::size(sum(|mount| mount.new_bytes)),
        );
        told.push_str(&format!(", with {mounts} of {all}, {new} of it new"));
    }
    told
}

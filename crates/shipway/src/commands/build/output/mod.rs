//! What becomes of a finished image: its names, its labels, where it is pushed and written.
//!
//! Without `--output` an image is put into the store under its names. Each `--output` says what else, or what instead: an image,
//! an archive of it, or the files of the last stage. `--push` and `--load` are short for two of them.

mod export;
mod metadata;
mod push;
mod whole;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use shipway_build::{BuildRequest, Builder, Built, Composition, ImageOptions};
use shipway_oci::{Digest, Reference};
use shipway_store::Scope;

use self::export::{ArchiveExport, Export, ImageExport, Place};
pub(super) use self::push::Begun;
use super::parse_reference;
use super::progress::{Activity, Progress};
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// The arguments about the result.
#[derive(Debug, Args)]
pub(super) struct OutputArguments {
    /// Name the image; may be given several times
    #[arg(short, long = "tag", value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// Where the result goes: a directory, `-` for a tar on standard output, or `type=image|registry|oci|docker|local|tar,KEY=VALUE…`; may be given several times
    #[arg(short, long, value_name = "OUTPUT")]
    output: Vec<String>,
    /// Push the image under its names: `--output type=registry`
    #[arg(long)]
    push: bool,
    /// Put the image into the store under its names: `--output type=docker`
    #[arg(long)]
    load: bool,
    /// Add a label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Add an annotation to the manifest, or where else the level says: `manifest`, `manifest-descriptor`, `index`, `index-descriptor`
    #[arg(long, value_name = "[LEVEL:]NAME=VALUE")]
    annotation: Vec<String>,
    /// Write the image's id into a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write the image's digests and names into a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
}

/// What to do with the image, read and judged before it is built.
pub(super) struct Output {
    tags: Vec<Reference>,
    labels: BTreeMap<String, String>,
    exports: Vec<Export>,
    iidfile: Option<PathBuf>,
    metadata_file: Option<PathBuf>,
    /// Of the environment; files have no later time.
    epoch: Option<i64>,
}

impl OutputArguments {
    pub(super) fn output(self) -> Result<Output, Failure> {
        let tags = self
            .tag
            .iter()
            .map(|text| parse_reference(text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut exports = self
            .output
            .iter()
            .map(|text| Export::parse(text))
            .collect::<Result<Vec<_>, _>>()?;
        if self.load {
            exports.push(Export::parse("type=docker")?);
        }
        if self.push {
            // `--push --output type=image,…` is one output that is pushed.
            let image = exports.iter_mut().find_map(|export| match export {
                Export::Image(image) => Some(image),
                _ => None,
            });
            match image {
                Some(image) => image.push = true,
                None => exports.push(Export::parse("type=registry")?),
            }
        }
        if exports.is_empty() {
            exports.push(Export::Image(ImageExport::default()));
        }
        annotate(&mut exports, &self.annotation)?;
        let output = Output {
            tags,
            labels: labels(&self.label)?,
            exports,
            iidfile: self.iidfile,
            metadata_file: self.metadata_file,
            epoch: None,
        };
        output.check()?;
        Ok(output)
    }
}

impl Output {
    fn check(&self) -> Result<(), Failure> {
        let places = self.exports.iter().filter_map(Export::place);
        let streams = places.clone().filter(|place| **place == Place::StandardOutput);
        if streams.count() > 1 {
            let message = "two outputs cannot both go to standard output";
            return Err(Failure::new(FailureKind::Use, message));
        }
        for place in places {
            write::check(place)?;
        }
        for export in &self.exports {
            if let Export::Image(image) = export
                && image.push
                && self.names(&image.names).is_empty()
            {
                let nothing = Failure::new(FailureKind::Use, "there is nothing to push to");
                return Err(nothing.hint("name the image with --tag"));
            }
        }
        Ok(())
    }

    /// The names of an output: those of the build, or its own.
    fn names<'a>(&'a self, own: &'a [Reference]) -> &'a [Reference] {
        if self.tags.is_empty() { own } else { &self.tags }
    }

    /// How the image is laid down that the steps make layers for: that of the first output that has one.
    fn main_options(&self) -> Option<&ImageOptions> {
        self.exports.iter().find_map(Export::image_options)
    }

    /// Says in a request what the outputs need of the build.
    pub(super) fn apply(&mut self, request: &mut BuildRequest) {
        self.epoch = request.source_date_epoch;
        request.tags.clone_from(&self.tags);
        request.labels.clone_from(&self.labels);
        request.image = self.main_options().cloned().unwrap_or_default();
        // Each output names what it puts into the store.
        request.keep_image = false;
    }

    /// Begins what can be done while the image is being built.
    pub(super) fn begin(&self, installation: &Installation) -> Vec<Begun> {
        let mut begun = Vec::new();
        for export in &self.exports {
            if let Export::Image(image) = export
                && image.push
                && !image.by_digest
            {
                let names = self.names(&image.names).iter();
                begun.extend(names.map(|name| Begun::new(installation, name)));
            }
        }
        begun
    }

    /// Sends the image where it is to go, and tells its id.
    pub(super) async fn finish(
        &self,
        installation: &Installation,
        builder: &Builder,
        built: &Arc<Built>,
        begun: Vec<Begun>,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let mut begun = begun.into_iter();
        let mut told: Option<(Composition, Vec<Reference>)> = None;
        for export in &self.exports {
            let Some(options) = export.image_options() else {
                continue;
            };
            let names = match export {
                Export::Image(ImageExport { names, .. }) | Export::Archive(ArchiveExport { names, .. }) => {
                    self.names(names).to_vec()
                }
                Export::Files(_) => continue,
            };
            let activity = progress.activity(export.title());
            let exporting = async {
                let composing = async {
                    if Some(options) == self.main_options() {
                        return Ok(built.composition.clone());
                    }
                    let (builder, built) = (builder.clone(), built.clone());
                    let (options, tags) = (options.clone(), self.tags.clone());
                    blocking(move || {
                        builder
                            .compose(&built, &options, &tags)
                            .map_err(|error| not_made(&error))
                    })
                    .await
                };
                let image = activity.part("exporting layers", composing).await?;
                tell_documents(&activity, &image);
                match export {
                    Export::Image(export) => {
                        self.image(
                            installation,
                            export,
                            &image,
                            &names,
                            &mut begun,
                            (progress, &activity),
                        )
                        .await?;
                    }
                    Export::Archive(export) => {
                        let writing = archive(installation, export.clone(), image.clone(), names.clone());
                        activity.part("sending tarball", writing).await?;
                    }
                    Export::Files(_) => {}
                }
                Ok(image)
            };
            let exported = exporting.await;
            let image = activity.end(exported)?;
            told.get_or_insert((image, names));
        }
        for export in &self.exports {
            let title = export.title();
            if let Export::Files(export) = export {
                let (store, built, export) = (installation.store.clone(), built.clone(), export.clone());
                let epoch = self.epoch;
                let activity = progress.activity(title);
                let part = match export.place {
                    Place::Directory(_) => "copying files",
                    Place::StandardOutput | Place::File(_) => "sending tarball",
                };
                let writing = blocking(move || write::files(&store, &built, &export, epoch));
                let written = activity.part(part, writing).await;
                activity.end(written)?;
            }
        }
        let (image, names) = told
            .as_ref()
            .map_or((None, &[][..]), |(image, names)| (Some(image), names));
        if let Some(path) = &self.iidfile {
            metadata::write_id(path, image)?;
        }
        if let Some(path) = &self.metadata_file {
            metadata::write_metadata(path, image, names)?;
        }
        let mut places = self.exports.iter().filter_map(Export::place);
        if let Some(image) = image
            && !places.any(|place| *place == Place::StandardOutput)
        {
            screen::line(image.id.as_ref());
        }
        Ok(())
    }

    /// Puts an image into the store and pushes it.
    async fn image(
        &self,
        installation: &Installation,
        export: &ImageExport,
        image: &Composition,
        names: &[Reference],
        begun: &mut impl Iterator<Item = Begun>,
        (progress, activity): (&Progress, &Activity<'_>),
    ) -> Result<(), Failure> {
        let mut kept = if export.store { names.to_vec() } else { Vec::new() };
        if export.canonical {
            kept.extend(
                names
                    .iter()
                    .map(|name| name.with_digest(image.root.digest.clone())),
            );
        }
        // What is pushed is read from the store, and what is not to stay there goes again.
        let before = held(installation, image)?;
        let named = kept
            .iter()
            .map(|name| format!("naming to {name}"))
            .collect::<Vec<_>>();
        put(installation, image, kept).await?;
        named.iter().for_each(|named| activity.did(named));
        if export.push {
            for name in names {
                let pushing = async {
                    // One has begun for each name that is not pushed by its digest.
                    let begun = if export.by_digest { None } else { begun.next() };
                    match begun {
                        Some(begun) => begun.finish(installation, &image.root.digest, activity).await,
                        None => push_by_digest(installation, image, name, activity).await,
                    }
                };
                let digest = activity.part("pushing layers", pushing).await?;
                let shown = if export.by_digest {
                    name.familiar_name()
                } else {
                    name.familiar()
                };
                activity.did(&format!("pushing manifest for {shown}@{digest}"));
                if progress.is_for_people() {
                    screen::error_line(&format!("pushed {shown}@{digest}"));
                }
            }
        }
        if !export.store && !before {
            let forget = installation
                .store
                .forget_manifest(&Scope::user(), &image.root.digest);
            forget.map_err(|error| {
                Failure::caused(FailureKind::Work, "taking the image from the store", &error)
            })?;
        }
        Ok(())
    }
}

/// Whether the store has an image already.
fn held(installation: &Installation, image: &Composition) -> Result<bool, Failure> {
    let found = installation.store.image_manifest(&image.root.digest);
    let found = found.map_err(|error| Failure::caused(FailureKind::Work, "looking the image up", &error))?;
    Ok(found.is_some())
}

async fn put(installation: &Installation, image: &Composition, names: Vec<Reference>) -> Result<(), Failure> {
    let (store, image) = (installation.store.clone(), image.clone());
    blocking(move || {
        image
            .put(&store, &Scope::user(), &names)
            .map_err(|error| not_made(&error))
    })
    .await
}

async fn push_by_digest(
    installation: &Installation,
    image: &Composition,
    name: &Reference,
    watching: &Activity<'_>,
) -> Result<Digest, Failure> {
    let reference = name.with_digest(image.root.digest.clone());
    installation.push(&image.root.digest, &reference, watching).await
}

/// The documents of an image, as BuildKit tells them.
fn tell_documents(activity: &Activity<'_>, image: &Composition) {
    for stored in &image.manifests {
        let kind = match (stored.digest == image.root.digest, &image.config) {
            (true, None) => "manifest list",
            _ => "manifest",
        };
        activity.did(&format!("exporting {kind} {}", stored.digest));
    }
    if let Some(config) = &image.config {
        activity.did(&format!("exporting config {config}"));
    }
}

async fn archive(
    installation: &Installation,
    export: ArchiveExport,
    image: Composition,
    names: Vec<Reference>,
) -> Result<(), Failure> {
    let Some(place) = export.place.clone() else {
        return put(installation, &image, names).await;
    };
    let store = installation.store.clone();
    blocking(move || write::archive(&store, &image, &names, &export, &place)).await
}

fn not_made(error: &shipway_build::ExportError) -> Failure {
    let kind = match error {
        shipway_build::ExportError::Conflict { .. } => FailureKind::Use,
        _ => FailureKind::Work,
    };
    Failure::caused(kind, "the image was not made", error)
}

/// Runs what reads and writes files where it does not hold up the network.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Failure::caused(
            FailureKind::Internal,
            "a thread ended early",
            &error,
        )),
    }
}

/// Gives the annotations of the flags to all outputs that make an image.
fn annotate(exports: &mut [Export], flags: &[String]) -> Result<(), Failure> {
    let mut annotations = shipway_build::Annotations::default();
    for flag in flags {
        annotations
            .add(flag)
            .map_err(|error| Failure::caused(FailureKind::Use, "--annotation", &error))?;
    }
    for options in exports.iter_mut().filter_map(Export::image_options_mut) {
        options.annotations.extend(&annotations);
    }
    Ok(())
}

fn labels(given: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    given
        .iter()
        .map(|label| {
            let (name, value) = label.split_once('=').unwrap_or((label, ""));
            if name.is_empty() {
                return Err(Failure::new(
                    FailureKind::Use,
                    format!("the label `{label}` has no name"),
                ));
            }
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_needs_a_name() {
        assert!(labels(&["=value".to_owned()]).is_err());
        assert_eq!(labels(&["a=b".to_owned()]).unwrap()["a"], "b");
    }
}

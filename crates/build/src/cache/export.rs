//! Writing a cache: after the image is safe, to wherever it was asked for.
//!
//! Only what is not there yet goes out: blobs that an import showed to be in the repository are not asked for again, others of the same
//! registry are mounted, and the rest is asked for before it is sent. The manifest comes last, so that the cache under a name is
//! always a whole one.
//!
//! Some registries refuse configurations whose type they do not know. They are given the same cache once more as what they know: the
//! configuration of an image that has those layers, with the cache in it as an inline one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use shipway_container::Runtime;
use shipway_oci::{
    Descriptor, Digest, EncodeError, ImageConfig, ImageManifest, Manifest, ManifestError, Platform,
    Reference, media_type, with_causes,
};
use shipway_registry::{Client, ClientError, PushProgress, RegistryCredentials};
use shipway_store::{CommitError, ManifestWrite, Store};

use super::document::{CONFIG_TYPE, Document, DocumentLayer, INLINE_KEY, MOST_STEPS};
use super::layout::Layout;
use super::mounts::{ExportedMount, MountExporter, MountParcel};
use super::options::{CacheExport, CacheExportPlace, CacheImport, CacheMode};
use super::origin::{Origin, OriginError, SharedOrigin};
use super::steps::{CacheSteps, KnownBlob};
use crate::error::StepError;
use crate::plan::CacheKey;

/// Why a cache was not written. The image is not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum CacheExportError {
    /// It cannot be written as JSON.
    #[error("cannot write down the cache")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// There is too much of it.
    #[error("the cache has {steps} steps, and at most {MOST_STEPS} can be exported")]
    TooLarge {
        /// Its steps.
        steps: usize,
    },
    /// Its manifest would be none.
    #[error("the cache has too many layers for a manifest: export it with mode=min")]
    Manifest {
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// The store did not take its document.
    #[error("cannot keep the cache's document")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// A layer of an import could not be had.
    #[error("cannot have a layer that was imported")]
    Import {
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// The registry did not take it.
    #[error("cannot push the cache to {reference}")]
    Push {
        /// Where to.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// The directory did not take it.
    #[error("cannot write the cache into `{}`", directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread of ours ended early.
    #[error("the export was interrupted")]
    Interrupted,
}

/// The part of an image's configuration that is its cache. It depends on nothing but the steps, so that the same build gives the same
/// image; with more steps than a document may have it is left out.
pub(crate) fn inline(steps: &BTreeMap<CacheKey, Option<Digest>>) -> Option<serde_json::Value> {
    let layers = steps.iter().map(|(key, diff_id)| {
        let layer = diff_id.clone().map(|diff_id| DocumentLayer {
            diff_id,
            digest: None,
        });
        (key, layer)
    });
    (steps.len() <= MOST_STEPS)
        .then(|| serde_json::to_value(Document::new(layers)).ok())
        .flatten()
}

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheExported {
    /// The cache mounts that are in the cache now.
    pub mounts: Vec<ExportedMount>,
    /// What is to be told of those that are not.
    pub notes: Vec<String>,
}

/// What exports need.
pub(crate) struct Exporter<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) store: &'a Store,
    pub(crate) client: &'a Client,
    pub(crate) steps: &'a CacheSteps,
}

/// A cache as it goes out.
struct Parcel {
    manifest: ManifestWrite,
    /// The configuration and the layers.
    blobs: Vec<Descriptor>,
}

impl Exporter<'_> {
    /// Writes one cache. Inline ones are in the image already.
    pub(crate) async fn export(
        &self,
        export: &CacheExport,
        credentials: Option<&RegistryCredentials>,
        progress: &dyn PushProgress,
    ) -> Result<CacheExported, CacheExportError> {
        if self.steps.steps.len() > MOST_STEPS {
            return Err(CacheExportError::TooLarge {
                steps: self.steps.steps.len(),
            });
        }
        match &export.place {
            CacheExportPlace::Inline => Ok(CacheExported::default()),
            CacheExportPlace::Local { directory, tag } => {
                self.bring(export.mode, |_| false).await?;
                let there = CacheImport::Local {
                    directory: directory.clone(),
                    tag: tag.clone(),
                    digest: None,
                };
                let (mut mounts, mut notes) = self.mounts(export, &there, None, Reuse::All).await;
                let layout = Layout::at(directory);
                // Somebody may have tidied up there.
                let blobs = mounts.iter().flat_map(MountParcel::reused);
                if !blobs.into_iter().all(|blob| layout.has(blob)) {
                    (mounts, notes) = self.mounts(export, &there, None, Reuse::Nothing).await;
                }
                // What a directory has it is not given again, wherever it was packed.
                let (mounts, notes) = self.brought(mounts, notes, |blob| layout.has(blob)).await;
                let parcel = self.parcel(export.mode, Form::Artifact, &mounts).await?;
                let (store, tag) = (self.store.clone(), tag.clone());
                tokio::task::spawn_blocking(move || {
                    layout.write(&tag, &parcel.manifest.bytes, &parcel.blobs, &store)
                })
                .await
                .map_err(|_| CacheExportError::Interrupted)?
                .map_err(|source| CacheExportError::Directory {
                    directory: directory.clone(),
                    source,
                })?;
                Ok(exported(mounts, notes))
            }
            CacheExportPlace::Registry(reference) => {
                self.push(export, reference, credentials, progress).await
            }
        }
    }

    async fn push(
        &self,
        export: &CacheExport,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
        progress: &dyn PushProgress,
    ) -> Result<CacheExported, CacheExportError> {
        let failed = |source| CacheExportError::Push {
            reference: Box::new(reference.clone()),
            source: Box::new(source),
        };
        let mode = export.mode;
        let mut push = self
            .client
            .begin_push(reference, credentials)
            .await
            .map_err(failed)?;
        self.bring(mode, |blob| push.may_lack(&blob.digest)).await?;
        let there = CacheImport::Registry(reference.clone());
        let (mounts, notes) = self.mounts(export, &there, credentials, Reuse::All).await;
        let may_lack = |blob: &Descriptor| push.may_lack(&blob.digest);
        let (mut mounts, mut notes) = self.brought(mounts, notes, may_lack).await;
        let mut form = Form::Artifact;
        let mut all_is_here = false;
        loop {
            let Parcel { manifest, blobs } = self.parcel(mode, form, &mounts).await?;
            let pushed = push
                .finish_artifact(self.store, &manifest, &blobs, progress)
                .await;
            match pushed {
                Ok(_) => return Ok(exported(mounts, notes)),
                // The registry does not mount after all, or has not what its manifest says.
                Err(ClientError::Missing { .. }) if !all_is_here => {
                    self.bring(mode, |_| false).await?;
                    let again = self.mounts(export, &there, credentials, Reuse::Nothing).await;
                    (mounts, notes) = self.brought(again.0, again.1, |_| false).await;
                    all_is_here = true;
                }
                Err(error) if form == Form::Artifact && error.is_about_content() => {
                    tracing::debug!(%error, %reference, "the registry takes images only");
                    form = Form::Image;
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The cache mounts that go along, and what is to be told of the others.
    async fn mounts(
        &self,
        export: &CacheExport,
        there: &CacheImport,
        credentials: Option<&RegistryCredentials>,
        reuse: Reuse,
    ) -> (Vec<MountParcel>, Vec<String>) {
        let Some(selection) = export.mounts.as_ref().filter(|_| !self.steps.mounts.is_empty()) else {
            return (Vec::new(), Vec::new());
        };
        let mut previous = None;
        if reuse == Reuse::All {
            let platform = Platform::host();
            let opened = Origin::open(there, self.client, credentials, self.store, &platform);
            match opened.await {
                Ok((origin, contents)) => previous = Some((SharedOrigin::new(origin), contents.mounts)),
                Err(OriginError::Nothing) => {}
                Err(error) => tracing::debug!(%error, %there, "the cache that is there is written anew"),
            }
        }
        let exporter = MountExporter {
            runtime: self.runtime,
            store: self.store,
            steps: self.steps,
            selection,
            previous,
        };
        exporter.parcels().await
    }

    /// Sees to it that what was packed elsewhere is here or need not be. A mount that cannot be had is left out.
    async fn brought(
        &self,
        mounts: Vec<MountParcel>,
        mut notes: Vec<String>,
        may_lack: impl Fn(&Descriptor) -> bool,
    ) -> (Vec<MountParcel>, Vec<String>) {
        let mut kept = Vec::new();
        'mounts: for mount in mounts {
            if let Some(origin) = &mount.origin {
                for blob in mount.blobs().filter(|blob| !may_lack(blob)) {
                    if let Err(error) = origin.bring(blob, self.store).await {
                        let (id, why) = (&mount.exported.id, with_causes(&error));
                        notes.push(format!("the cache mount `{id}`: {why}; it is left out"));
                        continue 'mounts;
                    }
                }
            }
            kept.push(mount);
        }
        (kept, notes)
    }

    /// Sees to it that the layers to be exported are in the store, but for those that need not be.
    async fn bring(
        &self,
        mode: CacheMode,
        may_lack: impl Fn(&Descriptor) -> bool,
    ) -> Result<(), CacheExportError> {
        for layer in self.steps.steps.values().flatten() {
            if let KnownBlob::Elsewhere(elsewhere) = &layer.blob
                && self.is_kept(mode, &layer.diff_id)
                && elsewhere.blob.as_ref().is_some_and(|blob| !may_lack(blob))
            {
                elsewhere
                    .bring(self.store)
                    .await
                    .map_err(|source| CacheExportError::Import {
                        source: Box::new(source),
                    })?;
            }
        }
        Ok(())
    }

    fn is_kept(&self, mode: CacheMode, diff_id: &Digest) -> bool {
        mode == CacheMode::Max || self.steps.result.contains(diff_id)
    }

    async fn parcel(
        &self,
        mode: CacheMode,
        form: Form,
        mounts: &[MountParcel],
    ) -> Result<Parcel, CacheExportError> {
        let mut seen = BTreeSet::new();
        let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
        let steps = self.steps.steps.iter().map(|(key, layer)| {
            let layer = layer.as_ref().map(|layer| {
                let kept = layer
                    .blob
                    .descriptor()
                    .filter(|_| self.is_kept(mode, &layer.diff_id));
                if let Some(blob) = kept
                    && seen.insert(layer.diff_id.clone())
                {
                    layers.push(blob.clone());
                    diff_ids.push(layer.diff_id.clone());
                }
                DocumentLayer {
                    diff_id: layer.diff_id.clone(),
                    digest: kept
                        .filter(|_| form == Form::Artifact)
                        .map(|blob| blob.digest.clone()),
                }
            });
            (key, layer)
        });
        let mut document = Document::new(steps.collect::<Vec<_>>());
        document.mounts = mounts.iter().map(|mount| (&mount.claim).into()).collect();
        let mut parts = BTreeSet::new();
        for blob in mounts.iter().flat_map(MountParcel::blobs) {
            if parts.insert(&blob.digest) {
                let mut blob = blob.clone();
                if form == Form::Image {
                    // What takes images only takes layers only; nobody unpacks these.
                    blob.media_type = media_type::OCI_LAYER_ZSTD.to_owned();
                }
                diff_ids.push(blob.digest.clone());
                layers.push(blob);
            }
        }
        let encode = |source| CacheExportError::Encode { source };
        let unwritten = |source| CacheExportError::Encode {
            source: EncodeError {
                what: "build cache",
                source,
            },
        };
        let (config_type, config) = match form {
            Form::Artifact => (CONFIG_TYPE, serde_json::to_vec(&document).map_err(unwritten)?),
            Form::Image => {
                let mut image = ImageConfig::new(&Platform::host());
                image.rootfs.diff_ids = diff_ids;
                let document = serde_json::to_value(&document).map_err(unwritten)?;
                image.other.insert(INLINE_KEY.to_owned(), document);
                (media_type::OCI_CONFIG, image.to_json().map_err(encode)?)
            }
        };
        let store = self.store.clone();
        let kept = tokio::task::spawn_blocking(move || store.put_blob(&config))
            .await
            .map_err(|_| CacheExportError::Interrupted)?
            .map_err(|source| CacheExportError::Commit { source })?;
        let config = Descriptor::new(config_type, kept.digest, kept.size);
        let blobs = std::iter::once(config.clone())
            .chain(layers.iter().cloned())
            .collect();
        let manifest = Manifest::Image(ImageManifest::new(config, layers));
        let bytes = manifest.to_json().map_err(encode)?;
        let manifest = ManifestWrite::new(Some(media_type::OCI_MANIFEST), bytes)
            .map_err(|source| CacheExportError::Manifest { source })?;
        Ok(Parcel { manifest, blobs })
    }
}

fn exported(mounts: Vec<MountParcel>, notes: Vec<String>) -> CacheExported {
    CacheExported {
        mounts: mounts.into_iter().map(|mount| mount.exported).collect(),
        notes,
    }
}

/// Whether the cache that is there already is named again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    All,
    Nothing,
}

/// As what a registry is given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Artifact,
    Image,
}

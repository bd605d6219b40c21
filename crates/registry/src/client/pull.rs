//! Pulling an image into a store: name → manifest → the platform's manifest → blobs, several at a time.
//!
//! When this returns, all blobs are in the store and verified, but nothing names the image yet: that is the caller's
//! step, within the lease that the blobs have.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use shipway_oci::{
    Descriptor, Digest, ImageIndex, ImageManifest, Manifest, Platform, Reference, RegistryName,
    RepositoryName,
};
use shipway_store::{ManifestWrite, Store};

use super::Inner;
use super::download::download;
use super::error::ClientError;
use super::options::RegistryCredentials;
use super::progress::{BlobProgress, PullProgress};
use super::resolve::{Resolved, Source, SourceName, selector};
use crate::wire::ManifestReference;

/// Indexes in indexes end here.
const DEEPEST_INDEX: usize = 4;

/// An image whose blobs are in the store.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What the reference stood for: the index, if it is one.
    pub resolved: Digest,
    /// The image's own manifest, ready to be put into a scope.
    pub manifest: ManifestWrite,
    /// The same, parsed.
    pub image: ImageManifest,
}

pub(super) async fn resolve(
    inner: &Arc<Inner>,
    reference: &Reference,
    credentials: Option<&RegistryCredentials>,
) -> Result<Resolved, ClientError> {
    let resolve = async |source: SourceName| {
        let source = Source::open(inner, &source, reference, credentials).await?;
        source.manifest(&reference.repository, &selector(reference)).await
    };
    for mirror in inner.mirrors_of(&reference.registry) {
        match resolve(SourceName::Mirror(mirror.clone())).await {
            Ok(resolved) => return Ok(resolved),
            Err(error) => inner.pass_over(mirror, &error),
        }
    }
    resolve(SourceName::Registry).await
}

/// Which blobs of an image are brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// All of them.
    Whole,
    /// Its configuration alone.
    Configuration,
}

pub(super) async fn pull(
    inner: &Arc<Inner>,
    reference: &Reference,
    platform: &Platform,
    credentials: Option<&RegistryCredentials>,
    into: (&Store, Parts),
    progress: &dyn PullProgress,
) -> Result<Pulled, ClientError> {
    let pull = async |source: SourceName| {
        let source = Source::open(inner, &source, reference, credentials).await?;
        pull_from(inner, &source, reference, platform, into, progress).await
    };
    for mirror in inner.mirrors_of(&reference.registry) {
        match pull(SourceName::Mirror(mirror.clone())).await {
            Ok(pulled) => return Ok(pulled),
            Err(error) => inner.pass_over(mirror, &error),
        }
    }
    pull(SourceName::Registry).await
}

async fn pull_from(
    inner: &Arc<Inner>,
    source: &Source,
    reference: &Reference,
    platform: &Platform,
    (into, parts): (&Store, Parts),
    progress: &dyn PullProgress,
) -> Result<Pulled, ClientError> {
    let top = source
        .manifest(&reference.repository, &selector(reference))
        .await?;
    progress.resolved(&top.digest);
    let resolved = top.digest.clone();
    let (manifest, image) = choose(source, reference, platform, top).await?;

    let mut blobs = distinct(&image);
    if parts == Parts::Configuration {
        // It is the first.
        blobs.truncate(1);
    }
    for blob in &blobs {
        progress.blob(blob, BlobProgress::Waiting);
    }
    // Collected first: a stream over the closure itself would not be `Send` for every lifetime.
    let moves: Vec<_> = blobs
        .iter()
        .map(|blob| bring(inner, source, &reference.repository, blob, into, progress))
        .collect();
    stream::iter(moves)
        .buffer_unordered(inner.options.parallel_blobs.max(1))
        .try_collect::<()>()
        .await?;
    Ok(Pulled {
        resolved,
        manifest,
        image,
    })
}

async fn bring(
    inner: &Inner,
    source: &Source,
    repository: &RepositoryName,
    blob: &Descriptor,
    into: &Store,
    progress: &dyn PullProgress,
) -> Result<(), ClientError> {
    match source {
        Source::Ours(ours) => {
            ours.bring_blob(repository, blob, into).await?;
            progress.blob(blob, BlobProgress::Present);
        }
        Source::Remote(session) => {
            download(session, repository, blob, into, progress).await?;
            inner.remember_origin(&session.endpoint.registry, repository, &blob.digest);
        }
    }
    Ok(())
}

/// Goes down from an index to the one image that fits.
async fn choose(
    source: &Source,
    reference: &Reference,
    platform: &Platform,
    top: Resolved,
) -> Result<(ManifestWrite, ImageManifest), ClientError> {
    let mut current = top;
    for _ in 0..DEEPEST_INDEX {
        let Resolved {
            digest,
            media_type,
            bytes,
        } = current;
        let manifest = parse(&reference.registry, &media_type, &digest, &bytes)?;
        // What the document calls itself; the header may be of a file server that knows no manifests.
        let (references, media_type) = (manifest.references(), manifest.media_type().to_owned());
        match manifest {
            Manifest::Image(image) => {
                let manifest = ManifestWrite {
                    bytes: bytes.into(),
                    media_type,
                    digest,
                    references,
                    tags: Vec::new(),
                };
                return Ok((manifest, image));
            }
            Manifest::Index(index) => {
                let entry = index
                    .select(platform)
                    .ok_or_else(|| no_platform(reference, platform, &index))?;
                let wanted = ManifestReference::Digest(entry.digest.clone());
                current = source.manifest(&reference.repository, &wanted).await?;
            }
        }
    }
    Err(ClientError::protocol(
        &reference.registry,
        "it has an index in an index in an index",
    ))
}

fn parse(
    registry: &RegistryName,
    media_type: &str,
    digest: &Digest,
    bytes: &[u8],
) -> Result<Manifest, ClientError> {
    // Some registries and all plain file servers send a type that says nothing.
    let known = shipway_oci::media_type::is_index(media_type) || media_type.starts_with("application/vnd.");
    Manifest::parse(known.then_some(media_type), bytes).map_err(|source| ClientError::Manifest {
        registry: registry.clone(),
        what: digest.to_string(),
        source,
    })
}

fn no_platform(reference: &Reference, platform: &Platform, index: &ImageIndex) -> ClientError {
    let offered = index.manifests.iter().filter_map(|entry| entry.platform.as_ref());
    ClientError::NoPlatform {
        what: reference.familiar(),
        wanted: Box::new(platform.clone()),
        offered: offered.map(ToString::to_string).collect(),
    }
}

/// Configuration and layers, each digest once.
fn distinct(image: &ImageManifest) -> Vec<Descriptor> {
    let mut seen = std::collections::HashSet::new();
    std::iter::once(&image.config)
        .chain(&image.layers)
        .filter(|blob| seen.insert(blob.digest.clone()))
        .cloned()
        .collect()
}

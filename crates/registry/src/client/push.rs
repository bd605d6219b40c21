//! Pushing an image out of a store: blobs several at a time, then manifests, children before their index, the tag last.
//!
//! A registry therefore never has a name whose content is missing. A push that fails leaves blobs behind that nothing
//! names; the next push finds them there.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use shipway_oci::{Descriptor, Digest, Manifest, Reference, RepositoryName};
use shipway_store::{ManifestWrite, Store};

use super::Inner;
use super::endpoint::Location;
use super::error::ClientError;
use super::options::RegistryCredentials;
use super::ours::{Ours, blocking};
use super::progress::{BlobProgress, PushProgress};
use super::resolve::selector;
use super::session::Session;
use super::transport::Payload;
use super::upload::upload;
use crate::wire::{ManifestReference, Query};

/// Indexes in indexes end here.
const DEEPEST_INDEX: usize = 4;

/// How long a login made ahead is good for: who was let in earlier is asked again who they are.
const FRESH: Duration = Duration::from_secs(60);

/// A push that has begun: its registry is found and has let the user in. To be had while there is nothing to push yet.
pub struct OpenPush {
    inner: Arc<Inner>,
    reference: Reference,
    credentials: Option<RegistryCredentials>,
    target: Target,
    opened: Instant,
}

/// A repository that can be written.
enum Target {
    Ours(Ours),
    Remote(Session),
}

/// What is to be pushed: manifests in the order in which they have to arrive, and the blobs they need.
#[derive(Default)]
struct Cargo {
    blobs: Vec<Descriptor>,
    manifests: Vec<ManifestWrite>,
    /// Images that an index lists and that we do not have: the registry must.
    absent: Vec<Digest>,
}

impl OpenPush {
    pub(super) async fn begin(
        inner: &Arc<Inner>,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            inner: Arc::clone(inner),
            reference: reference.clone(),
            credentials: credentials.cloned(),
            target: Target::open(inner, reference, credentials).await?,
            opened: Instant::now(),
        })
    }

    /// As [`Client::push`](super::Client::push) to the reference that it was begun for.
    pub async fn finish(
        mut self,
        from: &Store,
        manifest: &Digest,
        progress: &dyn PushProgress,
    ) -> Result<Digest, ClientError> {
        self.freshen().await?;
        send(
            &self.inner,
            &self.target,
            from,
            manifest,
            &self.reference,
            progress,
        )
        .await
    }

    /// Sends a manifest that no scope of the store holds, and the blobs that it names. Blobs that the repository was seen to have
    /// by this client are not asked for again; where the registry then says that it lacks one, all are.
    ///
    /// # Errors
    /// [`ClientError::Missing`] for a blob that is neither in the store nor to be mounted (see [`Self::may_lack`]); the push may be
    /// finished again once it is there.
    pub async fn finish_artifact(
        &mut self,
        from: &Store,
        write: &ManifestWrite,
        blobs: &[Descriptor],
        progress: &dyn PushProgress,
    ) -> Result<Digest, ClientError> {
        self.freshen().await?;
        let repository = &self.reference.repository;
        let name = selector(&self.reference);
        for seen in [Seen::Believed, Seen::AskedAgain] {
            self.target
                .put_blobs(&self.inner, repository, blobs, from, seen, progress)
                .await?;
            match self.target.put_manifest(repository, write, &name).await {
                Err(error) if seen == Seen::Believed && error.is_about_content() => {
                    tracing::debug!(%error, "the registry does not have what it had");
                }
                put => {
                    let stored = put?;
                    progress.manifest(&stored);
                    return Ok(stored);
                }
            }
        }
        Err(ClientError::protocol(
            &self.reference.registry,
            "it refuses a manifest whose blobs it has",
        ))
    }

    /// Whether a blob need not be in the store to be pushed: this client saw it in a repository of the same registry.
    pub fn may_lack(&self, blob: &Digest) -> bool {
        match &self.target {
            Target::Ours(_) => false,
            Target::Remote(session) => self.inner.origin(&session.endpoint.registry, blob).is_some(),
        }
    }

    async fn freshen(&mut self) -> Result<(), ClientError> {
        if self.opened.elapsed() > FRESH {
            self.target = Target::open(&self.inner, &self.reference, self.credentials.as_ref()).await?;
            self.opened = Instant::now();
        }
        Ok(())
    }
}

/// Whether blobs that were seen in the repository are taken to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Believed,
    AskedAgain,
}

impl std::fmt::Debug for OpenPush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenPush")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

async fn send(
    inner: &Inner,
    target: &Target,
    from: &Store,
    manifest: &Digest,
    reference: &Reference,
    progress: &dyn PushProgress,
) -> Result<Digest, ClientError> {
    let (store, root) = (from.clone(), manifest.clone());
    let cargo = blocking(move || {
        let mut cargo = Cargo::default();
        load(&store, &root, &mut cargo, &mut HashSet::new(), DEEPEST_INDEX)?;
        if cargo.manifests.is_empty() {
            return Err(ClientError::Missing { digest: root });
        }
        Ok(cargo)
    })
    .await?;
    let repository = &reference.repository;
    target
        .put_blobs(inner, repository, &cargo.blobs, from, Seen::AskedAgain, progress)
        .await?;
    for digest in &cargo.absent {
        if !target.has_manifest(repository, digest).await {
            return Err(ClientError::Missing {
                digest: digest.clone(),
            });
        }
    }
    let mut stored = manifest.clone();
    for (position, write) in cargo.manifests.iter().enumerate() {
        let is_last = position + 1 == cargo.manifests.len();
        let name = match is_last {
            true if reference.tag.is_some() => {
                ManifestReference::Tag(reference.tag.clone().unwrap_or_else(shipway_oci::Tag::latest))
            }
            true => selector(reference),
            false => ManifestReference::Digest(write.digest.clone()),
        };
        stored = target.put_manifest(repository, write, &name).await?;
        progress.manifest(&stored);
    }
    Ok(stored)
}

/// Reads a manifest and all it needs, depth first.
fn load(
    store: &Store,
    digest: &Digest,
    cargo: &mut Cargo,
    seen: &mut HashSet<Digest>,
    depth: usize,
) -> Result<(), ClientError> {
    if !seen.insert(digest.clone()) {
        return Ok(());
    }
    let Some(stored) = store.image_manifest(digest).map_err(ClientError::store)? else {
        cargo.absent.push(digest.clone());
        return Ok(());
    };
    let manifest = Manifest::parse(Some(&stored.media_type), &stored.bytes).map_err(ClientError::store)?;
    match &manifest {
        Manifest::Image(image) => {
            let needed = std::iter::once(&image.config).chain(&image.layers);
            for blob in needed.filter(|blob| !blob.is_nondistributable()) {
                if seen.insert(blob.digest.clone()) {
                    cargo.blobs.push(blob.clone());
                }
            }
        }
        Manifest::Index(index) if depth == 0 => {
            let problem = format!(
                "an index nested too deeply, with {} entries",
                index.manifests.len()
            );
            return Err(ClientError::Setup {
                problem,
                source: None,
            });
        }
        Manifest::Index(index) => {
            for entry in &index.manifests {
                load(store, &entry.digest, cargo, seen, depth - 1)?;
            }
        }
    }
    cargo.manifests.push(ManifestWrite {
        references: manifest.references(),
        bytes: stored.bytes,
        media_type: stored.media_type,
        digest: stored.digest,
        tags: Vec::new(),
    });
    Ok(())
}

impl Target {
    async fn open(
        inner: &Arc<Inner>,
        reference: &Reference,
        credentials: Option<&RegistryCredentials>,
    ) -> Result<Self, ClientError> {
        Ok(match inner.locate(&reference.registry).await? {
            Location::Ours(authority) => {
                let repository = Some(&reference.repository);
                Self::Ours(Ours::enter(&reference.registry, authority, repository, credentials).await?)
            }
            Location::Remote(endpoint) => {
                let scopes = vec![format!("repository:{}:pull,push", reference.repository)];
                Self::Remote(Session::new(inner, endpoint, scopes, credentials))
            }
        })
    }

    async fn put_blobs(
        &self,
        inner: &Inner,
        repository: &RepositoryName,
        blobs: &[Descriptor],
        from: &Store,
        seen: Seen,
        progress: &dyn PushProgress,
    ) -> Result<(), ClientError> {
        for blob in blobs {
            progress.blob(blob, BlobProgress::Waiting);
        }
        if let Self::Ours(ours) = self
            && ours.is_over(from)
        {
            ours.adopt_blobs(repository, blobs).await?;
            for blob in blobs {
                progress.blob(blob, BlobProgress::Present);
            }
            return Ok(());
        }
        // Collected first: a stream over the closure itself would not be `Send` for every lifetime.
        let moves: Vec<_> = blobs
            .iter()
            .map(|blob| self.put_blob(inner, repository, blob, from, seen, progress))
            .collect();
        stream::iter(moves)
            .buffer_unordered(inner.options.parallel_blobs.max(1))
            .try_collect()
            .await
    }

    async fn put_blob(
        &self,
        inner: &Inner,
        repository: &RepositoryName,
        blob: &Descriptor,
        from: &Store,
        seen: Seen,
        progress: &dyn PushProgress,
    ) -> Result<(), ClientError> {
        match self {
            Self::Ours(ours) => {
                let moved = ours.put_blob(repository, &blob.digest, from).await?;
                progress.blob(
                    blob,
                    if moved {
                        BlobProgress::Done
                    } else {
                        BlobProgress::Present
                    },
                );
                Ok(())
            }
            Self::Remote(session) => {
                let registry = &session.endpoint.registry;
                if seen == Seen::Believed && inner.origin(registry, &blob.digest).as_ref() == Some(repository)
                {
                    progress.blob(blob, BlobProgress::Present);
                    return Ok(());
                }
                upload(session, repository, blob, from, progress).await?;
                inner.remember_origin(registry, repository, &blob.digest);
                Ok(())
            }
        }
    }

    async fn has_manifest(&self, repository: &RepositoryName, digest: &Digest) -> bool {
        match self {
            Self::Ours(ours) => ours.has_manifest(repository, digest).await,
            Self::Remote(session) => {
                let url = session
                    .endpoint
                    .url(&format!("{repository}/manifests/{digest}"), Query::default());
                let answer = session.send(session.endpoint.request(Method::HEAD, url)).await;
                answer.is_ok_and(|response| response.status().is_success())
            }
        }
    }

    async fn put_manifest(
        &self,
        repository: &RepositoryName,
        write: &ManifestWrite,
        name: &ManifestReference,
    ) -> Result<Digest, ClientError> {
        let session = match self {
            Self::Ours(ours) => return ours.put_manifest(repository, write, name).await,
            Self::Remote(session) => session,
        };
        let url = session
            .endpoint
            .url(&format!("{repository}/manifests/{name}"), Query::default());
        let media_type = HeaderValue::try_from(write.media_type.as_str())
            .map_err(|_| ClientError::store("a manifest's type is no text"))?;
        let request = session
            .endpoint
            .request(Method::PUT, url)
            .header(CONTENT_TYPE, media_type)
            .payload(Payload::Bytes(write.bytes.clone().into()));
        let response = session.send(request).await?;
        if !response.status().is_success() {
            return Err(session.refusal(&format!("the manifest `{name}`"), response).await);
        }
        Ok(write.digest.clone())
    }
}

//! Where the manifest and the blobs of an imported cache lie: a repository or a directory.

use std::sync::Arc;

use shipway_oci::{
    Descriptor, Digest, ImageManifest, MAX_CONFIG_BYTES, Manifest, ManifestError, Platform, media_type,
};
use shipway_registry::{Client, ClientError, OpenRepository, RegistryCredentials};
use shipway_store::{Store, StoreError};

use super::document::{Contents, Document, DocumentError};
use super::layout::Layout;
use super::options::CacheImport;

/// Why nothing comes from there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    /// Nothing has been exported to it yet.
    #[error("there is none yet")]
    Nothing,
    /// The registry did not give it.
    #[error("it cannot be read")]
    Registry {
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// The directory did not give it.
    #[error("its directory cannot be read")]
    Directory {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store did not take it.
    #[error("it cannot be kept")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Its manifest is none.
    #[error("its manifest cannot be used")]
    Manifest {
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// It is an index without an image for the platform.
    #[error("it has nothing for {platform}")]
    Platform {
        /// The platform.
        platform: Box<Platform>,
    },
    /// Its document is none of ours.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Only a step's result is known, and not its files.
    #[error(
        "it knows a step whose files are needed, but does not have them: export with mode=max to keep them"
    )]
    WithoutFiles,
    /// A thread of ours ended early.
    #[error("reading it was interrupted")]
    Interrupted,
}

impl From<ClientError> for OriginError {
    fn from(source: ClientError) -> Self {
        match source {
            ClientError::NotFound { .. } => Self::Nothing,
            source => Self::Registry {
                source: Box::new(source),
            },
        }
    }
}

/// Where blobs lie.
#[derive(Debug)]
pub(super) enum Origin {
    Registry(Box<OpenRepository>),
    Directory(Layout),
}

impl Origin {
    /// Finds a cache and what it says for a platform.
    pub(super) async fn open(
        import: &CacheImport,
        client: &Client,
        credentials: Option<&RegistryCredentials>,
        store: &Store,
        platform: &Platform,
    ) -> Result<(Self, Contents), OriginError> {
        let (origin, manifest) = match import {
            CacheImport::Registry(reference) => {
                let repository = client.open_repository(reference, credentials).await?;
                let found = repository.resolve().await?;
                let manifest = image_of(&repository, &found.media_type, &found.bytes, platform).await?;
                repository.has(&manifest.layers);
                repository.has(std::slice::from_ref(&manifest.config));
                (Self::Registry(Box::new(repository)), manifest)
            }
            CacheImport::Local {
                directory,
                tag,
                digest,
            } => {
                let layout = Layout::at(directory);
                let (looking, tag, digest) = (layout.clone(), tag.clone(), digest.clone());
                let bytes = blocking(move || looking.manifest(&tag, digest.as_ref())).await?;
                let bytes = bytes.ok_or(OriginError::Nothing)?;
                (Self::Directory(layout), image(None, &bytes)?)
            }
        };
        let config = &manifest.config;
        if config.size > MAX_CONFIG_BYTES as u64 {
            return Err(DocumentError::TooLarge { size: config.size }.into());
        }
        // Nothing that is not ours is fetched: a chart or a signature may lie under the name.
        if let Err(error @ (DocumentError::BuildKit | DocumentError::None)) = Document::read(&manifest, b"") {
            return Err(error.into());
        }
        origin.bring(config, store).await?;
        let (store, digest) = (store.clone(), config.digest.clone());
        let bytes = tokio::task::spawn_blocking(move || store.read_blob(&digest, MAX_CONFIG_BYTES as u64))
            .await
            .map_err(|_| OriginError::Interrupted)?
            .map_err(|source| OriginError::Store { source })?;
        let contents = Document::read(&manifest, &bytes)?;
        Ok((origin, contents))
    }

    /// Brings a blob into a store, verified.
    pub(super) async fn bring(&self, blob: &Descriptor, into: &Store) -> Result<(), OriginError> {
        match self {
            Self::Registry(repository) => Ok(repository.bring(blob, into, &()).await?),
            Self::Directory(layout) => {
                let (layout, blob, into) = (layout.clone(), blob.clone(), into.clone());
                blocking(move || layout.bring(&blob, &into)).await
            }
        }
    }
}

/// The image or artifact itself, of an index that of the platform.
async fn image_of(
    repository: &OpenRepository,
    media_type: &str,
    bytes: &[u8],
    platform: &Platform,
) -> Result<ImageManifest, OriginError> {
    let failed = |source| OriginError::Manifest { source };
    match Manifest::parse(known(media_type), bytes).map_err(failed)? {
        Manifest::Image(image) => Ok(image),
        Manifest::Index(index) => {
            let entry: Option<&Digest> = index.select(platform).map(|entry| &entry.digest);
            let entry = entry.ok_or_else(|| OriginError::Platform {
                platform: Box::new(platform.clone()),
            })?;
            let found = repository.manifest(entry).await?;
            image(known(&found.media_type), &found.bytes)
        }
    }
}

fn image(media_type: Option<&str>, bytes: &[u8]) -> Result<ImageManifest, OriginError> {
    match Manifest::parse(media_type, bytes).map_err(|source| OriginError::Manifest { source })? {
        Manifest::Image(image) => Ok(image),
        // An index in an index, or BuildKit's cache in a directory.
        Manifest::Index(_) => Err(DocumentError::BuildKit.into()),
    }
}

/// Some registries send a type that says nothing.
fn known(sent: &str) -> Option<&str> {
    let sent = media_type::essence(sent);
    (media_type::is_index(sent) || media_type::is_image_manifest(sent)).then_some(sent)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, OriginError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| OriginError::Interrupted)?
        .map_err(|source| OriginError::Directory { source })
}

/// Shared by all layers of an import.
pub(super) type SharedOrigin = Arc<Origin>;

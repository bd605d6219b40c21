//! An image as this machine holds it: names resolved, platform chosen, every part in the store.

use std::io::Read;

use shipway_oci::{
    ConfigError, Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, MAX_CONFIG_BYTES, Manifest,
    ManifestError, Platform, Reference, VerifyingReader,
};
use shipway_store::{Store, StoreError};

/// An image of one platform, ready to be unpacked and run.
#[derive(Debug, Clone)]
pub struct Image {
    /// The name it was found under, if it was by name.
    pub reference: Option<Reference>,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// What its name stands for: the same, or the index that lists it.
    pub root: Digest,
    /// Digest of its configuration: what docker calls the image's id.
    pub id: Digest,
    /// How to run it, and the digests of its uncompressed layers.
    pub config: ImageConfig,
    /// Its layers as stored, bottom first; as many as the configuration has diff ids.
    pub layers: Vec<Descriptor>,
}

/// Something in the store is no image that could be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadImageError {
    /// The store failed.
    #[error("cannot read image {manifest}")]
    Store {
        /// Its manifest.
        manifest: Digest,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// A manifest is not in the store.
    #[error("image {manifest} is not in the store: pull it again")]
    NoManifest {
        /// Which.
        manifest: Digest,
    },
    /// A manifest that cannot be understood.
    #[error("image {manifest} has an unusable manifest")]
    Manifest {
        /// Which.
        manifest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// An index without an image for the platform.
    #[error("image {manifest} is not made for {platform}; it has {available}")]
    Platform {
        /// The index.
        manifest: Digest,
        /// What was wanted.
        platform: Box<Platform>,
        /// What there is.
        available: String,
    },
    /// The configuration cannot be read.
    #[error("the configuration {config} of image {manifest} cannot be read")]
    ConfigRead {
        /// The image.
        manifest: Digest,
        /// Its configuration.
        config: Digest,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration cannot be understood: an artifact that is no image, for example.
    #[error("{manifest} is no image to run: its configuration of type {media_type} cannot be used")]
    Config {
        /// The image.
        manifest: Digest,
        /// What the manifest says it is.
        media_type: String,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// Manifest and configuration disagree.
    #[error("image {manifest} is inconsistent: {layers} layers, but its configuration names {diff_ids}")]
    LayerCount {
        /// The image.
        manifest: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
}

impl Image {
    /// Reads an image from the store; of an index, the one for the platform.
    ///
    /// # Errors
    /// When it is not there, is damaged, or is no image.
    pub fn load(
        store: &Store,
        reference: Option<Reference>,
        manifest: &Digest,
        platform: &Platform,
    ) -> Result<Self, LoadImageError> {
        match read_manifest(store, manifest)? {
            Manifest::Image(image) => Self::from_manifest(store, reference, manifest, &image),
            Manifest::Index(index) => {
                let descriptor = select(manifest, &index, platform)?;
                match read_manifest(store, &descriptor.digest)? {
                    Manifest::Image(image) => Ok(Self {
                        root: manifest.clone(),
                        ..Self::from_manifest(store, reference, &descriptor.digest, &image)?
                    }),
                    // Nobody nests further; an index that claims to be one platform is not that platform.
                    Manifest::Index(_) => Err(no_platform(manifest, &index, platform)),
                }
            }
        }
    }

    pub(crate) fn from_manifest(
        store: &Store,
        reference: Option<Reference>,
        digest: &Digest,
        manifest: &ImageManifest,
    ) -> Result<Self, LoadImageError> {
        let config_bytes =
            read_small(store, &manifest.config).map_err(|source| LoadImageError::ConfigRead {
                manifest: digest.clone(),
                config: manifest.config.digest.clone(),
                source,
            })?;
        let config = ImageConfig::parse(&config_bytes).map_err(|source| LoadImageError::Config {
            manifest: digest.clone(),
            media_type: manifest.config.media_type.clone(),
            source,
        })?;
        let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(LoadImageError::LayerCount {
                manifest: digest.clone(),
                layers,
                diff_ids,
            });
        }
        Ok(Self {
            reference,
            manifest: digest.clone(),
            root: digest.clone(),
            id: manifest.config.digest.clone(),
            config,
            layers: manifest.layers.clone(),
        })
    }

    /// What it runs on.
    pub fn platform(&self) -> Platform {
        self.config.platform()
    }

    /// The bytes of all its layers as stored.
    pub fn compressed_size(&self) -> u64 {
        self.layers
            .iter()
            .fold(0, |sum, layer| sum.saturating_add(layer.size))
    }
}

fn read_manifest(store: &Store, digest: &Digest) -> Result<Manifest, LoadImageError> {
    let stored = store
        .image_manifest(digest)
        .map_err(|source| LoadImageError::Store {
            manifest: digest.clone(),
            source,
        })?
        .ok_or_else(|| LoadImageError::NoManifest {
            manifest: digest.clone(),
        })?;
    Manifest::parse(Some(&stored.media_type), &stored.bytes).map_err(|source| LoadImageError::Manifest {
        manifest: digest.clone(),
        source,
    })
}

fn select<'a>(
    manifest: &Digest,
    index: &'a ImageIndex,
    platform: &Platform,
) -> Result<&'a Descriptor, LoadImageError> {
    index
        .select(platform)
        .ok_or_else(|| no_platform(manifest, index, platform))
}

fn no_platform(manifest: &Digest, index: &ImageIndex, platform: &Platform) -> LoadImageError {
    let available: Vec<_> = index
        .manifests
        .iter()
        .filter(|entry| !entry.is_attestation())
        .filter_map(|entry| entry.platform.as_ref())
        .map(Platform::to_string)
        .collect();
    LoadImageError::Platform {
        manifest: manifest.clone(),
        platform: Box::new(platform.clone()),
        available: if available.is_empty() {
            "no platform named".into()
        } else {
            available.join(", ")
        },
    }
}

/// A blob that is a document: checked against its descriptor and small enough for memory.
pub(crate) fn read_small(store: &Store, descriptor: &Descriptor) -> std::io::Result<Vec<u8>> {
    let limit = MAX_CONFIG_BYTES as u64;
    if descriptor.size > limit {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!(
                "it is {} bytes long, at most {limit} are accepted",
                descriptor.size
            ),
        ));
    }
    let file = store
        .open_blob(&descriptor.digest)
        .map_err(std::io::Error::other)?;
    let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size).unwrap_or_default());
    VerifyingReader::new(file, descriptor.digest.clone(), Some(descriptor.size)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

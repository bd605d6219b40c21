//! An image in a directory of this machine: `oci-layout://DIRECTORY[:TAG][@DIGEST]`, named and read.
//!
//! The directory is an OCI image layout, as `shipway build -o type=oci,tar=false`, BuildKit and `skopeo` write them. Nothing in it is
//! believed: documents are bounded, and every blob is hashed on its way. What cannot be read is an error and changes no store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use shipway_oci::{
    ConfigError, Descriptor, Digest, ImageConfig, ImageManifest, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES,
    Manifest, ManifestError, Platform, Tag,
};
use shipway_store::Store;

use crate::cache::Layout;

/// The text before the directory.
const SCHEME: &str = "oci-layout://";
/// What an image is called when nothing says what.
const DEFAULT_TAG: &str = "latest";

/// Where an image lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciLayoutAddress {
    /// A directory of this machine.
    pub directory: PathBuf,
    /// The name that the index of the directory has for it.
    pub tag: Option<Tag>,
    /// The digest of its manifest or index, which need not stand in the index of the directory.
    pub digest: Option<Digest>,
}

/// No image comes from a directory.
#[derive(Debug, thiserror::Error)]
pub enum OciLayoutError {
    /// The directory or a file of it cannot be read, or is not what its name says.
    #[error("cannot read the image layout `{}`", directory.display())]
    Read {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is none of that name.
    #[error("the image layout `{}` has no image `{wanted}`; it has {there}", directory.display())]
    NoImage {
        /// The directory.
        directory: PathBuf,
        /// The name.
        wanted: String,
        /// The names that there are.
        there: String,
    },
    /// A manifest cannot be understood.
    #[error("the manifest {manifest} cannot be used")]
    Manifest {
        /// Which.
        manifest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// It is for other platforms.
    #[error("the image {manifest} is not made for {platform}")]
    Platform {
        /// Its index.
        manifest: Digest,
        /// What was wanted.
        platform: Box<Platform>,
    },
    /// The configuration cannot be understood: an artifact that is no image, for example.
    #[error("{manifest} is no image: its configuration cannot be used")]
    Config {
        /// Its manifest.
        manifest: Digest,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// Manifest and configuration disagree.
    #[error("the image {manifest} has {layers} layers, but its configuration names {diff_ids}")]
    LayerCount {
        /// Its manifest.
        manifest: Digest,
        /// Layers of the manifest.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
}

impl OciLayoutAddress {
    /// An address of this kind; `None` for every other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut path = text.strip_prefix(SCHEME)?;
        let (mut tag, mut digest) = (None, None);
        if let Some((before, after)) = path.rsplit_once('@')
            && let Ok(found) = Digest::from_str(after)
        {
            (path, digest) = (before, Some(found));
        }
        if let Some((before, after)) = path.rsplit_once(':')
            && let Ok(found) = Tag::from_str(after)
        {
            (path, tag) = (before, Some(found));
        }
        Some(Self {
            directory: path.into(),
            tag,
            digest,
        })
    }

    /// What follows the directory.
    pub(crate) fn selector(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).collect()
    }
}

impl fmt::Display for OciLayoutAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.directory.display(), self.selector())
    }
}

/// An image that was found; its layers are still where they were.
pub(crate) struct LayoutImage {
    layout: Layout,
    directory: PathBuf,
    /// The digest of its manifest.
    pub(crate) manifest: Digest,
    /// Its configuration.
    pub(crate) config: ImageConfig,
    /// Bottom first, as many as the configuration has diffIDs.
    pub(crate) layers: Vec<Descriptor>,
}

impl LayoutImage {
    /// Finds an image; of an index that of the platform. Blocks.
    pub(crate) fn find(address: &OciLayoutAddress, platform: &Platform) -> Result<Self, OciLayoutError> {
        let directory = &address.directory;
        let layout = Layout::at(directory);
        let read = |digest: &Digest, limit: usize| {
            layout
                .document(digest, limit)
                .map_err(|source| unreadable(directory, source))
        };
        let manifest = |digest: &Digest| {
            let bytes = read(digest, MAX_MANIFEST_BYTES)?;
            Manifest::parse(None, &bytes).map_err(|source| OciLayoutError::Manifest {
                manifest: digest.clone(),
                source,
            })
        };
        let root = root_of(&layout, address)?;
        let other_platform = || OciLayoutError::Platform {
            manifest: root.clone(),
            platform: Box::new(platform.clone()),
        };
        let (digest, image): (Digest, ImageManifest) = match manifest(&root)? {
            Manifest::Image(image) => (root, image),
            Manifest::Index(index) => {
                let entry = index.select(platform).ok_or_else(other_platform)?;
                match manifest(&entry.digest)? {
                    Manifest::Image(image) => (entry.digest.clone(), image),
                    Manifest::Index(_) => return Err(other_platform()),
                }
            }
        };
        let config = read(&image.config.digest, MAX_CONFIG_BYTES)?;
        let config = ImageConfig::parse(&config).map_err(|source| OciLayoutError::Config {
            manifest: digest.clone(),
            source,
        })?;
        let (layers, diff_ids) = (image.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(OciLayoutError::LayerCount {
                manifest: digest,
                layers,
                diff_ids,
            });
        }
        Ok(Self {
            directory: directory.clone(),
            manifest: digest,
            config,
            layers: image.layers,
            layout,
        })
    }

    /// Brings its layers into a store. Blocks.
    pub(crate) fn bring(&self, into: &Store) -> Result<(), OciLayoutError> {
        self.layers.iter().try_for_each(|layer| {
            self.layout
                .bring(layer, into)
                .map_err(|source| unreadable(&self.directory, source))
        })
    }
}

fn unreadable(directory: &Path, source: io::Error) -> OciLayoutError {
    OciLayoutError::Read {
        directory: directory.to_owned(),
        source,
    }
}

/// What the address means: a digest as it is, a tag by the index. Without either it is `latest`, or else the only image that there is.
fn root_of(layout: &Layout, address: &OciLayoutAddress) -> Result<Digest, OciLayoutError> {
    if let Some(digest) = &address.digest {
        return Ok(digest.clone());
    }
    let index = layout
        .index()
        .map_err(|source| unreadable(&address.directory, source))?;
    let wanted = address.tag.as_ref().map_or(DEFAULT_TAG, Tag::as_str);
    let named = index
        .manifests
        .iter()
        .find(|entry| Layout::names(entry).any(|name| name == wanted));
    let only = match &index.manifests[..] {
        [only] if address.tag.is_none() => Some(only),
        _ => None,
    };
    let entry = named.or(only).ok_or_else(|| {
        let names: Vec<&str> = index.manifests.iter().flat_map(Layout::names).collect();
        OciLayoutError::NoImage {
            directory: address.directory.clone(),
            wanted: wanted.to_owned(),
            there: match names.is_empty() {
                true => "none with a name".to_owned(),
                false => names.join(", "),
            },
        }
    })?;
    Ok(entry.digest.clone())
}

#[cfg(test)]
mod tests;

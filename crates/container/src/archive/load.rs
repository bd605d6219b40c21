//! Reading an archive of images into a scope.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use shipway_oci::{
    ConfigError, Descriptor, Digest, EncodeError, ImageConfig, ImageIndex, ImageManifest, MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES, Manifest, ManifestError, Platform, Reference, media_type,
};
use shipway_store::{CommitError, ManifestWrite, PutManifestError, Scope, Store, StoreError};

use super::documents::{DOCKER_MANIFEST, DockerEntry, IMAGE_NAME, OCI_INDEX, REF_NAME};
use super::tar::{Entry, Kind, TarError, TarWalk};
use crate::compression::{Compression, Decompressor};
use crate::image::{Image, LoadImageError};
use crate::images::Images;

/// Files in one archive. A hundred images of a hundred layers are far below.
const MAX_ENTRIES: usize = 100_000;
/// Images in one archive.
const MAX_IMAGES: usize = 1000;
/// What the whole archive may unpack to.
const MAX_BYTES: u64 = 1024 * 1024 * 1024 * 1024;

/// One image of an archive.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that the archive gave it; without any it is found by its id.
    pub references: Vec<Reference>,
}

/// An archive was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The stream cannot be read or decompressed.
    #[error("cannot read the archive")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no tar.
    #[error("the archive is no usable tar")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// It exceeds a limit.
    #[error("the archive has more than {limit} {what}, the most that is accepted")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much is accepted.
        limit: usize,
    },
    /// It is no archive of images.
    #[error("the archive holds no image: it has neither `{DOCKER_MANIFEST}` nor `{OCI_INDEX}`")]
    NoImages,
    /// A document cannot be understood.
    #[error("`{document}` of the archive cannot be understood")]
    Document {
        /// Its name.
        document: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document that lists manifests cannot be understood.
    #[error("`{document}` of the archive cannot be understood")]
    Manifest {
        /// Its name or digest.
        document: String,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A configuration cannot be understood.
    #[error("the configuration `{path}` of the archive cannot be understood")]
    Config {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: ConfigError,
    },
    /// A document names a file that is not there.
    #[error("`{document}` names `{path}`, which is not in the archive")]
    Missing {
        /// Who names it.
        document: String,
        /// What is missing.
        path: String,
    },
    /// A layer is not the one that the configuration promises.
    #[error("the layer `{path}` has the digest {found}, but its image's configuration promises {expected}")]
    DiffId {
        /// Its path.
        path: String,
        /// What was promised.
        expected: Digest,
        /// What is there.
        found: Digest,
    },
    /// Configuration and list of layers disagree.
    #[error("the image `{config}` has {layers} layers, but its configuration names {diff_ids}")]
    LayerCount {
        /// Path of the configuration.
        config: String,
        /// Layers listed.
        layers: usize,
        /// Layers of the configuration.
        diff_ids: usize,
    },
    /// A file of the archive cannot be kept, or is not what its name says.
    #[error("cannot keep `{path}` of the archive")]
    Commit {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: CommitError,
    },
    /// The store failed.
    #[error("cannot keep the archive's images in the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An image cannot be named.
    #[error("cannot keep image {manifest} of the archive")]
    Name {
        /// Its manifest.
        manifest: Digest,
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// A manifest cannot be written.
    #[error("cannot write a manifest for an image of the archive")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// An image of the archive cannot be used.
    #[error("an image of the archive cannot be used")]
    Use {
        /// Why.
        #[source]
        source: LoadImageError,
    },
}

/// A file of the archive that is in the store now.
#[derive(Debug, Clone)]
struct Kept {
    digest: Digest,
    size: u64,
    compression: Compression,
}

impl Kept {
    fn layer(&self) -> Descriptor {
        let media_type = match self.compression {
            Compression::None => media_type::OCI_LAYER_TAR,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        Descriptor::new(media_type, self.digest.clone(), self.size)
    }
}

/// What one pass over the archive found.
#[derive(Default)]
struct Contents {
    docker: Option<Vec<u8>>,
    index: Option<Vec<u8>>,
    files: BTreeMap<String, Kept>,
    links: BTreeMap<String, String>,
}

impl Images {
    /// Reads an archive (docker's or an OCI layout, plain or compressed) and names what is in it in a scope. Blocks.
    ///
    /// # Errors
    /// When the archive is damaged, incomplete or no archive of images. What was named by then stays.
    pub fn load(&self, archive: impl Read, scope: &Scope) -> Result<Vec<Loaded>, LoadError> {
        let mut plain = Decompressor::new(archive, MAX_BYTES).map_err(|source| LoadError::Read { source })?;
        let contents = Contents::read(&self.store, &mut plain)?;
        plain.finish().map_err(|source| LoadError::Read { source })?;
        let loader = Loader {
            store: &self.store,
            scope,
            contents: &contents,
        };
        let loaded = loader.load()?;
        if loaded.is_empty() {
            Err(LoadError::NoImages)
        } else {
            Ok(loaded)
        }
    }
}

impl Contents {
    fn read(store: &Store, archive: impl Read) -> Result<Self, LoadError> {
        let tar = |source| LoadError::Tar { source };
        let mut contents = Self::default();
        let mut walk = TarWalk::new(archive);
        let mut entries = 0;
        while let Some(entry) = walk.next().map_err(tar)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(LoadError::TooMany {
                    what: "files",
                    limit: MAX_ENTRIES,
                });
            }
            contents.take(store, &mut walk, &entry)?;
        }
        walk.finish().map_err(tar)?;
        Ok(contents)
    }

    fn take(&mut self, store: &Store, walk: &mut TarWalk<impl Read>, entry: &Entry) -> Result<(), LoadError> {
        let path = normal(&entry.path);
        match (entry.kind, path.as_str()) {
            (Kind::File, DOCKER_MANIFEST) => self.docker = Some(document(walk, entry)?),
            (Kind::File, OCI_INDEX) => self.index = Some(document(walk, entry)?),
            (Kind::File, _) => {
                let kept = keep(store, walk, &path)?;
                self.files.insert(path, kept);
            }
            (Kind::Link, _) => {
                // Old archives link a layer that two images share.
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                let target = if entry.link.starts_with("..") {
                    format!("{directory}/{}", entry.link)
                } else {
                    entry.link.clone()
                };
                self.links.insert(path, normal(&target));
            }
            (Kind::Directory | Kind::Other, _) => {}
        }
        Ok(())
    }

    fn file(&self, document: &str, path: &str) -> Result<&Kept, LoadError> {
        let path = normal(path);
        let found = self
            .files
            .get(&path)
            .or_else(|| self.files.get(self.links.get(&path)?));
        found.ok_or_else(|| LoadError::Missing {
            document: document.to_owned(),
            path,
        })
    }

    fn has_blob(&self, digest: &Digest) -> bool {
        self.files.contains_key(&blob_path(digest))
    }
}

fn document(walk: &mut TarWalk<impl Read>, entry: &Entry) -> Result<Vec<u8>, LoadError> {
    if entry.size > MAX_MANIFEST_BYTES as u64 {
        return Err(LoadError::TooMany {
            what: "bytes in a document",
            limit: MAX_MANIFEST_BYTES,
        });
    }
    let mut bytes = Vec::new();
    walk.read_to_end(&mut bytes)
        .map_err(|source| LoadError::Read { source })?;
    Ok(bytes)
}

/// Into the store, under the digest that its path promises, if it promises one.
fn keep(store: &Store, walk: &mut TarWalk<impl Read>, path: &str) -> Result<Kept, LoadError> {
    let expected: Option<Digest> = path
        .strip_prefix("blobs/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(algorithm, hash)| format!("{algorithm}:{hash}").parse().ok());
    let algorithm = expected
        .as_ref()
        .map_or(shipway_oci::Algorithm::Sha256, Digest::algorithm);
    let read = |source| LoadError::Read { source };
    let mut blob = store
        .begin_blob_as(algorithm)
        .map_err(|source| LoadError::Store { source })?;
    let mut start = Vec::new();
    walk.by_ref().take(4).read_to_end(&mut start).map_err(read)?;
    let compression = Compression::of(&start);
    io::copy(&mut start.as_slice().chain(walk), &mut blob).map_err(read)?;
    let kept = blob
        .commit(expected.as_ref())
        .map_err(|source| LoadError::Commit {
            path: path.to_owned(),
            source,
        })?;
    Ok(Kept {
        digest: kept.digest,
        size: kept.size,
        compression,
    })
}

/// `./a//b/../c` and `a/c` name one file.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

struct Loader<'a> {
    store: &'a Store,
    scope: &'a Scope,
    contents: &'a Contents,
}

impl Loader<'_> {
    fn load(&self) -> Result<Vec<Loaded>, LoadError> {
        let docker: Vec<DockerEntry> = match &self.contents.docker {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|source| LoadError::Document {
                document: DOCKER_MANIFEST.into(),
                source,
            })?,
            None => Vec::new(),
        };
        if docker.len() > MAX_IMAGES {
            return Err(LoadError::TooMany {
                what: "images",
                limit: MAX_IMAGES,
            });
        }
        // The index keeps the manifests, and with them the digests that people know. docker's own list is a fallback
        // for archives that have no index, and for entries that an index lacks.
        let mut loaded = match &self.contents.index {
            Some(bytes) => self.load_index(bytes, &docker)?,
            None => Vec::new(),
        };
        let known: BTreeSet<Digest> = loaded.iter().map(|loaded| loaded.image.id.clone()).collect();
        for entry in &docker {
            if !known.contains(&self.contents.file(DOCKER_MANIFEST, &entry.config)?.digest) {
                loaded.push(self.load_docker(entry)?);
            }
        }
        Ok(loaded)
    }

    fn load_index(&self, bytes: &[u8], docker: &[DockerEntry]) -> Result<Vec<Loaded>, LoadError> {
        let index = match Manifest::parse(Some(media_type::OCI_INDEX), bytes) {
            Ok(Manifest::Index(index)) => index,
            Ok(Manifest::Image(_)) => return Ok(Vec::new()),
            Err(source) => {
                return Err(LoadError::Manifest {
                    document: OCI_INDEX.into(),
                    source,
                });
            }
        };
        if index.manifests.len() > MAX_IMAGES {
            return Err(LoadError::TooMany {
                what: "images",
                limit: MAX_IMAGES,
            });
        }
        let mut loaded: BTreeMap<Digest, Loaded> = BTreeMap::new();
        for entry in &index.manifests {
            // Attestations stand beside images and are none.
            if entry
                .platform
                .as_ref()
                .is_some_and(|platform| platform.os == "unknown")
            {
                continue;
            }
            let Some((digest, manifest)) = self.image_of(entry)? else {
                continue;
            };
            let mut references = names(entry);
            let names_of_docker = docker.iter().filter(|docker| {
                self.contents
                    .file(DOCKER_MANIFEST, &docker.config)
                    .is_ok_and(|file| file.digest == manifest.config.digest)
            });
            references.extend(
                names_of_docker
                    .flat_map(|docker| &docker.repo_tags)
                    .filter_map(|name| Reference::parse(name).ok()),
            );
            self.check_blobs(&digest, &manifest)?;
            let image = self.put(&Manifest::Image(manifest), Some(&digest), &references)?;
            let entry = loaded.entry(digest).or_insert_with(|| Loaded {
                image,
                references: Vec::new(),
            });
            for reference in references {
                if !entry.references.contains(&reference) {
                    entry.references.push(reference);
                }
            }
        }
        Ok(loaded.into_values().collect())
    }

    /// The image that an entry of the index stands for: itself, or of a nested index the one for this machine.
    fn image_of(&self, entry: &Descriptor) -> Result<Option<(Digest, ImageManifest)>, LoadError> {
        match self.manifest(entry)? {
            Manifest::Image(image) => Ok(Some((entry.digest.clone(), image))),
            Manifest::Index(index) => {
                let Some(child) = self.choose(&index) else {
                    return Ok(None);
                };
                match self.manifest(child)? {
                    Manifest::Image(image) => Ok(Some((child.digest.clone(), image))),
                    Manifest::Index(_) => Ok(None),
                }
            }
        }
    }

    /// Archives of a many-platform image may hold only some of its platforms.
    fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let there = |entry: &&Descriptor| self.contents.has_blob(&entry.digest);
        let chosen = index.select(&Platform::host()).filter(there);
        let is_image = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_none_or(|platform| platform.os != "unknown")
        };
        chosen.or_else(|| index.manifests.iter().filter(is_image).find(there))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Manifest, LoadError> {
        let path = blob_path(&entry.digest);
        if !self.contents.has_blob(&entry.digest) {
            return Err(LoadError::Missing {
                document: OCI_INDEX.into(),
                path,
            });
        }
        let bytes = self
            .store
            .read_blob(&entry.digest, MAX_MANIFEST_BYTES as u64)
            .map_err(|source| LoadError::Store { source })?;
        Manifest::parse(Some(&entry.media_type), &bytes).map_err(|source| LoadError::Manifest {
            document: path,
            source,
        })
    }

    /// Every blob must come from this archive: one that only happens to be in the store may be a stranger's.
    fn check_blobs(&self, digest: &Digest, manifest: &ImageManifest) -> Result<(), LoadError> {
        let mut blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        match blobs.find(|blob| !self.contents.has_blob(&blob.digest) && !blob.is_nondistributable()) {
            Some(missing) => Err(LoadError::Missing {
                document: digest.to_string(),
                path: blob_path(&missing.digest),
            }),
            None => Ok(()),
        }
    }

    fn load_docker(&self, entry: &DockerEntry) -> Result<Loaded, LoadError> {
        let config_file = self.contents.file(DOCKER_MANIFEST, &entry.config)?;
        let bytes = self
            .store
            .read_blob(&config_file.digest, MAX_CONFIG_BYTES as u64)
            .map_err(|source| LoadError::Store { source })?;
        let config = ImageConfig::parse(&bytes).map_err(|source| LoadError::Config {
            path: entry.config.clone(),
            source,
        })?;
        let (layers, diff_ids) = (entry.layers.len(), config.rootfs.diff_ids.len());
        if layers != diff_ids {
            return Err(LoadError::LayerCount {
                config: entry.config.clone(),
                layers,
                diff_ids,
            });
        }
        let mut descriptors = Vec::with_capacity(layers);
        for (path, expected) in entry.layers.iter().zip(&config.rootfs.diff_ids) {
            let file = self.contents.file(DOCKER_MANIFEST, path)?;
            // A compressed layer is checked when it is unpacked; the digest of a plain one is at hand.
            if file.compression == Compression::None && file.digest != *expected {
                let (expected, found) = (expected.clone(), file.digest.clone());
                return Err(LoadError::DiffId {
                    path: path.clone(),
                    expected,
                    found,
                });
            }
            descriptors.push(file.layer());
        }
        let descriptor = Descriptor::new(
            media_type::OCI_CONFIG,
            config_file.digest.clone(),
            config_file.size,
        );
        let manifest = Manifest::Image(ImageManifest::new(descriptor, descriptors));
        let references: Vec<_> = entry
            .repo_tags
            .iter()
            .filter_map(|name| Reference::parse(name).ok())
            .collect();
        let image = self.put(&manifest, None, &references)?;
        Ok(Loaded { image, references })
    }

    /// Names a manifest: the archive's own bytes if it has them, else ours.
    fn put(
        &self,
        manifest: &Manifest,
        digest: Option<&Digest>,
        references: &[Reference],
    ) -> Result<Image, LoadError> {
        let store = |source| LoadError::Store { source };
        let bytes = match digest {
            Some(digest) => self
                .store
                .read_blob(digest, MAX_MANIFEST_BYTES as u64)
                .map_err(store)?,
            None => manifest
                .to_json()
                .map_err(|source| LoadError::Encode { source })?,
        };
        let write =
            ManifestWrite::new(Some(manifest.media_type()), bytes).map_err(|source| LoadError::Manifest {
                document: digest.map_or_else(|| DOCKER_MANIFEST.into(), Digest::to_string),
                source,
            })?;
        let write = match digest {
            Some(digest) => ManifestWrite {
                digest: digest.clone(),
                ..write
            },
            None => write,
        };
        let named = |source| LoadError::Name {
            manifest: write.digest.clone(),
            source,
        };
        if references.is_empty() {
            self.store.put_unnamed_image(self.scope, &write).map_err(named)?;
        }
        for reference in references {
            self.store
                .put_image(self.scope, reference, &write)
                .map_err(named)?;
        }
        Image::load(
            self.store,
            references.first().cloned(),
            &write.digest,
            &Platform::host(),
        )
        .map_err(|source| LoadError::Use { source })
    }
}

/// The names that an index gives to one of its entries.
fn names(entry: &Descriptor) -> Vec<Reference> {
    let whole = entry
        .annotations
        .get(IMAGE_NAME)
        .and_then(|name| Reference::parse(name).ok());
    if let Some(whole) = whole {
        return vec![whole];
    }
    // A bare tag would become a repository of Docker Hub.
    let name = entry
        .annotations
        .get(REF_NAME)
        .filter(|name| name.contains([':', '/']));
    name.and_then(|name| Reference::parse(name).ok())
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_an_archive_are_compared_by_what_they_mean() {
        for (path, expected) in [
            ("./a//b", "a/b"),
            ("a/../b", "b"),
            ("../../etc", "etc"),
            ("/x/", "x"),
            ("", ""),
        ] {
            assert_eq!(normal(path), expected, "{path}");
        }
    }

    #[test]
    fn only_whole_names_name_an_image() {
        let entry = |key: &str, value: &str| {
            let mut entry = Descriptor::of(media_type::OCI_MANIFEST, b"{}");
            entry.annotations.insert(key.into(), value.into());
            names(&entry)
                .into_iter()
                .map(|name| name.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            entry(IMAGE_NAME, "docker.io/library/a:1"),
            ["docker.io/library/a:1"]
        );
        assert_eq!(
            entry(REF_NAME, "registry.example.com/a:1"),
            ["registry.example.com/a:1"]
        );
        assert_eq!(entry(REF_NAME, "latest"), Vec::<String>::new());
        assert_eq!(entry(IMAGE_NAME, "no name at all"), Vec::<String>::new());
    }
}

//! Reading an archive of images into a scope.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use shipway_oci::{
    Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES,
    Manifest, Platform, Reference, media_type,
};
use shipway_store::{Batch, ManifestWrite, Scope, Store};

use super::contents::{Contents, Kept, blob_path};
use super::documents::{DOCKER_MANIFEST, DockerEntry, IMAGE_NAME, OCI_INDEX, REF_NAME};
use super::error::LoadError;
use crate::compression::{Compression, Decompressor};
use crate::image::Image;
use crate::images::Images;

/// Images in one archive.
const MAX_IMAGES: usize = 1000;
/// Names of all of them together: each is put to disk by itself.
const MAX_NAMES: usize = 1000;
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

impl Images {
    /// Reads an archive (docker's or an OCI layout, plain or compressed) and names what is in it in a scope. Of its files the
    /// store keeps those that an image is made of. Blocks.
    ///
    /// # Errors
    /// When the archive is damaged, incomplete or no archive of images. What was named by then stays.
    pub fn load(&self, archive: impl Read, scope: &Scope) -> Result<Vec<Loaded>, LoadError> {
        let mut plain = Decompressor::new(archive, MAX_BYTES).map_err(|source| LoadError::Read { source })?;
        let _hold = self.store.hold().map_err(|source| LoadError::Store { source })?;
        let batch = self
            .store
            .begin_batch()
            .map_err(|source| LoadError::Store { source })?;
        let contents = Contents::read(&batch, &mut plain)?;
        plain.finish().map_err(|source| LoadError::Read { source })?;
        let mut loader = Loader {
            store: &self.store,
            scope,
            batch: &batch,
            contents: &contents,
            committed: BTreeSet::new(),
            tags: BTreeMap::new(),
            configs: BTreeSet::new(),
            whole: BTreeMap::new(),
            kept: BTreeSet::new(),
        };
        let loaded = loader.load()?;
        if loaded.is_empty() {
            Err(LoadError::NoImages)
        } else {
            Ok(loaded)
        }
    }
}

struct Loader<'a> {
    store: &'a Store,
    scope: &'a Scope,
    batch: &'a Batch,
    contents: &'a Contents,
    /// What became a blob: images of one archive share layers.
    committed: BTreeSet<Digest>,
    /// The names that docker's list gives, by the configuration.
    tags: BTreeMap<Digest, Vec<Reference>>,
    /// The configurations of the images that the index leads to.
    configs: BTreeSet<Digest>,
    /// Of images that indexes name, whether they are whole: looked at once, however often they are named.
    whole: BTreeMap<Digest, bool>,
    /// Those of them that are kept.
    kept: BTreeSet<Digest>,
}

impl Loader<'_> {
    fn load(&mut self) -> Result<Vec<Loaded>, LoadError> {
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
        if docker.iter().map(|entry| entry.repo_tags.len()).sum::<usize>() > MAX_NAMES {
            return Err(LoadError::TooMany {
                what: "names",
                limit: MAX_NAMES,
            });
        }
        for entry in &docker {
            let config = self.contents.file(DOCKER_MANIFEST, &entry.config)?.digest();
            let tags = self.tags.entry(config.clone()).or_default();
            tags.extend(
                entry
                    .repo_tags
                    .iter()
                    .filter_map(|name| Reference::parse(name).ok()),
            );
        }
        // The index keeps the manifests, and with them the digests that people know. docker's own list is a fallback
        // for archives that have no index, and for entries that an index lacks.
        let mut loaded = match &self.contents.index {
            Some(bytes) => self.load_index(bytes)?,
            None => Vec::new(),
        };
        for entry in &docker {
            if !self
                .configs
                .contains(self.contents.file(DOCKER_MANIFEST, &entry.config)?.digest())
            {
                loaded.push(self.load_docker(entry)?);
            }
        }
        Ok(loaded)
    }

    fn load_index(&mut self, bytes: &[u8]) -> Result<Vec<Loaded>, LoadError> {
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
            if entry.is_attestation() {
                continue;
            }
            let (digest, found) = match self.whole_index(entry)? {
                Some(whole) => (entry.digest.clone(), whole),
                None => {
                    let Some((digest, manifest)) = self.image_of(entry)? else {
                        continue;
                    };
                    let mut references = names(entry);
                    references.extend(self.tags_of(&manifest.config.digest));
                    self.configs.insert(manifest.config.digest.clone());
                    self.keep_blobs(&digest, &manifest)?;
                    let image = self.put(&Manifest::Image(manifest), Some(&digest), &references)?;
                    (digest, Loaded { image, references })
                }
            };
            let all = loaded.entry(digest).or_insert_with(|| Loaded {
                image: found.image,
                references: Vec::new(),
            });
            for reference in found.references {
                if !all.references.contains(&reference) {
                    all.references.push(reference);
                }
            }
        }
        Ok(loaded.into_values().collect())
    }

    /// A nested index for several platforms all of which the archive has, with what is said about them: it is kept as it is. One
    /// of which some is missing stands for one of its images.
    fn whole_index(&mut self, entry: &Descriptor) -> Result<Option<Loaded>, LoadError> {
        if self.contents.blob(&entry.digest).is_none() {
            return Ok(None);
        }
        let manifest = self.manifest(entry)?;
        let Manifest::Index(index) = &manifest else {
            return Ok(None);
        };
        let platforms: Vec<&Descriptor> = index
            .manifests
            .iter()
            .filter(|child| !child.is_attestation())
            .collect();
        let (2.., Some(first)) = (platforms.len(), platforms.first()) else {
            return Ok(None);
        };
        let platform = match index.select(&Platform::host()) {
            Some(_) => Platform::host(),
            None => first.platform.clone().unwrap_or_else(Platform::host),
        };
        for child in &index.manifests {
            if !self.is_whole(child)? {
                return Ok(None);
            }
        }
        let mut references = names(entry);
        for child in &index.manifests {
            if let Some(config) = self.keep_child(child)? {
                references.extend(self.tags_of(&config));
                self.configs.insert(config);
            }
        }
        self.store_manifest(&manifest, Some(&entry.digest), &references)?;
        let first = references.first().cloned();
        let image = Image::load(self.store, first, &entry.digest, &platform);
        let image = image.map_err(|source| LoadError::Use { source })?;
        Ok(Some(Loaded { image, references }))
    }

    /// Whether an image that an index names is here with all that it is made of.
    fn is_whole(&mut self, child: &Descriptor) -> Result<bool, LoadError> {
        if let Some(known) = self.whole.get(&child.digest) {
            return Ok(*known);
        }
        let is_whole = self.contents.blob(&child.digest).is_some()
            && match self.manifest(child)? {
                Manifest::Image(image) => std::iter::once(&image.config)
                    .chain(&image.layers)
                    .all(|blob| self.contents.blob(&blob.digest).is_some()),
                Manifest::Index(_) => false,
            };
        self.whole.insert(child.digest.clone(), is_whole);
        Ok(is_whole)
    }

    /// Keeps an image that an index names, once, and gives its configuration then.
    fn keep_child(&mut self, child: &Descriptor) -> Result<Option<Digest>, LoadError> {
        if !self.kept.insert(child.digest.clone()) {
            return Ok(None);
        }
        let manifest = self.manifest(child)?;
        let Manifest::Image(image) = &manifest else {
            return Ok(None);
        };
        self.keep_blobs(&child.digest, image)?;
        self.store_manifest(&manifest, Some(&child.digest), &[])?;
        Ok(Some(image.config.digest.clone()))
    }

    /// The names that docker's list gives to the image of a configuration.
    fn tags_of(&self, config: &Digest) -> Vec<Reference> {
        self.tags.get(config).cloned().unwrap_or_default()
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
        let there = |entry: &&Descriptor| self.contents.blob(&entry.digest).is_some();
        let chosen = index.select(&Platform::host()).filter(there);
        let is_image = |entry: &&Descriptor| !entry.is_attestation();
        chosen.or_else(|| index.manifests.iter().filter(is_image).find(there))
    }

    fn manifest(&self, entry: &Descriptor) -> Result<Manifest, LoadError> {
        let path = blob_path(&entry.digest);
        let bytes = self.manifest_bytes(OCI_INDEX, &entry.digest)?;
        Manifest::parse(Some(&entry.media_type), &bytes).map_err(|source| LoadError::Manifest {
            document: path,
            source,
        })
    }

    fn manifest_bytes(&self, document: &str, digest: &Digest) -> Result<Vec<u8>, LoadError> {
        self.read(self.blob(document, digest)?, MAX_MANIFEST_BYTES)
    }

    fn blob(&self, document: &str, digest: &Digest) -> Result<&Kept, LoadError> {
        self.contents.blob(digest).ok_or_else(|| LoadError::Missing {
            document: document.to_owned(),
            path: blob_path(digest),
        })
    }

    fn read(&self, file: &Kept, limit: usize) -> Result<Vec<u8>, LoadError> {
        self.batch
            .read(&file.staged, limit as u64)
            .map_err(|source| LoadError::Store { source })
    }

    /// Every blob must come from this archive, also one that registries need not hold: what only happens to be in the store may be a
    /// stranger's.
    fn keep_blobs(&mut self, digest: &Digest, manifest: &ImageManifest) -> Result<(), LoadError> {
        let document = digest.to_string();
        for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
            match self.contents.blob(&blob.digest) {
                Some(file) => self.keep(&blob_path(&blob.digest), file)?,
                None => return self.blob(&document, &blob.digest).map(drop),
            }
        }
        Ok(())
    }

    fn keep(&mut self, path: &str, file: &Kept) -> Result<(), LoadError> {
        if self.committed.contains(file.digest()) {
            return Ok(());
        }
        let blob = self
            .batch
            .commit(&file.staged)
            .map_err(|source| LoadError::Commit {
                path: path.to_owned(),
                source,
            })?;
        self.committed.insert(blob.digest);
        Ok(())
    }

    fn load_docker(&mut self, entry: &DockerEntry) -> Result<Loaded, LoadError> {
        let config_file = self.contents.file(DOCKER_MANIFEST, &entry.config)?;
        let bytes = self.read(config_file, MAX_CONFIG_BYTES)?;
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
            // A compressed layer is checked before its image is used; the digest of a plain one is at hand.
            if file.compression == Compression::None && file.digest() != expected {
                let (expected, found) = (expected.clone(), file.digest().clone());
                return Err(LoadError::DiffId {
                    path: path.clone(),
                    expected,
                    found,
                });
            }
            descriptors.push(file.layer());
        }
        let config_info = config_file.staged.info();
        let descriptor = Descriptor::new(
            media_type::OCI_CONFIG,
            config_info.digest.clone(),
            config_info.size,
        );
        for path in std::iter::once(&entry.config).chain(&entry.layers) {
            let file = self.contents.file(DOCKER_MANIFEST, path)?;
            self.keep(path, file)?;
        }
        let manifest = Manifest::Image(ImageManifest::new(descriptor, descriptors));
        let references: Vec<_> = entry
            .repo_tags
            .iter()
            .filter_map(|name| Reference::parse(name).ok())
            .collect();
        let image = self.put(&manifest, None, &references)?;
        Ok(Loaded { image, references })
    }

    /// Names an image.
    fn put(
        &self,
        manifest: &Manifest,
        digest: Option<&Digest>,
        references: &[Reference],
    ) -> Result<Image, LoadError> {
        let stored = self.store_manifest(manifest, digest, references)?;
        let reference = references.first().cloned();
        Image::load(self.store, reference, &stored, &Platform::host())
            .map_err(|source| LoadError::Use { source })
    }

    /// Names a manifest: the archive's own bytes if it has them, else ours.
    fn store_manifest(
        &self,
        manifest: &Manifest,
        digest: Option<&Digest>,
        references: &[Reference],
    ) -> Result<Digest, LoadError> {
        let bytes = match digest {
            Some(digest) => self.manifest_bytes(OCI_INDEX, digest)?,
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
        Ok(write.digest)
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

//! Writing images as one archive that docker, containerd, podman and we can load.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write};

use shipway_oci::{
    Descriptor, Digest, EncodeError, ImageIndex, ImageManifest, Manifest, ManifestError, Platform, Reference,
    VerifyingReader, media_type,
};
use shipway_store::{Store, StoreError, StoredManifest};

use super::documents::{
    DOCKER_MANIFEST, DockerEntry, IMAGE_NAME, OCI_INDEX, OCI_LAYOUT, OciLayout, REF_NAME,
};
use super::layout::{Layout, TarLayout};
use crate::image::Image;
use crate::images::Images;

/// An image of the store to be saved, and the names that it is to have in the archive.
#[derive(Debug, Clone)]
pub struct SaveImage {
    /// The image; of an index, all its images are saved.
    pub image: Image,
    /// Its names.
    pub references: Vec<Reference>,
}

/// An image to be written: its manifests at hand, the blobs that they name in the store.
#[derive(Debug, Clone)]
pub struct ArchiveImage {
    /// What the archive's index says of it.
    pub root: Descriptor,
    /// Its manifests, those that an index lists before the index.
    pub manifests: Vec<StoredManifest>,
    /// The names that it is to have in the archive.
    pub references: Vec<Reference>,
}

/// Which readers an archive is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveForm {
    /// An OCI layout.
    Oci,
    /// An OCI layout that is a docker archive, too. Of an index docker's part has the image for this machine, else the first.
    Docker,
}

/// Images were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The archive cannot be written, or a blob does not hold what it should.
    #[error("cannot write {what} into the archive")]
    Write {
        /// What was being written.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error("cannot read image {manifest} from the store")]
    Store {
        /// The image.
        manifest: Digest,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The manifest is gone.
    #[error("image {manifest} is not in the store any more")]
    NoManifest {
        /// The image.
        manifest: Digest,
    },
    /// A manifest cannot be understood.
    #[error("image {manifest} has an unusable manifest")]
    Manifest {
        /// The image.
        manifest: Digest,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// A document cannot be written.
    #[error("cannot write the list of images")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// A document cannot be written.
    #[error("cannot write `{document}`")]
    Document {
        /// Its name.
        document: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// The archive under way; each blob goes in once.
struct Archive<'a> {
    store: &'a Store,
    layout: &'a mut dyn Layout,
    written: BTreeSet<Digest>,
}

impl Archive<'_> {
    fn blob(&mut self, manifest: &Digest, blob: &Descriptor) -> Result<(), SaveError> {
        if !self.written.insert(blob.digest.clone()) {
            return Ok(());
        }
        let file = self
            .store
            .open_blob(&blob.digest)
            .map_err(|source| SaveError::Store {
                manifest: manifest.clone(),
                source,
            })?;
        // A damaged blob must fail here, and not on the machine that loads it.
        let mut verified = VerifyingReader::new(file, blob.digest.clone(), Some(blob.size));
        let path = path(&blob.digest);
        self.layout
            .blob(&path, blob.size, &mut verified.by_ref().take(blob.size))
            .and_then(|()| io::copy(&mut verified, &mut io::sink()).map(drop))
            .map_err(|source| SaveError::Write { what: path, source })
    }

    fn manifest(&mut self, stored: &StoredManifest) -> Result<Manifest, SaveError> {
        let manifest = parse(stored)?;
        if let Manifest::Image(image) = &manifest {
            for layer in &image.layers {
                self.blob(&stored.digest, layer)?;
            }
            self.blob(&stored.digest, &image.config)?;
        }
        if self.written.insert(stored.digest.clone()) {
            let path = path(&stored.digest);
            self.layout
                .blob(&path, stored.bytes.len() as u64, &mut stored.bytes.as_slice())
                .map_err(|source| SaveError::Write { what: path, source })?;
        }
        Ok(manifest)
    }

    fn document(&mut self, name: &'static str, bytes: &[u8]) -> Result<(), SaveError> {
        self.layout
            .document(name, bytes)
            .map_err(|source| SaveError::Write {
                what: name.to_owned(),
                source,
            })
    }

    fn json<T: serde::Serialize>(&mut self, name: &'static str, document: &T) -> Result<(), SaveError> {
        let bytes = serde_json::to_vec(document).map_err(|source| SaveError::Document {
            document: name,
            source,
        })?;
        self.document(name, &bytes)
    }

    /// The entries of an index that is there, without those that ours replace: of the same name, or nameless and the same.
    fn others(&self, ours: &[Descriptor]) -> Result<Vec<Descriptor>, SaveError> {
        let failed = |source| SaveError::Write {
            what: OCI_INDEX.to_owned(),
            source,
        };
        let Some(bytes) = self.layout.existing(OCI_INDEX).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let manifest = Manifest::parse(Some(media_type::OCI_INDEX), &bytes);
        let Ok(Manifest::Index(ImageIndex { mut manifests, .. })) = manifest else {
            let told = io::Error::other("the directory has an index.json that is no OCI index: empty it");
            return Err(failed(told));
        };
        let name = |entry: &Descriptor| {
            let of = |key: &str| entry.annotations.get(key).cloned();
            of(IMAGE_NAME).or_else(|| of(REF_NAME))
        };
        manifests.retain(|theirs| {
            !ours.iter().any(|ours| match (name(theirs), name(ours)) {
                (Some(theirs), Some(ours)) => theirs == ours,
                _ => theirs.digest == ours.digest,
            })
        });
        Ok(manifests)
    }
}

fn parse(stored: &StoredManifest) -> Result<Manifest, SaveError> {
    Manifest::parse(Some(&stored.media_type), &stored.bytes).map_err(|source| SaveError::Manifest {
        manifest: stored.digest.clone(),
        source,
    })
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// Writes images as an archive. A directory that has a layout already keeps its images; of the same name the new one stays. Blocks.
///
/// # Errors
/// When a blob is missing or damaged, or the archive cannot be written.
pub fn write_archive(
    store: &Store,
    images: &[ArchiveImage],
    form: ArchiveForm,
    layout: &mut dyn Layout,
) -> Result<(), SaveError> {
    let mut archive = Archive {
        store,
        layout,
        written: BTreeSet::new(),
    };
    for path in ["blobs", "blobs/sha256"] {
        archive
            .layout
            .directory(path)
            .map_err(|source| SaveError::Write {
                what: path.to_owned(),
                source,
            })?;
    }
    let mut entries = Vec::new();
    let mut docker: BTreeMap<Digest, DockerEntry> = BTreeMap::new();
    for image in images {
        let mut written = Vec::with_capacity(image.manifests.len());
        for stored in &image.manifests {
            written.push((&stored.digest, archive.manifest(stored)?));
        }
        entries.extend(index_entries(image));
        if let Some((digest, manifest)) = runnable(&image.root.digest, &written) {
            let names = image.references.iter().filter(|name| name.tag.is_some());
            docker
                .entry(digest.clone())
                .or_insert_with(|| DockerEntry {
                    config: path(&manifest.config.digest),
                    repo_tags: Vec::new(),
                    layers: manifest.layers.iter().map(|layer| path(&layer.digest)).collect(),
                })
                .repo_tags
                .extend(names.map(Reference::familiar));
        }
    }
    let mut index = ImageIndex::new(archive.others(&entries)?);
    index.manifests.extend(entries);
    index.media_type = Some(media_type::OCI_INDEX.to_owned());
    let bytes = Manifest::Index(index)
        .to_json()
        .map_err(|source| SaveError::Encode { source })?;
    archive.document(OCI_INDEX, &bytes)?;
    if form == ArchiveForm::Docker {
        archive.json(DOCKER_MANIFEST, &docker.into_values().collect::<Vec<_>>())?;
    }
    archive.json(
        OCI_LAYOUT,
        &OciLayout {
            image_layout_version: "1.0.0".into(),
        },
    )?;
    archive.layout.finish().map_err(|source| SaveError::Write {
        what: "the end".into(),
        source,
    })
}

/// One entry for each name, or one without.
fn index_entries(image: &ArchiveImage) -> Vec<Descriptor> {
    if image.references.is_empty() {
        return vec![image.root.clone()];
    }
    let named = image.references.iter().map(|reference| {
        let mut named = image.root.clone();
        named.annotations.insert(IMAGE_NAME.into(), reference.to_string());
        if let Some(tag) = &reference.tag {
            named.annotations.insert(REF_NAME.into(), tag.to_string());
        }
        named
    });
    named.collect()
}

/// The image that docker's part of an archive has.
fn runnable<'a>(
    root: &Digest,
    written: &'a [(&Digest, Manifest)],
) -> Option<(&'a Digest, &'a ImageManifest)> {
    let find = |wanted: &Digest| {
        written.iter().find_map(|(digest, manifest)| match manifest {
            Manifest::Image(image) if *digest == wanted => Some((*digest, image)),
            _ => None,
        })
    };
    let index = written.iter().find_map(|(digest, manifest)| match manifest {
        Manifest::Index(index) if *digest == root => Some(index),
        _ => None,
    });
    match index {
        None => find(root),
        Some(index) => {
            let first = || index.manifests.iter().find(|entry| !entry.is_attestation());
            let chosen = index.select(&Platform::host()).or_else(first)?;
            find(&chosen.digest)
        }
    }
}

impl Images {
    /// Writes images as an archive that is a docker archive and an OCI layout at once. Blocks.
    ///
    /// # Errors
    /// When a blob is missing or damaged, or the archive cannot be written.
    pub fn save(&self, images: &[SaveImage], output: impl Write) -> Result<(), SaveError> {
        let mut whole = Vec::with_capacity(images.len());
        for SaveImage { image, references } in images {
            let mut manifests = Vec::new();
            self.collect(&image.root, &mut manifests)?;
            let Some(stored) = manifests.last() else { continue };
            let mut root = Descriptor::new(
                &stored.media_type,
                stored.digest.clone(),
                stored.bytes.len() as u64,
            );
            root.platform = (image.root == image.manifest).then(|| image.platform());
            whole.push(ArchiveImage {
                root,
                manifests,
                references: references.clone(),
            });
        }
        write_archive(
            &self.store,
            &whole,
            ArchiveForm::Docker,
            &mut TarLayout::new(output),
        )
    }

    /// A manifest and those it lists, which come first. Nobody nests indexes further.
    fn collect(&self, root: &Digest, manifests: &mut Vec<StoredManifest>) -> Result<(), SaveError> {
        let stored = self.stored(root)?;
        if let Manifest::Index(index) = parse(&stored)? {
            for entry in &index.manifests {
                manifests.push(self.stored(&entry.digest)?);
            }
        }
        manifests.push(stored);
        Ok(())
    }

    fn stored(&self, manifest: &Digest) -> Result<StoredManifest, SaveError> {
        self.store
            .image_manifest(manifest)
            .map_err(|source| SaveError::Store {
                manifest: manifest.clone(),
                source,
            })?
            .ok_or_else(|| SaveError::NoManifest {
                manifest: manifest.clone(),
            })
    }
}

//! Writing images as one archive that docker, containerd, podman and we can load.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use shipway_oci::{
    Descriptor, Digest, EncodeError, ImageIndex, Manifest, Reference, VerifyingReader, media_type,
};
use shipway_store::StoreError;
use tar::{Builder, EntryType, Header};

use super::documents::{
    DOCKER_MANIFEST, DockerEntry, IMAGE_NAME, OCI_INDEX, OCI_LAYOUT, OciLayout, REF_NAME,
};
use crate::image::Image;
use crate::images::Images;

/// An image to be saved, and the names that it is to have in the archive.
#[derive(Debug, Clone)]
pub struct SaveImage {
    /// The image.
    pub image: Image,
    /// Its names.
    pub references: Vec<Reference>,
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
struct Archive<W: Write> {
    tar: Builder<W>,
    written: BTreeSet<Digest>,
}

impl<W: Write> Archive<W> {
    /// Times and owners are fixed, so that the same images give the same archive.
    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_mtime(0);
        header
    }

    fn file(&mut self, path: &str, size: u64, content: impl Read) -> Result<(), SaveError> {
        let mut header = Self::header(EntryType::Regular, size);
        self.tar
            .append_data(&mut header, path, content)
            .map_err(|source| SaveError::Write {
                what: path.to_owned(),
                source,
            })
    }

    fn directory(&mut self, path: &str) -> Result<(), SaveError> {
        let mut header = Self::header(EntryType::Directory, 0);
        self.tar
            .append_data(&mut header, path, io::empty())
            .map_err(|source| SaveError::Write {
                what: path.to_owned(),
                source,
            })
    }

    fn document<T: serde::Serialize>(&mut self, name: &'static str, document: &T) -> Result<(), SaveError> {
        let bytes = serde_json::to_vec(document).map_err(|source| SaveError::Document {
            document: name,
            source,
        })?;
        self.file(name, bytes.len() as u64, bytes.as_slice())
    }

    fn blob(&mut self, images: &Images, manifest: &Digest, blob: &Descriptor) -> Result<String, SaveError> {
        let path = path(&blob.digest);
        if self.written.insert(blob.digest.clone()) {
            let file = images
                .store
                .open_blob(&blob.digest)
                .map_err(|source| SaveError::Store {
                    manifest: manifest.clone(),
                    source,
                })?;
            // A damaged blob must fail here, and not on the machine that loads it.
            let mut verified = VerifyingReader::new(file, blob.digest.clone(), Some(blob.size));
            self.file(&path, blob.size, verified.by_ref().take(blob.size))?;
            io::copy(&mut verified, &mut io::sink()).map_err(|source| SaveError::Write {
                what: path.clone(),
                source,
            })?;
        }
        Ok(path)
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl Images {
    /// Writes images as an archive that is a docker archive and an OCI layout at once. Blocks.
    ///
    /// # Errors
    /// When a blob is missing or damaged, or the archive cannot be written.
    pub fn save(&self, images: &[SaveImage], output: impl Write) -> Result<(), SaveError> {
        let mut archive = Archive {
            tar: Builder::new(output),
            written: BTreeSet::new(),
        };
        archive.directory("blobs/")?;
        archive.directory("blobs/sha256/")?;
        let mut index = ImageIndex::new(Vec::new());
        let mut docker: BTreeMap<Digest, DockerEntry> = BTreeMap::new();
        for SaveImage { image, references } in images {
            let digest = &image.manifest;
            let stored = self
                .store
                .image_manifest(digest)
                .map_err(|source| SaveError::Store {
                    manifest: digest.clone(),
                    source,
                })?
                .ok_or_else(|| SaveError::NoManifest {
                    manifest: digest.clone(),
                })?;
            let mut layers = Vec::with_capacity(image.layers.len());
            for layer in &image.layers {
                layers.push(archive.blob(self, digest, layer)?);
            }
            let config = self.config_of(image)?;
            let config = archive.blob(self, digest, &config)?;
            let size = stored.bytes.len() as u64;
            if archive.written.insert(digest.clone()) {
                archive.file(&path(digest), size, stored.bytes.as_slice())?;
            }
            let mut entry = Descriptor::new(&stored.media_type, digest.clone(), size);
            entry.platform = Some(image.platform());
            if references.is_empty() {
                index.manifests.push(entry.clone());
            }
            for reference in references {
                let mut named = entry.clone();
                named.annotations.insert(IMAGE_NAME.into(), reference.to_string());
                if let Some(tag) = &reference.tag {
                    named.annotations.insert(REF_NAME.into(), tag.to_string());
                }
                index.manifests.push(named);
            }
            let names = references.iter().filter(|reference| reference.tag.is_some());
            docker
                .entry(digest.clone())
                .or_insert_with(|| DockerEntry {
                    config,
                    repo_tags: Vec::new(),
                    layers,
                })
                .repo_tags
                .extend(names.map(Reference::familiar));
        }
        index.media_type = Some(media_type::OCI_INDEX.to_owned());
        let bytes = Manifest::Index(index)
            .to_json()
            .map_err(|source| SaveError::Encode { source })?;
        archive.file(OCI_INDEX, bytes.len() as u64, bytes.as_slice())?;
        archive.document(DOCKER_MANIFEST, &docker.into_values().collect::<Vec<_>>())?;
        archive.document(
            OCI_LAYOUT,
            &OciLayout {
                image_layout_version: "1.0.0".into(),
            },
        )?;
        let finished = archive.tar.into_inner().and_then(|mut output| output.flush());
        finished.map_err(|source| SaveError::Write {
            what: "the end".into(),
            source,
        })
    }

    fn config_of(&self, image: &Image) -> Result<Descriptor, SaveError> {
        let info = self
            .store
            .blob(&image.id)
            .map_err(|source| SaveError::Store {
                manifest: image.manifest.clone(),
                source,
            })?
            .ok_or_else(|| SaveError::NoManifest {
                manifest: image.manifest.clone(),
            })?;
        Ok(Descriptor::new(media_type::OCI_CONFIG, info.digest, info.size))
    }
}

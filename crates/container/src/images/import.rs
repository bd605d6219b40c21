//! An image from the bare tar of a root file system.

use std::io::{self, Read, Write};

use shipway_oci::{
    Descriptor, EncodeError, Hasher, History, ImageConfig, ImageManifest, Manifest, ManifestError, Platform,
    Reference, media_type,
};
use shipway_store::{CommitError, ManifestWrite, PutManifestError, Scope, StoreError};

use super::{Images, ImagesError};
use crate::archive::{TarError, TarWalk};
use crate::changes::Change;
use crate::compression::{Compression, Decompressor};
use crate::image::Image;

/// The most that a root file system may unpack to.
const MAX_BYTES: u64 = 256 * 1024 * 1024 * 1024;

/// How an image is made around a root file system.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Where it is named.
    pub scope: Scope,
    /// Its name; without one it is found by its id only.
    pub reference: Option<Reference>,
    /// What it runs on; this machine without.
    pub platform: Option<Platform>,
    /// Its configuration.
    pub changes: Vec<Change>,
    /// When it was made, RFC 3339. Without one the same tar gives the same image whenever it is imported.
    pub created: Option<String>,
    /// A word on where it comes from, for its history.
    pub comment: Option<String>,
}

impl ImportOptions {
    /// An import with nothing but a name.
    pub fn new(scope: Scope, reference: Option<Reference>) -> Self {
        Self {
            scope,
            reference,
            platform: None,
            changes: Vec::new(),
            created: None,
            comment: None,
        }
    }
}

/// A root file system was not imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The stream cannot be read, decompressed or kept.
    #[error("cannot read and keep the root file system")]
    Read {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no tar.
    #[error("the root file system is no usable tar")]
    Tar {
        /// Why.
        #[source]
        source: TarError,
    },
    /// It is what `docker save` writes.
    #[error(
        "it is an archive of images, as `docker save` writes them, and no root file system: use `shipway image load` (`docker load`)"
    )]
    Archive,
    /// The bytes cannot be kept.
    #[error("cannot keep the root file system in the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The bytes cannot be kept.
    #[error("cannot keep the root file system in the store")]
    Commit {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// The image's documents cannot be written.
    #[error("cannot write the image's configuration")]
    Encode {
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The manifest that was made is refused.
    #[error("the image's manifest cannot be used")]
    Manifest {
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// It cannot be named.
    #[error("cannot name the image")]
    Name {
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// It was made, but cannot be read back.
    #[error("the imported image cannot be read back")]
    ReadBack {
        /// Why.
        #[source]
        source: ImagesError,
    },
}

/// Passes bytes on and writes a copy: the layer is kept as it came, compressed or not.
struct Copying<R, W> {
    reader: R,
    copy: W,
}

impl<R: Read, W: Write> Read for Copying<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.copy.write_all(&buffer[..length])?;
        Ok(length)
    }
}

/// Passes bytes on and hashes them.
struct Hashing<'a, R> {
    reader: R,
    hasher: &'a mut Hasher,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

/// What tells an archive of images from a root file system, by what is at its top. A file `manifest.json` alone does not: a root
/// file system may have one.
#[derive(Default)]
struct ArchiveMarks {
    has_layout: bool,
    has_manifest: bool,
    /// A file or directory that is named by a digest, as in archives that are no OCI layout.
    has_digest: bool,
}

impl ArchiveMarks {
    fn look(&mut self, path: &str) {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        match path {
            "oci-layout" => self.has_layout = true,
            "manifest.json" => self.has_manifest = true,
            path => {
                let name = path.trim_end_matches(".json").as_bytes();
                self.has_digest |= name.len() == 64 && name.iter().all(u8::is_ascii_hexdigit);
            }
        }
    }

    fn are_of_images(&self) -> bool {
        self.has_layout || (self.has_manifest && self.has_digest)
    }
}

impl Images {
    /// Makes an image of one layer from a tar, plain or compressed with gzip or zstd. Blocks; the stream is read to
    /// its end and only the store grows.
    ///
    /// # Errors
    /// When the stream is no tar, or cannot be kept.
    pub fn import(&self, tar: impl Read, options: ImportOptions) -> Result<Image, ImportError> {
        let store = |source| ImportError::Store { source };
        let commit = |source| ImportError::Commit { source };
        let read = |source| ImportError::Read { source };

        let _hold = self.store.hold().map_err(store)?;
        let mut blob = self.store.begin_blob().map_err(store)?;
        let mut hasher = Hasher::new(shipway_oci::Algorithm::Sha256);
        let copying = Copying {
            reader: tar,
            copy: &mut blob,
        };
        let mut layer = Decompressor::new(copying, MAX_BYTES).map_err(read)?;
        let media_type = match layer.compression() {
            Compression::None => media_type::OCI_LAYER_TAR,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let mut walk = TarWalk::new(Hashing {
            reader: &mut layer,
            hasher: &mut hasher,
        });
        let tar = |error| match error {
            // Of the stream, or of the copy that is made on the way.
            TarError::Read { source } => read(source),
            source => ImportError::Tar { source },
        };
        let mut top = ArchiveMarks::default();
        while let Some(entry) = walk.next().map_err(tar)? {
            top.look(&entry.path);
        }
        if top.are_of_images() {
            return Err(ImportError::Archive);
        }
        walk.finish().map_err(tar)?;
        layer.finish().map_err(read)?;
        let layer = blob.commit(None).map_err(commit)?;

        let mut config = ImageConfig::new(&options.platform.unwrap_or_else(Platform::host));
        for change in &options.changes {
            change.apply(&mut config.config);
        }
        config.created.clone_from(&options.created);
        config.rootfs.diff_ids = vec![hasher.finish()];
        config.history = vec![History {
            created: options.created,
            comment: Some(options.comment.unwrap_or_else(|| "imported".into())),
            ..History::default()
        }];
        let encode = |source| ImportError::Encode { source };
        let config = self
            .store
            .put_blob(&config.to_json().map_err(encode)?)
            .map_err(commit)?;
        let manifest = Manifest::Image(ImageManifest::new(
            Descriptor::new(media_type::OCI_CONFIG, config.digest, config.size),
            vec![Descriptor::new(media_type, layer.digest, layer.size)],
        ));
        let bytes = manifest.to_json().map_err(encode)?;
        let write = ManifestWrite::new(Some(manifest.media_type()), bytes)
            .map_err(|source| ImportError::Manifest { source })?;
        match &options.reference {
            Some(reference) => self.store.put_image(&options.scope, reference, &write),
            None => self.store.put_unnamed_image(&options.scope, &write),
        }
        .map_err(|source| ImportError::Name { source })?;
        Image::load(&self.store, options.reference, &write.digest, &Platform::host()).map_err(|source| {
            ImportError::ReadBack {
                source: ImagesError::Load { source },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ArchiveMarks;

    #[test]
    fn an_archive_of_images_is_told_from_a_root_file_system() {
        let digest = "0123456789abcdef".repeat(4);
        let are_of_images = |paths: &[&str]| {
            let mut marks = ArchiveMarks::default();
            paths.iter().for_each(|path| marks.look(path));
            marks.are_of_images()
        };
        assert!(are_of_images(&["./", "./oci-layout", "./blobs/"]));
        assert!(are_of_images(&[&format!("{digest}.json"), "manifest.json"]));
        assert!(are_of_images(&[&format!("{digest}/"), "manifest.json"]));
        assert!(!are_of_images(&[
            "bin/",
            "bin/sh",
            "manifest.json",
            "srv/oci-layout"
        ]));
        assert!(!are_of_images(&[&format!("{digest}/"), "bin/sh"]));
    }
}

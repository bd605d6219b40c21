//! One pass over an archive: files go into a batch of the store, documents into memory.

use std::collections::BTreeMap;
use std::io::{self, Read};

use shipway_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, media_type};
use shipway_sandbox::rooted;
use shipway_store::{Batch, StagedFile};

use super::documents::{DOCKER_MANIFEST, OCI_INDEX};
use super::error::LoadError;
use super::tar::{Entry, Kind, TarWalk};
use crate::compression::Compression;

/// Files in one archive. A hundred images of a hundred layers are far below.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of a path or a link's target, which stay in memory.
const MAX_PATH: usize = 4096;

/// A file of the archive, which waits in the batch for somebody to name it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) staged: StagedFile,
    pub(super) compression: Compression,
}

impl Kept {
    pub(super) fn digest(&self) -> &Digest {
        &self.staged.info().digest
    }

    pub(super) fn layer(&self) -> Descriptor {
        let media_type = match self.compression {
            Compression::None => media_type::OCI_LAYER_TAR,
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        Descriptor::new(media_type, self.digest().clone(), self.staged.info().size)
    }
}

/// What one pass over the archive found.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) docker: Option<Vec<u8>>,
    pub(super) index: Option<Vec<u8>>,
    files: BTreeMap<String, Kept>,
    links: BTreeMap<String, String>,
}

impl Contents {
    pub(super) fn read(batch: &Batch, archive: impl Read) -> Result<Self, LoadError> {
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
            contents.take(batch, &mut walk, &entry)?;
        }
        walk.finish().map_err(tar)?;
        Ok(contents)
    }

    fn take(&mut self, batch: &Batch, walk: &mut TarWalk<impl Read>, entry: &Entry) -> Result<(), LoadError> {
        if entry.path.len().max(entry.link.len()) > MAX_PATH {
            return Err(LoadError::TooMany {
                what: "bytes in a path",
                limit: MAX_PATH,
            });
        }
        let path = normal(&entry.path);
        match (entry.kind, path.as_str()) {
            (Kind::File, DOCKER_MANIFEST) => self.docker = Some(document(walk, entry)?),
            (Kind::File, OCI_INDEX) => self.index = Some(document(walk, entry)?),
            (Kind::File, _) => {
                let kept = keep(batch, walk, &path)?;
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

    pub(super) fn file(&self, document: &str, path: &str) -> Result<&Kept, LoadError> {
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

    pub(super) fn blob(&self, digest: &Digest) -> Option<&Kept> {
        self.files.get(&blob_path(digest))
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

/// Into the batch, under the digest that its path promises, if it promises one.
fn keep(batch: &Batch, walk: &mut TarWalk<impl Read>, path: &str) -> Result<Kept, LoadError> {
    let expected: Option<Digest> = path
        .strip_prefix("blobs/")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(algorithm, hash)| format!("{algorithm}:{hash}").parse().ok());
    let algorithm = expected
        .as_ref()
        .map_or(shipway_oci::Algorithm::Sha256, Digest::algorithm);
    let read = |source| LoadError::Read { source };
    let mut file = batch
        .begin(algorithm)
        .map_err(|source| LoadError::Store { source })?;
    let mut start = Vec::new();
    walk.by_ref().take(4).read_to_end(&mut start).map_err(read)?;
    let compression = Compression::of(&start);
    io::copy(&mut start.as_slice().chain(walk), &mut file).map_err(read)?;
    let staged = file
        .finish(expected.as_ref())
        .map_err(|source| LoadError::Commit {
            path: path.to_owned(),
            source,
        })?;
    Ok(Kept { staged, compression })
}

/// `./a//b/../c` and `a/c` name one file.
fn normal(path: &str) -> String {
    let rooted = rooted(path);
    rooted.to_string_lossy().trim_start_matches('/').to_owned()
}

pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
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
}

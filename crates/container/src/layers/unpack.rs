//! One layer, from its blob to a directory of the keeper's.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use shipway_oci::{Descriptor, Digest, Hasher, VerifyingReader};
use shipway_sandbox::{DiskUsage, Keeper, UnpackReport, UnpackRequest};
use shipway_store::Store;

use super::{LayerError, LayerPath};
use crate::compression::Decompressor;

/// The most that one layer may unpack to.
pub(super) const MAX_LAYER_BYTES: u64 = 256 * 1024 * 1024 * 1024;
/// Between our thread and the keeper's worker; the kernel's default makes them take turns.
const PIPE_BYTES: usize = 1024 * 1024;

/// A layer to be unpacked.
pub(super) struct Job {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
    pub(super) below: Vec<LayerPath>,
    /// Directory of the keepers' directory for what is not whole yet.
    pub(super) scratch: PathBuf,
}

/// A whole and verified directory.
pub(super) struct Tree {
    pub(super) path: PathBuf,
    pub(super) holds: DiskUsage,
    /// Directories whose attributes could not be taken from below.
    pub(super) implied: u64,
}

impl Tree {
    pub(super) fn discard(&self, keeper: &Keeper) {
        discard(keeper, &self.path);
    }
}

impl Job {
    /// Blocks until the directory is there.
    pub(super) fn run(&self, store: &Store, keeper: &Keeper) -> Result<Tree, LayerError> {
        let path = self.scratch.join(uuid::Uuid::new_v4().simple().to_string());
        let failed = |source| LayerError::Unpack {
            layer: self.blob.digest.clone(),
            source,
        };
        keeper.make_directory(&path, 0o755, (0, 0)).map_err(failed)?;
        match self.fill(store, keeper, &path) {
            Ok(report) => Ok(Tree {
                path,
                holds: DiskUsage {
                    bytes: report.bytes,
                    files: report.entries,
                },
                implied: report.implied,
            }),
            Err(error) => {
                discard(keeper, &path);
                Err(error)
            }
        }
    }

    fn fill(&self, store: &Store, keeper: &Keeper, path: &Path) -> Result<UnpackReport, LayerError> {
        let unreadable = |source| LayerError::Read {
            layer: self.blob.digest.clone(),
            source,
        };
        let (stream, feed) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| unreadable(errno.into()))?;
        // A smaller pipe is only slower.
        let _ = fcntl_setpipe_size(&feed, PIPE_BYTES);
        let below = self.below.iter().map(|path| path.as_path().to_owned()).collect();
        let request = UnpackRequest::new(stream, path.to_owned(), below);
        let (report, found) = std::thread::scope(|scope| {
            let feeder = scope.spawn(|| self.feed(store, feed));
            let report = keeper.unpack(request);
            let found = feeder.join().map_err(|_| LayerError::Thread {
                layer: self.blob.digest.clone(),
            })?;
            Ok((report, found))
        })?;
        // A damaged blob also makes a broken tar: the first cause is the one to tell.
        let found = found.map_err(unreadable)?;
        if found != self.diff_id {
            return Err(LayerError::DiffId {
                layer: self.blob.digest.clone(),
                expected: self.diff_id.clone(),
                found,
            });
        }
        report.map_err(|source| LayerError::Unpack {
            layer: self.blob.digest.clone(),
            source,
        })
    }

    /// Blob to pipe; gives the digest of what went through.
    fn feed(&self, store: &Store, feed: OwnedFd) -> io::Result<Digest> {
        let file = store.open_blob(&self.blob.digest).map_err(io::Error::other)?;
        let verified = VerifyingReader::new(file, self.blob.digest.clone(), Some(self.blob.size));
        let mut layer = Decompressor::new(verified, MAX_LAYER_BYTES)?;
        let mut hasher = Hasher::new(self.diff_id.algorithm());
        let mut sink = Some(File::from(feed));
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let length = layer.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            hasher.update(&buffer[..length]);
            // The worker may stop at the tar's end mark or at an error of its own, which it reports. The digests
            // are of the whole stream.
            if let Some(file) = &mut sink
                && let Err(error) = file.write_all(&buffer[..length])
            {
                if error.kind() != io::ErrorKind::BrokenPipe {
                    return Err(error);
                }
                sink = None;
            }
        }
        layer.finish()?;
        Ok(hasher.finish())
    }
}

fn discard(keeper: &Keeper, path: &Path) {
    if let Err(error) = keeper.remove_tree(path) {
        tracing::warn!(%error, path = %path.display(), "an unfinished layer stays until the pod is removed");
    }
}

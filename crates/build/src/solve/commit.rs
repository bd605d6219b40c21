//! From an upper directory to a layer in the store, in one pass and bounded memory.

use std::path::{Path, PathBuf};

use shipway_oci::{Digest, media_type};
use shipway_sandbox::{DiffRequest, DiskUsage, Keeper, KeeperError};
use shipway_store::Store;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use super::behind::{LayerBlob, Limits};
use super::cache::Cache;
use super::stream::{file, through_pipe};
use crate::error::StepError;
use crate::export::descriptor;
use crate::gzip::{Compressor, GzipError, ahead};
use crate::plan::CacheKey;

/// A layer that a step made.
#[derive(Debug, Clone)]
pub(super) struct NewLayer {
    pub(super) diff_id: Digest,
    pub(super) blob: LayerBlob,
}

/// A layer that was read, and the rest of the work on it: compressing, keeping, remembering.
pub(super) struct Committed {
    pub(super) layer: NewLayer,
    /// What it is unpacked.
    pub(super) holds: DiskUsage,
    pub(super) work: JoinHandle<Result<(), StepError>>,
}

impl From<std::io::Error> for StepError {
    fn from(source: std::io::Error) -> Self {
        Self::Stream { source }
    }
}

/// What makes layers.
#[derive(Clone)]
pub(super) struct Committer {
    pub(super) store: Store,
    pub(super) compressor: Compressor,
    pub(super) cache: Cache,
    pub(super) limits: Limits,
    /// No file is later than this.
    pub(super) epoch: i64,
}

impl Committer {
    /// Reads the changes under `upper` as a layer, which a thread behind this one keeps under `key`; `None` when there
    /// are none. `made` are mount points that only the container needed. Blocks until all is read; `upper` is not
    /// needed afterwards.
    pub(super) fn commit(
        &self,
        keeper: &Keeper,
        upper: &Path,
        made: &[PathBuf],
        key: &CacheKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<Option<Committed>, StepError> {
        let mut blob = self
            .store
            .begin_blob()
            .map_err(|source| StepError::Store { source })?;
        let (reader, writer) = ahead(&self.limits.room);
        let (diff_id, known_diff_id) = std::sync::mpsc::channel::<Digest>();
        let (there, coming) = watch::channel(None);
        let (compressor, cache, key) = (self.compressor, self.cache.clone(), *key);
        let store = self.store.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            writer
                .write(compressor, &mut blob)
                .map_err(|source| StepError::Gzip { source })?;
            let diff_id = known_diff_id.recv().map_err(|_| StepError::Interrupted)?;
            let info = blob.commit(None).map_err(|source| StepError::Commit { source })?;
            let descriptor = descriptor(media_type::OCI_LAYER_GZIP, info.digest, info.size);
            store
                .keep_diff_id(&descriptor.digest, &diff_id)
                .map_err(|source| StepError::Store { source })?;
            cache.keep(&key, Some((&diff_id, &descriptor)))?;
            there.send_replace(Some(descriptor));
            Ok(())
        });
        let request = |output| DiffRequest {
            upper: upper.to_owned(),
            output,
            clamp_mtime: Some(self.epoch),
            omit: made.to_vec(),
        };
        let read = through_pipe(
            |output| {
                keeper.diff(request(output)).map_err(|source| StepError::Keeper {
                    action: "read what the step changed",
                    source,
                })
            },
            |input| {
                reader
                    .read(&mut file(input))
                    .map_err(|source| StepError::Gzip { source })
            },
        );
        let (report, compressed) = match read {
            // The other side is gone, and knows why.
            Err(StepError::Gzip {
                source: GzipError::ThreadLost,
            }) => {
                let cause = tokio::runtime::Handle::current().block_on(work);
                return Err(cause
                    .unwrap_or(Err(StepError::Interrupted))
                    .err()
                    .unwrap_or(StepError::Interrupted));
            }
            read => read?,
        };
        if report.entries == 0 {
            return Ok(None);
        }
        // Nothing is kept before both are said: a reader that failed above ended the other side without them.
        let _ = diff_id.send(compressed.diff_id.clone());
        reader.end();
        Ok(Some(Committed {
            layer: NewLayer {
                diff_id: compressed.diff_id,
                blob: LayerBlob::Coming(coming),
            },
            holds: DiskUsage {
                bytes: report.bytes,
                files: report.entries,
            },
            work,
        }))
    }
}

/// Removes mount points that are still as they were made, so that the directory is what the layer says. Blocks.
pub(super) fn remove_mount_points(
    keeper: &Keeper,
    upper: &Path,
    made: &[PathBuf],
) -> Result<(), KeeperError> {
    if made.is_empty() {
        return Ok(());
    }
    let mut deepest_first = made.to_vec();
    deepest_first.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    keeper.remove_empty(&upper.join("fs"), &deepest_first)
}

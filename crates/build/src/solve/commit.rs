//! From an upper directory to a layer in the store, in one pass and bounded memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shipway_attest::LayerScanner;
use shipway_oci::{Descriptor, Digest};
use shipway_sandbox::{DiffRequest, DiskUsage, Keeper, KeeperError};
use shipway_store::Store;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use super::behind::{LayerBlob, Limits};
use super::cache::Cache;
use super::pieces::LayerPieces;
use super::straight::Straight;
use super::stream::{file, through_pipe};
use crate::attest::{Recorder, Tapped};
use crate::compression::{CompressError, Compressed, Compression, Compressor, Reader, ahead};
use crate::error::StepError;
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

/// Where a step's changes are.
pub(super) struct Changes {
    /// Their upper directory.
    pub(super) upper: PathBuf,
    /// The layers that it lies over, bottom first.
    pub(super) below: Vec<PathBuf>,
    /// Mount points that only the container needed.
    pub(super) made: Vec<PathBuf>,
}

/// What makes layers.
#[derive(Clone)]
pub(super) struct Committer {
    pub(super) store: Store,
    pub(super) compressor: Compressor,
    pub(super) compression: Compression,
    pub(super) cache: Cache,
    pub(super) limits: Limits,
    pub(super) recorder: Arc<Recorder>,
    pub(super) pieces: Arc<LayerPieces>,
    /// No file is later than this.
    pub(super) epoch: i64,
}

impl Committer {
    /// Reads changes as a layer, which a thread behind this one keeps under `key`; `None` when there are none. Blocks until all is
    /// read; the upper directory is not needed afterwards.
    pub(super) fn commit(
        &self,
        keeper: &Keeper,
        changes: &Changes,
        key: &CacheKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<Option<Committed>, StepError> {
        let request = |output| DiffRequest {
            upper: changes.upper.clone(),
            below: changes.below.clone(),
            output,
            clamp_mtime: Some(self.epoch),
            omit: changes.made.clone(),
        };
        self.layer(key, permit, |reader, scanner| {
            let (report, compressed) = through_pipe(
                |output| {
                    keeper.diff(request(output)).map_err(|source| StepError::Keeper {
                        action: "read what the step changed",
                        source,
                    })
                },
                |input| {
                    reader
                        .read(&mut Tapped::new(file(input), scanner))
                        .map_err(|source| StepError::Compress { source })
                },
            )?;
            let holds = DiskUsage {
                bytes: report.bytes,
                files: report.entries,
            };
            Ok((holds, compressed))
        })
    }

    /// The same for files that lie in no directory.
    pub(super) fn write(
        &self,
        straight: &Straight,
        key: &CacheKey,
        permit: OwnedSemaphorePermit,
    ) -> Result<Committed, StepError> {
        let committed = self.layer(key, permit, |reader, scanner| {
            let mut tar = straight.tar(self.epoch);
            let read = reader.read(&mut Tapped::new(&mut tar, scanner));
            let compressed = read.map_err(|source| match (source, tar.failure()) {
                (CompressError::Read { .. }, Some(cause)) => cause,
                (source, _) => StepError::Compress { source },
            })?;
            // Nothing is unpacked that would take room; that there is something is what counts.
            let holds = DiskUsage { bytes: 0, files: 1 };
            Ok((holds, compressed))
        });
        committed?.ok_or(StepError::Interrupted)
    }

    /// Makes a layer of what `read` gives to its reader; nothing of no files.
    fn layer(
        &self,
        key: &CacheKey,
        permit: OwnedSemaphorePermit,
        read: impl FnOnce(&Reader, Option<&mut LayerScanner>) -> Result<(DiskUsage, Compressed), StepError>,
    ) -> Result<Option<Committed>, StepError> {
        let mut blob = self
            .store
            .begin_blob()
            .map_err(|source| StepError::Store { source })?;
        let (reader, writer) = ahead(&self.limits.room);
        let (diff_id, known_diff_id) = std::sync::mpsc::channel::<Digest>();
        let (there, coming) = watch::channel(None);
        let (compressor, compression) = (self.compressor, self.compression);
        let (cache, key) = (self.cache.clone(), *key);
        let (store, pieces) = (self.store.clone(), Arc::clone(&self.pieces));
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let written = writer
                .write(compressor, compression, Some(&|| pieces.known()), &mut blob)
                .map_err(|source| StepError::Compress { source })?;
            let diff_id = known_diff_id.recv().map_err(|_| StepError::Interrupted)?;
            let info = blob.commit(None).map_err(|source| StepError::Commit { source })?;
            let descriptor = Descriptor::new(compression.media_type(), info.digest, info.size);
            store
                .keep_diff_id(&descriptor.digest, &diff_id)
                .map_err(|source| StepError::Store { source })?;
            pieces.keep(&descriptor.digest, &written);
            cache.keep(&key, Some((&diff_id, &descriptor)))?;
            there.send_replace(Some(descriptor));
            Ok(())
        });
        let mut scanner = self.recorder.scanner();
        let read = read(&reader, scanner.as_mut());
        let (holds, compressed) = match read {
            // The other side is gone, and knows why.
            Err(StepError::Compress {
                source: CompressError::ThreadLost,
            }) => {
                let cause = tokio::runtime::Handle::current().block_on(work);
                return Err(cause
                    .unwrap_or(Err(StepError::Interrupted))
                    .err()
                    .unwrap_or(StepError::Interrupted));
            }
            read => read?,
        };
        if holds.files == 0 {
            return Ok(None);
        }
        if let Some(scanner) = scanner {
            self.recorder.scanned(&compressed.diff_id, scanner.finish());
        }
        // Nothing is kept before both are said: a reader that failed above ended the other side without them.
        let _ = diff_id.send(compressed.diff_id.clone());
        reader.end();
        Ok(Some(Committed {
            layer: NewLayer {
                diff_id: compressed.diff_id,
                blob: LayerBlob::Coming(coming),
            },
            holds,
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

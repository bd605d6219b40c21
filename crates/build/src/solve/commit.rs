//! From an upper directory to a layer in the store, in one pass and bounded memory.

use std::path::{Path, PathBuf};

use shipway_oci::{Descriptor, Digest, media_type};
use shipway_sandbox::{DiffRequest, FileKind, Keeper, KeeperError, RootSpec};
use shipway_store::Store;

use super::stream::{file, through_pipe};
use crate::error::StepError;
use crate::export::descriptor;
use crate::gzip::Compressor;

/// A layer that a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewLayer {
    pub(super) diff_id: Digest,
    pub(super) descriptor: Descriptor,
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
    /// No file is later than this.
    pub(super) epoch: i64,
}

impl Committer {
    /// Writes the changes under `upper` as a layer; `None` when there are none. `made` are mount points that only the
    /// container needed. Blocks.
    pub(super) fn commit(
        &self,
        keeper: &Keeper,
        upper: &Path,
        made: &[PathBuf],
    ) -> Result<Option<NewLayer>, StepError> {
        let mut blob = self
            .store
            .begin_blob()
            .map_err(|source| StepError::Store { source })?;
        let request = |output| DiffRequest {
            upper: upper.to_owned(),
            output,
            clamp_mtime: Some(self.epoch),
            omit: made.to_vec(),
        };
        let (report, compressed) = through_pipe(
            |output| {
                keeper.diff(request(output)).map_err(|source| StepError::Keeper {
                    action: "read what the step changed",
                    source,
                })
            },
            |input| {
                self.compressor
                    .run(&mut file(input), &mut blob)
                    .map_err(|source| StepError::Gzip { source })
            },
        )?;
        if report.entries == 0 {
            return Ok(None);
        }
        let info = blob.commit(None).map_err(|source| StepError::Commit { source })?;
        let descriptor = descriptor(media_type::OCI_LAYER_GZIP, info.digest, info.size);
        Ok(Some(NewLayer {
            diff_id: compressed.diff_id,
            descriptor,
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
    let tree = upper.join("fs");
    let root = RootSpec {
        layers: vec![tree.clone()],
        upper: None,
    };
    let mut deepest_first = made.to_vec();
    deepest_first.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    let statuses = keeper.stat(&root, &deepest_first)?;
    for (path, status) in deepest_first.iter().zip(statuses) {
        let untouched = match status.map(|status| (status.kind, status.size)) {
            Some((FileKind::File, 0)) => true,
            Some((FileKind::Directory, _)) => {
                let inside = path.display();
                keeper.glob(&root, &format!("{inside}/*"))?.is_empty()
                    && keeper.glob(&root, &format!("{inside}/.*"))?.is_empty()
            }
            _ => false,
        };
        if untouched {
            keeper.remove_tree(&tree.join(path.strip_prefix("/").unwrap_or(path)))?;
        }
    }
    Ok(())
}

//! From a directory to blobs.
//!
//! The keeper writes the directory as a tar: files in the order of their names, with their owners, modes and times, so that the same
//! files give the same bytes. Where something is known already it is read twice: first to see which packs are worth naming again.

use std::path::Path;

use shipway_sandbox::{ArchiveRequest, ArchiveRoot, Keeper};
use shipway_store::Store;

use super::chunk::chunks;
use super::known::Known;
use super::pack::{Packed, Packer};
use crate::error::StepError;
use crate::solve::{file, through_pipe};

/// Packs a directory of the keepers' directory that nobody writes to; nothing when it is empty. Blocks.
pub(super) fn archive(
    keeper: &Keeper,
    directory: &Path,
    store: &Store,
    known: &Known,
) -> Result<Option<Packed>, StepError> {
    let mut worth = Known::default();
    if !known.is_empty() {
        let mut hashes = Vec::new();
        read(keeper, directory, |chunk| {
            hashes.push(blake3::hash(chunk));
            Ok(())
        })?;
        worth = known.worth_keeping(&hashes);
    }
    let mut packer = Packer::new(store, &worth)?;
    let entries = read(keeper, directory, |chunk| packer.add(chunk))?;
    let packed = packer.finish()?;
    Ok((entries > 0).then_some(packed))
}

fn read(
    keeper: &Keeper,
    directory: &Path,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, StepError> {
    let root = ArchiveRoot::Directory(directory.to_owned());
    let (report, ()) = through_pipe(
        |output| {
            let request = ArchiveRequest::new(root, vec!["/".into()], output);
            keeper.archive(request).map_err(|source| StepError::Keeper {
                action: "read the cache mount",
                source,
            })
        },
        |input| {
            for chunk in chunks(file(input)) {
                each(&chunk?)?;
            }
            Ok(())
        },
    )?;
    Ok(report.entries)
}

//! Which files of the context ADD extracts: told by content, never by name.

use std::io::Read;
use std::path::Path;

use crate::context::{Compression, ContextError, View, decompressed};
use crate::error::StepError;

/// Whether ADD extracts a file: a tar, plain or compressed.
pub(super) fn is_archive(view: &View, path: &Path) -> Result<bool, StepError> {
    let context = |source| StepError::Context { source };
    let mut head = Vec::with_capacity(512);
    view.open(path)
        .map_err(context)?
        .take(512)
        .read_to_end(&mut head)?;
    match Compression::of(&head) {
        Compression::None => Ok(is_tar_header(&head)),
        Compression::Foreign(format) => {
            let name = path.to_string_lossy().to_ascii_lowercase();
            let named = [".tar.bz2", ".tbz2", ".tbz"]
                .iter()
                .any(|end| name.ends_with(end));
            if named {
                let what = format!("archive {}", path.display());
                return Err(context(ContextError::Compression { what, format }));
            }
            Ok(false)
        }
        Compression::Gzip | Compression::Zstd | Compression::Xz => {
            let opened = view.open(path).map_err(context)?;
            let mut inside = Vec::with_capacity(512);
            let plain = decompressed(opened, "archive").map_err(context)?;
            // A file that only begins like a compressed one is a file.
            Ok(plain.take(512).read_to_end(&mut inside).is_ok() && is_tar_header(&inside))
        }
    }
}

/// A tar's first block carries a checksum over itself.
pub(super) fn is_tar_header(block: &[u8]) -> bool {
    if block.len() < 512 || block[0] == 0 {
        return false;
    }
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&block[..512]);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    header.cksum().is_ok_and(|stored| stored == sum)
}

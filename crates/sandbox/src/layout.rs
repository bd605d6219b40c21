//! What the keeper itself needs in the keepers' directory: a mount point and empty layers.
//!
//! Shared by all keepers of a directory: each mounts on it in a mount namespace of its own.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use crate::error::{Doing as _, Result};

/// Where a root is mounted before it becomes the root.
pub(crate) const ROOT: &str = ".keeper/root";
/// Where generated files are mounted before each goes to its place.
pub(crate) const FILES: &str = ".keeper/files";
/// Layers of a root that has none: overlayfs wants two where nothing can be written, and refuses one twice.
pub(crate) const EMPTY: [&str; 2] = [".keeper/empty", ".keeper/empty-too"];

/// Makes what is missing.
pub(crate) fn prepare(directory: &OwnedFd) -> Result<()> {
    for path in [".keeper", ROOT, FILES, EMPTY[0], EMPTY[1]] {
        match mkdirat(directory, Path::new(path), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).doing(|| format!("make {path} in the keepers' directory")),
        }
    }
    Ok(())
}

//! The changes in an upper directory as a layer.
//!
//! The directory alone tells what changed: overlayfs copies up what is written and marks what is gone. Nothing below
//! is looked at, nothing is hashed, nothing is synced.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::emit::{Emitter, entries_reversed};
use super::layer::{self, OPAQUE, OPAQUE_WHITEOUT, WHITEOUT};
use crate::error::{Doing as _, Result};
use crate::requests::{DiffPlan, DiffReport, LinkedFiles};
use crate::rooted::rooted;

/// Overlayfs's other form of a whiteout: an attribute of an empty file.
const WHITEOUT_ATTRIBUTE: &str = "user.overlay.whiteout";

/// Writes the root that this process is in, an upper directory, as a layer.
pub(super) fn diff(plan: &DiffPlan, output: OwnedFd) -> Result<DiffReport> {
    let omit: BTreeSet<PathBuf> = plan.omit.iter().map(rooted).collect();
    let mut emitter = Emitter::new(output, None, plan.clamp_mtime, LinkedFiles::Once);
    let mut pending = entries_reversed(Path::new("/"))?;
    while let Some(path) = pending.pop() {
        let status = rustix::fs::lstat(&path).doing(|| format!("look at {}", path.display()))?;
        if is_omitted(&omit, &path, &status)? {
            continue;
        }
        let name = path.strip_prefix("/").unwrap_or(&path);
        if is_gone(&path, &status) {
            let folder = name.parent().unwrap_or(Path::new(""));
            let own = name.file_name().unwrap_or_default().as_bytes();
            let mark = folder.join(std::ffi::OsStr::from_bytes(&[WHITEOUT, own].concat()));
            emitter.mark(mark.as_os_str().as_bytes())?;
            continue;
        }
        emitter.file(&path, name.as_os_str().as_bytes(), &status)?;
        if is_directory(&status) {
            if attribute_is(&path, OPAQUE, b"y") {
                emitter.mark(
                    name.join(std::ffi::OsStr::from_bytes(OPAQUE_WHITEOUT))
                        .as_os_str()
                        .as_bytes(),
                )?;
            }
            pending.extend(entries_reversed(&path)?);
        }
    }
    emitter.finish()
}

fn is_directory(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::Directory
}

fn is_gone(path: &Path, status: &Stat) -> bool {
    let is_empty_file =
        FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size == 0;
    layer::is_whiteout(status) || (is_empty_file && attribute_exists(path, WHITEOUT_ATTRIBUTE))
}

fn attribute_is(path: &Path, name: &str, wanted: &[u8]) -> bool {
    let mut value = [0; 16];
    rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok_and(|length| value[..length] == *wanted)
}

fn attribute_exists(path: &Path, name: &str) -> bool {
    let mut value = [0; 16];
    rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok()
}

/// Whether a mount point that was made is still as it was: an empty file, or a directory with nothing but such. As
/// deep as the omitted paths go, since everything below must be omitted too.
fn is_omitted(omit: &BTreeSet<PathBuf>, path: &Path, status: &Stat) -> Result<bool> {
    if !omit.contains(path) {
        return Ok(false);
    }
    if !is_directory(status) {
        return Ok(FileType::from_raw_mode(status.st_mode) == FileType::RegularFile && status.st_size == 0);
    }
    for entry in entries_reversed(path)? {
        let status = rustix::fs::lstat(&entry).doing(|| format!("look at {}", entry.display()))?;
        if !is_omitted(omit, &entry, &status)? {
            return Ok(false);
        }
    }
    Ok(true)
}

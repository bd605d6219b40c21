//! A project's directory on the machine, for the shell executor: the same streams as in a pod, without a keeper.

use shipway_sandbox::FileKind;
use std::fs::{DirBuilder, File};
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Nobody else of the machine looks into a job's files.
const DIRECTORY_MODE: u32 = 0o700;
/// What others may not do with files that a stream brings: streams are written for containers, where everybody may.
const MASK: u32 = 0o022;

/// Makes a directory and those above it.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(directory)
}

/// Extracts a tar; nothing leaves the directory.
pub(super) fn extract(stream: OwnedFd, project: &Path) -> io::Result<()> {
    let mut archive = tar::Archive::new(BufReader::new(File::from(stream)));
    archive.set_mask(MASK);
    archive.unpack(project)?;
    // A writer must not meet a closed pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

/// Writes these paths, all of them existing, with names relative to the project.
pub(super) fn archive(project: &Path, paths: &[String], output: OwnedFd) -> io::Result<()> {
    let mut builder = tar::Builder::new(BufWriter::new(File::from(output)));
    builder.follow_symlinks(false);
    for path in paths {
        let full = project.join(path);
        if full.symlink_metadata()?.is_dir() {
            builder.append_dir_all(path, full)?;
        } else {
            builder.append_path_with_name(full, path)?;
        }
    }
    builder.into_inner()?.flush()
}

/// What is at each of these paths.
pub(super) fn kinds(project: &Path, paths: &[String]) -> Vec<Option<FileKind>> {
    let kind = |path: &String| {
        let found = project.join(path).symlink_metadata().ok()?.file_type();
        Some(if found.is_dir() {
            FileKind::Directory
        } else if found.is_file() {
            FileKind::File
        } else if found.is_symlink() {
            FileKind::Link
        } else {
            FileKind::Other
        })
    };
    paths.iter().map(kind).collect()
}

//! What a selection asks for of a directory on the machine, as a tar.
//!
//! A project on the machine holds what its user cannot or should not have read: files of another user, a socket, gigabytes
//! that no pattern names. So only directories that lead to something are looked into, and only files that are taken in
//! are opened. What is taken in and cannot be read is an error; a directory on the way that cannot be looked into has
//! nothing for anybody, as it is for gitlab-runner.

use super::machine::UntilStopped;
use crate::exact::Exact;
use crate::selection::Selection;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

const PIECE: usize = 256 * 1024;

/// Writes what is at and below these paths as far as the selection takes it in, with names relative to the project. What
/// is neither file, directory nor link is left out and returned.
pub(super) fn archive(
    project: &Path,
    paths: &[String],
    selection: &Selection,
    output: File,
    stop: &CancellationToken,
) -> io::Result<Vec<String>> {
    let mut walk = Walk {
        project,
        selection,
        stop,
        tar: tar::Builder::new(BufWriter::with_capacity(PIECE, output)),
        open: paths.iter().rev().map(PathBuf::from).collect(),
        left_out: Vec::new(),
    };
    while let Some(path) = walk.open.pop() {
        if stop.is_cancelled() {
            return Err(io::Error::other("the job was stopped"));
        }
        walk.visit(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    }
    walk.tar.into_inner()?.flush()?;
    Ok(walk.left_out)
}

struct Walk<'a> {
    project: &'a Path,
    selection: &'a Selection,
    stop: &'a CancellationToken,
    tar: tar::Builder<BufWriter<File>>,
    /// Still to be visited, the next one last; relative to the project.
    open: Vec<PathBuf>,
    left_out: Vec<String>,
}

impl Walk<'_> {
    fn visit(&mut self, path: &Path) -> io::Result<()> {
        let full = self.project.join(path);
        let metadata = match full.symlink_metadata() {
            Ok(metadata) => metadata,
            // Gone since its directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let name = path.to_string_lossy();
        let meant = self.selection.takes_in(&name);
        if metadata.is_dir() {
            return self.directory(path, &full, &metadata, meant);
        }
        if !meant {
            return Ok(());
        }
        let mut header = header(&metadata);
        if metadata.is_file() {
            return self.file(path, &full);
        }
        if metadata.is_symlink() {
            header.set_size(0);
            return self.tar.append_link(&mut header, path, fs::read_link(&full)?);
        }
        self.left_out.push(name.into_owned());
        Ok(())
    }

    fn directory(
        &mut self,
        path: &Path,
        full: &Path,
        metadata: &fs::Metadata,
        meant: bool,
    ) -> io::Result<()> {
        // The project's own directory is there already wherever this is extracted.
        if meant && !path.as_os_str().is_empty() {
            let mut header = header(metadata);
            header.set_size(0);
            self.tar.append_data(&mut header, path.join(""), io::empty())?;
        }
        if !self.selection.leads_below(&path.to_string_lossy()) {
            return Ok(());
        }
        let mut names = match fs::read_dir(full).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
            Ok(entries) => entries
                .into_iter()
                .map(|entry| path.join(entry.file_name()))
                .collect(),
            Err(_) if !meant => Vec::new(),
            Err(error) => return Err(error),
        };
        names.sort_by(|a: &PathBuf, b| b.cmp(a));
        self.open.append(&mut names);
        Ok(())
    }

    fn file(&mut self, path: &Path, full: &Path) -> io::Result<()> {
        // A pipe that has taken the file's place would be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(CWD, full, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it was replaced while it was read"));
        }
        let file = UntilStopped::new(file, self.stop.clone());
        let mut exact = Exact::new(file, metadata.len());
        self.tar.append_data(&mut header(&metadata), path, &mut exact)?;
        if exact.is_short() {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        Ok(())
    }
}

fn header(metadata: &fs::Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
    header
}

#[cfg(test)]
mod tests;

//! The tar that a work tree and its history travel in.
//!
//! Apart from what belongs to it ([`super::work_tree`]), because how it is written decides how long gigabytes take. A file
//! gets exactly the length that its head says: one that shrinks ends the archive with an error, what one grows by is cut.

use super::SourceError;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Contents are copied in pieces of this size.
const PIECE: usize = 256 * 1024;
/// What entries of a tar begin at multiples of.
const BLOCK: u64 = 512;

/// A tar of a tree in which everybody may write, as GitLab's helper leaves it (umask 0000, owner root).
pub(super) struct Archive<'a> {
    tar: tar::Builder<BufWriter<&'a mut dyn Write>>,
    files: u64,
    directories: HashSet<PathBuf>,
    piece: Vec<u8>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(into: &'a mut dyn Write) -> Self {
        let tar = tar::Builder::new(BufWriter::with_capacity(PIECE, into));
        Self {
            tar,
            files: 0,
            directories: HashSet::new(),
            piece: vec![0; PIECE],
        }
    }

    /// How many files and links of the work tree are in it.
    pub(super) fn files(&self) -> u64 {
        self.files
    }

    /// A directory, as old as `source` is.
    pub(super) fn directory(&mut self, source: &Path, path: &Path) -> Result<(), SourceError> {
        if !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        let modified =
            fs::metadata(source).map_or(0, |metadata| u64::try_from(metadata.mtime()).unwrap_or(0));
        let mut header = header(tar::EntryType::Directory, 0o777, 0, modified);
        let name = path.join("");
        self.tar
            .append_data(&mut header, name, io::empty())
            .map_err(handed_over)
    }

    fn parents(&mut self, root: &Path, path: &Path) -> Result<(), SourceError> {
        let mut parents: Vec<&Path> = path
            .ancestors()
            .skip(1)
            .filter(|p| !p.as_os_str().is_empty())
            .collect();
        parents.reverse();
        parents
            .into_iter()
            .try_for_each(|parent| self.directory(&root.join(parent), parent))
    }

    /// A tracked file; one that the user deleted is left out, which the status already told.
    pub(super) fn tracked(&mut self, root: &Path, path: &Path) -> Result<(), SourceError> {
        match fs::symlink_metadata(root.join(path)) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(metadata) => {
                self.parents(root, path)?;
                self.files += 1;
                self.entry(&root.join(path), path, &metadata)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(())
            }
            Err(source) => Err(SourceError::Read {
                path: path.display().to_string(),
                source,
            }),
        }
    }

    fn entry(&mut self, source: &Path, name: &Path, metadata: &fs::Metadata) -> Result<(), SourceError> {
        let unreadable = |source| SourceError::Read {
            path: name.display().to_string(),
            source,
        };
        let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
        if metadata.is_symlink() {
            let target = fs::read_link(source).map_err(unreadable)?;
            let mut header = header(tar::EntryType::Symlink, 0o777, 0, seconds);
            return self
                .tar
                .append_link(&mut header, name, target)
                .map_err(handed_over);
        }
        if !metadata.is_file() {
            return Ok(());
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        let mut header = header(
            tar::EntryType::Regular,
            if executable { 0o777 } else { 0o666 },
            metadata.len(),
            seconds,
        );
        let mut file = File::open(source).map_err(unreadable)?;
        // The head alone: the library would copy what is in the file in pieces of 8 KiB.
        self.tar
            .append_data(&mut header, name, io::empty())
            .map_err(handed_over)?;
        let mut left = metadata.len();
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            match file.read(&mut self.piece[..wanted]) {
                Ok(0) => {
                    return Err(SourceError::Changed {
                        path: name.display().to_string(),
                    });
                }
                Ok(length) => {
                    let into = self.tar.get_mut();
                    into.write_all(&self.piece[..length]).map_err(handed_over)?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
        let padding = metadata.len().next_multiple_of(BLOCK) - metadata.len();
        self.tar
            .get_mut()
            .write_all(&[0; BLOCK as usize][..padding as usize])
            .map_err(handed_over)
    }

    /// A whole directory, whatever is in it.
    pub(super) fn tree(&mut self, source: &Path, name: &Path) -> Result<(), SourceError> {
        let unreadable = |error| SourceError::Read {
            path: source.display().to_string(),
            source: error,
        };
        self.directory(source, name)?;
        let mut entries: Vec<_> = fs::read_dir(source)
            .map_err(unreadable)?
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            let metadata = fs::symlink_metadata(&path).map_err(unreadable)?;
            if metadata.is_dir() {
                self.tree(&path, &name)?;
            } else {
                self.entry(&path, &name, &metadata)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(), SourceError> {
        let mut into = self.tar.into_inner().map_err(handed_over)?;
        into.flush().map_err(handed_over)
    }
}

fn handed_over(source: io::Error) -> SourceError {
    SourceError::HandOver { source }
}

fn header(kind: tar::EntryType, mode: u32, size: u64, seconds: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(seconds);
    header
}

//! A tar being written out of entries of another.

use std::collections::HashSet;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// An archive being written, and the names that are in it.
pub(super) struct Copy<W: Write> {
    tar: tar::Builder<BufWriter<W>>,
    names: HashSet<PathBuf>,
}

impl<W: Write> Copy<W> {
    pub(super) fn new(into: W) -> Self {
        let tar = tar::Builder::new(BufWriter::with_capacity(256 * 1024, into));
        Self {
            tar,
            names: HashSet::new(),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.tar.into_inner()?.flush()
    }

    /// Directories above an entry, writable for everybody: the next job may run as another user.
    pub(super) fn parents(&mut self, name: &Path) -> io::Result<()> {
        let mut parents: Vec<&Path> = name
            .ancestors()
            .skip(1)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        parents.reverse();
        for parent in parents {
            if self.names.insert(parent.to_owned()) {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o777);
                header.set_size(0);
                self.tar.append_data(&mut header, parent.join(""), io::empty())?;
            }
        }
        Ok(())
    }

    /// Copies an entry under its name.
    pub(super) fn entry<R: Read>(&mut self, name: PathBuf, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let mut header = entry.header().clone();
        header.set_size(entry.size());
        match entry.link_name()?.map(|target| target.into_owned()) {
            Some(target) => self.tar.append_link(&mut header, &name, target)?,
            None => self.tar.append_data(&mut header, &name, entry)?,
        }
        self.names.insert(name);
        Ok(())
    }
}

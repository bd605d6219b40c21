//! A file system as a tar: owners by number, attributes as PAX has them, no names of users.

use std::io::{self, Read, Write};
use std::path::Path;

use super::error::ExportError;
use super::merge::Sink;
use super::rootfs::{Entry, Kind};

/// A tar under way.
pub(super) struct TarSink<W: Write> {
    tar: tar::Builder<W>,
    /// The time of every file, where somebody gave one.
    epoch: Option<i64>,
    /// Under which name the next file systems stand.
    prefix: String,
}

impl<W: Write> TarSink<W> {
    pub(super) fn new(output: W, epoch: Option<i64>) -> Self {
        Self {
            tar: tar::Builder::new(output),
            epoch,
            prefix: String::new(),
        }
    }

    /// Puts what follows under a directory of this name.
    pub(super) fn enter(&mut self, prefix: &str) -> io::Result<()> {
        prefix.clone_into(&mut self.prefix);
        let mut header = self.header(0o755, (0, 0), 0);
        header.set_entry_type(tar::EntryType::Directory);
        self.tar
            .append_data(&mut header, format!("{prefix}/"), io::empty())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.tar.finish()?;
        self.tar.get_mut().flush()
    }

    fn header(&self, mode: u32, owner: (u64, u64), modified: i64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_uid(owner.0);
        header.set_gid(owner.1);
        header.set_mtime(u64::try_from(self.epoch.unwrap_or(modified)).unwrap_or_default());
        header.set_size(0);
        header
    }

    fn append(&mut self, entry: &Entry, content: &mut dyn Read) -> io::Result<()> {
        if !entry.attributes.is_empty() {
            let names: Vec<(String, &[u8])> = entry
                .attributes
                .iter()
                .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()))
                .collect();
            self.tar
                .append_pax_extensions(names.iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        let mut header = self.header(entry.mode, entry.owner, entry.modified);
        let path = Path::new(&self.prefix).join(&entry.path);
        match &entry.kind {
            Kind::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                self.tar.append_data(&mut header, path.join(""), io::empty())
            }
            Kind::File => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(entry.size);
                self.tar.append_data(&mut header, path, content)
            }
            Kind::SymbolicLink(leads_to) => {
                header.set_entry_type(tar::EntryType::Symlink);
                self.tar.append_link(&mut header, path, leads_to)
            }
            Kind::HardLink(first) => {
                header.set_entry_type(tar::EntryType::Link);
                let first = Path::new(&self.prefix).join(first);
                self.tar.append_link(&mut header, path, first)
            }
            Kind::Fifo => {
                header.set_entry_type(tar::EntryType::Fifo);
                self.tar.append_data(&mut header, path, io::empty())
            }
            Kind::Device { block, major, minor } => {
                header.set_entry_type(if *block {
                    tar::EntryType::Block
                } else {
                    tar::EntryType::Char
                });
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                self.tar.append_data(&mut header, path, io::empty())
            }
        }
    }
}

impl<W: Write> Sink for TarSink<W> {
    fn take(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ExportError> {
        self.append(entry, content).map_err(|source| ExportError::Write {
            path: entry.path.clone(),
            source,
        })
    }
}

//! Where the files of an archive go: into a tar, or under a directory.
//!
//! The same bytes either way. A directory may hold a layout already: blobs that are there stay as they are, and a
//! document is replaced by a rename, so that a reader sees the old one or the new one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

/// Takes the files of an archive, each once, with paths of its own making.
pub trait Layout {
    /// A directory; one that is there is fine.
    ///
    /// # Errors
    /// When it cannot be made.
    fn directory(&mut self, path: &str) -> io::Result<()>;

    /// A file of that many bytes, whose name is their digest.
    ///
    /// # Errors
    /// When it cannot be written, or the content cannot be read or is shorter.
    fn blob(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()>;

    /// A document at the top.
    ///
    /// # Errors
    /// When it cannot be written.
    fn document(&mut self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// A document of the top that somebody wrote before.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn existing(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// Says that this was all.
    ///
    /// # Errors
    /// When what is left cannot be written.
    fn finish(&mut self) -> io::Result<()>;
}

/// A tar. Times and owners are fixed, so that the same images give the same archive.
pub struct TarLayout<W: Write> {
    tar: Builder<W>,
}

impl<W: Write> TarLayout<W> {
    /// Writes into `output`.
    pub fn new(output: W) -> Self {
        Self {
            tar: Builder::new(output),
        }
    }

    fn append(&mut self, kind: EntryType, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Directory {
            0o755
        } else {
            0o644
        });
        header.set_mtime(0);
        self.tar.append_data(&mut header, path, content)
    }
}

impl<W: Write> Layout for TarLayout<W> {
    fn directory(&mut self, path: &str) -> io::Result<()> {
        self.append(EntryType::Directory, &format!("{path}/"), 0, &mut io::empty())
    }

    fn blob(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        self.append(EntryType::Regular, path, size, content)
    }

    fn document(&mut self, path: &str, mut bytes: &[u8]) -> io::Result<()> {
        self.append(EntryType::Regular, path, bytes.len() as u64, &mut bytes)
    }

    fn existing(&self, _path: &str) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.tar.finish()?;
        self.tar.get_mut().flush()
    }
}

/// A directory.
pub struct DirectoryLayout {
    root: PathBuf,
}

/// What the name of a file under way begins with: that of no digest and no document does.
const PARTIAL: &str = ".partial-";
/// The longest index that is taken over.
const MOST_EXISTING: u64 = 4 << 20;

impl DirectoryLayout {
    /// Writes under `root`, which is made when it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Whole under its name, or not there. Under a name of its own until then: another writer may be at the same file.
    fn write(&self, path: &str, content: &mut dyn Read) -> io::Result<u64> {
        let whole = self.root.join(path);
        let mut partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(whole.parent().unwrap_or(&self.root))?;
        let written = io::copy(content, &mut partial)?;
        partial.persist(&whole).map_err(|error| error.error)?;
        Ok(written)
    }
}

impl Layout for DirectoryLayout {
    fn directory(&mut self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    fn blob(&mut self, path: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let there = fs::symlink_metadata(self.root.join(path));
        if there.is_ok_and(|there| there.is_file() && there.len() == size) {
            return Ok(());
        }
        if self.write(path, content)? == size {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn document(&mut self, path: &str, mut bytes: &[u8]) -> io::Result<()> {
        self.write(path, &mut bytes).map(drop)
    }

    fn existing(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(MOST_EXISTING).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

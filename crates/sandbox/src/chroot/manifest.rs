//! What was in a tree at a moment: each path with the number of its inode and the time of its last change.
//!
//! That time cannot be set by anybody, and is of everything that a layer records: contents, owner, mode, attributes, links. So what has
//! the number and the time that it had under its path is what it was. The clock behind it ticks slowly, on older kernels a few
//! milliseconds: what happens in the tick of a list's own making could leave no trace, so a list is only used when the clock has gone
//! on (git does the same with its index).
//!
//! Lists are written and read from beginning to end in the order of a walk, so that they need no memory.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::time::{ClockId, clock_gettime};

use crate::error::{Doing as _, KeeperError, Result};
use crate::stack::sorted_names;

/// The state of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) inode: u64,
    /// Seconds and nanoseconds.
    pub(super) changed: (i64, i64),
}

impl Mark {
    pub(super) fn of(status: &Stat) -> Self {
        Self {
            inode: status.st_ino,
            changed: (status.st_ctime, status.st_ctime_nsec as i64),
        }
    }
}

/// A list being written.
pub(super) struct Writer {
    file: BufWriter<File>,
    newest: (i64, i64),
}

impl Writer {
    pub(super) fn create(directory: &OwnedFd, name: &str) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o600))
            .doing(|| "make the list of a tree".into())?;
        Ok(Self {
            file: BufWriter::with_capacity(256 * 1024, File::from(file)),
            newest: (0, 0),
        })
    }

    pub(super) fn add(&mut self, path: &Path, mark: Mark) -> Result<()> {
        let path = path.as_os_str().as_bytes();
        let length = u32::try_from(path.len()).unwrap_or(u32::MAX);
        self.newest = self.newest.max(mark.changed);
        let mut record = Vec::with_capacity(path.len() + 28);
        record.extend_from_slice(&length.to_ne_bytes());
        record.extend_from_slice(path);
        record.extend_from_slice(&mark.inode.to_ne_bytes());
        record.extend_from_slice(&mark.changed.0.to_ne_bytes());
        record.extend_from_slice(&mark.changed.1.to_ne_bytes());
        self.file
            .write_all(&record)
            .doing(|| "write the list of a tree".into())
    }

    /// Ends the list, and waits until whatever changes from now on has a later time than all that is in it.
    pub(super) fn finish(mut self) -> Result<()> {
        self.file.flush().doing(|| "write the list of a tree".into())?;
        wait_beyond(self.newest);
        Ok(())
    }
}

/// Waits until whatever changes from now on has a later time than this one.
pub(super) fn wait_beyond(newest: (i64, i64)) {
    loop {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        // Of a clock that was set back nobody knows when it is there again; times then differ anyway.
        if (now.tv_sec, now.tv_nsec) > newest || now.tv_sec + 1 < newest.0 {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A list being read.
pub(super) struct Reader {
    file: BufReader<File>,
    next: Option<(Vec<u8>, Mark)>,
}

impl Reader {
    pub(super) fn open(directory: &OwnedFd, name: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())
            .doing(|| "read the list of a tree".into())?;
        let mut reader = Self {
            file: BufReader::with_capacity(256 * 1024, File::from(file)),
            next: None,
        };
        reader.advance()?;
        Ok(reader)
    }

    /// What was at `path`. Paths are asked for in the order of a walk.
    pub(super) fn find(&mut self, path: &Path) -> Result<Option<Mark>> {
        while let Some((listed, mark)) = &self.next {
            match in_walk(listed, path.as_os_str().as_bytes()) {
                Ordering::Less => self.advance()?,
                Ordering::Equal => return Ok(Some(*mark)),
                Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Result<()> {
        let mut length = [0; 4];
        let action = || "read the list of a tree".to_owned();
        self.next = match self.file.read(&mut length[..1]).doing(action)? {
            0 => None,
            _ => {
                self.file.read_exact(&mut length[1..]).doing(action)?;
                let length = usize::try_from(u32::from_ne_bytes(length)).map_err(|_| broken())?;
                let mut path = vec![0; length];
                self.file.read_exact(&mut path).doing(action)?;
                let mut numbers = [[0; 8]; 3];
                for number in &mut numbers {
                    self.file.read_exact(number).doing(action)?;
                }
                let [inode, seconds, nanoseconds] = numbers;
                let mark = Mark {
                    inode: u64::from_ne_bytes(inode),
                    changed: (i64::from_ne_bytes(seconds), i64::from_ne_bytes(nanoseconds)),
                };
                Some((path, mark))
            }
        };
        Ok(())
    }
}

fn broken() -> KeeperError {
    KeeperError::Message {
        reason: "the list of a tree is broken".into(),
    }
}

/// Which of two paths a walk comes to first: a directory before what is in it, names by their bytes.
fn in_walk(one: &[u8], other: &[u8]) -> Ordering {
    let names = |path| <[u8]>::split(path, |byte: &u8| *byte == b'/');
    names(one).cmp(names(other))
}

/// Writes the list of all that is in a tree now.
pub(super) fn write(root: &OwnedFd, directory: &OwnedFd, name: &str) -> Result<()> {
    let mut writer = Writer::create(directory, name)?;
    walk(root, Path::new(""), &mut |path, status| {
        writer.add(path, Mark::of(status))
    })?;
    writer.finish()
}

fn walk(directory: &OwnedFd, path: &Path, visit: &mut impl FnMut(&Path, &Stat) -> Result<()>) -> Result<()> {
    let action = || format!("look at {} of a tree", path.display());
    for name in sorted_names(directory).doing(action)? {
        let path = path.join(&name);
        let action = || format!("look at {} of a tree", path.display());
        let status = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW).doing(action)?;
        visit(&path, &status)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            walk(&open_directory(directory, &name).doing(action)?, &path, visit)?;
        }
    }
    Ok(())
}

/// Opens a directory of a tree.
pub(super) fn open_directory(
    parent: &OwnedFd,
    name: &OsStr,
) -> std::result::Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_in_the_order_of_a_walk() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        for path in ["a/x", "a.b", "a/y/z", "b"] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let home = rustix::fs::open(home.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let tree = open_directory(&home, OsStr::new("root")).unwrap();
        write(&tree, &home, "list").unwrap();
        let mut list = Reader::open(&home, "list").unwrap();
        let mut seen = Vec::new();
        walk(&tree, Path::new(""), &mut |path, status| {
            assert_eq!(
                list.find(path).unwrap(),
                Some(Mark::of(status)),
                "{}",
                path.display()
            );
            seen.push(path.display().to_string());
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, ["a", "a/x", "a/y", "a/y/z", "a.b", "b"]);

        let mut list = Reader::open(&home, "list").unwrap();
        assert_eq!(list.find(Path::new("a/none")).unwrap(), None);
        assert!(list.find(Path::new("a/x")).unwrap().is_some());
        assert!(list.find(Path::new("b")).unwrap().is_some());
        assert_eq!(list.find(Path::new("c")).unwrap(), None);
    }

    #[test]
    fn what_changes_after_a_list_has_another_time() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("root/file");
        std::fs::create_dir(home.path().join("root")).unwrap();
        std::fs::write(&file, "one").unwrap();
        let opened = rustix::fs::open(home.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let tree = open_directory(&opened, OsStr::new("root")).unwrap();
        for _ in 0..20 {
            write(&tree, &opened, "list").unwrap();
            std::fs::write(&file, "two").unwrap();
            let now = Mark::of(&rustix::fs::stat(&file).unwrap());
            let mut list = Reader::open(&opened, "list").unwrap();
            assert_ne!(list.find(Path::new("file")).unwrap(), Some(now));
        }
    }
}

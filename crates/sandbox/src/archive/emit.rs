//! Files of the root that this process stands in, as entries of a tar.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, Stat};

use super::attributes;
use super::writer::{Head, Letter, Writer};
use crate::error::{Doing as _, KeeperError, Result};
use crate::owners::Owners;
use crate::requests::{ArchiveReport, LinkedFiles};
use crate::rooted::from_here;

const PIECE: usize = 256 * 1024;
/// A path below is refused rather than walked: no archive reader takes longer ones.
const LONGEST: usize = 4095;

/// A tar that files go into.
pub(super) struct Emitter {
    writer: Writer<BufWriter<File>>,
    owners: Owners,
    owner: Option<(u32, u32)>,
    clamp_mtime: Option<i64>,
    linked: LinkedFiles,
    /// Names of files with several links, by what they are.
    links: HashMap<(u64, u64), Vec<u8>>,
    report: ArchiveReport,
    piece: Vec<u8>,
}

impl Emitter {
    pub(super) fn new(
        output: OwnedFd,
        owners: Owners,
        owner: Option<(u32, u32)>,
        clamp_mtime: Option<i64>,
        linked: LinkedFiles,
    ) -> Self {
        let writer = Writer::new(BufWriter::with_capacity(PIECE, File::from(output)));
        let report = ArchiveReport::default();
        Self {
            writer,
            owners,
            owner,
            clamp_mtime,
            linked,
            links: HashMap::new(),
            report,
            piece: vec![0; PIECE],
        }
    }

    pub(super) fn finish(self) -> Result<ArchiveReport> {
        self.writer.finish()?;
        Ok(self.report)
    }

    fn clamped(&self, mtime: i64) -> i64 {
        self.clamp_mtime.map_or(mtime, |latest| mtime.min(latest))
    }

    /// An empty file that stands for something: a whiteout.
    pub(super) fn mark(&mut self, name: &[u8]) -> Result<()> {
        let head = Head {
            name,
            letter: Letter::File,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: self.clamp_mtime.unwrap_or(0),
            link: b"",
            device: (0, 0),
            attributes: Vec::new(),
        };
        self.report.entries += 1;
        self.writer.head(&head)
    }

    /// The file at `path`, in which no link is on the way, under the name `name`; sockets become nothing.
    pub(super) fn file(&mut self, path: &Path, name: &[u8], status: &Stat) -> Result<()> {
        let action = || format!("read {}", path.display());
        let letter = match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => Letter::File,
            FileType::Directory => Letter::Directory,
            FileType::Symlink => Letter::SymbolicLink,
            FileType::Fifo => Letter::Fifo,
            FileType::CharacterDevice => Letter::Character,
            FileType::BlockDevice => Letter::Block,
            FileType::Socket | FileType::Unknown => return Ok(()),
        };
        let (uid, gid) = self.owner.unwrap_or((status.st_uid, status.st_gid));
        let mut head = Head {
            name,
            letter,
            mode: status.st_mode & 0o7777,
            uid,
            gid,
            size: 0,
            mtime: self.clamped(status.st_mtime),
            link: b"",
            device: (0, 0),
            attributes: Vec::new(),
        };
        let directory_name;
        let target;
        match letter {
            Letter::Directory => {
                directory_name = [name, b"/"].concat();
                head.name = &directory_name;
                head.attributes = attributes::of_path(from_here(path), &self.owners).doing(action)?;
            }
            Letter::SymbolicLink => {
                target = rustix::fs::readlinkat(CWD, from_here(path), Vec::new()).doing(action)?;
                head.link = target.as_bytes();
                head.mode = 0o777;
            }
            Letter::Character | Letter::Block => {
                head.device = (
                    rustix::fs::major(status.st_rdev),
                    rustix::fs::minor(status.st_rdev),
                );
            }
            Letter::File => return self.regular(path, head, status),
            Letter::HardLink | Letter::Fifo => {}
        }
        self.report.entries += 1;
        self.writer.head(&head)
    }

    fn regular(&mut self, path: &Path, mut head: Head<'_>, status: &Stat) -> Result<()> {
        let action = || format!("read {}", path.display());
        if status.st_nlink > 1 && self.linked == LinkedFiles::Once {
            let identity = (status.st_dev, status.st_ino);
            if let Some(first) = self.links.get(&identity) {
                self.report.entries += 1;
                return self.writer.head(&Head {
                    letter: Letter::HardLink,
                    link: first,
                    ..head
                });
            }
            self.links.insert(identity, head.name.to_vec());
        }
        head.attributes = attributes::of_path(from_here(path), &self.owners).doing(action)?;
        head.size = u64::try_from(status.st_size).unwrap_or(0);
        // Without waiting, should a pipe have taken the file's place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(from_here(path), flags, Mode::empty()).doing(action)?);
        self.report.entries += 1;
        self.writer.head(&head)?;
        self.contents(path, &mut file, head.size)?;
        self.report.bytes += head.size;
        self.writer.padding(head.size)
    }

    /// Exactly `size` bytes, which the header has promised: a file that is being written may have more or fewer.
    fn contents(&mut self, path: &Path, file: &mut File, size: u64) -> Result<()> {
        let mut left = size;
        while left > 0 {
            let wanted = self.piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let mut length = file
                .read(&mut self.piece[..wanted])
                .doing(|| format!("read {}", path.display()))?;
            if length == 0 {
                self.piece[..wanted].fill(0);
                length = wanted;
            }
            self.writer.bytes(&self.piece[..length])?;
            left -= length as u64;
        }
        Ok(())
    }
}

/// What is in a directory, last first: to be pushed on a stack that the first is to be popped from.
pub(super) fn entries_reversed(directory: &Path) -> Result<Vec<PathBuf>> {
    let action = || format!("list {}", directory.display());
    if directory.as_os_str().len() > LONGEST - 256 {
        return Err(KeeperError::Path {
            path: directory.into(),
            reason: "is nested too deeply for an archive".into(),
        });
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(from_here(directory), flags, Mode::empty()).doing(action)?;
    let mut names = Vec::new();
    for entry in Dir::new(opened).doing(action)? {
        let entry = entry.doing(action)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name.to_vec()));
        }
    }
    names.sort_unstable_by(|one, other| other.as_bytes().cmp(one.as_bytes()));
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

//! The tar of files that lie in no directory, made while it is read.

use std::collections::btree_map::Iter;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use shipway_sandbox::{ARCHIVE_END, PlacedEntry, PlacedKind, padding};

use super::{Content, Placed};
use crate::context::{ContextError, View};
use crate::error::StepError;

/// Bytes that are made already.
#[derive(Default)]
struct Ready {
    bytes: Vec<u8>,
    at: usize,
}

/// A file being read.
struct Open<'a> {
    view: &'a View,
    path: &'a Path,
    reader: Box<dyn Read + 'a>,
    hasher: blake3::Hasher,
    size: u64,
    left: u64,
}

/// A tar being read. What goes wrong with a file is told by [`Tar::failure`]; the reader only learns that something did.
pub(in crate::solve) struct Tar<'a> {
    entries: Iter<'a, PathBuf, Placed>,
    epoch: i64,
    ready: Ready,
    file: Option<Open<'a>>,
    has_ended: bool,
    failure: Option<StepError>,
}

impl<'a> Tar<'a> {
    pub(super) fn new(entries: Iter<'a, PathBuf, Placed>, epoch: i64) -> Self {
        Self {
            entries,
            epoch,
            ready: Ready::default(),
            file: None,
            has_ended: false,
            failure: None,
        }
    }

    /// Why reading failed, once.
    pub(in crate::solve) fn failure(&mut self) -> Option<StepError> {
        self.failure.take()
    }

    /// Makes the next entry ready to be read; at the end, nothing.
    fn next_entry(&mut self) -> Result<(), StepError> {
        let Some((path, placed)) = self.entries.next() else {
            if !std::mem::replace(&mut self.has_ended, true) {
                self.ready = Ready::of(ARCHIVE_END.to_vec());
            }
            return Ok(());
        };
        let kind = match &placed.content {
            Content::Directory => PlacedKind::Directory,
            Content::Link(target) => PlacedKind::Link(target.as_os_str().as_bytes()),
            Content::File { size, .. } => PlacedKind::File(*size),
            Content::Bytes(bytes) => PlacedKind::File(bytes.len() as u64),
        };
        let entry = PlacedEntry {
            name: path.as_os_str().as_bytes(),
            kind,
            mode: placed.mode,
            owner: placed.owner,
            mtime: self.epoch,
        };
        let mut bytes = entry.headers().map_err(|source| StepError::Keeper {
            action: "write the files of the step",
            source,
        })?;
        match &placed.content {
            Content::File { view, from, size } => {
                self.file = Some(Open {
                    view,
                    path: from,
                    reader: view.open(from).map_err(|source| StepError::Context { source })?,
                    hasher: blake3::Hasher::new(),
                    size: *size,
                    left: *size,
                });
            }
            Content::Bytes(content) => {
                bytes.extend_from_slice(content);
                bytes.extend_from_slice(padding(content.len() as u64));
            }
            Content::Directory | Content::Link(_) => {}
        }
        self.ready = Ready::of(bytes);
        Ok(())
    }

    fn step(&mut self, buffer: &mut [u8]) -> Result<usize, StepError> {
        loop {
            let taken = self.ready.take(buffer);
            if taken > 0 {
                return Ok(taken);
            }
            match &mut self.file {
                Some(file) if file.left > 0 => return file.read(buffer),
                Some(file) => {
                    file.check()?;
                    self.ready = Ready::of(padding(file.size).to_vec());
                    self.file = None;
                }
                None if self.has_ended => return Ok(0),
                None => self.next_entry()?,
            }
        }
    }
}

impl Read for Tar<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.step(buffer).map_err(|failure| {
            self.failure = Some(failure);
            io::Error::other("a file of the step cannot be read")
        })
    }
}

impl Ready {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.bytes[self.at..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.at += length;
        length
    }
}

impl Open<'_> {
    fn changed(&self) -> StepError {
        StepError::Context {
            source: self.view.changed(self.path),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StepError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = loop {
            match self.reader.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|source| StepError::Context {
            source: ContextError::Read {
                path: self.path.to_owned(),
                source,
            },
        })?;
        if read == 0 {
            return Err(self.changed());
        }
        self.hasher.update(&buffer[..read]);
        self.left -= read as u64;
        Ok(read)
    }

    /// The key was made of this hash; another content under it would poison the cache.
    fn check(&self) -> Result<(), StepError> {
        let known = self.view.content_hash(self.path);
        let known = known.map_err(|source| StepError::Context { source })?;
        if *self.hasher.finalize().as_bytes() == known {
            Ok(())
        } else {
            Err(self.changed())
        }
    }
}

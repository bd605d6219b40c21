//! How much of a disk is written for somebody: blobs, and files without a name that a process holds for them.
//!
//! Apart because such bytes lie among everybody's, or nowhere that could be looked at: only who writes them knows for whom.
//!
//! Contract under failure: what is dropped before it is kept does not count, and neither does what was there already.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FallocateFlags;

/// Counts what is written for somebody. Clones count together.
#[derive(Debug, Clone)]
pub struct Meter(Option<Arc<Counts>>);

impl Default for Meter {
    fn default() -> Self {
        Self(Some(Arc::default()))
    }
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    files: AtomicU64,
}

impl Meter {
    /// One that stands at nothing, for who is not to be judged by what is written for them.
    pub fn still() -> Self {
        Self(None)
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        let counts = self.0.as_ref();
        counts.map_or(0, |counts| counts.bytes.load(Ordering::Relaxed))
    }

    /// Files and directories so far.
    pub fn files(&self) -> u64 {
        let counts = self.0.as_ref();
        counts.map_or(0, |counts| counts.files.load(Ordering::Relaxed))
    }

    /// Counts what is written already, and stays.
    pub fn add(&self, bytes: u64, files: u64) {
        if let Some(counts) = &self.0 {
            counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            counts.files.fetch_add(files, Ordering::Relaxed);
        }
    }

    fn take_back(&self, bytes: u64, files: u64) {
        if let Some(counts) = &self.0 {
            counts.bytes.fetch_sub(bytes, Ordering::Relaxed);
            counts.files.fetch_sub(files, Ordering::Relaxed);
        }
    }

    /// Begins to count a file.
    pub fn share(&self) -> MeterShare {
        self.add(0, 1);
        MeterShare {
            meter: self.clone(),
            bytes: AtomicU64::new(0),
        }
    }
}

/// What one file adds to a meter; dropped, the file counts no more.
#[derive(Debug)]
pub struct MeterShare {
    meter: Meter,
    bytes: AtomicU64,
}

impl MeterShare {
    /// So many bytes more.
    pub fn grow(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.meter.add(bytes, 0);
    }

    /// So many bytes less.
    fn shrink(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.meter.take_back(bytes, 0);
    }

    /// The file stays.
    pub fn keep(mut self) {
        *self.bytes.get_mut() = 0;
        self.meter.add(0, 1);
    }
}

impl Drop for MeterShare {
    fn drop(&mut self) {
        self.meter.take_back(*self.bytes.get_mut(), 1);
    }
}

/// A file that counts while it is open.
#[derive(Debug)]
pub struct MeteredFile {
    file: File,
    share: MeterShare,
}

impl MeteredFile {
    /// An empty file.
    pub fn new(file: File, meter: &Meter) -> Self {
        Self {
            file,
            share: meter.share(),
        }
    }

    /// Writes all at a place of the file, which is counted as if it were behind everything else.
    ///
    /// # Errors
    /// When the disk refuses it; what was written by then is not counted.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.share.grow(bytes.len() as u64);
        Ok(())
    }

    /// Gives a part of the file back to the disk, where the file system can do that; it reads as zeroes.
    ///
    /// # Errors
    /// When it cannot.
    pub fn give_back(&self, from: u64, to: u64) -> io::Result<()> {
        let length = to.saturating_sub(from);
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(&self.file, hole, from, length)?;
        self.share.shrink(length);
        Ok(())
    }

    /// For everything but writing.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Write for MeteredFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.share.grow(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_counts_no_more_and_what_is_kept_does() {
        let meter = Meter::default();
        let (dropped, kept) = (meter.share(), meter.share());
        dropped.grow(7);
        kept.grow(5);
        assert_eq!((meter.bytes(), meter.files()), (12, 2));
        drop(dropped);
        kept.keep();
        assert_eq!((meter.bytes(), meter.files()), (5, 1));

        let mut file = MeteredFile::new(tempfile::tempfile().unwrap(), &meter);
        file.write_all(b"abc").unwrap();
        assert_eq!((meter.bytes(), meter.files()), (8, 2));
        file.give_back(0, 2).unwrap();
        assert_eq!((meter.bytes(), meter.files()), (6, 2));
        drop(file);
        assert_eq!((meter.bytes(), meter.files()), (5, 1));

        let still = Meter::still();
        still.share().grow(7);
        still.add(7, 7);
        assert_eq!((still.bytes(), still.files()), (0, 0));
    }
}

//! A bound on what the headers of a foreign archive may take.
//!
//! The tar reader takes a long name, the records of PAX and the map of a sparse file into memory whatever their size, and
//! compression makes gigabytes of them from little. It reads them between two entries, so what is read then is counted;
//! contents are not. That holds whatever a header says of sizes, because nothing here reads headers.
//!
//! Who reads an entry says so, and has its rest read before the next one: what the reader skips would count.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// Headers of one entry: far above any name and its attributes.
const MOST_BYTES: u64 = 1 << 20;

/// The bytes of an archive; see the module.
pub(crate) struct BoundedHeaders<R> {
    inner: R,
    phase: Rc<Cell<Phase>>,
}

/// Says what is read.
#[derive(Clone)]
pub(crate) struct HeaderBound(Rc<Cell<Phase>>);

#[derive(Clone, Copy)]
enum Phase {
    /// ## Headers => Contents when an entry was found.
    Headers { left: u64 },
    /// ## Contents => Headers when it was read.
    Contents,
}

const HEADERS: Phase = Phase::Headers { left: MOST_BYTES };

impl<R: Read> BoundedHeaders<R> {
    pub(crate) fn new(inner: R) -> (Self, HeaderBound) {
        let phase = Rc::new(Cell::new(HEADERS));
        let bound = HeaderBound(Rc::clone(&phase));
        (Self { inner, phase }, bound)
    }
}

impl HeaderBound {
    /// An entry was found: what is read next is what it contains.
    pub(crate) fn contents(&self) {
        self.0.set(Phase::Contents);
    }

    /// Reads what is left of an entry; headers follow.
    pub(crate) fn headers(&self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        io::copy(entry, &mut io::sink())?;
        self.0.set(HEADERS);
        Ok(())
    }
}

impl<R: Read> Read for BoundedHeaders<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Phase::Headers { left } = self.phase.get() else {
            return self.inner.read(buffer);
        };
        if left == 0 {
            return Err(io::Error::other(format!(
                "the headers of one entry take more than {MOST_BYTES} bytes"
            )));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.phase.set(Phase::Headers {
            left: left - read as u64,
        });
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::{BoundedHeaders, MOST_BYTES};
    use std::io::{self, Read};

    /// How many entries are read, and how many bytes it took.
    fn read(archive: impl Read) -> (io::Result<usize>, u64) {
        let mut taken = 0;
        let counted = Counting {
            inner: archive,
            taken: &mut taken,
        };
        let (bounded, bound) = BoundedHeaders::new(counted);
        let mut archive = tar::Archive::new(bounded);
        let entries = (|| {
            let mut entries = 0;
            for entry in archive.entries()? {
                bound.contents();
                bound.headers(&mut entry?)?;
                entries += 1;
            }
            Ok(entries)
        })();
        drop(archive);
        (entries, taken)
    }

    struct Counting<'a, R> {
        inner: R,
        taken: &'a mut u64,
    }

    impl<R: Read> Read for Counting<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.inner.read(buffer)?;
            *self.taken += read as u64;
            Ok(read)
        }
    }

    fn header(kind: u8, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn names_and_records_without_end_are_refused_early() {
        for kind in [b'L', b'K', b'x'] {
            let endless = io::Cursor::new(header(kind, 1 << 40)).chain(io::repeat(b'a'));
            let (entries, taken) = read(endless);
            assert!(entries.unwrap_err().to_string().contains("more than"));
            assert!(taken <= MOST_BYTES + 512, "{taken}");
        }
        let many: Vec<u8> = [header(b'x', 0), header(b'L', 0)].concat().repeat(2000);
        assert!(read(&many[..]).0.is_err());
    }

    #[test]
    fn contents_count_for_nothing() {
        let mut builder = tar::Builder::new(Vec::new());
        for name in ["a".repeat(3000), "b".to_owned()] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3 * MOST_BYTES);
            builder
                .append_data(&mut header, name, io::repeat(b'x').take(3 * MOST_BYTES))
                .unwrap();
        }
        let archive = builder.into_inner().unwrap();
        assert_eq!(read(&archive[..]).0.unwrap(), 2);
    }
}

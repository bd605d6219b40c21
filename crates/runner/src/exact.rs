//! Files as tars want them: with exactly the length that their header says, whatever happens to them meanwhile.
//!
//! What is appended to a file while it is read is left out. One that becomes shorter ends early, and says so: the archive
//! is broken then, and whoever writes it has to give it up.

use std::io::{self, Read};

/// A file that is read up to a length.
pub(crate) struct Exact<R> {
    from: R,
    left: u64,
    short: bool,
}

impl<R: Read> Exact<R> {
    /// Reads `length` bytes.
    pub(crate) fn new(from: R, length: u64) -> Self {
        Self {
            from,
            left: length,
            short: false,
        }
    }

    /// Whether the file ended before.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }
}

impl<R: Read> Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.from.read(&mut buffer[..wanted])?;
        self.short |= read == 0 && wanted > 0;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::Exact;
    use std::io::Read as _;

    #[test]
    fn what_is_more_is_left_out_and_what_is_less_is_said() {
        let read = |length| {
            let (mut exact, mut bytes) = (Exact::new(&b"1234"[..], length), Vec::new());
            exact.read_to_end(&mut bytes).unwrap();
            (bytes.len(), exact.is_short())
        };
        assert_eq!([read(3), read(4), read(5)], [(3, false), (4, false), (4, true)]);
    }
}

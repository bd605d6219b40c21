//! A layer's tar on its way to the compressor, looked at while it passes by.

use std::io::{self, Read};

use shipway_attest::LayerScanner;

/// A reader whose bytes a scanner sees as well, if there is one.
pub(crate) struct Tapped<'a, R> {
    inner: R,
    scanner: Option<&'a mut LayerScanner>,
}

impl<'a, R> Tapped<'a, R> {
    pub(crate) fn new(inner: R, scanner: Option<&'a mut LayerScanner>) -> Self {
        Self { inner, scanner }
    }
}

impl<R: Read> Read for Tapped<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(scanner) = &mut self.scanner {
            scanner.push(&buffer[..read]);
        }
        Ok(read)
    }
}

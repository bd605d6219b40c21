//! Reading *is* verifying: bytes that pass through here are counted and hashed, and the end of the data is an error
//! when they were not the promised ones. Whoever reads to the end cannot forget to check.

use std::io::{self, Read};

use crate::{Digest, Hasher};

/// Bytes were not what their descriptor promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Another hash came out.
    #[error("the data of {expected} has the digest {found}: it was damaged or exchanged on its way")]
    WrongDigest {
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// There is less than promised.
    #[error("the data of {digest} ends after {found} of {expected} bytes: it was cut off on its way")]
    TooShort {
        /// What was promised.
        digest: Digest,
        /// The size promised.
        expected: u64,
        /// The size that came.
        found: u64,
    },
    /// There is more than promised.
    #[error("the data of {digest} is longer than the {expected} bytes promised")]
    TooLong {
        /// What was promised.
        digest: Digest,
        /// The size promised.
        expected: u64,
    },
}

impl From<VerifyError> for io::Error {
    fn from(error: VerifyError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The push form of [`VerifyingReader`], for callers that are handed chunks.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Digest,
    size: Option<u64>,
    seen: u64,
    hasher: Hasher,
}

impl Verifier {
    /// Expects the bytes of a digest, and exactly `size` of them if that is known.
    pub fn new(expected: Digest, size: Option<u64>) -> Self {
        let hasher = Hasher::new(expected.algorithm());
        Self {
            expected,
            size,
            seen: 0,
            hasher,
        }
    }

    /// How many bytes came so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Takes in the next bytes; too many are an error at once, before anybody stores them.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        let seen = self.seen.saturating_add(bytes.len() as u64);
        if let Some(expected) = self.size
            && seen > expected
        {
            return Err(VerifyError::TooLong {
                digest: self.expected.clone(),
                expected,
            });
        }
        self.seen = seen;
        self.hasher.update(bytes);
        Ok(())
    }

    /// The end of the data.
    pub fn finish(self) -> Result<(), VerifyError> {
        if let Some(expected) = self.size
            && self.seen < expected
        {
            return Err(VerifyError::TooShort {
                digest: self.expected,
                expected,
                found: self.seen,
            });
        }
        let found = self.hasher.finish();
        if found == self.expected {
            Ok(())
        } else {
            Err(VerifyError::WrongDigest {
                expected: self.expected,
                found,
            })
        }
    }
}

/// A reader whose end is an error unless the data was the promised one.
///
/// The error is an [`io::Error`] of kind `InvalidData` that holds a [`VerifyError`]. It comes again at every later read.
#[derive(Debug)]
pub struct VerifyingReader<R: Read> {
    reader: R,
    phase: Phase,
}

/// Where a reader stands.
#[derive(Debug)]
enum Phase {
    /// Bytes may still come.
    ///   ## Reading => Verified (end of data, all as promised)
    ///   ## Reading => Failed
    Reading(Box<Verifier>),
    /// The end came and all was right.
    Verified,
    /// Something was wrong.
    Failed(VerifyError),
}

impl<R: Read> VerifyingReader<R> {
    /// Reads the bytes of a digest, and exactly `size` of them if that is known.
    pub fn new(reader: R, expected: Digest, size: Option<u64>) -> Self {
        Self {
            reader,
            phase: Phase::Reading(Box::new(Verifier::new(expected, size))),
        }
    }

    /// Gives the reader back.
    pub fn into_inner(self) -> R {
        self.reader
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let verifier = match &mut self.phase {
            Phase::Reading(verifier) => verifier,
            Phase::Verified => return Ok(0),
            Phase::Failed(error) => return Err(error.clone().into()),
        };
        if buffer.is_empty() {
            return Ok(0);
        }
        let length = self.reader.read(buffer)?;
        let outcome = if length == 0 {
            verifier
                .as_ref()
                .clone()
                .finish()
                .map(|()| self.phase = Phase::Verified)
        } else {
            verifier.update(&buffer[..length])
        };
        match outcome {
            Ok(()) => Ok(length),
            Err(error) => {
                self.phase = Phase::Failed(error.clone());
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(data: &[u8], expected: Digest, size: Option<u64>) -> Result<Vec<u8>, VerifyError> {
        let mut reader = VerifyingReader::new(data, expected, size);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).map(|_| out).map_err(|error| {
            let again = reader.read(&mut [0; 8]).unwrap_err();
            assert_eq!(again.to_string(), error.to_string());
            error
                .into_inner()
                .unwrap()
                .downcast_ref::<VerifyError>()
                .unwrap()
                .clone()
        })
    }

    #[test]
    fn each_lie_has_its_error() {
        let digest = Digest::sha256(b"hello");
        assert_eq!(read(b"hello", digest.clone(), Some(5)).unwrap(), b"hello");
        assert_eq!(read(b"", Digest::sha256(b""), None).unwrap(), b"");
        assert!(matches!(
            read(b"hellO", digest.clone(), None),
            Err(VerifyError::WrongDigest { .. })
        ));
        assert!(matches!(
            read(b"hell", digest.clone(), Some(5)),
            Err(VerifyError::TooShort { found: 4, .. })
        ));
        assert!(matches!(
            read(b"hello!", digest, Some(5)),
            Err(VerifyError::TooLong { expected: 5, .. })
        ));
    }

    proptest! {
        #[test]
        fn only_the_promised_bytes_pass(data: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
            let digest = Digest::sha256(&data);
            let size = Some(data.len() as u64);
            prop_assert_eq!(&read(&data, digest.clone(), size).unwrap(), &data);
            if !data.is_empty() {
                let mut changed = data.clone();
                changed[at.index(data.len())] ^= flip;
                prop_assert!(read(&changed, digest, size).is_err());
            }
        }
    }
}

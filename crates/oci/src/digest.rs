//! A digest: the algorithm and the hash that name some bytes.
//!
//! The canonical text is the only form that exists: lower-case hexadecimal of exactly the algorithm's length. Docker,
//! OCI and our own file names all rely on one spelling per hash, so upper case is refused and not folded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Hasher;

/// A hash function that the OCI specification registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// The name before the colon of a digest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many hexadecimal digits a hash has.
    pub const fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            _ => Err(DigestError::UnknownAlgorithm {
                algorithm: abridged(text),
            }),
        }
    }
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// There is no colon.
    #[error(
        "`{text}` is no digest: expected `algorithm:hash`, for example `sha256:` and 64 hexadecimal digits"
    )]
    NoColon {
        /// The text, shortened.
        text: String,
    },
    /// The algorithm is none of ours.
    #[error("unknown digest algorithm `{algorithm}`: use sha256 or sha512")]
    UnknownAlgorithm {
        /// The text before the colon, shortened.
        algorithm: String,
    },
    /// The hash has the wrong length.
    #[error("a {algorithm} digest has {expected} hexadecimal digits, this one has {found}")]
    WrongLength {
        /// The algorithm named.
        algorithm: Algorithm,
        /// What it needs.
        expected: usize,
        /// What was there.
        found: usize,
    },
    /// A character is no lower-case hexadecimal digit.
    #[error("a digest is written in lower-case hexadecimal digits, this one holds {character:?}")]
    NotHex {
        /// The first wrong character.
        character: char,
    },
}

/// The name of some bytes, for example `sha256:e3b0…`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

impl Digest {
    /// The digest of bytes that are all there.
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// The SHA-256 digest of bytes that are all there.
    pub fn sha256(bytes: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, bytes)
    }

    /// From a raw hash of the right length; crate-internal because only the hasher can promise that.
    pub(crate) fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(algorithm.name().len() + 1 + hash.len() * 2);
        text.push_str(algorithm.name());
        text.push(':');
        for byte in hash {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self {
            algorithm,
            text: text.into(),
        }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The whole text, `algorithm:hex`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The hash in hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// The first twelve digits, as docker shows an id.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.text)
    }
}

impl AsRef<str> for Digest {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let Some((algorithm, hex)) = text.split_once(':') else {
            return Err(DigestError::NoColon { text: abridged(text) });
        };
        let algorithm: Algorithm = algorithm.parse()?;
        if let Some(character) = hex.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(DigestError::NotHex { character });
        }
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::WrongLength {
                algorithm,
                expected: algorithm.hex_length(),
                found: hex.len(),
            });
        }
        Ok(Self {
            algorithm,
            text: text.into(),
        })
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a stranger sent, short enough for a message.
pub(crate) fn abridged(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().nth(SHOWN).is_none() {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests;

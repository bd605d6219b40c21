//! What a cache mount is known by on whichever machine: everything but the scope.

use std::fmt;
use std::str::FromStr;

/// The BLAKE3 hash of a mount's id, and of what it began with, its owner and its mode where they were asked for: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MountKey(String);

impl MountKey {
    pub(crate) fn of(identity: &str) -> Self {
        Self(blake3::hash(identity.as_bytes()).to_hex().to_string())
    }
}

impl fmt::Display for MountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for MountKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return Err(());
        }
        Ok(Self(text.to_owned()))
    }
}

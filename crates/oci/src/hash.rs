//! Hashing in pieces, and a hash that survives a restart.
//!
//! An upload may stop after any byte and go on after the process was killed. The state of the hash is a hundred bytes
//! or so, so it is saved beside the offset, and nothing is read twice.

use sha2::Digest as _;
use sha2::digest::common::hazmat::SerializableState;
use sha2::{Sha256, Sha512};

use crate::{Algorithm, Digest};

/// A hash under way.
#[derive(Clone)]
pub struct Hasher {
    state: State,
}

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// Bytes that are no saved state of a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the saved state of a {algorithm} hash is damaged ({length} bytes): hash the data again from its start"
)]
pub struct RestoreError {
    /// The hash function asked for.
    pub algorithm: Algorithm,
    /// How many bytes there were.
    pub length: usize,
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let state = match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        };
        Self { state }
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self.state {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        match self.state {
            State::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            State::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }

    /// The state, to go on in another process with [`Hasher::restore`].
    ///
    /// It belongs to this version of the hashing library: a state that another one cannot read is reported as such,
    /// and the data must then be hashed again. It also tells something of the last block of the data, so it is to be
    /// kept like the data.
    pub fn save(&self) -> Vec<u8> {
        match &self.state {
            State::Sha256(hash) => hash.serialize().to_vec(),
            State::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// Goes on where [`Hasher::save`] was called.
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Result<Self, RestoreError> {
        let state = match algorithm {
            Algorithm::Sha256 => saved
                .try_into()
                .ok()
                .and_then(|saved| Sha256::deserialize(saved).ok())
                .map(State::Sha256),
            Algorithm::Sha512 => saved
                .try_into()
                .ok()
                .and_then(|saved| Sha512::deserialize(saved).ok())
                .map(State::Sha512),
        };
        state.map(|state| Self { state }).ok_or(RestoreError {
            algorithm,
            length: saved.len(),
        })
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hasher").field(&self.algorithm()).finish()
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_and_restarts_change_nothing(
            first in prop::collection::vec(any::<u8>(), 0..300),
            second in prop::collection::vec(any::<u8>(), 0..300),
            long: bool,
        ) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&first);
            let mut hasher = Hasher::restore(algorithm, &hasher.save()).unwrap();
            hasher.update(&second);
            let whole = [first, second].concat();
            prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &whole));
        }

        #[test]
        fn restoring_is_total(saved: Vec<u8>, long: bool) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let _ = Hasher::restore(algorithm, &saved).map(Hasher::finish);
        }
    }

    #[test]
    fn a_state_of_the_other_function_is_refused() {
        let saved = Hasher::new(Algorithm::Sha256).save();
        assert_eq!(
            Hasher::restore(Algorithm::Sha512, &saved).unwrap_err().length,
            saved.len()
        );
    }
}

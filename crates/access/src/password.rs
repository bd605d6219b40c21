//! Passwords and their Argon2id hashes.
//!
//! A check needs 19 MiB. Taken afresh for each and given back to the allocator, that memory would stay in the arena of
//! every thread that ever checked one; so there is one piece of memory, and whoever checks waits for it. One check at a
//! time is also all that there should be: many at once would only take the processor from each other.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::Secret;
use crate::access::AccessError;
use crate::secret::same;

/// Longer passwords are wrong without a look.
pub(crate) const LONGEST_PASSWORD: usize = 4096;

/// The memory in which passwords are checked, taken at the first check and kept.
#[derive(Default)]
pub(crate) struct Checker {
    memory: Mutex<Vec<Block>>,
}

impl Checker {
    /// Waits for the memory; then tells, unless `known` already does, whether the password belongs to the hash. A hash that
    /// cannot be read belongs to no password.
    pub(crate) fn check(&self, password: &Secret, hash: &str, known: impl FnOnce() -> bool) -> bool {
        if password.expose().len() > LONGEST_PASSWORD {
            return false;
        }
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        // Of many that came at once with the same password, the first has done it for all.
        known() || verify(password, hash, &mut memory).unwrap_or(false)
    }
}

fn verify(password: &Secret, hash: &str, memory: &mut Vec<Block>) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = Version::try_from(hash.version?).ok()?;
    let params = Params::try_from(&hash).ok()?;
    memory.resize(params.block_count(), Block::new());
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..expected.len())?;
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password.expose().as_bytes(), &salt, output, memory)
        .ok()?;
    Some(same(output, expected.as_bytes()))
}

/// The hash to keep of a password.
pub(crate) fn hash(password: &Secret) -> Result<String, AccessError> {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.expose().as_bytes())
        .map_err(|error| AccessError::Hash {
            reason: error.to_string(),
        })?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_checks_use_the_same_memory() {
        let checker = Checker::default();
        let hash = hash(&Secret::from("right")).unwrap();
        let memory = || {
            let memory = checker.memory.lock().unwrap();
            (memory.as_ptr() as usize, memory.len())
        };
        assert!(checker.check(&Secret::from("right"), &hash, || false));
        let first = memory();
        assert_eq!(first.1, Params::default().block_count());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| assert!(!checker.check(&Secret::from("wrong"), &hash, || false)));
            }
        });
        assert_eq!(memory(), first);
        // What a check leaves behind in the memory means nothing to the next one.
        assert!(checker.check(&Secret::from("right"), &hash, || false));
    }

    #[test]
    fn what_is_no_hash_or_no_password_is_wrong_without_a_look() {
        let checker = Checker::default();
        let long = Secret::from("x".repeat(LONGEST_PASSWORD + 1));
        let hash = hash(&Secret::from("right")).unwrap();
        for (password, hash) in [
            (&long, hash.as_str()),
            (&Secret::from(""), ""),
            (&Secret::from("right"), "$argon2id$v=19$m=19456,t=2,p=1"),
        ] {
            assert!(!checker.check(password, hash, || false));
        }
        assert!(checker.memory.lock().unwrap().is_empty());
    }
}

//! Passwords and their Argon2id hashes.
//!
//! A check needs 19 MiB for some 20 ms. Whoever checks waits for who checks already: many at once would need as much
//! memory each, and only take the processor from each other. The memory is given back after each check: a registry
//! that nobody asks is to be small, and who is asked often remembers for a minute whose password was right.

use std::sync::{Mutex, PoisonError};

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::Secret;
use crate::access::AccessError;
use crate::secret::same;

/// Longer passwords are wrong without a look.
pub(crate) const LONGEST_PASSWORD: usize = 4096;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The password belongs to the hash.
    Right,
    /// It does not.
    Wrong,
    /// The hash is none that we can read: no password belongs to it.
    Unreadable,
}

/// Checks passwords, one at a time.
#[derive(Default)]
pub(crate) struct Checker {
    turn: Mutex<()>,
}

impl Checker {
    /// Waits for its turn; then tells, unless `known` already does, whether the password belongs to the hash.
    pub(crate) fn check(&self, password: &Secret, hash: &str, known: impl FnOnce() -> bool) -> Verdict {
        if password.expose().len() > LONGEST_PASSWORD {
            return Verdict::Wrong;
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Of many that came at once with the same password, the first has done it for all.
        if known() {
            return Verdict::Right;
        }
        match verify(password, hash) {
            Some(true) => Verdict::Right,
            Some(false) => Verdict::Wrong,
            None => Verdict::Unreadable,
        }
    }
}

fn verify(password: &Secret, hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = Version::try_from(hash.version?).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..expected.len())?;
    Argon2::new(algorithm, version, params)
        .hash_password_into(password.expose().as_bytes(), &salt, output)
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
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn one_password_is_checked_at_a_time() {
        let checker = Checker::default();
        let (busy, together) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    checker.check(&Secret::from("any"), "no hash", || {
                        together.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        busy.fetch_sub(1, Ordering::SeqCst);
                        false
                    })
                });
            }
        });
        assert_eq!(together.into_inner(), 1);
    }

    #[test]
    fn a_password_is_right_or_wrong() {
        let checker = Checker::default();
        let hash = hash(&Secret::from("right")).unwrap();
        let check = |password: &str, known| checker.check(&Secret::from(password), &hash, || known);
        assert_eq!(check("right", false), Verdict::Right);
        assert_eq!(check("wrong", false), Verdict::Wrong);
        assert_eq!(check("wrong", true), Verdict::Right);
    }

    #[test]
    fn what_is_no_hash_or_no_password_is_wrong_without_a_look() {
        let checker = Checker::default();
        let long = Secret::from("x".repeat(LONGEST_PASSWORD + 1));
        let hash = hash(&Secret::from("right")).unwrap();
        let right = Secret::from("right");
        for (password, hash, verdict) in [
            (&long, hash.as_str(), Verdict::Wrong),
            (&right, "", Verdict::Unreadable),
            (&right, "$argon2id$v=19$m=19456,t=2,p=1", Verdict::Unreadable),
            (&right, "$2b$12$of.another.kind", Verdict::Unreadable),
        ] {
            assert_eq!(checker.check(password, hash, || false), verdict, "{hash}");
        }
    }
}

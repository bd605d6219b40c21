//! Who is this? Passwords of people, tokens of jobs.
//!
//! A password is checked with Argon2id, which is made to be slow: a pull with a password in every request would spend all
//! its time there. So a login that was right is remembered for a minute, under a hash of the name, the password and the
//! stored hash (a changed password is forgotten by itself). A wrong one is never remembered.
//!
//! One check runs at a time (`password.rs`). What needs none (a job's token, a login that is remembered) is told by
//! [`Access::recognise`] without waiting for those that do.
//! A name that does not exist costs as much as a wrong password, so that nobody learns which names exist. A user whose hash cannot
//! be read cannot log in, which the log says once.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use shipway_store::UserRecord;

use crate::access::Access;
use crate::accounts::{JOB_TOKEN_USER, hash_job_token};
use crate::password::{Checker, LONGEST_PASSWORD, Verdict};
use crate::{LookUpError, Principal, Secret, UserName};

const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MOST_REMEMBERED: usize = 4096;
/// The hash of nobody's password, with the parameters that `password::hash` uses.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2hpcHdheS1ub2JvZHkw$ZW3pQfCyd+GL0hOeUQrRHPIBiVrYIJ0VfYH1I1jMuXI";

/// A user name with a password, or with a job's token.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name; [`JOB_TOKEN_USER`] for a job's token.
    pub username: String,
    /// The password or the token.
    pub password: Secret,
}

/// Why somebody is not who they say.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticateError {
    /// Wrong name or wrong password; which of them, nobody is told.
    #[error("wrong user name or password")]
    Refused,
    /// A job's token that is not valid.
    #[error("the job's token is not valid: it ends with its job")]
    JobTokenRefused,
    /// It cannot be told now.
    #[error("cannot look up whose credentials these are")]
    LookUp {
        /// Why not.
        #[from]
        source: LookUpError,
    },
}

/// Logins that were right a moment ago.
pub(crate) struct Logins {
    right: Mutex<HashMap<[u8; 32], Instant>>,
    /// Names with hashes of which it was said that they cannot be read.
    unreadable: Mutex<HashSet<[u8; 32]>>,
    checker: Checker,
}

impl Logins {
    pub(crate) fn new() -> Self {
        Self {
            right: Mutex::default(),
            unreadable: Mutex::default(),
            checker: Checker::default(),
        }
    }

    /// Whether the password belongs to the hash.
    fn check(&self, name: &str, password: &Secret, hash: &str) -> bool {
        let key = key(name, password, hash);
        if self.remembers(&key, Instant::now()) {
            return true;
        }
        let verdict = self
            .checker
            .check(password, hash, || self.remembers(&key, Instant::now()));
        match verdict {
            Verdict::Right => self.remember(key, Instant::now()),
            Verdict::Wrong => {}
            Verdict::Unreadable => {
                self.say_unreadable(name, hash);
                // It takes its time all the same.
                self.checker.check(password, NOBODY, || false);
            }
        }
        verdict == Verdict::Right
    }

    /// Once for each, so that who tries again and again does not fill the log.
    fn say_unreadable(&self, name: &str, hash: &str) {
        let mut said = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() < MOST_REMEMBERED && said.insert(key(name, &Secret::from(""), hash)) {
            tracing::warn!(
                user = name,
                "the hash of this user's password cannot be read, so they cannot log in: `shipway user add` gives them a new one"
            );
        }
    }

    fn remembers(&self, key: &[u8; 32], now: Instant) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right
            .get(key)
            .is_some_and(|since| now.duration_since(*since) < REMEMBERED_FOR)
    }

    fn remember(&self, key: [u8; 32], now: Instant) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= MOST_REMEMBERED {
            right.retain(|_, since| now.duration_since(*since) < REMEMBERED_FOR);
        }
        if right.len() < MOST_REMEMBERED {
            right.insert(key, now);
        }
    }
}

/// No part can be mistaken for another: each is preceded by its length.
fn key(name: &str, password: &Secret, hash: &str) -> [u8; 32] {
    let mut key = Sha256::new();
    for part in [name, password.expose(), hash] {
        key.update((part.len() as u64).to_le_bytes());
        key.update(part.as_bytes());
    }
    key.finalize().into()
}

impl Access {
    /// Who has these credentials, as far as that is known without checking a password: a job's token is good or not, a
    /// login may be remembered. `None` when only [`Self::authenticate`] can tell. A short read.
    pub fn recognise(&self, credentials: &Credentials) -> Result<Option<Principal>, AuthenticateError> {
        if credentials.username == JOB_TOKEN_USER {
            return self.authenticate_job(&credentials.password).map(Some);
        }
        if credentials.password.expose().len() > LONGEST_PASSWORD {
            return Err(AuthenticateError::Refused);
        }
        let Some((name, user)) = self.named(credentials)? else {
            return Ok(None);
        };
        let key = key(name.as_str(), &credentials.password, &user.password_hash);
        let remembered = self.logins.remembers(&key, Instant::now());
        Ok(remembered.then(|| principal(name, &user)))
    }

    /// Who has these credentials. A password that is not remembered takes tens of milliseconds, and waits for others before
    /// it: not for an async thread.
    pub fn authenticate(&self, credentials: &Credentials) -> Result<Principal, AuthenticateError> {
        if credentials.username == JOB_TOKEN_USER {
            return self.authenticate_job(&credentials.password);
        }
        let Some((name, user)) = self.named(credentials)? else {
            self.logins.check("", &credentials.password, NOBODY);
            return Err(AuthenticateError::Refused);
        };
        if !self
            .logins
            .check(name.as_str(), &credentials.password, &user.password_hash)
        {
            return Err(AuthenticateError::Refused);
        }
        Ok(principal(name, &user))
    }

    /// The user whom the credentials name, whatever the password.
    fn named(&self, credentials: &Credentials) -> Result<Option<(UserName, UserRecord)>, LookUpError> {
        let Ok(name) = credentials.username.parse::<UserName>() else {
            return Ok(None);
        };
        let user = self.store.user(name.as_str())?;
        Ok(user.map(|user| (name, user)))
    }

    fn authenticate_job(&self, token: &Secret) -> Result<Principal, AuthenticateError> {
        let record = self
            .store
            .job_token(&hash_job_token(token))
            .map_err(LookUpError::from)?
            .ok_or(AuthenticateError::JobTokenRefused)?;
        if !self.may_live(record.job)? {
            return Err(AuthenticateError::JobTokenRefused);
        }
        let project = record
            .project
            .parse()
            .map_err(|_| AuthenticateError::JobTokenRefused)?;
        Ok(Principal::Job {
            project,
            job: record.job,
        })
    }
}

fn principal(name: UserName, user: &UserRecord) -> Principal {
    Principal::User {
        name,
        administrator: user.administrator,
    }
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::phc::PasswordHash;

    use super::*;
    use crate::password;

    #[test]
    fn nobody_s_hash_is_checked_for_real() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let fresh = password::hash(&Secret::from("x")).unwrap();
        let fresh = PasswordHash::new(&fresh).unwrap();
        assert_eq!(
            hash.params, fresh.params,
            "a missing user would answer sooner or later than a wrong password"
        );
        assert!(hash.salt.is_some() && hash.hash.is_some());
    }

    #[test]
    fn right_logins_are_remembered_for_a_minute_and_wrong_ones_never() {
        let logins = Logins::new();
        let hash = password::hash(&Secret::from("right")).unwrap();
        let (right, wrong) = (Secret::from("right"), Secret::from("wrong"));
        assert!(logins.check("ann", &right, &hash));
        assert!(!logins.check("ann", &wrong, &hash));
        let now = Instant::now();
        assert!(logins.remembers(&key("ann", &right, &hash), now));
        assert!(!logins.remembers(&key("ann", &right, &hash), now + REMEMBERED_FOR));
        assert!(!logins.remembers(&key("ann", &right, "another hash"), now));
        assert!(!logins.remembers(&key("bob", &right, &hash), now));
        assert!(!logins.remembers(&key("ann", &wrong, &hash), now));
    }

    #[test]
    fn a_hash_that_cannot_be_read_is_told_of_once() {
        let logins = Logins::new();
        for _ in 0..2 {
            assert!(!logins.check("ann", &Secret::from("any"), "no hash"));
        }
        assert!(!logins.check("bob", &Secret::from("any"), "no hash"));
        assert_eq!(logins.unreadable.lock().unwrap().len(), 2);
    }

    #[test]
    fn memory_is_limited_and_makes_room() {
        let logins = Logins::new();
        let start = Instant::now();
        let entry = |number: usize| key(&number.to_string(), &Secret::from(""), "");
        (0..=MOST_REMEMBERED).for_each(|number| logins.remember(entry(number), start));
        assert!(!logins.remembers(&entry(MOST_REMEMBERED), start));
        let later = start + REMEMBERED_FOR;
        logins.remember(entry(MOST_REMEMBERED), later);
        assert!(logins.remembers(&entry(MOST_REMEMBERED), later));
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        assert_ne!(
            key("a", &Secret::from("bc"), "d"),
            key("ab", &Secret::from("c"), "d")
        );
    }
}

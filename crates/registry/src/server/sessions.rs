//! Which token began which upload.
//!
//! A token lives for minutes, a push of big layers for longer, and docker does not ask for another token halfway. So the
//! token that was good when an upload began stays good for that upload, and for nothing else, for as long as its owner is known (which
//! the authority looks up each time). This is memory only: after a
//! restart such a client has to log in again, and loses nothing but the time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use shipway_access::Principal;
use shipway_oci::Digest;
use shipway_store::UploadId;

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const MOST: usize = 16 * 1024;
/// Of one principal; their oldest goes for a new one.
const MOST_EACH: usize = 1024;

/// The uploads that tokens began.
#[derive(Default)]
pub(super) struct Sessions {
    begun: Mutex<HashMap<UploadId, Session>>,
}

struct Session {
    token: Digest,
    principal: Principal,
    since: Instant,
}

impl Sessions {
    /// An upload began with this token.
    pub(super) fn begin(&self, id: &UploadId, token: &Digest, principal: &Principal) {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.len() >= MOST {
            begun.retain(|_, session| session.since.elapsed() < LONGEST);
        }
        if begun.len() >= MOST_EACH {
            forget_oldest(&mut begun, principal);
        }
        if begun.len() < MOST {
            let session = Session {
                token: token.clone(),
                principal: principal.clone(),
                since: Instant::now(),
            };
            begun.insert(id.clone(), session);
        }
    }

    /// Who began the upload with this token, if it was this one.
    pub(super) fn owner(&self, id: &UploadId, token: &Digest) -> Option<Principal> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let session = begun.get(id)?;
        (session.token == *token && session.since.elapsed() < LONGEST).then(|| session.principal.clone())
    }

    /// The upload is over.
    pub(super) fn end(&self, id: &UploadId) {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

/// Makes room among the uploads of somebody who has begun too many; nobody else's suffer.
fn forget_oldest(begun: &mut HashMap<UploadId, Session>, principal: &Principal) {
    let theirs = || {
        begun
            .iter()
            .filter(|(_, session)| session.principal == *principal)
    };
    if theirs().count() >= MOST_EACH
        && let Some((oldest, _)) = theirs().min_by_key(|(_, session)| session.since)
    {
        let oldest = oldest.clone();
        begun.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_that_began_an_upload_goes_on_with_it() {
        let sessions = Sessions::default();
        let id: UploadId = "0f8fad5b-d9cb-469f-a165-70867728950e".parse().unwrap();
        let other: UploadId = "7c9e6679-7425-40de-944b-e07fc1f90ae7".parse().unwrap();
        let (token, forged) = (Digest::sha256(b"token"), Digest::sha256(b"forged"));
        let who = Principal::Job {
            project: "a".parse().unwrap(),
            job: 1,
        };
        sessions.begin(&id, &token, &who);
        assert_eq!(sessions.owner(&id, &token), Some(who));
        assert_eq!(sessions.owner(&id, &forged), None);
        assert_eq!(sessions.owner(&other, &token), None);
        sessions.end(&id);
        assert_eq!(sessions.owner(&id, &token), None);
    }

    #[test]
    fn whoever_begins_very_many_forgets_their_own() {
        let sessions = Sessions::default();
        let job = |job| Principal::Job {
            project: "a".parse().unwrap(),
            job,
        };
        let id =
            |number: usize| -> UploadId { format!("00000000-0000-0000-0000-{number:012x}").parse().unwrap() };
        let token = Digest::sha256(b"token");
        sessions.begin(&id(0), &token, &job(1));
        for number in 1..=MOST {
            sessions.begin(&id(number), &token, &job(2));
        }
        assert_eq!(sessions.begun.lock().unwrap().len(), MOST_EACH + 1);
        assert_eq!(sessions.owner(&id(0), &token), Some(job(1)));
        assert_eq!(sessions.owner(&id(1), &token), None);
        assert_eq!(sessions.owner(&id(MOST), &token), Some(job(2)));
    }
}

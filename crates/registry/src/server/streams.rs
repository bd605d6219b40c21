//! Places for large uploads, shared out so that nobody takes them all.
//!
//! Each large upload holds a blocking thread for as long as its client takes. There are places for a number of them, and
//! each principal gets a share of these: somebody who opens hundreds of slow uploads waits for their own to end, not for
//! others to give up. Who waits holds no thread; who waits too long is told to come again later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use shipway_access::Principal;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::wire::{ErrorCode, RegistryError};

/// The places.
pub(super) struct Streams {
    all: Arc<Semaphore>,
    share: usize,
    patience: Duration,
    /// Those who hold a place or wait for one.
    shares: Mutex<HashMap<Principal, Arc<Semaphore>>>,
}

/// A place, given back when it is dropped.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_share: OwnedSemaphorePermit,
}

impl Streams {
    /// So many places, of which one principal gets at most a share, waiting for it as long as said.
    pub(super) fn new(all: usize, share: usize, patience: Duration) -> Self {
        Self {
            all: Arc::new(Semaphore::new(all)),
            share,
            patience,
            shares: Mutex::default(),
        }
    }

    /// Waits for a place; refused with 429 when there is none in time.
    pub(super) async fn place(&self, principal: &Principal) -> Result<Place, RegistryError> {
        let share = self.share_of(principal);
        let deadline = Instant::now() + self.patience;
        // The share comes first: whoever waits for their own must not keep a place from others meanwhile.
        let of_share = timeout_at(deadline, share.acquire_owned()).await.map_err(|_| {
            refused(&format!(
                "too many large uploads at once (at most {} of one user or job)",
                self.share
            ))
        })?;
        let of_all = timeout_at(deadline, Arc::clone(&self.all).acquire_owned())
            .await
            .map_err(|_| refused("the registry takes as many large uploads as it can"))?;
        Ok(Place {
            _of_all: of_all.map_err(RegistryError::internal)?,
            _of_share: of_share.map_err(RegistryError::internal)?,
        })
    }

    fn share_of(&self, principal: &Principal) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        // A permit holds its semaphore, so one that only this map holds is nobody's.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let share = shares
            .entry(principal.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.share)));
        Arc::clone(share)
    }
}

fn refused(why: &str) -> RegistryError {
    RegistryError::with_message(ErrorCode::TooManyRequests, format!("{why}: try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(job: u64) -> Principal {
        Principal::Job {
            project: "a".parse().unwrap(),
            job,
        }
    }

    #[tokio::test]
    async fn one_takes_a_share_and_leaves_the_rest() {
        let streams = Streams::new(3, 2, Duration::from_millis(20));
        let first = streams.place(&job(1)).await.unwrap();
        let _second = streams.place(&job(1)).await.unwrap();
        let refused = streams.place(&job(1)).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
        let other = streams.place(&job(2)).await.unwrap();
        let refused = streams.place(&job(3)).await.map(drop).unwrap_err();
        assert!(!refused.message.contains("of one user"), "{}", refused.message);
        drop(first);
        assert!(streams.place(&job(1)).await.is_ok());
        drop(other);
        assert!(streams.place(&job(3)).await.is_ok());
        assert!(streams.shares.lock().unwrap().len() <= 3);
    }
}

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
use tokio::time::timeout;

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
        let both = async {
            // The share comes first: whoever waits for their own must not keep a place from others meanwhile.
            let of_share = share.acquire_owned().await?;
            let of_all = Arc::clone(&self.all).acquire_owned().await?;
            Ok(Place {
                _of_all: of_all,
                _of_share: of_share,
            })
        };
        match timeout(self.patience, both).await {
            Ok(taken) => taken.map_err(|closed: tokio::sync::AcquireError| RegistryError::internal(closed)),
            Err(_) => Err(RegistryError::with_message(
                ErrorCode::TooManyRequests,
                format!(
                    "too many large uploads at once (at most {} of one user or job): try again",
                    self.share
                ),
            )),
        }
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

/// How fast a client sends, over windows of time in which it was waited for. A pause is bounded elsewhere; this is about one that
/// sends a byte now and then to keep its place.
pub(super) struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    came: u64,
}

impl Pace {
    /// At least so many bytes per second over each window.
    pub(super) fn new(least_per_second: u64, window: Duration) -> Self {
        Self {
            least: least_per_second,
            window,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// Counts bytes and how long they were waited for; `false` when the client is too slow.
    pub(super) fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
        self.waited += waited;
        self.came += bytes;
        if self.waited < self.window {
            return true;
        }
        let enough = self.came >= self.least.saturating_mul(self.waited.as_secs());
        (self.waited, self.came) = (Duration::ZERO, 0);
        enough
    }
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
        assert!(streams.place(&job(3)).await.is_err(), "all are taken");
        drop(first);
        assert!(streams.place(&job(1)).await.is_ok());
        drop(other);
        assert!(streams.place(&job(3)).await.is_ok());
        assert!(streams.shares.lock().unwrap().len() <= 3);
    }

    #[test]
    fn a_byte_now_and_then_is_too_slow() {
        let window = Duration::from_secs(60);
        let mut pace = Pace::new(1024, window);
        let steps = Duration::from_secs(20);
        assert!(pace.keeps_up(steps, 1) && pace.keeps_up(steps, 1));
        assert!(!pace.keeps_up(steps, 1));
        // A fast start is no reserve for later windows.
        assert!(pace.keeps_up(window, 1 << 30));
        assert!(!pace.keeps_up(window, 1024));
        // Time that was spent on our side is not the client's.
        assert!((0..1000).all(|_| pace.keeps_up(Duration::ZERO, 1)));
    }
}

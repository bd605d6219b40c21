//! The queue of passwords to be checked.
//!
//! A check is made to be slow, and one runs at a time. Who waits for theirs holds no thread, and only so many wait: who
//! would be last in a longer queue is told at once to come again later, and so is who has waited too long. A check that
//! nobody waits for any more keeps its turn until it ends, so that hanging up is no way past the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::wire::{ErrorCode, RegistryError};

/// How many wait. At some fifty milliseconds for each, the last one's turn comes within seconds.
const MOST_WAITING: usize = 64;
/// How long one waits on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The queue.
pub(super) struct Logins {
    turn: Arc<Semaphore>,
    places: Semaphore,
    patience: Duration,
}

/// Somebody's turn, which ends when it is dropped.
pub(super) struct Turn(#[expect(dead_code, reason = "held, never read")] OwnedSemaphorePermit);

impl Default for Logins {
    fn default() -> Self {
        Self::new(MOST_WAITING, PATIENCE)
    }
}

impl Logins {
    fn new(places: usize, patience: Duration) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            places: Semaphore::new(places),
            patience,
        }
    }

    /// Waits for a turn; refused with 429 when too many wait already, or when it does not come in time.
    pub(super) async fn turn(&self) -> Result<Turn, RegistryError> {
        let _place = self.places.try_acquire().map_err(|_| refused())?;
        match timeout(self.patience, Arc::clone(&self.turn).acquire_owned()).await {
            Ok(turn) => turn.map(Turn).map_err(RegistryError::internal),
            Err(_) => Err(refused()),
        }
    }
}

fn refused() -> RegistryError {
    RegistryError::with_message(
        ErrorCode::TooManyRequests,
        "too many passwords wait to be checked: try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_has_a_turn_some_wait_and_the_rest_come_again() {
        let logins = Logins::new(1, Duration::from_secs(60));
        let first = logins.turn().await.unwrap();
        let mut second = std::pin::pin!(logins.turn());
        assert!(futures::poll!(&mut second).is_pending());
        let third = logins.turn().await.map(drop).unwrap_err();
        assert_eq!(third.code, ErrorCode::TooManyRequests);
        drop(first);
        let second = second.await.unwrap();
        drop(second);
        assert!(logins.turn().await.is_ok());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let logins = Logins::new(1, Duration::from_millis(20));
        let _first = logins.turn().await.unwrap();
        let refused = logins.turn().await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
    }
}

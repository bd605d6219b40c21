//! The queue of passwords to be checked.
//!
//! A check is made to be slow, and one runs at a time. Who waits for theirs holds no thread, and only so many wait: who
//! would be last in a longer queue is told at once to come again later, and so is who has waited too long. A check that
//! nobody waits for any more keeps its turn until it ends, so that hanging up is no way past the queue. One address has half
//! of the places at most, as it has of the connections: its wrong passwords shut nobody else out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::peers::Peers;
use crate::wire::{ErrorCode, RegistryError};

/// How many wait. At some fifty milliseconds for each, the last one's turn comes within seconds.
const MOST_WAITING: usize = 64;
/// How long one waits on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// The queue.
pub(super) struct Logins {
    turn: Arc<Semaphore>,
    places: Semaphore,
    peers: Peers,
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
            peers: Peers::new(places / 2),
            patience,
        }
    }

    /// Waits for a turn; refused with 429 when too many wait already, of this address or of all, or when it does not come
    /// in time.
    pub(super) async fn turn(&self, peer: Option<IpAddr>) -> Result<Turn, RegistryError> {
        let _of_peer = match peer {
            Some(peer) => Some(self.peers.place(peer).ok_or_else(refused)?),
            None => None,
        };
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
        let first = logins.turn(None).await.unwrap();
        let mut second = std::pin::pin!(logins.turn(None));
        assert!(futures::poll!(&mut second).is_pending());
        let third = logins.turn(None).await.map(drop).unwrap_err();
        assert_eq!(third.code, ErrorCode::TooManyRequests);
        drop(first);
        let second = second.await.unwrap();
        drop(second);
        assert!(logins.turn(None).await.is_ok());
    }

    #[tokio::test]
    async fn one_address_leaves_places_to_others() {
        let logins = Logins::new(4, Duration::from_secs(60));
        let peer = |last| Some(IpAddr::from([10, 0, 0, last]));
        let first = logins.turn(peer(1)).await.unwrap();
        let mut waiting = [1, 1].map(|last| Box::pin(logins.turn(peer(last))));
        for one in &mut waiting {
            assert!(futures::poll!(one).is_pending());
        }
        let refused = logins.turn(peer(1)).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
        let mut other = std::pin::pin!(logins.turn(peer(2)));
        assert!(
            futures::poll!(&mut other).is_pending(),
            "it waits and is not refused"
        );
        drop((first, waiting));
        drop(other.await.unwrap());
        assert!(logins.turn(peer(1)).await.is_ok(), "its places come back");
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let logins = Logins::new(1, Duration::from_millis(20));
        let _first = logins.turn(None).await.unwrap();
        let refused = logins.turn(None).await.map(drop).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooManyRequests);
    }
}

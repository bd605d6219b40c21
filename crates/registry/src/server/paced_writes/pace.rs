//! Whether a client keeps the pace, by what it took and when. Apart from the connection, so that no clock has to run to judge it.

use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

/// The client takes less than it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client takes the answer too slowly")]
pub(super) struct TooSlow;

/// A pace and what was taken so far.
#[derive(Debug)]
pub(super) struct Pace {
    /// Bytes in each window, at least one.
    least: u64,
    length: Duration,
    /// What left since the window began; none is open while the client keeps up.
    open: Option<Window>,
}

#[derive(Debug)]
struct Window {
    end: Instant,
    left: u64,
}

impl Pace {
    pub(super) fn new(least_bytes_per_second: u64, length: Duration) -> Self {
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        Self {
            least: (least_bytes_per_second.saturating_mul(millis) / 1000).max(1),
            length,
            open: None,
        }
    }

    /// Counts what a write came to, and says when the window ends that is open. One begins when the client must be waited for.
    ///
    /// # Errors
    /// When one ends with too little.
    pub(super) fn note(&mut self, written: Poll<u64>, now: Instant) -> Result<Option<Instant>, TooSlow> {
        if self.open.is_none() && written.is_ready() {
            return Ok(None);
        }
        let fresh = Window {
            end: now + self.length,
            left: 0,
        };
        let end = fresh.end;
        let window = self.open.get_or_insert(fresh);
        if let Poll::Ready(bytes) = written {
            window.left += bytes;
        }
        if now >= window.end {
            if window.left < self.least {
                return Err(TooSlow);
            }
            *window = Window { end, left: 0 };
        }
        Ok(Some(window.end))
    }

    /// All has left: what comes next begins anew.
    pub(super) fn rest(&mut self) {
        self.open = None;
    }

    #[cfg(test)]
    pub(super) fn is_resting(&self) -> bool {
        self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_enough_is_waited_for_in_the_next_window_only() {
        let window = Duration::from_secs(60);
        let mut pace = Pace::new(1000, window);
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(pace.note(Poll::Ready(1), begun), Ok(None), "nobody waits");
        assert_eq!(pace.note(Poll::Pending, begun), Ok(Some(after(60))));
        assert_eq!(pace.note(Poll::Ready(60_000), after(59)), Ok(Some(after(60))));
        assert_eq!(pace.note(Poll::Pending, after(61)), Ok(Some(after(121))));
        assert_eq!(pace.note(Poll::Ready(59_999), after(100)), Ok(Some(after(121))));
        assert_eq!(pace.note(Poll::Pending, after(121)), Err(TooSlow));
    }
}

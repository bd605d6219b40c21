//! The least pace of a body, for both ends: a byte now and then is no silence, and would hold a place for ever.
//!
//! Only time that was spent waiting for the peer counts.

use std::time::Duration;

/// How fast a peer sends, over windows of time in which it was waited for.
pub(crate) struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    came: u64,
}

impl Pace {
    /// At least so many bytes per second over each window.
    pub(crate) fn new(least_per_second: u64, window: Duration) -> Self {
        Self {
            least: least_per_second,
            window,
            waited: Duration::ZERO,
            came: 0,
        }
    }

    /// Counts bytes and how long they were waited for; `false` when the peer is too slow.
    pub(crate) fn keeps_up(&mut self, waited: Duration, bytes: u64) -> bool {
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
        // Time that was spent on our side is not the peer's.
        assert!((0..1000).all(|_| pace.keeps_up(Duration::ZERO, 1)));
    }
}

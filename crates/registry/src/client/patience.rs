//! How often something is tried, and how long to wait in between.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use tokio::time::sleep;

use super::error::ClientError;
use super::options::Timeouts;
use super::silence::Silent;
use super::transport::NoAddress;

/// A connection that cannot even be opened, or on which nothing comes, is tried no more often than this: either took its
/// time to fail, and whoever is offline wants to know soon.
const CONNECT_ATTEMPTS: u32 = 2;

/// Tries in a row without progress.
pub(super) struct Patience<'a> {
    timeouts: &'a Timeouts,
    failed: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(timeouts: &'a Timeouts) -> Self {
        Self { timeouts, failed: 0 }
    }

    /// Something moved: what failed before does not count any more.
    pub(super) fn renew(&mut self) {
        self.failed = 0;
    }

    /// After a failure: waits and says whether to try again.
    pub(super) async fn again(&mut self, wish: Option<Duration>) -> bool {
        self.failed += 1;
        if self.failed >= self.timeouts.attempts {
            return false;
        }
        let doubled = self.timeouts.pause.saturating_mul(1 << (self.failed - 1).min(16));
        // Many clients that were refused together must not come back together.
        let spread = doubled
            .mul_f64(rand::random_range(0.5..1.5))
            .min(self.timeouts.longest_pause);
        let pause = match wish {
            Some(wish) if wish > self.timeouts.longest_pause => return false,
            Some(wish) => wish.max(spread),
            None => spread,
        };
        sleep(pause).await;
        true
    }

    /// After an error of the transport.
    pub(super) async fn after(&mut self, error: &ClientError) -> bool {
        let ClientError::Unreachable { source, .. } = error else {
            return false;
        };
        let failure = source.downcast_ref::<reqwest::Error>();
        // The resolver has tried again by itself.
        if source.is::<NoAddress>() || failure.is_some_and(reqwest::Error::is_dns) {
            return false;
        }
        let connecting = failure.is_some_and(reqwest::Error::is_connect);
        let waited_already = connecting || source.is::<Silent>();
        if waited_already && self.failed + 1 >= CONNECT_ATTEMPTS {
            return false;
        }
        self.again(None).await
    }
}

/// Whether an answer means that the same request may succeed a little later.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After` in seconds. The form with a date is rare and depends on two clocks: it counts as no wish.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_without_an_address_is_not_asked_for_again() {
        let timeouts = Timeouts {
            pause: Duration::ZERO,
            ..Timeouts::default()
        };
        let unreachable = |source| ClientError::Unreachable {
            host: "registry.example".into(),
            source,
        };
        let nowhere = NoAddress {
            name: "registry.example".into(),
        };
        assert!(
            !Patience::new(&timeouts)
                .after(&unreachable(Box::new(nowhere)))
                .await
        );
        assert!(Patience::new(&timeouts).after(&unreachable("reset".into())).await);
    }
}

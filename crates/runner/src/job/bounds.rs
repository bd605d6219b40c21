//! How long a job may run, and who may stop it before.
//!
//! Whatever a job does for longer than a moment it does within these bounds. What they end is dropped where it stands; the
//! module above says why that is safe.

use crate::Cancellation;
use crate::outcome::JobError;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What a job may take whose payload does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);
/// What a longer timeout is taken for: no clock counts seconds without an end.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The bounds of one job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    limit: Duration,
    deadline: Instant,
    cancellation: &'a Cancellation,
}

impl<'a> Bounds<'a> {
    /// From now on; the timeout is in seconds, and 0 when the payload has none.
    pub(super) fn begin(timeout: u64, cancellation: &'a Cancellation) -> Self {
        let limit = match timeout {
            0 => DEFAULT_TIMEOUT,
            seconds => Duration::from_secs(seconds).min(LONGEST_TIMEOUT),
        };
        Self {
            limit,
            deadline: Instant::now() + limit,
            cancellation,
        }
    }

    /// How long the whole job may take.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Does something for as long as the job may run and nobody stops it.
    pub(super) async fn within<T>(
        self,
        work: impl Future<Output = Result<T, JobError>>,
    ) -> Result<T, JobError> {
        tokio::select! {
            done = work => done,
            error = self.reached() => Err(error),
        }
    }

    /// Returns when the job has to end, with the reason.
    pub(super) async fn reached(self) -> JobError {
        tokio::select! {
            () = self.cancellation.cancelled() => JobError::Canceled,
            () = sleep_until(self.deadline) => JobError::Timeout { limit: self.limit },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_ends_with_the_time_or_with_the_order_to_stop() {
        let order = Cancellation::default();
        let bounds = Bounds::begin(60, &order);
        let endless = std::future::pending::<Result<(), _>>;
        assert_eq!(bounds.within(async { Ok(1) }).await.unwrap(), 1);
        let over = Bounds {
            deadline: Instant::now(),
            ..bounds
        };
        let late = over.within(endless()).await.unwrap_err();
        assert!(matches!(late, JobError::Timeout { limit } if limit.as_secs() == 60));
        order.cancel();
        let stopped = bounds.within(endless()).await.unwrap_err();
        assert!(matches!(stopped, JobError::Canceled));
    }

    #[test]
    fn every_job_has_some_limit() {
        let order = Cancellation::default();
        assert_eq!(Bounds::begin(0, &order).limit(), DEFAULT_TIMEOUT);
        assert_eq!(Bounds::begin(7, &order).limit(), Duration::from_secs(7));
        assert_eq!(Bounds::begin(u64::MAX, &order).limit(), LONGEST_TIMEOUT);
    }
}

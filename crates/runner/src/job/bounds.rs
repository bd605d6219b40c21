//! How long a job may run, and who may stop it before.
//!
//! Whatever a job does for longer than a moment it does within these bounds. What they end is dropped where it stands; the
//! module above says why that is safe.

use crate::Cancellation;
use crate::outcome::JobError;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

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

    /// Does something for as long as the job may run, also for one that is told to stop: what it left is still cared for.
    pub(super) async fn in_time<T>(
        self,
        work: impl Future<Output = Result<T, JobError>>,
    ) -> Result<T, JobError> {
        tokio::select! {
            done = work => done,
            error = self.over() => Err(error),
        }
    }

    /// Returns when a script has to end that may take so long itself, with the reason.
    pub(super) async fn reached_by_script(self, own: Option<Duration>) -> JobError {
        tokio::select! {
            error = self.reached() => error,
            error = own_time(own) => error,
        }
    }

    /// Returns when an `after_script` has to end, with the reason: it is run after an order to stop, too.
    pub(super) async fn over_for_script(self, own: Duration) -> JobError {
        tokio::select! {
            error = self.over() => error,
            error = own_time(Some(own)) => error,
        }
    }

    /// Returns when the time of the whole job is over.
    async fn over(self) -> JobError {
        sleep_until(self.deadline).await;
        JobError::Timeout { limit: self.limit }
    }

    /// Returns when the job has to end, with the reason.
    pub(super) async fn reached(self) -> JobError {
        tokio::select! {
            () = self.cancellation.cancelled() => JobError::Canceled,
            error = self.over() => error,
        }
    }
}

/// Returns when a script has taken as long as it may itself.
async fn own_time(limit: Option<Duration>) -> JobError {
    match limit {
        None => std::future::pending().await,
        Some(limit) => {
            sleep(limit).await;
            JobError::ScriptTimeout { limit }
        }
    }
}

/// How long a variable lets a script run: none where it is empty or 0, and an error where it is no time.
///
/// # Errors
/// With the variable's text, for a person.
pub(super) fn own_limit(name: &str, text: Option<String>) -> Result<Option<Duration>, String> {
    let Some(text) = text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    match go_duration(&text) {
        Some(limit) => Ok(Some(limit.min(LONGEST_TIMEOUT)).filter(|limit| !limit.is_zero())),
        None => Err(format!(
            "{name} is not followed: `{text}` is no time, such as `90s` or `1h30m`"
        )),
    }
}

/// `1h30m`, `1.5h`, `300ms`, as Go writes durations, which is what GitLab's runner reads; none below zero.
fn go_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))?;
        let (number, behind) = rest.split_at(end);
        let unit = behind
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let scale = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = behind;
    }
    if text.is_empty() {
        return None;
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_scripts_are_gos() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5h", Some(5_400_000)),
            ("+300ms", Some(300)),
            ("0", Some(0)),
            ("", None),
            ("10", None),
            ("-5s", None),
            ("5 s", None),
            ("1.2.3s", None),
            ("h", None),
            ("5x", None),
            ("1e9h", None),
        ] {
            let found = go_duration(text).map(|duration| duration.as_millis());
            assert_eq!(found, millis, "{text}");
        }
        let limit = |text: &str| own_limit("RUNNER_SCRIPT_TIMEOUT", Some(text.to_owned()));
        assert_eq!(limit(" 0s "), Ok(None));
        assert_eq!(
            limit(&format!("{}h", "9".repeat(40))),
            Err(limit_error(&"9".repeat(40)))
        );
        assert_eq!(limit("99999999h"), Ok(Some(LONGEST_TIMEOUT)));
    }

    fn limit_error(number: &str) -> String {
        format!("RUNNER_SCRIPT_TIMEOUT is not followed: `{number}h` is no time, such as `90s` or `1h30m`")
    }

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

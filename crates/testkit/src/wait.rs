//! Waiting in tests: for a condition, with a bound, never for a time.

use std::time::{Duration, Instant};

/// Asks until the answer is there or `limit` is over; the last refusal is in the error.
///
/// # Errors
/// The text of the last `Err` when the limit is reached.
pub fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> anyhow::Result<T> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(last) if start.elapsed() >= limit => anyhow::bail!("not within {limit:?}: {last}"),
            Err(_) => {}
        }
        // Parked rather than asleep: nothing depends on how long this takes, it only spares the processor.
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// As [`wait_for`] in asynchronous tests: asks until something holds, and fails the test if it does not within 20 seconds.
///
/// # Panics
/// With `what`, when the limit is reached.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let waiting = async {
        while !holds().await {
            ticks.tick().await;
        }
    };
    let came_true = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    assert!(came_true.is_ok(), "never came true: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_refusal_is_told() {
        let mut asked = 0;
        let error = wait_for::<()>(Duration::from_millis(5), || {
            asked += 1;
            Err(format!("refusal {asked}"))
        })
        .unwrap_err();
        assert!(error.to_string().contains(&format!("refusal {asked}")), "{error}");
    }

    #[test]
    fn the_first_answer_ends_the_wait() {
        assert_eq!(wait_for(Duration::ZERO, || Ok(7)).unwrap(), 7);
    }
}

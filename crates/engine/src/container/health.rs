//! `HEALTHCHECK` and `--health-…`: a command run in the container now and then, and what its ends say.
//!
//! The counting is a value of its own, so that when a container is unwell is a pure question. The watch over a container
//! begins with a run and ends with it; a check that takes too long is killed and counts as a failure.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use shipway_container::{ExecOptions, Signal};
use shipway_oci::{ExecutionConfig, Healthcheck};
use time::OffsetDateTime;

use super::lifecycle::exit_code;
use super::record::Record;
use crate::clock::rfc3339;
use crate::engine::Inner;
use crate::failure::told;

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;
/// Docker's least for each of the times; it also keeps a check from following its own end at once.
const LEAST: Duration = Duration::from_millis(1);
/// Results that inspection shows, and how much of what each wrote.
const KEPT_RESULTS: usize = 5;
const KEPT_OUTPUT: usize = 4096;

/// How well a container is, in Docker's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Nobody checks.
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// What the checks of the last run found.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) status: Status,
    failures: u64,
    log: VecDeque<Value>,
}

/// One check's end.
struct Outcome {
    begun: OffsetDateTime,
    code: i64,
    output: String,
}

/// A check with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    argv: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Status::None => "none",
            Status::Starting => "starting",
            Status::Healthy => "healthy",
            Status::Unhealthy => "unhealthy",
        }
    }

    /// What follows the phase in `docker ps`.
    pub(crate) fn remark(self) -> &'static str {
        match self {
            Status::None => "",
            Status::Starting => " (health: starting)",
            Status::Healthy => " (healthy)",
            Status::Unhealthy => " (unhealthy)",
        }
    }

    fn event(self) -> &'static str {
        match self {
            Status::Healthy => "health_status: healthy",
            _ => "health_status: unhealthy",
        }
    }
}

impl Health {
    pub(crate) fn new(status: Status) -> Health {
        Health {
            status,
            failures: 0,
            log: VecDeque::new(),
        }
    }

    /// `State.Health`.
    pub(crate) fn json(&self) -> Value {
        json!({ "Status": self.status.word(), "FailingStreak": self.failures, "Log": self.log })
    }

    /// Counts an outcome; gives the status if it changed. In the start period a failure of what never was well is forgiven.
    fn count(&mut self, outcome: &Outcome, retries: u64, in_start_period: bool) -> Option<Status> {
        if self.log.len() >= KEPT_RESULTS {
            self.log.pop_front();
        }
        self.log.push_back(json!({
            "Start": rfc3339(Some(outcome.begun)),
            "End": rfc3339(Some(OffsetDateTime::now_utc())),
            "ExitCode": outcome.code,
            "Output": outcome.output,
        }));
        let before = self.status;
        if outcome.code == 0 {
            self.failures = 0;
            self.status = Status::Healthy;
        } else if !(in_start_period && before == Status::Starting) {
            self.failures += 1;
            if self.failures >= retries {
                self.status = Status::Unhealthy;
            }
        }
        Some(self.status).filter(|status| *status != before)
    }
}

/// The client's check, filled up with the image's; nothing of the image's when the client wants none.
pub(crate) fn merge(asked: Option<&Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(asked), Some(image)) = (asked, image) else {
        return asked.or(image).cloned();
    };
    let given = |asked: Option<i64>, image: Option<i64>| asked.filter(|value| *value != 0).or(image);
    Some(Healthcheck {
        test: if asked.test.is_empty() {
            image.test.clone()
        } else {
            asked.test.clone()
        },
        interval: given(asked.interval, image.interval),
        timeout: given(asked.timeout, image.timeout),
        start_period: given(asked.start_period, image.start_period),
        start_interval: given(asked.start_interval, image.start_interval),
        retries: given(asked.retries, image.retries),
        other: asked.other.clone(),
    })
}

impl Check {
    fn new(wanted: &Healthcheck, image: &ExecutionConfig) -> Option<Check> {
        let argv = match wanted.test.split_first()? {
            (kind, words) if kind == "CMD" && !words.is_empty() => words.to_vec(),
            (kind, [command, ..]) if kind == "CMD-SHELL" => {
                let shell = image.shell.clone().filter(|shell| !shell.is_empty());
                let mut argv = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
                argv.push(command.clone());
                argv
            }
            _ => return None,
        };
        let positive = |value: Option<i64>| {
            value
                .and_then(|value| u64::try_from(value).ok())
                .filter(|value| *value > 0)
        };
        let span = |value, default: Duration| positive(value).map_or(default, Duration::from_nanos);
        Some(Check {
            argv,
            interval: span(wanted.interval, INTERVAL).max(LEAST),
            timeout: span(wanted.timeout, TIMEOUT).max(LEAST),
            start_period: span(wanted.start_period, Duration::ZERO),
            start_interval: span(wanted.start_interval, START_INTERVAL).max(LEAST),
            retries: positive(wanted.retries).unwrap_or(RETRIES),
        })
    }

    async fn run(&self, record: &Record) -> Outcome {
        let begun = OffsetDateTime::now_utc();
        let options = ExecOptions {
            argv: self.argv.clone(),
            env: Vec::new(),
            cwd: None,
            user: None,
            stdin_open: false,
            terminal: false,
        };
        let failed = |output| Outcome {
            begun,
            code: -1,
            output,
        };
        let exec = match record.container.exec(options).await {
            Ok(exec) => exec,
            Err(error) => return failed(told(&error)),
        };
        let Ok(status) = tokio::time::timeout(self.timeout, exec.wait()).await else {
            if let Err(error) = exec.kill(Signal::KILL).await {
                tracing::debug!(
                    error = told(&error),
                    container = record.id,
                    "a health check runs on"
                );
            }
            return failed(format!("Health check exceeded timeout ({:?})", self.timeout));
        };
        let mut output = Vec::new();
        let mut chunks = exec.attach().output;
        while output.len() < KEPT_OUTPUT
            && let Some(Ok(chunk)) = chunks.next().await
        {
            output.extend_from_slice(&chunk.bytes);
        }
        output.truncate(KEPT_OUTPUT);
        Outcome {
            begun,
            code: exit_code(status),
            output: String::from_utf8_lossy(&output).into_owned(),
        }
    }
}

impl Inner {
    /// Begins to check a container that was just started, until `ended`.
    pub(super) fn watch_health(
        self: &Arc<Inner>,
        record: &Arc<Record>,
        ended: impl Future<Output = i64> + Send + 'static,
    ) {
        let wanted = record.healthcheck.as_ref();
        let Some(check) = wanted.and_then(|wanted| Check::new(wanted, &record.image.config.config)) else {
            return;
        };
        *record.health() = Health::new(Status::Starting);
        let (engine, record) = (Arc::clone(self), Arc::clone(record));
        tokio::spawn(async move {
            let started = tokio::time::Instant::now();
            let checking = async {
                loop {
                    let early =
                        started.elapsed() < check.start_period && record.health().status == Status::Starting;
                    tokio::time::sleep(if early {
                        check.start_interval
                    } else {
                        check.interval
                    })
                    .await;
                    let in_start_period = started.elapsed() < check.start_period;
                    let outcome = check.run(&record).await;
                    let changed = record.health().count(&outcome, check.retries, in_start_period);
                    if let Some(status) = changed {
                        engine.tell(&record, status.event(), []);
                    }
                }
            };
            tokio::select! {
                _ = ended => {}
                () = checking => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(code: i64) -> Outcome {
        Outcome {
            begun: OffsetDateTime::UNIX_EPOCH,
            code,
            output: String::new(),
        }
    }

    #[test]
    fn failures_in_a_row_make_it_unwell() {
        let mut health = Health::new(Status::Starting);
        assert_eq!(health.count(&outcome(1), 2, true), None);
        assert_eq!(health.failures, 0);
        assert_eq!(health.count(&outcome(0), 2, true), Some(Status::Healthy));
        assert_eq!(health.count(&outcome(1), 2, true), None);
        assert_eq!(health.count(&outcome(1), 2, true), Some(Status::Unhealthy));
        assert_eq!(health.count(&outcome(1), 2, false), None);
        assert_eq!(health.count(&outcome(0), 2, false), Some(Status::Healthy));
        assert_eq!((health.failures, health.log.len()), (0, KEPT_RESULTS));
    }

    #[test]
    fn the_client_s_wishes_are_filled_up_with_the_image_s() {
        let check = |test: &[&str], interval, retries| Healthcheck {
            test: test.iter().map(|&word| word.to_owned()).collect(),
            interval,
            retries,
            ..Healthcheck::default()
        };
        let image = check(&["CMD", "ok"], Some(5_000_000_000), Some(7));
        let merged = merge(Some(&check(&[], Some(1), Some(0))), Some(&image)).unwrap();
        assert_eq!(merged, check(&["CMD", "ok"], Some(1), Some(7)));
        assert_eq!(merge(None, Some(&image)), Some(image.clone()));
        let none = check(&["NONE"], None, None);
        let merged = merge(Some(&none), Some(&image)).unwrap();
        assert_eq!(Check::new(&merged, &ExecutionConfig::default()), None);
        let shell = Check::new(
            &check(&["CMD-SHELL", "a b"], Some(-1), None),
            &ExecutionConfig::default(),
        )
        .unwrap();
        assert_eq!(shell.argv, ["/bin/sh", "-c", "a b"]);
        assert_eq!((shell.interval, shell.retries), (INTERVAL, RETRIES));
    }
}

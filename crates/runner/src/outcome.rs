//! How a job ends: the words GitLab has for it, and the errors that lead there.

use crate::engine::is_docker_client;
use serde::Serialize;
use shipway_container::{Excess, MAKE_ROOM, is_disk_full};
use shipway_oci::with_causes;
use std::error::Error;
use std::fmt;
use std::time::Duration;
use thiserror::Error as ThisError;

/// The exit code of what was killed by SIGKILL.
const KILLED: i32 = 128 + 9;

/// Why a job failed, named as GitLab's API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// A command of the script failed.
    ScriptFailure,
    /// The job took longer than it may.
    JobExecutionTimeout,
    /// An image could not be had.
    ImagePullFailure,
    /// The job asks for what this runner is told not to do.
    RunnerConfigurationError,
    /// The runner itself failed.
    RunnerSystemFailure,
}

impl FailureReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScriptFailure => "script_failure",
            Self::JobExecutionTimeout => "job_execution_timeout",
            Self::ImagePullFailure => "image_pull_failure",
            Self::RunnerConfigurationError => "runner_configuration_error",
            Self::RunnerSystemFailure => "runner_system_failure",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum JobStatus {
    /// Its script succeeded.
    Success,
    /// It did not.
    Failed {
        /// Why.
        reason: FailureReason,
        /// The script's exit code, if a script ran and ended.
        exit_code: Option<i32>,
        /// The same for people.
        message: String,
    },
    /// Somebody ended it.
    Canceled,
}

impl JobStatus {
    /// The value of `CI_JOB_STATUS`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed { .. } => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// What a job leaves behind.
#[derive(Clone, Debug)]
pub struct JobOutcome {
    /// How it ended.
    pub status: JobStatus,
    /// How long it took.
    pub duration: Duration,
    /// Variables for later jobs (`artifacts:reports:dotenv`).
    pub dotenv: Vec<(String, String)>,
    /// Whether artifacts were kept for later jobs.
    pub artifacts: bool,
    /// Whether it ran on files that are not exactly those of its commit.
    pub differs: bool,
    /// The trace lost something: the file could not be written.
    pub trace_failure: Option<String>,
}

/// Why a stage of a job ended early.
#[derive(Debug, ThisError)]
pub(crate) enum JobError {
    /// The script's own failure.
    #[error("exit code {exit_code}")]
    Script {
        /// Its code.
        exit_code: i32,
    },
    /// Too long.
    #[error("execution took longer than {}", Span(*limit))]
    Timeout {
        /// What it may take.
        limit: Duration,
    },
    /// A script took longer than it may itself; the job has time left.
    #[error("the script took longer than {}", Span(*limit))]
    ScriptTimeout {
        /// What it may take.
        limit: Duration,
    },
    /// It took too much of the machine.
    #[error("the job was ended")]
    Excess {
        /// Of what.
        source: Excess,
    },
    /// Somebody said stop.
    #[error("canceled")]
    Canceled,
    /// An image could not be had.
    #[error("failed to pull image \"{image}\"")]
    ImagePull {
        /// Which.
        image: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The registry of an image cannot be reached. What lies between that and its root cause is of no use to the job's
    /// owner.
    #[error("failed to pull image \"{image}\": `{host}` cannot be reached: {cause}")]
    ImageUnreachable {
        /// Which.
        image: String,
        /// Who was asked.
        host: String,
        /// The root cause.
        cause: String,
    },
    /// The registry of an image refuses to give it to who asks.
    #[error("failed to pull image \"{image}\"")]
    ImageDenied {
        /// Which.
        image: String,
        /// Who was asked.
        registry: String,
        /// As whom; nobody where there was no login.
        user: Option<String>,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The job asks for what this runner does not do.
    #[error("{message}")]
    Configuration {
        /// What, and what to do about it.
        message: String,
    },
    /// The runner could not do its part.
    #[error("{doing} failed")]
    System {
        /// What was being done.
        doing: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What Docker's own image of its CLI says beside its root file system.
const OF_A_DOCKER_CLIENT: &str =
    r#"-c 'ENTRYPOINT ["docker-entrypoint.sh"]' -c 'CMD ["sh"]' -c 'ENV DOCKER_TLS_CERTDIR=/certs'"#;

impl JobError {
    /// What the job's status is after this.
    pub(crate) fn status(&self) -> JobStatus {
        let (reason, exit_code) = match self {
            Self::Canceled => return JobStatus::Canceled,
            Self::Script { exit_code } => (FailureReason::ScriptFailure, Some(*exit_code)),
            // As a container that the kernel ended for its memory.
            Self::Excess { .. } => (FailureReason::ScriptFailure, Some(KILLED)),
            Self::Timeout { .. } | Self::ScriptTimeout { .. } => (FailureReason::JobExecutionTimeout, None),
            Self::ImagePull { .. } | Self::ImageUnreachable { .. } | Self::ImageDenied { .. } => {
                (FailureReason::ImagePullFailure, None)
            }
            Self::Configuration { .. } => (FailureReason::RunnerConfigurationError, None),
            Self::System { .. } => (FailureReason::RunnerSystemFailure, None),
        };
        JobStatus::Failed {
            reason,
            exit_code,
            message: with_causes(self),
        }
    }
}

impl JobError {
    /// What the job's owner can do about it, where the message does not say.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::ImageUnreachable { image, .. } if is_docker_client(image) => Some(format!(
                "`shipway image import {OF_A_DOCKER_CLIENT} {image} ROOTFS.tar` puts an image of this name here, for use without the \
                 registry; without these lines its docker finds no engine"
            )),
            Self::ImageUnreachable { image, .. } => Some(format!(
                "`shipway image import {image} ROOTFS.tar` puts an image of this name here, for use without the registry; what a \
                 root file system does not say, such as ENTRYPOINT and ENV, `-c` does"
            )),
            full if is_disk_full(full) => Some(MAKE_ROOM.to_owned()),
            Self::ImageDenied { registry, user, .. } => {
                let asked = user.as_ref().map_or_else(
                    || format!("there is no login for `{registry}`"),
                    |user| format!("`{registry}` was asked as `{user}`"),
                );
                Some(format!(
                    "{asked}; if the image exists, `shipway login {registry} --username NAME` before the run lets jobs pull it, as \
                     does a variable DOCKER_AUTH_CONFIG"
                ))
            }
            _ => None,
        }
    }
}

/// Lets any error become a [`JobError::System`] with what was being done.
pub(crate) trait Doing<T> {
    /// Says what was being done when it failed.
    fn doing(self, doing: &str) -> Result<T, JobError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &str) -> Result<T, JobError> {
        self.map_err(|error| JobError::System {
            doing: doing.to_owned(),
            source: error.into(),
        })
    }
}

/// What everything began with.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A duration as GitLab's runner prints it: `1h0m0s`.
struct Span(Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        match (hours, minutes) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, minutes) => write!(f, "{minutes}m{seconds}s"),
            (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FailureReason, JobError, JobStatus, count};
    use std::time::Duration;

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|number| count(number, "file")),
            ["0 files", "1 file", "2 files"]
        );
    }

    #[test]
    fn errors_become_the_statuses_gitlab_knows() {
        let timeout = JobError::Timeout {
            limit: Duration::from_secs(3600),
        };
        assert_eq!(timeout.to_string(), "execution took longer than 1h0m0s");
        assert_eq!(
            timeout.status(),
            JobStatus::Failed {
                reason: FailureReason::JobExecutionTimeout,
                exit_code: None,
                message: timeout.to_string()
            }
        );
        assert_eq!(JobError::Canceled.status(), JobStatus::Canceled);
        let pull = JobError::ImagePull {
            image: "a".into(),
            source: "no route".into(),
        };
        let JobStatus::Failed { message, reason, .. } = pull.status() else {
            panic!("{pull}")
        };
        assert_eq!(
            (message.as_str(), reason.as_str()),
            ("failed to pull image \"a\": no route", "image_pull_failure")
        );
    }
}

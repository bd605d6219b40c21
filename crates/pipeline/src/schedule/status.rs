//! Statuses as GitLab names them, and what a set of jobs amounts to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of a job, a stage or a pipeline.
///
/// ## Jobs
/// - `Created` => `Pending`, `Manual`, `Scheduled`, `Skipped`
/// - `Manual`, `Scheduled` => `Pending`
/// - `Pending` => `Running` => `Success`, `Failed`
/// - everything unfinished => `Canceled`
/// - everything finished and `Skipped` => `Created`, by a retry or because something before it is played
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for what comes before.
    Created,
    /// May be taken by a runner.
    Pending,
    /// Runs.
    Running,
    /// Passed.
    Success,
    /// Failed.
    Failed,
    /// Was stopped.
    Canceled,
    /// Will not run.
    Skipped,
    /// Waits for somebody.
    Manual,
    /// Waits for its time.
    Scheduled,
}

impl Status {
    /// GitLab's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Manual => "manual",
            Self::Scheduled => "scheduled",
        }
    }

    /// Whether nothing more happens by itself or by hand, short of a retry.
    pub fn is_complete(self) -> bool {
        matches!(
            self,
            Self::Success | Self::Failed | Self::Canceled | Self::Skipped
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// How a job counts in a composite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Plain(Status),
    /// Failed or cancelled, and that is allowed.
    Warning,
    /// Manual, and may be left so.
    Ignored,
}

/// What a set of jobs amounts to, each given with whether its failure is allowed. `by_needs` is the question "may the job
/// that needs these start?", which is stricter: a need that does not run skips it. GitLab's `Status::Composite`, in its
/// order; nothing amounts to success.
pub(super) fn composite(jobs: impl Iterator<Item = (Status, bool)>, by_needs: bool) -> Status {
    let mut parts: Vec<Part> = Vec::new();
    for (status, allowed) in jobs {
        let part = match status {
            Status::Manual if allowed => Part::Ignored,
            Status::Failed | Status::Canceled if allowed => Part::Warning,
            status => Part::Plain(status),
        };
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    let any = |status: Status| parts.contains(&Part::Plain(status));
    let only = |statuses: &[Status], others: &[Part]| {
        parts.iter().all(|part| match part {
            Part::Plain(status) => statuses.contains(status),
            part => others.contains(part),
        })
    };
    let both = &[Part::Warning, Part::Ignored];

    if parts.is_empty() {
        return Status::Success;
    }
    if by_needs && (any(Status::Skipped) || parts.contains(&Part::Ignored)) {
        return Status::Skipped;
    }
    let done = &[Status::Success, Status::Failed, Status::Canceled, Status::Skipped];
    if by_needs && !only(done, &[Part::Warning]) {
        return Status::Pending;
    }
    if only(&[Status::Skipped], &[Part::Ignored]) {
        Status::Skipped
    } else if only(&[Status::Success, Status::Skipped], both) {
        Status::Success
    } else if only(&[Status::Created], both) {
        Status::Created
    } else if only(&[Status::Canceled, Status::Success, Status::Skipped], both) {
        Status::Canceled
    } else if only(&[Status::Pending, Status::Created, Status::Skipped], both) {
        Status::Pending
    } else if any(Status::Running) || any(Status::Pending) {
        Status::Running
    } else if any(Status::Manual) {
        Status::Manual
    } else if any(Status::Scheduled) {
        Status::Scheduled
    } else if any(Status::Created) {
        Status::Running
    } else {
        Status::Failed
    }
}

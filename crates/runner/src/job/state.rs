//! Where a job is, and where it goes from there.

use crate::outcome::JobError;

/// The stages of a job, with what has to be remembered from the ones before.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing is there yet.
    ///
    /// ## Prepare => Fetch when the pod and all in it are up
    /// ## Prepare => Ended on any failure: there is no container for an `after_script`
    Prepare,
    /// The pod is there, the project's files are not.
    ///
    /// ## Fetch => Script when they are
    /// ## Fetch => Ended on any failure
    Fetch,
    /// Everything is in place.
    ///
    /// ## Script => AfterScript when the script ended, was canceled, failed, or took longer than it may itself
    /// ## Script => Keep when the job took too long: its `after_script` would have no time either
    /// ## Script => Ended when the runner failed: the container is in no known state
    Script,
    /// The script is over.
    ///
    /// ## AfterScript => Keep always
    AfterScript(Result<(), JobError>),
    /// Only files are left to care for.
    ///
    /// ## Keep => Ended always
    Keep(Result<(), JobError>),
    /// The job is over, its pod not yet closed.
    Ended(Result<(), JobError>),
}

impl State {
    /// The state after this one's stage ended like that.
    pub(super) fn after(self, verdict: Result<(), JobError>) -> Self {
        match (self, verdict) {
            (Self::Prepare, Ok(())) => Self::Fetch,
            (Self::Fetch, Ok(())) => Self::Script,
            (Self::Script, Ok(())) => Self::AfterScript(Ok(())),
            (
                Self::Script,
                Err(error @ (JobError::Script { .. } | JobError::ScriptTimeout { .. } | JobError::Canceled)),
            ) => Self::AfterScript(Err(error)),
            (Self::Script, Err(error @ JobError::Timeout { .. })) => Self::Keep(Err(error)),
            (Self::AfterScript(_), verdict) => Self::Keep(verdict),
            (_, verdict) => Self::Ended(verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{JobError, State};
    use std::time::Duration;

    #[test]
    fn what_follows_a_script_depends_on_how_it_ended() {
        let timeout = || JobError::Timeout {
            limit: Duration::from_secs(1),
        };
        let broken = || JobError::Configuration {
            message: String::new(),
        };
        assert!(matches!(State::Script.after(Ok(())), State::AfterScript(Ok(()))));
        assert!(matches!(
            State::Script.after(Err(JobError::Script { exit_code: 3 })),
            State::AfterScript(Err(_))
        ));
        assert!(matches!(
            State::Script.after(Err(JobError::Canceled)),
            State::AfterScript(Err(JobError::Canceled))
        ));
        let own = Err(JobError::ScriptTimeout {
            limit: Duration::from_secs(1),
        });
        assert!(matches!(State::Script.after(own), State::AfterScript(Err(_))));
        assert!(matches!(State::Script.after(Err(timeout())), State::Keep(Err(_))));
        assert!(matches!(State::Script.after(Err(broken())), State::Ended(Err(_))));
        assert!(matches!(
            State::Prepare.after(Err(JobError::Canceled)),
            State::Ended(Err(JobError::Canceled))
        ));
        assert!(matches!(State::Fetch.after(Err(timeout())), State::Ended(Err(_))));
    }
}

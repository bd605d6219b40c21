//! Whether a job runs, as far as that is known outside of the store.
//!
//! A job takes its token back when it ends. A process that is killed cannot, and who sweeps up after it may come much later. So
//! whoever knows the processes of jobs is asked each time that a job's token, or a token that was given for one, is
//! shown: it is worth nothing from the moment on in which the process is dead. This crate knows no processes, hence the trait.

use std::io;

use shipway_store::StoreError;

use crate::access::Access;

/// The number that a token carries which was made for no job, but for whoever owns the installation. No process is looked
/// for behind it; pipelines count from 1.
pub const NO_JOB: u64 = 0;

/// Knows whether the processes of jobs live.
pub trait JobWitness: Send + Sync {
    /// Whether the process that runs a job lives. Asked by every request with a job's token, on async threads, too: it must not
    /// wait.
    ///
    /// # Errors
    /// When that cannot be found out now. The token is then neither taken nor called worthless.
    fn lives(&self, job: u64) -> io::Result<bool>;
}

/// Who somebody is could not be looked up: nothing is said about whether they may do what they want.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The store failed.
    #[error("cannot look up who this is")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
    /// It cannot be seen whether a job's process lives.
    #[error("cannot see whether job {job} still runs")]
    Witness {
        /// The job.
        job: u64,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

impl Access {
    /// Whether nobody knows of a job's process that it is dead.
    pub(crate) fn may_live(&self, job: u64) -> Result<bool, LookUpError> {
        match &self.witness {
            Some(witness) if job != NO_JOB => witness
                .lives(job)
                .map_err(|source| LookUpError::Witness { job, source }),
            _ => Ok(true),
        }
    }
}

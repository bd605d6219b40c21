//! The project's files, from where they are into the job's builds volume.

use crate::builds::{Builds, pipe};
use crate::outcome::{Doing, JobError, count};
use crate::variables::Variables;
use crate::{SourceError, SourceReport, Sources, Trace};
use std::sync::Arc;

/// What came of fetching.
pub(crate) enum Fetched {
    /// The files are there.
    Files(SourceReport),
    /// The job wants none.
    Nothing,
}

/// Whether the job wants the project's files, as `GIT_STRATEGY` says.
pub(crate) fn is_wanted(variables: &Variables) -> bool {
    !matches!(variables.get("GIT_STRATEGY").as_deref(), Some("none" | "empty"))
}

/// Fills the project's directory.
pub(crate) async fn fetch(
    builds: &Builds,
    sources: Arc<dyn Sources>,
    wanted: bool,
) -> Result<Fetched, JobError> {
    if !wanted {
        return Ok(Fetched::Nothing);
    }
    let (read, mut write) = pipe()?;
    let writer = tokio::task::spawn_blocking(move || sources.write(&mut write));
    let extracted = builds.extract(read).await;
    match (writer.await.doing("getting the sources")?, extracted) {
        (Ok(report), Ok(())) => Ok(Fetched::Files(report)),
        // Who writes to a stream that nobody reads any more knows nothing; who stopped reading does.
        (Ok(_) | Err(SourceError::HandOver { .. }), Err(error)) => Err(error),
        (Err(error), _) => Err(error).doing("getting the sources"),
    }
}

/// Says what was fetched, once the stage for it has begun, and whether it is not exactly a commit.
pub(crate) fn report(fetched: Result<Fetched, JobError>, trace: &Trace) -> Result<bool, JobError> {
    match fetched? {
        Fetched::Nothing => {
            trace.say("Skipping Git repository setup");
            Ok(false)
        }
        Fetched::Files(report) => {
            trace.say(format!(
                "{} of the work tree at {}",
                count(report.files, "file"),
                report.revision
            ));
            if report.differs {
                trace.warn(format!(
                    "the job does not see exactly the commit {}",
                    report.revision
                ));
            }
            for note in &report.notes {
                trace.warn(note);
            }
            Ok(report.differs)
        }
    }
}

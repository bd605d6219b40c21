//! Files and variables that a job leaves for later jobs.
//!
//! An archive is a tar of the paths that the patterns take in, written by the pod's keeper and filtered here; later
//! jobs get it extracted over their sources. Dotenv reports are read into variables. What a pattern does not find is
//! a warning, as it is for GitLab; a report that cannot be read fails nothing but is said.

mod dotenv;
mod expiry;
mod store;

pub use expiry::Expiry;
pub use store::{ArtifactDirectory, ArtifactStore};

use crate::Trace;
use crate::builds::{Builds, pipe};
use crate::outcome::{Doing, JobError, JobStatus, count};
use crate::selection::Selection;
use crate::variables::Variables;
use dotenv::{DOTENV_BYTES, DotenvError, parse_dotenv};
use shipway_pipeline::job::{Dependency, JobPayload};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

/// What of a job's artifacts was kept.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// Variables for later jobs.
    pub(crate) dotenv: Vec<(String, String)>,
    /// Whether there is an archive.
    pub(crate) archive: bool,
}

/// Extracts what earlier jobs left into the project's directory.
pub(crate) async fn restore(
    builds: &Builds,
    dependencies: &[Dependency],
    store: &dyn ArtifactStore,
    trace: &Trace,
) -> Result<(), JobError> {
    for dependency in dependencies {
        let doing = format!("restoring the artifacts of {}", dependency.name);
        match store.open(dependency.id).doing(&doing)? {
            Some(archive) => {
                trace.say(format!(
                    "Downloading artifacts for {} ({})...",
                    dependency.name, dependency.id
                ));
                builds.extract(OwnedFd::from(archive)).await?;
            }
            None => trace.warn(format!(
                "the artifacts of {} ({}) are gone",
                dependency.name, dependency.id
            )),
        }
    }
    Ok(())
}

/// Whether any artifact of a job is due after it ended like this.
pub(crate) fn due(payload: &JobPayload, status: &JobStatus) -> bool {
    payload
        .artifacts
        .iter()
        .any(|artifact| is_due(&artifact.when, status))
}

/// Whether something kept `when` is due after a job ended like this.
pub(crate) fn is_due(when: &str, status: &JobStatus) -> bool {
    match when {
        "always" => true,
        "on_failure" => *status != JobStatus::Success,
        _ => *status == JobStatus::Success,
    }
}

/// Keeps what a job left.
pub(crate) async fn keep(
    builds: &Builds,
    payload: &JobPayload,
    variables: &Variables,
    status: &JobStatus,
    store: &dyn ArtifactStore,
    trace: &Trace,
) -> Result<Kept, JobError> {
    let mut kept = Kept::default();
    for artifact in payload
        .artifacts
        .iter()
        .filter(|artifact| is_due(&artifact.when, status))
    {
        if artifact.untracked {
            trace.warn("artifacts:untracked has no effect here: name the files in artifacts:paths");
        }
        let project = builds.project_directory();
        let selection = Selection::new(&artifact.paths, &artifact.exclude, variables, &project, trace);
        match artifact.artifact_type.as_str() {
            "dotenv" => kept.dotenv.extend(read_dotenv(builds, &selection, trace).await?),
            "" | "archive" => {
                let expiry = Expiry::after(&artifact.expire_in, SystemTime::now());
                kept.archive |= keep_archive(builds, payload.id, &selection, expiry, store, trace).await?;
            }
            report => trace.say(format!(
                "The {report} report stays in the job: nothing here reads it."
            )),
        }
    }
    Ok(kept)
}

async fn keep_archive(
    builds: &Builds,
    job: u64,
    selection: &Selection,
    expiry: Expiry,
    store: &dyn ArtifactStore,
    trace: &Trace,
) -> Result<bool, JobError> {
    const DOING: &str = "keeping the job's artifacts";
    let file = store.create(job).doing(DOING)?;
    if !selection.archive(builds, file, trace).await? {
        trace.error("No files to upload");
        return Ok(false);
    }
    store.keep(job, expiry).doing(DOING)?;
    Ok(true)
}

async fn read_dotenv(
    builds: &Builds,
    selection: &Selection,
    trace: &Trace,
) -> Result<Vec<(String, String)>, JobError> {
    let roots = selection.roots(builds, trace).await?;
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let (read, write) = pipe()?;
    let reader = {
        let selection = selection.clone();
        tokio::task::spawn_blocking(move || read_reports(File::from(read), &selection))
    };
    builds.archive(&roots, selection, write.into()).await?;
    let reports = reader
        .await
        .doing("reading the dotenv report")?
        .doing("reading the dotenv report")?;
    let mut variables = Vec::new();
    for (path, content) in reports {
        match content.and_then(|content| parse_dotenv(&content)) {
            Ok(found) => {
                trace.say(format!(
                    "{path}: {} for later jobs",
                    count(found.len() as u64, "variable")
                ));
                variables.extend(found);
            }
            Err(error) => trace.error(format!("{path}: {error}")),
        }
    }
    Ok(variables)
}

/// A report's path, and what is in it.
type Report = (String, Result<Vec<u8>, DotenvError>);

/// The regular files of a tar that are meant, up to the first with which they are more than all reports of a job may be.
fn read_reports(from: impl Read, selection: &Selection) -> io::Result<Vec<Report>> {
    let mut archive = tar::Archive::new(BufReader::new(from));
    let mut reports = Vec::new();
    let mut room = DOTENV_BYTES;
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        if !entry.header().entry_type().is_file() || !selection.takes_in(&path) {
            continue;
        }
        let mut content = Vec::new();
        entry.take(room as u64 + 1).read_to_end(&mut content)?;
        // An empty file counts too, so that there is an end to their number.
        match room.checked_sub(content.len().max(1)) {
            Some(left) => room = left,
            None => {
                reports.push((path, Err(DotenvError::TooLarge)));
                break;
            }
        }
        reports.push((path, Ok(content)));
    }
    // A writer must not meet a closed pipe.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::{DOTENV_BYTES, DotenvError, read_reports};
    use crate::Trace;
    use crate::selection::Selection;
    use crate::variables::Variables;

    fn archive(files: &[(&str, usize)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, length) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(*length as u64);
            let content = vec![b'x'; *length];
            builder.append_data(&mut header, name, &content[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn only_reports_are_read_and_no_more_than_a_job_may_have() {
        let trace = Trace::new(std::io::sink(), Vec::new());
        let variables = Variables::new(Vec::new(), &[], Vec::new(), "/tmp");
        let selection = Selection::new(&["*.env".to_owned()], &[], &variables, "/p", &trace);
        let files = [
            ("huge.o", 4 * DOTENV_BYTES),
            ("a.env", DOTENV_BYTES - 10),
            ("b.env", 0),
            ("c.env", 10),
            ("d.env", 1),
        ];
        let reports = read_reports(&archive(&files)[..], &selection).unwrap();
        let read: Vec<_> = reports
            .iter()
            .map(|(path, content)| (path.as_str(), content.as_ref().map(Vec::len)))
            .collect();
        let expected = [
            ("a.env", Ok(DOTENV_BYTES - 10)),
            ("b.env", Ok(0)),
            ("c.env", Err(&DotenvError::TooLarge)),
        ];
        assert_eq!(read, expected);
    }
}

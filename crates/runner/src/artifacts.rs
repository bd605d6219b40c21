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
use dotenv::{DOTENV_BYTES, parse_dotenv};
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
    let reader = tokio::task::spawn_blocking(move || read_files(File::from(read)));
    builds.archive(&roots, selection, write.into()).await?;
    let files = reader
        .await
        .doing("reading the dotenv report")?
        .doing("reading the dotenv report")?;
    let mut variables = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| selection.takes_in(path)) {
        match parse_dotenv(content) {
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

/// The regular files of a tar, each cut just past what a dotenv report may have.
fn read_files(from: impl Read) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut archive = tar::Archive::new(BufReader::new(from));
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = entry.path()?.to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.take(DOTENV_BYTES as u64 + 1).read_to_end(&mut content)?;
            files.push((path, content));
        }
    }
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(files)
}

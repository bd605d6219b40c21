//! Files and variables that a job leaves for later jobs.
//!
//! An archive is a tar of the paths that the patterns take in, written by the pod's keeper and filtered here; later
//! jobs get it extracted over their sources. Dotenv reports are read into variables. What a pattern does not find is
//! a warning, as it is for GitLab; a report that cannot be read fails nothing but is said.

mod dotenv;
mod glob;
mod store;

pub use store::{ArtifactDirectory, ArtifactStore};

use crate::Trace;
use crate::builds::{Builds, pipe};
use crate::outcome::{Doing, JobError, JobStatus};
use crate::variables::Variables;
use dotenv::{DOTENV_BYTES, parse_dotenv};
use glob::Pattern;
use shipway_pipeline::job::{Dependency, JobArtifact, JobPayload};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

const GIT: &str = ".git";

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
    payload.artifacts.iter().any(|artifact| is_due(artifact, status))
}

fn is_due(artifact: &JobArtifact, status: &JobStatus) -> bool {
    match artifact.when.as_str() {
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
        .filter(|artifact| is_due(artifact, status))
    {
        let selection = Selection::new(artifact, variables, &builds.project_directory(), trace);
        match artifact.artifact_type.as_str() {
            "dotenv" => kept.dotenv.extend(read_dotenv(builds, &selection, trace).await?),
            "" | "archive" => {
                kept.archive |= keep_archive(builds, payload.id, &selection, store, trace).await?
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
    store: &dyn ArtifactStore,
    trace: &Trace,
) -> Result<bool, JobError> {
    const DOING: &str = "keeping the job's artifacts";
    let roots = selection.roots(builds, trace).await?;
    if roots.is_empty() {
        trace.error("No files to upload");
        return Ok(false);
    }
    let file = store.create(job).doing(DOING)?;
    let (read, write) = pipe()?;
    let filter = {
        let selection = selection.clone();
        tokio::task::spawn_blocking(move || selection.filter(File::from(read), file))
    };
    builds.archive(&roots, write.into()).await?;
    let found = filter.await.doing(DOING)?.doing(DOING)?;
    for (pattern, count) in selection.names.iter().zip(&found.per_pattern) {
        match count {
            0 => trace.warn(format!("{pattern}: no matching files")),
            count => trace.say(format!(
                "{pattern}: found {count} matching artifact files and directories"
            )),
        }
    }
    if found.entries == 0 {
        trace.error("No files to upload");
        return Ok(false);
    }
    store.keep(job).doing(DOING)?;
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
    builds.archive(&roots, write.into()).await?;
    let files = reader
        .await
        .doing("reading the dotenv report")?
        .doing("reading the dotenv report")?;
    let mut variables = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| selection.takes_in(path)) {
        match parse_dotenv(content) {
            Ok(found) => {
                trace.say(format!("{path}: {} variables for later jobs", found.len()));
                variables.extend(found);
            }
            Err(error) => trace.error(format!("{path}: {error}")),
        }
    }
    Ok(variables)
}

/// Which files an entry of `artifacts` means.
#[derive(Clone)]
struct Selection {
    names: Vec<String>,
    patterns: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

#[derive(Debug)]
struct Found {
    entries: u64,
    per_pattern: Vec<u64>,
}

impl Selection {
    fn new(artifact: &JobArtifact, variables: &Variables, project: &str, trace: &Trace) -> Self {
        if artifact.untracked {
            trace.warn("artifacts:untracked has no effect here: name the files in artifacts:paths");
        }
        let mut selection = Self {
            names: Vec::new(),
            patterns: Vec::new(),
            exclude: Vec::new(),
        };
        for path in &artifact.paths {
            let path = variables.expand(path);
            match Pattern::parse(&path, project) {
                Some(pattern) => {
                    selection.patterns.push(pattern);
                    selection.names.push(path);
                }
                None => trace.warn(format!("{path}: not below the project's directory, left out")),
            }
        }
        let exclude = artifact.exclude.iter().map(|path| variables.expand(path));
        selection.exclude = exclude
            .filter_map(|path| Pattern::parse(&path, project))
            .collect();
        selection
    }

    /// The existing directories and files below which the patterns find anything at all.
    async fn roots(&self, builds: &Builds, trace: &Trace) -> Result<Vec<String>, JobError> {
        let mut roots: Vec<String> = self.patterns.iter().map(Pattern::fixed_prefix).collect();
        roots.sort();
        roots.dedup();
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| other != root && is_below(root, other)));
        let kinds = builds.kinds(&roots).await?;
        let (mut existing, mut missing) = (Vec::new(), Vec::new());
        for (root, kind) in roots.into_iter().zip(kinds) {
            if kind.is_some() {
                existing.push(root)
            } else {
                missing.push(root)
            }
        }
        if existing.is_empty() {
            for name in &self.names {
                trace.warn(format!("{name}: no matching files"));
            }
        }
        Ok(existing)
    }

    fn takes_in(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.takes_in(path)) && !self.is_excluded(path)
    }

    fn is_excluded(&self, path: &str) -> bool {
        // A `*` does not mean the history; who wants it names it.
        let history = path == GIT || is_below(path, GIT);
        let named = || {
            self.patterns
                .iter()
                .any(|pattern| pattern.fixed_prefix().starts_with(GIT))
        };
        self.exclude.iter().any(|pattern| pattern.matches(path)) || (history && !named())
    }

    /// Copies what is meant from one tar into another.
    fn filter(&self, from: impl Read, into: impl Write) -> io::Result<Found> {
        let mut found = Found {
            entries: 0,
            per_pattern: vec![0; self.patterns.len()],
        };
        let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, from));
        let mut into = Copy {
            tar: tar::Builder::new(BufWriter::with_capacity(256 * 1024, into)),
            names: HashSet::new(),
        };
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_matches('/').to_owned();
            let mut meant = false;
            for (pattern, count) in self.patterns.iter().zip(&mut found.per_pattern) {
                if pattern.takes_in(&path) && !self.is_excluded(&path) {
                    *count += 1;
                    meant = true;
                }
            }
            if !meant {
                continue;
            }
            found.entries += 1;
            let name = entry.path()?.into_owned();
            into.parents(&name)?;
            into.entry(name, &mut entry)?;
        }
        into.tar.into_inner()?.flush()?;
        // What follows the last entry is read too: a writer must not meet a closed pipe.
        io::copy(&mut archive.into_inner(), &mut io::sink())?;
        Ok(found)
    }
}

/// An archive being written, and the names that are in it.
struct Copy<W: Write> {
    tar: tar::Builder<BufWriter<W>>,
    names: HashSet<PathBuf>,
}

impl<W: Write> Copy<W> {
    /// Directories above an entry, writable for everybody: the next job may run as another user.
    fn parents(&mut self, name: &Path) -> io::Result<()> {
        let mut parents: Vec<&Path> = name
            .ancestors()
            .skip(1)
            .filter(|path| !path.as_os_str().is_empty())
            .collect();
        parents.reverse();
        for parent in parents {
            if self.names.insert(parent.to_owned()) {
                let mut header = tar::Header::new_gnu();
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o777);
                header.set_size(0);
                self.tar.append_data(&mut header, parent.join(""), io::empty())?;
            }
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, name: PathBuf, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let mut header = entry.header().clone();
        header.set_size(entry.size());
        let is_hard_link = header.entry_type().is_hard_link();
        let target = entry.link_name()?.map(|target| target.into_owned());
        match target {
            Some(target) if is_hard_link && !self.names.contains(&target) => {
                let message = format!(
                    "{} is a hard link to {}, which is not among the artifacts: name both",
                    name.display(),
                    target.display()
                );
                return Err(io::Error::other(message));
            }
            Some(target) => self.tar.append_link(&mut header, &name, target)?,
            None => self.tar.append_data(&mut header, &name, entry)?,
        }
        self.names.insert(name);
        Ok(())
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
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

#[cfg(test)]
mod tests {
    use super::{Selection, glob::Pattern, is_below};

    fn selection(paths: &[&str], exclude: &[&str]) -> Selection {
        let parse = |paths: &[&str]| {
            paths
                .iter()
                .map(|path| Pattern::parse(path, "/builds/p").unwrap())
                .collect()
        };
        Selection {
            names: paths.iter().map(|path| (*path).to_owned()).collect(),
            patterns: parse(paths),
            exclude: parse(exclude),
        }
    }

    fn archive(names: &[&str]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for name in names {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(name.len() as u64);
            builder.append_data(&mut header, name, name.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn only_what_is_meant_is_copied() {
        let from = archive(&[
            "dist/app",
            "dist/app.map",
            "src/main.c",
            "report.xml",
            ".git/HEAD",
        ]);
        let mut into = Vec::new();
        let found = selection(
            &["dist", "**/*.xml", "none/**", "*EAD", "**/HEAD"],
            &["dist/*.map"],
        )
        .filter(from.as_slice(), &mut into)
        .unwrap();
        assert_eq!((found.entries, found.per_pattern), (2, vec![1, 1, 0, 0, 0]));
        let mut copied = tar::Archive::new(into.as_slice());
        let names: Vec<_> = copied
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["dist/", "dist/app", "report.xml"]);
    }

    #[test]
    fn nested_roots_are_read_once() {
        assert!(is_below("a/b", "a") && is_below("a", "") && !is_below("ab", "a"));
    }
}

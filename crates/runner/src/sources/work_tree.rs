//! The work tree on this machine, as it is on disk.
//!
//! Tracked files go into the job with the content they have now, committed or not: that is what a person who tries a
//! pipeline means. Untracked files do not, because a clone would not have them; the trace says so, as it says that
//! a file differs from the commit. A `.git` of its own comes with them, cut to some depth, so that `git describe` and
//! `git log` work in the job and nothing the job does reaches the user's repository. `history` keeps it for the next run.
//!
//! Assumptions: nobody writes to the work tree while it is copied (a file that shrinks is an error, one that grows is
//! cut); submodules are left out with a note, as GitLab leaves them out unless asked.

use super::archive::Archive;
use super::git::git;
use super::history::{Histories, History, HistoryName};
use super::{GitError, SourceError, SourceReport, Sources};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{panic, thread};

/// How many notes name a file each before the rest is only counted.
const NAMED: usize = 5;

/// A work tree of a git repository.
#[derive(Debug)]
pub struct WorkTree {
    root: PathBuf,
    depth: u32,
    /// What a job's `git remote -v` shows.
    remote: String,
    histories: Histories,
    copy: Mutex<Option<RepositoryCopy>>,
}

#[derive(Debug)]
struct RepositoryCopy {
    history: History,
    revision: String,
}

impl WorkTree {
    /// The work tree whose top is `root`; its history, `depth` commits of it (0: all), is copied below `histories`, where
    /// nothing else may be.
    pub fn new(
        root: impl Into<PathBuf>,
        depth: u32,
        remote: impl Into<String>,
        histories: impl Into<PathBuf>,
    ) -> Self {
        Self {
            root: root.into(),
            depth,
            remote: remote.into(),
            histories: Histories::new(histories.into()),
            copy: Mutex::new(None),
        }
    }

    /// One copy for all jobs of a pipeline, whatever happens to the work tree meanwhile.
    fn with_copy<T>(&self, action: impl FnOnce(&RepositoryCopy) -> T) -> Result<T, SourceError> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        if copy.is_none() {
            *copy = Some(self.find_history()?);
        }
        match &*copy {
            Some(copy) => Ok(action(copy)),
            None => Err(SourceError::HandOver {
                source: io::ErrorKind::NotFound.into(),
            }),
        }
    }

    fn find_history(&self) -> Result<RepositoryCopy, SourceError> {
        // One answer in a line each, asked for at once: every start of git is a millisecond of each job.
        let place = text(git(
            &self.root,
            [
                "rev-parse",
                "HEAD^{commit}",
                "--git-path",
                "shallow",
                "--symbolic-full-name",
                "HEAD",
            ],
        )?);
        let mut lines = place.lines();
        let (revision, shallow) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
        let tags = git(
            &self.root,
            ["for-each-ref", "--format=%(objectname) %(refname)", "refs/tags"],
        )?;
        let shallow = read_if_there(&self.root.join(shallow))?;
        let name = HistoryName::new(
            &self.root,
            &[
                place.as_bytes(),
                &shallow,
                &tags,
                &self.depth.to_le_bytes(),
                self.remote.as_bytes(),
            ],
        );
        let history = self
            .histories
            .get(&name, |directory| self.copy_history(revision, directory))?;
        Ok(RepositoryCopy {
            history,
            revision: revision.to_owned(),
        })
    }

    fn copy_history(&self, revision: &str, directory: &Path) -> Result<(), SourceError> {
        let mut arguments: Vec<OsString> = [
            "clone",
            "--quiet",
            "--no-checkout",
            "--template=",
            "--single-branch",
            // The pack goes no further than this machine: searching for differences would take longer than they save.
            "--upload-pack=git -c pack.window=0 -c pack.compression=1 upload-pack",
        ]
        .map(OsString::from)
        .into();
        if self.depth > 0 {
            arguments.push(format!("--depth={}", self.depth).into());
        }
        arguments.push("--".into());
        arguments.push(address(&self.root));
        arguments.push(directory.into());
        git(&self.root, &arguments)?;
        // Detached at the commit, as every CI job is.
        let head = directory.join(".git/HEAD");
        fs::write(&head, format!("{revision}\n")).map_err(|source| SourceError::Read {
            path: head.display().to_string(),
            source,
        })?;
        git(directory, ["read-tree", "HEAD"])?;
        git(directory, ["remote", "set-url", "origin", self.remote.as_str()])?;
        Ok(())
    }

    fn notes(&self, submodules: &[PathBuf]) -> Result<(bool, Vec<String>), GitError> {
        let (mut changed, mut untracked) = (Vec::new(), Vec::new());
        let status = git(
            &self.root,
            ["status", "--porcelain=v1", "-z", "--untracked-files=normal"],
        )?;
        let mut entries = status.split(|byte| *byte == 0).filter(|entry| entry.len() > 3);
        while let Some(entry) = entries.next() {
            let (code, path) = entry.split_at(3);
            let path = String::from_utf8_lossy(path).into_owned();
            match code[0] {
                b'?' => untracked.push(path),
                b'R' | b'C' => {
                    entries.next();
                    changed.push(path);
                }
                _ => changed.push(path),
            }
        }
        let mut notes = Vec::new();
        if !changed.is_empty() {
            notes.push(format!(
                "not committed, and taken as on disk: {}",
                listed(&changed)
            ));
        }
        if !untracked.is_empty() {
            notes.push(format!(
                "not tracked by git, and left out: {} (`git add` brings a file in)",
                listed(&untracked)
            ));
        }
        if !submodules.is_empty() {
            let names: Vec<String> = submodules.iter().map(|path| path.display().to_string()).collect();
            notes.push(format!("submodules are left out: {}", listed(&names)));
        }
        Ok((!changed.is_empty(), notes))
    }
}

impl Sources for WorkTree {
    fn write(&self, into: &mut dyn Write) -> Result<SourceReport, SourceError> {
        thread::scope(|scope| {
            // A history that is not here yet takes as long as all the files.
            let history = scope
                .spawn(|| self.with_copy(|copy| (copy.history.path().join(".git"), copy.revision.clone())));
            let mut archive = Archive::new(into);
            archive.directory(&self.root, Path::new("."))?;
            let mut submodules = Vec::new();
            for entry in tracked(&self.root)? {
                match entry {
                    Tracked::File(path) => archive.tracked(&self.root, &path)?,
                    Tracked::Submodule(path) => submodules.push(path),
                }
            }
            let files = archive.files();
            let (differs, notes) = self.notes(&submodules)?;
            let (history, revision) = history
                .join()
                .unwrap_or_else(|payload| panic::resume_unwind(payload))?;
            archive.tree(&history, Path::new(".git"))?;
            archive.finish()?;
            Ok(SourceReport {
                revision,
                files,
                differs,
                notes,
            })
        })
    }
}

enum Tracked {
    File(PathBuf),
    Submodule(PathBuf),
}

fn tracked(root: &Path) -> Result<Vec<Tracked>, GitError> {
    let listing = git(root, ["ls-files", "-z", "--stage"])?;
    let mut entries = Vec::new();
    let mut last: &[u8] = &[];
    for entry in listing.split(|byte| *byte == 0) {
        // "<mode> <object> <stage>\t<path>"; an unmerged path has several stages and is one file.
        let Some(tab) = entry.iter().position(|byte| *byte == b'\t') else {
            continue;
        };
        let (facts, path) = (&entry[..tab], &entry[tab + 1..]);
        if path == last {
            continue;
        }
        last = path;
        let owned = PathBuf::from(OsStr::from_bytes(path));
        entries.push(if facts.starts_with(b"160000") {
            Tracked::Submodule(owned)
        } else {
            Tracked::File(owned)
        });
    }
    Ok(entries)
}

/// A directory for `git clone`. An address and not a path: a path would be hard-linked whole, whatever the depth. Git
/// decodes the `%` of addresses.
fn address(root: &Path) -> OsString {
    let mut address = b"file://".to_vec();
    for byte in root.as_os_str().as_bytes() {
        match byte {
            b'%' => address.extend(b"%25"),
            other => address.push(*other),
        }
    }
    OsString::from_vec(address)
}

/// A file of git's that need not be there; empty without.
fn read_if_there(path: &Path) -> Result<Vec<u8>, SourceError> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|source| SourceError::Read {
            path: path.display().to_string(),
            source,
        }),
    }
}

fn listed(names: &[String]) -> String {
    match names.len().checked_sub(NAMED) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

#[cfg(test)]
mod tests;

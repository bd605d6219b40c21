//! Files of a project that a list of patterns means, from the job's volume into a tar.
//!
//! Apart because artifacts and caches choose files in the same way. The pod's keeper writes what lies below the fixed
//! parts of the patterns, one pass over that stream picks what is meant; nothing is read twice or held in memory. On the
//! machine, where a project may hold what its user cannot read, nothing else is read in the first place.

mod copy;
mod pattern;

use crate::Trace;
use crate::builds::{Builds, pipe};
use crate::outcome::{Doing, JobError};
use crate::variables::Variables;
use copy::Copy;
pub(crate) use pattern::Pattern;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};

const GIT: &str = ".git";

/// Which files of a project are meant.
#[derive(Clone)]
pub(crate) struct Selection {
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
    /// Reads patterns; one that points outside the project is said and left out.
    pub(crate) fn new(
        paths: &[String],
        exclude: &[String],
        variables: &Variables,
        project: &str,
        trace: &Trace,
    ) -> Self {
        let mut selection = Self {
            names: Vec::new(),
            patterns: Vec::new(),
            exclude: Vec::new(),
        };
        for path in paths {
            let path = variables.expand(path);
            match Pattern::parse(&path, project) {
                Some(pattern) => {
                    selection.patterns.push(pattern);
                    selection.names.push(path);
                }
                None => trace.warn(format!("{path}: not below the project's directory, left out")),
            }
        }
        let exclude = exclude.iter().map(|path| variables.expand(path));
        selection.exclude = exclude
            .filter_map(|path| Pattern::parse(&path, project))
            .collect();
        selection
    }

    /// Writes what is meant as a tar; false when nothing was found. What each pattern found is said.
    pub(crate) async fn archive(&self, builds: &Builds, into: File, trace: &Trace) -> Result<bool, JobError> {
        const DOING: &str = "archiving files of the job";
        let roots = self.roots(builds, trace).await?;
        if roots.is_empty() {
            return Ok(false);
        }
        let (read, write) = pipe()?;
        let filter = {
            let selection = self.clone();
            tokio::task::spawn_blocking(move || selection.filter(File::from(read), into))
        };
        let ignored = builds.archive(&roots, self, write.into()).await?;
        for path in ignored {
            trace.warn(format!(
                "{path}: neither a file, a directory nor a link, left out"
            ));
        }
        let found = filter.await.doing(DOING)?.doing(DOING)?;
        for (pattern, count) in self.names.iter().zip(&found.per_pattern) {
            match count {
                0 => trace.warn(format!("{pattern}: no matching files")),
                count => trace.say(format!("{pattern}: found {count} matching files and directories")),
            }
        }
        Ok(found.entries > 0)
    }

    /// The existing directories and files below which the patterns find anything at all.
    pub(crate) async fn roots(&self, builds: &Builds, trace: &Trace) -> Result<Vec<String>, JobError> {
        let mut roots: Vec<String> = self.patterns.iter().map(Pattern::fixed_prefix).collect();
        roots.sort();
        roots.dedup();
        let all = roots.clone();
        roots.retain(|root| !all.iter().any(|other| other != root && is_below(root, other)));
        let kinds = builds.kinds(&roots).await?;
        let found = roots.into_iter().zip(kinds);
        let existing: Vec<String> = found.filter_map(|(root, kind)| kind.map(|_| root)).collect();
        if existing.is_empty() {
            for name in &self.names {
                trace.warn(format!("{name}: no matching files"));
            }
        }
        Ok(existing)
    }

    /// Whether a path is meant.
    pub(crate) fn takes_in(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| means(pattern, path)) && !self.is_excluded(path)
    }

    /// Whether anything below a directory may be meant.
    pub(crate) fn leads_below(&self, directory: &str) -> bool {
        self.patterns
            .iter()
            .any(|pattern| pattern.leads_below(directory) && may_mean(pattern, directory))
    }

    /// Whether nothing below the [roots](Self::roots) is left out.
    pub(crate) fn takes_in_whole_roots(&self) -> bool {
        // The whole project has the history in it.
        let is_whole = |pattern: &Pattern| pattern.is_fixed() && !pattern.fixed_prefix().is_empty();
        self.exclude.is_empty() && self.patterns.iter().all(is_whole)
    }

    fn is_excluded(&self, path: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(path))
    }

    /// Copies what is meant from one tar into another. Reads to the end also when it fails: a writer that met a closed
    /// pipe would end with an error of its own, which hides this one.
    fn filter(&self, mut from: impl Read, into: impl Write) -> io::Result<Found> {
        let found = self.copy(&mut from, into);
        let rest = io::copy(&mut from, &mut io::sink());
        let found = found?;
        rest?;
        Ok(found)
    }

    fn copy(&self, from: impl Read, into: impl Write) -> io::Result<Found> {
        let mut found = Found {
            entries: 0,
            per_pattern: vec![0; self.patterns.len()],
        };
        let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, from));
        let mut into = Copy::new(into);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_matches('/').to_owned();
            let mut meant = false;
            for (pattern, count) in self.patterns.iter().zip(&mut found.per_pattern) {
                if means(pattern, &path) && !self.is_excluded(&path) {
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
        into.finish()?;
        Ok(found)
    }
}

fn means(pattern: &Pattern, path: &str) -> bool {
    pattern.takes_in(path) && may_mean(pattern, path)
}

/// A `*` does not mean the history; who wants it names it.
fn may_mean(pattern: &Pattern, path: &str) -> bool {
    let is_history = |path: &str| path == GIT || is_below(path, GIT);
    !is_history(path) || is_history(&pattern.fixed_prefix())
}

fn is_below(path: &str, directory: &str) -> bool {
    directory.is_empty()
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests;

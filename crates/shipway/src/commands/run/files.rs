//! The repository's files as the compiler asks for them: the work tree, with git's word on what belongs and what changed.

use std::io;
use std::path::Path;

use shipway_pipeline::{Directory, FileSource};

use super::git::{git, listing};

/// Files of a work tree.
pub(super) struct WorkTreeFiles<'a> {
    root: &'a Path,
    /// Where the branches of the merge request parted.
    parting: Option<&'a str>,
    directory: Directory,
}

impl<'a> WorkTreeFiles<'a> {
    pub(super) fn new(root: &'a Path, parting: Option<&'a str>) -> Self {
        Self {
            root,
            parting,
            directory: Directory::new(root),
        }
    }
}

impl WorkTreeFiles<'_> {
    /// Where the work tree's history and that of a branch, a tag or a commit parted.
    fn parting_from(&self, reference: &str) -> io::Result<String> {
        let short = reference.strip_prefix("refs/heads/").unwrap_or(reference);
        let candidates = [reference.to_owned(), format!("refs/remotes/origin/{short}")];
        candidates
            .iter()
            // A name that begins with a dash would be an option.
            .filter(|candidate| !candidate.starts_with('-'))
            .find_map(|candidate| git(self.root, &["merge-base", candidate, "HEAD"]))
            .ok_or_else(|| {
                let message = format!(
                    "`{reference}` is no branch, tag or commit here with history in common (`git fetch` brings \
                     what origin has)"
                );
                io::Error::new(io::ErrorKind::NotFound, message)
            })
    }
}

impl FileSource for WorkTreeFiles<'_> {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.directory.read(path, limit)
    }

    fn location(&self, path: &str) -> Option<String> {
        Some(self.root.join(path).display().to_string())
    }

    fn paths(&self) -> io::Result<Vec<String>> {
        listing(self.root, &["ls-files", "-z"])
    }

    /// What a push of the work tree as it is would change: since the commit before, or since the branches
    /// parted.
    fn changed(&self, compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
        let base = match compare_to {
            None => self.parting.map(str::to_owned).or_else(|| {
                git(
                    self.root,
                    &["rev-parse", "--verify", "--quiet", "HEAD~1^{commit}"],
                )
            }),
            Some(reference) => Some(self.parting_from(reference)?),
        };
        let Some(base) = base else { return Ok(None) };
        listing(self.root, &["diff", "--name-only", "-z", &base, "--"]).map(Some)
    }
}

#[cfg(test)]
mod tests;

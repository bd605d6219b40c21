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
mod tests {
    use super::{WorkTreeFiles, git};
    use shipway_pipeline::{FileSource as _, Options, Situation, compile};

    #[test]
    fn what_changed_is_since_the_histories_parted() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let run = |arguments: &[&str]| {
            let identity = ["-c", "user.name=n", "-c", "user.email=e@example.com"];
            let _ = git(root, &[&identity, arguments].concat());
        };
        let commit = |file: &str| {
            std::fs::write(root.join(file), file).unwrap();
            run(&["add", "--all"]);
            run(&["commit", "--quiet", "--message", file]);
        };
        run(&["init", "--quiet", "--initial-branch=main"]);
        commit("first");
        run(&["switch", "--quiet", "--create", "topic"]);
        commit("second");
        commit("third");
        let parting = git(root, &["rev-parse", "main"]).unwrap();
        let changed = |files: &WorkTreeFiles<'_>, to| files.changed(to).map(Option::unwrap);
        let pushed = WorkTreeFiles::new(root, None);
        assert_eq!(changed(&pushed, None).unwrap(), ["third"]);
        for reference in ["main", "refs/heads/main"] {
            assert_eq!(changed(&pushed, Some(reference)).unwrap(), ["second", "third"]);
        }
        let requested = WorkTreeFiles::new(root, Some(&parting));
        assert_eq!(changed(&requested, None).unwrap(), ["second", "third"]);
        for reference in ["gone", "--all"] {
            let said = changed(&pushed, Some(reference)).unwrap_err().to_string();
            assert!(said.contains(reference), "{said}");
        }
    }

    #[test]
    fn a_git_that_fails_does_not_say_that_nothing_changed() {
        let directory = tempfile::tempdir().unwrap();
        let files = WorkTreeFiles::new(directory.path(), Some("0123456789"));
        let said = files.changed(None).unwrap_err().to_string();
        assert!(
            said.starts_with("`git diff --name-only -z 0123456789 --` fails"),
            "{said}"
        );
        assert!(files.paths().is_err());
    }

    #[test]
    fn a_missing_file_is_said_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        git(root, &["init", "--quiet"]);
        std::fs::write(
            root.join("ci.yml"),
            "include: /ci/missing.yml\nbuild: {script: x}",
        )
        .unwrap();
        let said = |file: &str| {
            let found = compile(
                &WorkTreeFiles::new(root, None),
                file,
                &Situation::default(),
                Options::default(),
            );
            found.unwrap_err().remove(0).help.unwrap()
        };
        let place = |path: &str| format!("looked for at `{}`", root.join(path).display());
        assert_eq!(said("ci.yml"), place("ci/missing.yml"));
        assert!(said("nothing.yml").ends_with(&place("nothing.yml")));
    }
}

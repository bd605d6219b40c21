//! Where files come from. The compiler asks; whether the answer is a commit, a work tree or a map is the caller's affair.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

/// Files of the repository at the commit that is built.
pub trait FileSource {
    /// The bytes of a file, `None` when there is no such file. At most `limit` bytes need to be given, and one more where
    /// the file is longer, so that the caller notices.
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;

    /// Paths of all files, relative and with slashes, for `rules:exists`.
    fn paths(&self) -> io::Result<Vec<String>>;

    /// Files that differ from `compare_to`, or from what was there before the push, or for a merge request from where
    /// its branches parted; `None` when there is nothing to compare
    /// with, in which case `rules:changes` holds.
    fn changed(&self, compare_to: Option<&str>) -> io::Result<Option<Vec<String>>>;

    /// Where a file is looked for, for people; `None` where its path says all there is to say.
    fn location(&self, _path: &str) -> Option<String> {
        None
    }

    /// The bytes of a file of GitLab's collection (`include:template`); `None` where there is no collection, or no such
    /// file.
    fn template(&self, _name: &str, _limit: usize) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// Files in memory: what a server read from its git store, or a client sent for linting.
impl FileSource for BTreeMap<String, Vec<u8>> {
    fn read(&self, path: &str, _limit: usize) -> io::Result<Option<Vec<u8>>> {
        Ok(self.get(path).cloned())
    }

    fn paths(&self) -> io::Result<Vec<String>> {
        Ok(self.keys().cloned().collect())
    }

    fn changed(&self, _compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }
}

/// Files of a directory, without looking into `.git`. It knows no history, so nothing ever counts as unchanged.
#[derive(Clone, Debug)]
pub struct Directory {
    root: PathBuf,
}

/// Entries listed at most; past GitLab's 50,000 glob checks `exists` would hold anyway.
const ENTRIES: usize = 200_000;

impl Directory {
    /// The files below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The regular file of that path, links followed, if it is below the root in the end: a repository may be a
    /// stranger's, and its link is no way to the rest of the disk. Nothing is opened, since a pipe would keep us waiting.
    fn resolve(&self, path: &str) -> io::Result<Option<PathBuf>> {
        let relative = Path::new(path);
        let is_plain = relative
            .components()
            .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
        if !is_plain {
            return Ok(None);
        }
        let real = match self.root.join(relative).canonicalize() {
            Ok(real) => real,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let is_inside = real.starts_with(self.root.canonicalize()?);
        let kind = fs::metadata(&real)?.file_type();
        if is_inside && kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if is_inside && !kind.is_file() {
            return Err(io::Error::other(
                "it is a pipe, a socket or a device and no regular file",
            ));
        }
        Ok(is_inside.then_some(real))
    }
}

impl FileSource for Directory {
    fn read(&self, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.resolve(path)? else {
            return Ok(None);
        };
        let file = fs::File::open(path)?;
        let mut bytes = Vec::new();
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn paths(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut pending = vec![self.root.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if found.len() >= ENTRIES {
                    return Ok(found);
                }
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    if entry.file_name() != ".git" {
                        pending.push(path);
                    }
                } else if let Some(relative) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                    found.push(relative.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    fn changed(&self, _compare_to: Option<&str>) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_answers_for_what_is_below_it() {
        let temporary = tempfile::tempdir().unwrap();
        fs::create_dir_all(temporary.path().join("a/b")).unwrap();
        fs::create_dir_all(temporary.path().join(".git")).unwrap();
        fs::write(temporary.path().join("a/b/c.yml"), "x").unwrap();
        fs::write(temporary.path().join(".git/config"), "x").unwrap();
        let source = Directory::new(temporary.path().join("a"));
        assert_eq!(source.read("b/c.yml", 10).unwrap().unwrap(), b"x");
        assert_eq!(source.read("../.git/config", 10).unwrap(), None);
        let directory = source.read("b", 10).unwrap_err();
        assert_eq!(directory.kind(), io::ErrorKind::IsADirectory);
        assert_eq!(source.read("b/c.yml/d", 10).unwrap(), None);
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, temporary.path().join(name)).unwrap();
        };
        link("../.git/config", "a/out.yml");
        link("b/c.yml", "a/in.yml");
        assert_eq!(source.read("out.yml", 10).unwrap(), None);
        assert_eq!(source.read("in.yml", 10).unwrap().unwrap(), b"x");
        let whole = Directory::new(temporary.path());
        assert_eq!(whole.paths().unwrap(), ["a/b/c.yml", "a/in.yml", "a/out.yml"]);
    }
}

//! What `cache:key:files` stands for: a digest of the named files as they are in the work tree.
//!
//! Not the text that GitLab would compute (that is a SHA-1 over object ids): a key only has to change when the files do.
//!
//! The names come from the pipeline's file, so they are not trusted: no link is followed, neither at a name nor on the way
//! to it, nothing but regular files is read, and one set of keys reads no more than [`MOST_BYTES`] of
//! [`MOST_FILES`]. More than that is an error, for a key of half of the files would not change with the rest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use shipway_oci::{Algorithm, Digest, Hasher};
use shipway_pipeline::job::FileDigests;
use shipway_pipeline::{CacheKey, Pipeline};

use super::git::{git, listing};
use crate::failure::{Failure, FailureKind};

/// As long as GitLab's.
const LENGTH: usize = 40;
/// Files that the keys of one pipeline are made of: a hundred times what lock files come to.
const MOST_FILES: usize = 10_000;
/// Bytes of them: some seconds of hashing.
const MOST_BYTES: u64 = 1 << 30;

/// The digests that the caches of a pipeline need. Files that git does not know leave no digest: the key is then
/// `default`, as GitLab has it.
///
/// # Errors
/// When git cannot list the files, when one cannot be read, and when they are more than a key is made of.
pub(super) fn digests(root: &Path, pipeline: &Pipeline) -> Result<FileDigests, Failure> {
    let caches = pipeline.jobs.iter().flat_map(|job| &job.cache);
    let keys: BTreeSet<_> = caches
        .filter_map(|cache| match &cache.key {
            CacheKey::Files { files, by_commit, .. } => Some((files, *by_commit)),
            CacheKey::Text(_) => None,
        })
        .collect();
    let mut allowance = Allowance {
        files: MOST_FILES,
        bytes: MOST_BYTES,
    };
    let mut found = FileDigests::new();
    for (files, by_commit) in keys {
        let digest = if by_commit {
            of_commits(root, files)
        } else {
            of_contents(root, files, &mut allowance).map_err(|error| {
                let doing = format!("computing `cache:key:files` of `{}`", files.join("`, `"));
                Failure::caused(FailureKind::Use, &doing, &error)
            })?
        };
        found.extend(digest.map(|digest| (files.clone(), digest)));
    }
    Ok(found)
}

/// What may still be read.
struct Allowance {
    files: usize,
    bytes: u64,
}

impl Allowance {
    fn file(&mut self) -> io::Result<()> {
        self.files = self.files.checked_sub(1).ok_or_else(|| {
            io::Error::other(format!(
                "they are more than {MOST_FILES} files; name fewer of them"
            ))
        })?;
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> io::Result<()> {
        self.bytes = self.bytes.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other(format!(
                "they are more than {} MiB; name files that are smaller, such as lock files",
                MOST_BYTES >> 20
            ))
        })?;
        Ok(())
    }
}

fn pattern(file: &str) -> String {
    format!(":(glob){file}")
}

fn of_commits(root: &Path, files: &[String]) -> Option<String> {
    let commit = |file: &String| git(root, &["log", "-1", "--format=%H", "--", &pattern(file)]);
    key(files.iter().filter_map(commit).collect())
}

fn of_contents(root: &Path, files: &[String], allowance: &mut Allowance) -> io::Result<Option<String>> {
    let patterns: Vec<String> = files.iter().map(|file| pattern(file)).collect();
    let mut arguments = vec!["ls-files", "-z", "--"];
    arguments.extend(patterns.iter().map(String::as_str));
    let top = rustix::fs::open(
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut facts = BTreeSet::new();
    for path in listing(root, &arguments)? {
        allowance.file()?;
        let named = |error: io::Error| io::Error::new(error.kind(), format!("`{path}`: {error}"));
        facts.extend(fact(&top, &path, allowance).map_err(named)?);
    }
    Ok(key(facts))
}

/// What a tracked file is now: the digest of its text, or of the text of a link. Nothing when it is not there any more, or
/// is what git does not keep.
fn fact(top: &OwnedFd, path: &str, allowance: &mut Allowance) -> io::Result<Option<String>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let open = |flags| rustix::fs::openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
    let place = match open(OFlags::PATH | OFlags::NOFOLLOW) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) {
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&place, "", Vec::new())?;
            return Ok(Some(format!("link:{}", Digest::sha256(target.as_bytes()).hex())));
        }
        FileType::RegularFile => {}
        _ => return Ok(None),
    }
    // What is opened may have been put there in between: a FIFO must not hold this up.
    let mut file = File::from(open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?);
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hasher.finish().hex().to_owned())),
            count => {
                allowance.bytes(count)?;
                hasher.update(&buffer[..count]);
            }
        }
    }
}

fn key(facts: BTreeSet<String>) -> Option<String> {
    if facts.is_empty() {
        return None;
    }
    let text = facts.into_iter().collect::<Vec<_>>().join("-");
    let digest = Digest::sha256(text.as_bytes());
    Some(digest.hex().chars().take(LENGTH).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use rustix::fs::{CWD, Mode};

    use super::super::git::git;
    use super::{Allowance, MOST_BYTES, MOST_FILES, of_contents};

    fn repository() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        git(directory.path(), &["init", "-q"]);
        directory
    }

    fn write(root: &Path, name: &str, text: &str) {
        std::fs::write(root.join(name), text).unwrap();
        git(root, &["add", "--all"]);
    }

    fn of_within(root: &Path, file: &str, files: usize, bytes: u64) -> std::io::Result<Option<String>> {
        of_contents(root, &[file.to_owned()], &mut Allowance { files, bytes })
    }

    fn of(root: &Path, file: &str) -> Option<String> {
        of_within(root, file, MOST_FILES, MOST_BYTES).unwrap()
    }

    #[test]
    fn a_key_changes_with_its_files_only() {
        let directory = repository();
        let root = directory.path();
        write(root, "a.lock", "1");
        write(root, "other", "1");
        let before = of(root, "*.lock");
        assert_eq!(before.as_ref().map(String::len), Some(40));
        write(root, "other", "2");
        assert_eq!(of(root, "a.lock"), before);
        write(root, "a.lock", "2");
        assert_ne!(of(root, "a.lock"), before);
        assert_eq!(of(root, "missing"), None);
    }

    #[test]
    fn a_link_stands_for_its_own_text() {
        let directory = repository();
        let root = directory.path();
        let secret = tempfile::tempdir().unwrap();
        let (secret, link) = (secret.path().join("secret"), root.join("link"));
        let mut keys = Vec::new();
        for text in ["guessed", "other"] {
            std::fs::write(&secret, text).unwrap();
            let _ = std::fs::remove_file(&link);
            symlink(&secret, &link).unwrap();
            git(root, &["add", "--all"]);
            keys.push(of(root, "link").unwrap());
        }
        assert_eq!(keys[0], keys[1], "what it leads to does not show");
        std::fs::remove_file(&link).unwrap();
        symlink("/dev/zero", &link).unwrap();
        assert_ne!(of(root, "link").unwrap(), keys[0]);
    }

    #[test]
    fn nothing_is_read_through_a_link_on_the_way_or_from_a_fifo() {
        let directory = repository();
        let root = directory.path();
        std::fs::create_dir(root.join("deep")).unwrap();
        write(root, "deep/file", "1");
        write(root, "fifo", "1");
        std::fs::rename(root.join("deep"), root.join("moved")).unwrap();
        symlink("moved", root.join("deep")).unwrap();
        std::fs::remove_file(root.join("fifo")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(CWD, root.join("fifo"), mode).unwrap();
        assert_eq!(of(root, "deep/file"), None);
        assert_eq!(of(root, "fifo"), None);
    }

    #[test]
    fn more_than_a_key_is_made_of_is_refused() {
        let directory = repository();
        let root = directory.path();
        write(root, "a", "12");
        write(root, "b", "34");
        assert!(of_within(root, "*", 2, 4).unwrap().is_some());
        let said = |files, bytes| of_within(root, "*", files, bytes).unwrap_err().to_string();
        assert!(said(1, 4).contains("10000 files"));
        assert!(said(2, 3).contains("`b`: they are more than 1024 MiB"));
    }
}

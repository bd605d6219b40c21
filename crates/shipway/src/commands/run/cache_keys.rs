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
        let fact = fact(&top, &path, allowance).map_err(named)?;
        // With its name: two files that swap their texts are other files. No name has a zero in it.
        facts.extend(fact.map(|fact| format!("{path}\0{fact}")));
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
mod tests;

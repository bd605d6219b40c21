//! Cache keys.
//!
//! A key names everything that the result of a step depends on, and nothing else. It is the BLAKE3 hash of a sequence
//! of labelled, length-framed fields, so that no two different sequences look alike.
//!
//! In every key: the version of this scheme; the platform; the *chain id* of the file system the step starts from
//! (which stands for the base image's content and for the results of all steps before); the time that files are
//! clamped to.
//!
//! - RUN: the argument vector, the environment sorted by name (arguments that are declared included), user, working
//!   directory, network, mounts, the text of a heredoc script.
//! - COPY, ADD: destination and whether it is a directory in any case, `--chown`, `--chmod`, and for every file its name at
//!   the destination, kind, mode (as git keeps it) and content hash or link target; for another stage or image its chain id and the paths; for a URL the
//!   content's hash; for a repository its commit, which stands for its files and for the commits of its submodules. With
//!   `--link` not the file system that it starts from.
//! - WORKDIR: the directory and the user whom it is made for.
//!
//! In no key: names and tags of images, labels and other configuration that a step cannot see, paths on this machine,
//! the owner and times of context files, proxy settings that no ARG declares, secrets, the clock, the number of
//! threads.
//!
//! Because the parent is what earlier steps *made* and not how they were written, a step is found again when an earlier
//! line changed without changing its result.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use shipway_oci::{Digest, Platform};

use super::transfer::{Destination, Item, ItemKind};

/// Changes when the meaning of any field changes, or what a step does with it.
const VERSION: &[u8] = b"shipway build 4";

/// The name of a step's result.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CacheKey([u8; 32]);

impl CacheKey {
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for CacheKey {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut key = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 2 * key.len() {
            return Err(());
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            // One way to write each key, so that no two texts are one.
            if pair
                .iter()
                .any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            {
                return Err(());
            }
            let pair = std::str::from_utf8(pair).map_err(|_| ())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| ())?;
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({self})")
    }
}

struct Framed(blake3::Hasher);

impl Framed {
    fn new(step: &str, parent: Option<&Digest>, platform: &Platform, epoch: i64) -> Self {
        let mut framed = Self(blake3::Hasher::new());
        framed.field("version", VERSION);
        framed.field("step", step.as_bytes());
        framed.field("platform", platform.to_string().as_bytes());
        framed.field(
            "parent",
            parent.map(Digest::to_string).unwrap_or_default().as_bytes(),
        );
        framed.field("epoch", &epoch.to_le_bytes());
        framed
    }

    fn field(&mut self, label: &str, bytes: &[u8]) {
        for part in [label.as_bytes(), bytes] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
    }

    fn list<'a>(&mut self, label: &str, items: impl ExactSizeIterator<Item = &'a [u8]>) {
        self.field(label, &(items.len() as u64).to_le_bytes());
        for item in items {
            self.field("", item);
        }
    }

    fn finish(self) -> CacheKey {
        CacheKey(*self.0.finalize().as_bytes())
    }
}

/// What a RUN depends on.
#[derive(Clone, Copy)]
pub(crate) struct RunInputs<'a> {
    pub(crate) parent: Option<&'a Digest>,
    pub(crate) platform: &'a Platform,
    pub(crate) epoch: i64,
    pub(crate) argv: &'a [String],
    pub(crate) script: Option<&'a str>,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) user: &'a str,
    pub(crate) cwd: &'a str,
    pub(crate) network: &'a str,
    /// Each mount in a canonical form, the content of a bind included, that of a secret not.
    pub(crate) mounts: &'a [String],
}

pub(crate) fn run_key(inputs: &RunInputs<'_>) -> CacheKey {
    let mut key = Framed::new("run", inputs.parent, inputs.platform, inputs.epoch);
    key.list("argv", inputs.argv.iter().map(String::as_bytes));
    key.field("script", inputs.script.unwrap_or_default().as_bytes());
    key.list(
        "env names",
        inputs
            .env
            .keys()
            .map(String::as_bytes)
            .collect::<Vec<_>>()
            .into_iter(),
    );
    key.list(
        "env values",
        inputs
            .env
            .values()
            .map(String::as_bytes)
            .collect::<Vec<_>>()
            .into_iter(),
    );
    key.field("user", inputs.user.as_bytes());
    key.field("cwd", inputs.cwd.as_bytes());
    key.field("network", inputs.network.as_bytes());
    key.list("mounts", inputs.mounts.iter().map(String::as_bytes));
    key.finish()
}

/// What a COPY or ADD puts its files on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground<'a> {
    /// A file system, which is looked at: where links lead, whether a path is a directory.
    Root(Option<&'a Digest>),
    /// Nothing: its layer can be laid over anything (`--link`).
    Nothing,
}

/// What a COPY or ADD depends on.
pub(crate) struct CopyInputs<'a> {
    pub(crate) ground: Ground<'a>,
    pub(crate) platform: &'a Platform,
    pub(crate) epoch: i64,
    /// What the sources make of it: one that is a directory holds `name`, where another may become the file itself.
    pub(crate) destination: &'a Destination,
    /// As it is written: absolute, with its trailing slash if it had one.
    pub(crate) destination_text: &'a str,
    pub(crate) chown: &'a str,
    pub(crate) chmod: &'a str,
    pub(crate) sources: &'a [CopySource<'a>],
}

/// Where a COPY or ADD takes from.
pub(crate) enum CopySource<'a> {
    /// Files of the context; the hashes are those of the items that are files, in order.
    Files {
        items: &'a [Item],
        hashes: &'a [[u8; 32]],
    },
    /// An archive that is extracted.
    Archive { hash: [u8; 32] },
    /// Bytes that came from a URL or from the Dockerfile, and the name they get.
    Bytes { name: &'a str, hash: [u8; 32] },
    /// A repository, by the commit that stands for its files.
    Git {
        /// The commit, and with a `.git` the reference by which it was found.
        commit: &'a str,
        folder: &'a str,
        keep_git_dir: bool,
        submodules: bool,
        exclude: &'a [String],
    },
    /// Paths of another stage or image.
    Root {
        chain: Option<&'a Digest>,
        paths: &'a [String],
        exclude: &'a [String],
        parents: bool,
    },
}

pub(crate) fn copy_key(inputs: &CopyInputs<'_>) -> CacheKey {
    let (step, parent) = match inputs.ground {
        Ground::Root(parent) => ("copy", parent),
        Ground::Nothing => ("linked copy", None),
    };
    let mut key = Framed::new(step, parent, inputs.platform, inputs.epoch);
    let (kind, path) = match inputs.destination {
        Destination::Directory(path) => ("directory", path),
        Destination::FileOrDirectory(path) => ("file or directory", path),
        Destination::ExistingDirectory(path) => ("existing directory", path),
    };
    key.field(kind, path.as_bytes());
    key.field("destination", inputs.destination_text.as_bytes());
    key.field("chown", inputs.chown.as_bytes());
    key.field("chmod", inputs.chmod.as_bytes());
    key.field("sources", &(inputs.sources.len() as u64).to_le_bytes());
    for source in inputs.sources {
        match source {
            CopySource::Files { items, hashes } => {
                key.field("files", &(items.len() as u64).to_le_bytes());
                let mut hashes = hashes.iter();
                for item in *items {
                    key.field("to", item.to.as_os_str().as_encoded_bytes());
                    key.field("mode", &item.mode.to_le_bytes());
                    match &item.kind {
                        ItemKind::Directory => key.field("directory", b""),
                        ItemKind::File { .. } => {
                            key.field("file", hashes.next().map_or(&[][..], |hash| hash));
                        }
                        ItemKind::Link { target } => key.field("link", target.as_os_str().as_encoded_bytes()),
                    }
                }
            }
            CopySource::Archive { hash } => key.field("archive", hash),
            CopySource::Bytes { name, hash } => {
                key.field("name", name.as_bytes());
                key.field("bytes", hash);
            }
            CopySource::Git {
                commit,
                folder,
                keep_git_dir,
                submodules,
                exclude,
            } => {
                key.field("commit", commit.as_bytes());
                key.field("folder", folder.as_bytes());
                key.field("git directory", &[u8::from(*keep_git_dir)]);
                key.field("submodules", &[u8::from(*submodules)]);
                key.list("exclude", exclude.iter().map(String::as_bytes));
            }
            CopySource::Root {
                chain,
                paths,
                exclude,
                parents,
            } => {
                key.field(
                    "root",
                    chain.map(Digest::to_string).unwrap_or_default().as_bytes(),
                );
                key.list("paths", paths.iter().map(String::as_bytes));
                key.list("exclude", exclude.iter().map(String::as_bytes));
                key.field("parents", &[u8::from(*parents)]);
            }
        }
    }
    key.finish()
}

/// What a WORKDIR depends on.
pub(crate) fn workdir_key(
    parent: Option<&Digest>,
    platform: &Platform,
    epoch: i64,
    directory: &str,
    user: &str,
) -> CacheKey {
    let mut key = Framed::new("workdir", parent, platform, epoch);
    key.field("directory", directory.as_bytes());
    key.field("user", user.as_bytes());
    key.finish()
}

#[cfg(test)]
mod tests;

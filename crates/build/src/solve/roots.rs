//! Looking into a root file system through the keeper, links followed inside it.

use std::path::{Path, PathBuf};

use shipway_sandbox::{FileKind, FileStatus, Keeper, KeeperError, RootSpec, rooted};

use crate::error::StepError;

/// Links followed while looking at one path.
const LINKS: usize = 40;

/// A root and the keeper that can see it. All calls block.
pub(super) struct Roots<'a> {
    pub(super) keeper: &'a Keeper,
    pub(super) root: RootSpec,
}

impl Roots<'_> {
    /// What a path is in the end, and where that is; `None` when nothing is there.
    pub(super) fn follow(&self, path: &Path) -> Result<Option<(PathBuf, FileStatus)>, StepError> {
        let mut at = path.to_owned();
        for _ in 0..LINKS {
            let Some(status) = self.stat(std::slice::from_ref(&at))?.pop().flatten() else {
                return Ok(None);
            };
            match (&status.kind, &status.link) {
                (FileKind::Link, Some(target)) => at = joined(at.parent().unwrap_or(Path::new("/")), target),
                _ => return Ok(Some((at, status))),
            }
        }
        Ok(None)
    }

    pub(super) fn stat(&self, paths: &[PathBuf]) -> Result<Vec<Option<FileStatus>>, StepError> {
        self.keeper
            .stat(&self.root, paths)
            .map_err(|source| StepError::Keeper {
                action: "look at the files below the step",
                source,
            })
    }

    pub(super) fn is_directory(&self, path: &Path) -> Result<bool, StepError> {
        Ok(path == Path::new("/")
            || self
                .follow(path)?
                .is_some_and(|(_, status)| status.kind == FileKind::Directory))
    }

    /// A directory to be made, with links that lead nowhere yet replaced by where they lead: what is made must be
    /// there.
    pub(super) fn through_dangling(&self, directory: PathBuf) -> Result<PathBuf, StepError> {
        let mut at = directory;
        for _ in 0..LINKS {
            let prefixes: Vec<PathBuf> = at
                .ancestors()
                .filter(|path| *path != Path::new("/"))
                .map(Path::to_owned)
                .collect();
            let statuses = self.stat(&prefixes)?;
            let dangling = prefixes.iter().zip(statuses).rev().find_map(|(prefix, status)| {
                let status =
                    status.filter(|status| status.kind == FileKind::Link && status.resolved.is_none())?;
                Some((prefix, status.link?))
            });
            let Some((prefix, target)) = dangling else {
                return Ok(at);
            };
            let rest = at.strip_prefix(prefix).unwrap_or(Path::new("")).to_owned();
            at = joined(prefix.parent().unwrap_or(Path::new("/")), &target).join(rest);
        }
        Ok(at)
    }

    pub(super) fn glob(&self, pattern: &str) -> Result<Vec<PathBuf>, StepError> {
        self.keeper
            .glob(&self.root, pattern)
            .map_err(|source| StepError::Keeper {
                action: "match a pattern below the step",
                source,
            })
    }

    /// As [`Self::owner`], but a name that the root does not know is root, as it is for BuildKit where nobody asked for an
    /// owner.
    pub(super) fn owner_or_root(&self, text: &str) -> Result<(u32, u32), StepError> {
        if self.root.layers.is_empty() && !text.starts_with(|first: char| first.is_ascii_digit()) {
            return Ok((0, 0));
        }
        match self.owner(text) {
            Err(StepError::Keeper {
                source: KeeperError::UnknownUser { .. } | KeeperError::UnknownGroup { .. },
                ..
            }) => Ok((0, 0)),
            found => found,
        }
    }

    /// `uid[:gid]` without a look, names by the root's own files. A user without a group gets the group of its number.
    pub(super) fn owner(&self, text: &str) -> Result<(u32, u32), StepError> {
        if text.is_empty() {
            return Ok((0, 0));
        }
        match numbers(text) {
            Some(owner) => Ok(owner),
            None => self
                .keeper
                .resolve_user(&self.root, text)
                .map_err(|source| StepError::Keeper {
                    action: "find the owner of --chown",
                    source,
                }),
        }
    }
}

/// The owner that `uid[:gid]` says without a look; the group of a user without one has the same number.
pub(super) fn numbers(owner: &str) -> Option<(u32, u32)> {
    let (user, group) = owner.split_once(':').unwrap_or((owner, owner));
    Some((user.parse().ok()?, group.parse().ok()?))
}

/// `target` seen from `folder`; dots are resolved by text, as the keeper has resolved links before.
fn joined(folder: &Path, target: &Path) -> PathBuf {
    rooted(folder.join(target))
}

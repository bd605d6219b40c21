//! ADD of a repository: looked up by its commit first, fetched only when no earlier build made the same layer.

use std::path::Path;
use std::sync::Arc;

use super::copy::exclude_list;
use super::site::blocking;
use super::stage::Stage;
use crate::context::View;
use crate::error::StepError;
use crate::git::{Commit, GitAddress};
use crate::ignore::IgnoreList;
use crate::plan::{CopySource, Item, select};

/// A repository that a step adds.
pub(super) struct Repository {
    address: GitAddress,
    commit: Commit,
    keep_git_dir: bool,
}

impl Repository {
    pub(super) fn key<'a>(&'a self, exclude: &'a [String]) -> CopySource<'a> {
        CopySource::Git {
            commit: match self.keep_git_dir {
                true => &self.commit.whole,
                false => &self.commit.id,
            },
            folder: self.address.folder.as_deref().unwrap_or_default(),
            keep_git_dir: self.keep_git_dir,
            submodules: self.address.submodules != Some(false),
            exclude,
        }
    }
}

impl Stage<'_> {
    /// Finds out which commit an ADD names. `checksum` is what the author says that it is.
    pub(super) async fn find_repository(
        &self,
        mut address: GitAddress,
        checksum: Option<&str>,
        keep_git_dir: Option<bool>,
    ) -> Result<Repository, StepError> {
        let failed = |address: &GitAddress, source| StepError::Git {
            url: address.to_string(),
            source: Box::new(source),
        };
        if let Some(expected) = checksum.map(str::to_ascii_lowercase) {
            let usable = expected.len() <= 64 && expected.bytes().all(|byte| byte.is_ascii_hexdigit());
            let same = address.checksum.as_ref().is_none_or(|other| *other == expected);
            if !usable || !same {
                let what = match usable {
                    true => format!("--checksum={expected}: the address names another commit"),
                    false => format!("--checksum={expected}: of a repository it is the id of a commit"),
                };
                return Err(StepError::Name { what });
            }
            address.checksum = Some(expected);
        }
        let commit = self.build.git()?.resolve(&address).await;
        let commit = commit.map_err(|source| failed(&address, source))?;
        self.build.recorder.repository(&address, &commit.id);
        Ok(Repository {
            keep_git_dir: keep_git_dir.or(address.keep_git_dir).unwrap_or(false),
            address,
            commit,
        })
    }

    /// Fetches the files of a repository.
    pub(super) async fn fetch_repository(
        &self,
        repository: Repository,
        exclude: &[String],
    ) -> Result<(Arc<View>, Vec<Item>), StepError> {
        let Repository {
            address,
            commit,
            keep_git_dir,
        } = repository;
        let fetched = self.build.git()?.fetch(&address, commit, keep_git_dir).await;
        let fetched = fetched.map_err(|source| StepError::Git {
            url: address.to_string(),
            source: Box::new(source),
        })?;
        let (modes, exclude) = (self.build.request.modes, exclude_list(exclude)?);
        blocking(move || {
            let view = fetched.context.view(&IgnoreList::default(), modes);
            let view = Arc::new(view.map_err(|source| StepError::Context { source })?);
            let placement = select(view.tree(), &Path::new("/").to_string_lossy(), &exclude, false)?;
            Ok((view, placement.items))
        })
        .await
    }
}

//! What a keeper does with files: in its own directory, in the roots of containers, and as archives of either.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::{Keeper, unexpected};
use crate::error::Result;
use crate::protocol::{Answer, Request};
use crate::requests::{
    ApplyReport, ApplyRequest, ArchiveReport, ArchiveRequest, ArchiveRoot, DiffReport, DiffRequest,
    FileStatus, UnpackReport, UnpackRequest,
};
use crate::spec::RootSpec;
use crate::usage::DiskUsage;
use crate::wire;

impl Keeper {
    /// Makes a directory; its parent must exist, it must not.
    pub fn make_directory(&self, path: &Path, mode: u32, owner: (u32, u32)) -> Result<()> {
        self.order(
            Request::MakeDirectory {
                path: path.into(),
                mode,
                owner,
            },
            &[],
        )
    }

    /// Renames within the keepers' directory, replacing what the kernel would replace.
    pub fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.order(
            Request::Rename {
                from: from.into(),
                to: to.into(),
            },
            &[],
        )
    }

    /// Removes a file or a whole tree, whatever its modes and depth; a missing one is no error.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        self.order(Request::RemoveTree { path: path.into() }, &[])
    }

    /// The bytes of disk that each directory in this one takes, with all below it; `u64::MAX` for one too deep to measure.
    pub fn sizes(&self, path: &Path) -> Result<Vec<(String, u64)>> {
        match self.answer(Request::Sizes { path: path.into() }, &[])? {
            Answer::Sizes(sizes) => Ok(sizes),
            _ => Err(unexpected("sizes")),
        }
    }

    /// What these directories take of the disk, with all below them; one that is not there takes nothing, one too deep to measure
    /// [`DiskUsage::BEYOND`].
    pub fn usage(&self, paths: &[PathBuf]) -> Result<DiskUsage> {
        let paths = paths.to_vec();
        match self.answer(Request::Usage { paths }, &[])? {
            Answer::Usage(usage) => Ok(usage),
            _ => Err(unexpected("usage")),
        }
    }

    /// What files without a name take of the disk below the keepers' directory that these processes of the pod hold open. They
    /// are named by the numbers that the calling process knows them by; one that has ended holds nothing.
    pub fn unlinked(&self, processes: &[u32]) -> Result<DiskUsage> {
        let processes = processes.to_vec();
        match self.answer(Request::Unlinked { processes }, &[])? {
            Answer::Usage(usage) => Ok(usage),
            _ => Err(unexpected("unlinked")),
        }
    }

    /// Removes those of these paths in `tree` that are empty files, or directories with nothing in them, in this order.
    /// Paths begin with `/`, which is `tree`; links are not followed. For a few paths: the keeper does it by itself.
    pub fn remove_empty(&self, tree: &Path, paths: &[PathBuf]) -> Result<()> {
        let request = Request::RemoveEmpty {
            tree: tree.into(),
            paths: paths.to_vec(),
        };
        self.order(request, &[])
    }

    /// Writes a file whole, in place of one that may be there.
    pub fn write_file(&self, path: &Path, bytes: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
        let memory = wire::memory_file(bytes)?;
        self.order(
            Request::WriteFile {
                path: path.into(),
                mode,
                owner,
            },
            &[memory.as_fd()],
        )
    }

    /// Unpacks a layer into overlayfs's form.
    pub fn unpack(&self, request: UnpackRequest) -> Result<UnpackReport> {
        let (plan, stream) = request.split();
        match self.answer(Request::Unpack(plan), &[stream.as_fd()])? {
            Answer::Unpacked(report) => Ok(report),
            _ => Err(unexpected("unpack")),
        }
    }

    /// Extracts an archive into a root.
    pub fn apply(&self, request: ApplyRequest) -> Result<ApplyReport> {
        let (plan, stream) = request.split();
        match self.answer(Request::Apply(plan), &[stream.as_fd()])? {
            Answer::Applied(report) => Ok(report),
            _ => Err(unexpected("apply")),
        }
    }

    /// Writes files of a root as a tar.
    pub fn archive(&self, request: ArchiveRequest) -> Result<ArchiveReport> {
        let (plan, output) = request.split();
        match self.answer(Request::Archive(plan), &[output.as_fd()])? {
            Answer::Archived(report) => Ok(report),
            _ => Err(unexpected("archive")),
        }
    }

    /// Writes the changes of an upper directory as a layer.
    pub fn diff(&self, request: DiffRequest) -> Result<DiffReport> {
        let (plan, output) = request.split();
        match self.answer(Request::Diff(plan), &[output.as_fd()])? {
            Answer::Diffed(report) => Ok(report),
            _ => Err(unexpected("diff")),
        }
    }

    /// What is at each path of a root; links on the way are followed inside it, the last one is not.
    pub fn stat(&self, root: &RootSpec, paths: &[PathBuf]) -> Result<Vec<Option<FileStatus>>> {
        self.stat_in(root.clone().into(), paths)
    }

    /// The same for roots of every kind.
    pub fn stat_in(&self, root: ArchiveRoot, paths: &[PathBuf]) -> Result<Vec<Option<FileStatus>>> {
        let paths = paths.to_vec();
        match self.answer(Request::Stat { root, paths }, &[])? {
            Answer::Statuses(statuses) => Ok(statuses),
            _ => Err(unexpected("stat")),
        }
    }

    /// The paths of a root that match a pattern (`*`, `?`, `[…]`, none of which matches `/`), sorted.
    pub fn glob(&self, root: &RootSpec, pattern: &str) -> Result<Vec<PathBuf>> {
        match self.answer(
            Request::Glob {
                root: root.clone(),
                pattern: pattern.into(),
            },
            &[],
        )? {
            Answer::Paths(paths) => Ok(paths),
            _ => Err(unexpected("glob")),
        }
    }

    /// User and group that `user` (as in [`ProcessSpec::user`](crate::ProcessSpec::user)) means in a root.
    pub fn resolve_user(&self, root: &RootSpec, user: &str) -> Result<(u32, u32)> {
        match self.answer(
            Request::ResolveUser {
                root: root.clone(),
                user: user.into(),
            },
            &[],
        )? {
            Answer::User { uid, gid } => Ok((uid, gid)),
            _ => Err(unexpected("resolve user")),
        }
    }
}

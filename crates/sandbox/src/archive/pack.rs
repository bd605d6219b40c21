//! Chosen files of a root as a tar.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;

use super::emit::{Emitter, entries_reversed};
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::owners::Owners;
use crate::requests::{ArchivePlan, ArchiveReport};
use crate::resolve::{Last, Missing, resolve};
use crate::rooted::{from_here, rooted};

/// Writes what `plan` names of the root that this process stands in.
pub(super) fn pack(plan: &ArchivePlan, owners: &Owners, output: OwnedFd) -> Result<ArchiveReport> {
    let mut emitter = Emitter::new(output, owners.clone(), plan.owner, plan.clamp_mtime, plan.linked);
    let root = beneath::here().doing(|| "open the root".into())?;
    let relative_to = rooted(&plan.relative_to);
    for path in &plan.paths {
        let path = rooted(path);
        // Named by the path that was asked for, wherever links on the way lead.
        let name = path.strip_prefix(&relative_to).map_err(|_| KeeperError::Path {
            path: path.clone(),
            reason: format!("is not below {}", relative_to.display()),
        })?;
        // Joined only where there is something to join: it would end in a slash.
        let name = match (plan.prefix.as_os_str().is_empty(), name.as_os_str().is_empty()) {
            (true, _) => name.to_owned(),
            (false, true) => plan.prefix.clone(),
            (false, false) => plan.prefix.join(name),
        };
        pack_one(&mut emitter, owners, &root, &path, (&name, plan.follow))?;
    }
    emitter.finish()
}

fn pack_one(
    emitter: &mut Emitter,
    owners: &Owners,
    root: &OwnedFd,
    path: &Path,
    (name, follow): (&Path, bool),
) -> Result<()> {
    let action = || format!("find {} in the root", path.display());
    // A followed link is replaced by where it leads: below, nothing is followed.
    let last = if follow { Last::Follow } else { Last::Keep };
    let start = rooted(resolve(root, path, last, Missing::LastOnly).doing(action)?);
    let mut pending = vec![(start.clone(), None)];
    while let Some((current, parent_device)) = pending.pop() {
        let status = match rustix::fs::lstat(from_here(&current)) {
            Ok(status) => status,
            // Somebody removed it since its directory was listed.
            Err(rustix::io::Errno::NOENT) if current != start => continue,
            Err(errno) => return Err(errno).doing(|| format!("find {} in the root", current.display())),
        };
        let below = current.strip_prefix(&start).unwrap_or(Path::new(""));
        let is_directory = FileType::from_raw_mode(status.st_mode) == FileType::Directory;
        let entry = if below.as_os_str().is_empty() {
            name.to_owned()
        } else {
            name.join(below)
        };
        let entry = match (entry.as_os_str().is_empty(), path.file_name()) {
            (true, Some(own)) if !is_directory => own.into(),
            _ => entry,
        };
        if !entry.as_os_str().is_empty() {
            let status = owners
                .corrected(rustix::fs::CWD, from_here(&current).as_os_str(), status)
                .doing(|| format!("find the owner of {}", current.display()))?;
            emitter.file(&current, entry.as_os_str().as_bytes(), &status)?;
        }
        let is_mounted = parent_device.is_some_and(|device| device != status.st_dev);
        if is_directory && !(is_mounted && is_of_the_kernel(&current)) {
            let below = entries_reversed(&current)?.into_iter();
            pending.extend(below.map(|path| (path, Some(status.st_dev))));
        }
    }
    Ok(())
}

/// Whether a directory is the kernel talking: what a running container has at `/proc` and `/sys` is no file of anybody.
fn is_of_the_kernel(directory: &Path) -> bool {
    const KINDS: &[i64] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x1cd1,      // devpts
        0x1980_0202, // mqueue
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
    ];
    rustix::fs::statfs(from_here(directory)).is_ok_and(|status| KINDS.contains(&status.f_type))
}

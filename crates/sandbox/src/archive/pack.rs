//! Chosen files of a root as a tar.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::FileType;

use super::emit::{Emitter, entries_reversed};
use crate::error::{Doing as _, KeeperError, Result};
use crate::requests::{ArchivePlan, ArchiveReport};
use crate::rooted::rooted;

/// Writes what `plan` names of the root that this process is in.
pub(super) fn pack(plan: &ArchivePlan, output: OwnedFd) -> Result<ArchiveReport> {
    let mut emitter = Emitter::new(output, plan.owner, plan.clamp_mtime, plan.linked);
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
        pack_one(&mut emitter, &path, &name, plan.follow)?;
    }
    emitter.finish()
}

fn pack_one(emitter: &mut Emitter, path: &Path, name: &Path, follow: bool) -> Result<()> {
    let action = || format!("find {} in the root", path.display());
    // A followed link is replaced by where it leads: below, nothing is followed.
    let start = if follow {
        std::fs::canonicalize(path).doing(action)?
    } else {
        path.to_owned()
    };
    let mut pending = vec![(start.clone(), None)];
    while let Some((current, parent_device)) = pending.pop() {
        let status = match rustix::fs::lstat(&current) {
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
    rustix::fs::statfs(directory).is_ok_and(|status| KINDS.contains(&status.f_type))
}

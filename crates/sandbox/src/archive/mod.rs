//! Trees to archives and archives to trees.
//!
//! Every archive is hostile until read: a worker makes the target its root before it extracts, so that no name and
//! no link in the archive can mean anything outside, and everything that could grow has a bound. Archives that are
//! written are deterministic: sorted, numeric ids, no name that the tree does not have.

mod diff;
mod emit;
mod extract;
mod layer;
mod names;
mod pack;
mod reader;
mod record;
mod writer;

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::extract::Extractor;
use self::layer::Layer;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::overlay::{self, Access};
use crate::owner;
use crate::protocol::Answer;
use crate::requests::{ApplyPlan, ArchivePlan, ArchiveRoot, DiffPlan, DiffReport, UnpackPlan, UnpackReport};
use crate::rooted::rooted;
use crate::start;

/// Unpacks a layer into a directory of its own, whiteouts in overlayfs's form.
pub(crate) fn unpack(place: &Workplace<'_>, plan: &UnpackPlan, stream: OwnedFd) -> Result<UnpackReport> {
    let target = beneath::open_with(place.directory, &plan.into, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let layer = Layer::open(place.directory, &plan.below)?;
    overlay::enter_directory(&target)?;
    let mut keep = layer.descriptors();
    keep.extend([target.as_fd(), stream.as_fd()]);
    place.close_all_but(&keep)?;
    Extractor::for_layer(target, layer, plan.limits).run(stream)
}

/// Extracts an archive into a root, a directory or a running container.
pub(crate) fn apply(
    place: &Workplace<'_>,
    plan: &ApplyPlan,
    inside: Option<OwnedFd>,
    stream: OwnedFd,
) -> Result<UnpackReport> {
    enter(place, &plan.root, inside, Access::AsSpecified)?;
    place.close_all_but(&[stream.as_fd()])?;
    let target = rooted(&plan.target);
    make_target(&target, plan.target_mode, plan.target_owner, MOST_LINKS)?;
    let base = rustix::fs::open(
        &target,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing(|| format!("open {} in the root", target.display()))?;
    Extractor::for_root(base, plan.conflict, plan.limits).run(stream)
}

/// Writes files of a root as a tar.
pub(crate) fn archive(
    place: &Workplace<'_>,
    plan: &ArchivePlan,
    inside: Option<OwnedFd>,
    output: OwnedFd,
) -> Result<Answer> {
    enter(place, &plan.root, inside, Access::View)?;
    place.close_all_but(&[output.as_fd()])?;
    pack::pack(plan, output).map(Answer::Archived)
}

/// Writes the changes of an upper directory as a layer.
pub(crate) fn diff(place: &Workplace<'_>, plan: &DiffPlan, output: OwnedFd) -> Result<DiffReport> {
    let changes = beneath::open_with(
        place.directory,
        &plan.upper.join("fs"),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )?;
    overlay::enter_directory(&changes)?;
    drop(changes);
    place.close_all_but(&[output.as_fd()])?;
    diff::diff(plan, output)
}

/// Makes the root of a request this process's root.
pub(crate) fn enter(
    place: &Workplace<'_>,
    root: &ArchiveRoot,
    inside: Option<OwnedFd>,
    access: Access,
) -> Result<()> {
    match (root, inside) {
        (ArchiveRoot::Root(root), _) => overlay::enter(place.directory, root, access),
        (ArchiveRoot::Directory(path), _) => {
            let directory = beneath::open_with(place.directory, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            overlay::enter_directory(&directory)
        }
        (ArchiveRoot::Container(container), Some(init)) => start::enter(*container, init),
        (ArchiveRoot::Container(container), None) => Err(KeeperError::UnknownContainer {
            container: *container,
        }),
    }
}

/// As many links are followed as the kernel follows.
const MOST_LINKS: u32 = 40;

/// Makes what is missing of a directory, links followed inside the root that this process is in; a link that leads
/// nowhere gets what it leads to.
fn make_target(target: &Path, mode: u32, owner: (u32, u32), links: u32) -> Result<()> {
    let action = || format!("make {} in the root", target.display());
    let (uid, gid) = owner::ids(&target.to_string_lossy(), owner)?;
    for prefix in target.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        match rustix::fs::mkdir(prefix, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                rustix::fs::chown(prefix, Some(uid), Some(gid)).doing(action)?;
                rustix::fs::chmod(prefix, Mode::from_raw_mode(mode)).doing(action)?;
            }
            Err(Errno::EXIST) => {
                if links > 0 && matches!(rustix::fs::stat(prefix), Err(Errno::NOENT)) {
                    let leads_to = rustix::fs::readlink(prefix, Vec::new()).doing(action)?;
                    let leads_to = Path::new(OsStr::from_bytes(leads_to.as_bytes()));
                    let place = prefix.parent().unwrap_or(Path::new("/")).join(leads_to);
                    make_target(&place, mode, owner, links - 1)?;
                }
            }
            Err(errno) => return Err(errno).doing(action),
        }
    }
    Ok(())
}

//! Trees to archives and archives to trees.
//!
//! Every archive is hostile until read: a worker makes the target its root before it extracts, so that no name and
//! no link in the archive can mean anything outside, and everything that could grow has a bound. Archives that are
//! written are deterministic: sorted, numeric ids, no name that the tree does not have.

pub(crate) mod attributes;
mod diff;
mod emit;
mod extract;
pub(crate) mod identity;
mod layer;
mod names;
mod pack;
pub(crate) mod placed;
mod reader;
mod record;
pub(crate) mod whiteout;
mod writer;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use self::extract::Extractor;
use self::layer::Layer;
use crate::beneath;
use crate::chroot;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::{Rooms, Workplace, no_tree};
use crate::overlay::{self, Access};
use crate::owner;
use crate::owners::{Owners, Ownership};
use crate::protocol::Answer;
use crate::requests::{ApplyPlan, ArchivePlan, ArchiveRoot, DiffPlan, DiffReport, UnpackPlan, UnpackReport};
use crate::resolve::{Last, Missing, resolve};
use crate::rooted::rooted;
use crate::stack::Stack;
use crate::start;

/// Unpacks a layer into a directory of its own, whiteouts in overlayfs's form.
pub(crate) fn unpack(place: &Workplace<'_>, plan: &UnpackPlan, stream: OwnedFd) -> Result<UnpackReport> {
    let target = beneath::open_with(place.directory, &plan.into, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let layer = Layer::open(place.directory, &plan.below)?;
    let owners = Owners::writing(place.ownership, place.directory, &plan.below, &target)?;
    place.enter(&target)?;
    let mut keep = layer.descriptors();
    keep.extend([target.as_fd(), stream.as_fd()]);
    keep.extend(owners.descriptor().map(OwnedFd::as_fd));
    place.close_all_but(&keep)?;
    Extractor::for_layer(target, layer, owners.clone(), plan.limits).run(stream)
}

/// Extracts an archive into a root, a directory or a running container.
pub(crate) fn apply(
    place: &Workplace<'_>,
    plan: &ApplyPlan,
    inside: Option<OwnedFd>,
    stream: OwnedFd,
) -> Result<UnpackReport> {
    if let (Rooms::Trees(tree), ArchiveRoot::Root(root)) = (&place.rooms, &plan.root) {
        let upper = root.upper.as_deref().ok_or_else(overlay::nowhere_to_write)?;
        return chroot::apply(place, tree.as_ref(), upper, plan, stream);
    }
    let upper = match &plan.root {
        ArchiveRoot::Root(root) => root.upper.clone().map(|upper| (upper, root.layers.as_slice())),
        ArchiveRoot::Directory(_) | ArchiveRoot::Container(_) => None,
    };
    let directory =
        rustix::io::fcntl_dupfd_cloexec(place.directory, 3).doing(|| "keep a directory open".into())?;
    drop(enter(place, &plan.root, inside, Access::AsSpecified)?);
    let owners = match upper {
        Some((upper, layers)) if place.ownership == Ownership::Recorded => {
            // Made by now; marks go into it directly, since no overlay lets one be made.
            let top = beneath::open_with(&directory, &upper.join("fs"), OFlags::RDONLY | OFlags::DIRECTORY)?;
            Owners::writing(place.ownership, &directory, layers, &top)?
        }
        _ => Owners::outside_layers(place.ownership),
    };
    drop(directory);
    let mut keep = vec![stream.as_fd()];
    keep.extend(owners.descriptor().map(OwnedFd::as_fd));
    place.close_all_but(&keep)?;
    apply_here(plan, &owners, stream)
}

/// Extracts an archive into the root that this process stands in.
pub(crate) fn apply_here(plan: &ApplyPlan, owners: &Owners, stream: OwnedFd) -> Result<UnpackReport> {
    let root = beneath::here().doing(|| "open the root".into())?;
    let target = (plan.target_mode, plan.target_owner);
    let target = make_target(&root, &rooted(&plan.target), owners, target)?;
    Extractor::for_root((root, target), plan.conflict, owners.clone(), plan.limits).run(stream)
}

/// Writes files of a root as a tar.
pub(crate) fn archive(
    place: &Workplace<'_>,
    plan: &ArchivePlan,
    inside: Option<OwnedFd>,
    output: OwnedFd,
) -> Result<Answer> {
    let owners = enter(place, &plan.root, inside, Access::View)?;
    let mut keep = vec![output.as_fd()];
    keep.extend(owners.descriptor().map(OwnedFd::as_fd));
    place.close_all_but(&keep)?;
    pack::pack(plan, &owners, output).map(Answer::Archived)
}

/// Writes the changes of an upper directory as a layer.
pub(crate) fn diff(place: &Workplace<'_>, plan: &DiffPlan, output: OwnedFd) -> Result<DiffReport> {
    let changes = beneath::open_with(
        place.directory,
        &plan.upper.join("fs"),
        OFlags::RDONLY | OFlags::DIRECTORY,
    )
    .map_err(|error| chroot::reason(place.directory, &plan.upper).unwrap_or(error))?;
    let mut layers = plan.below.clone();
    layers.push(plan.upper.join("fs"));
    let owners = Owners::of_layers(place.ownership, place.directory, &layers)?;
    let below = Stack::open(place.directory, &plan.below)?.owned(owners.clone());
    place.enter(&changes)?;
    drop(changes);
    let mut keep: Vec<_> = below.descriptors().map(OwnedFd::as_fd).collect();
    keep.push(output.as_fd());
    place.close_all_but(&keep)?;
    diff::diff(plan, &below, owners, output)
}

/// Whose the files of a request's root are, if it is mounted.
fn owners_of(place: &Workplace<'_>, root: &ArchiveRoot) -> Result<Owners> {
    match root {
        ArchiveRoot::Root(root) => {
            let mut layers = root.layers.clone();
            layers.extend(root.upper.as_ref().map(|upper| upper.join("fs")));
            Owners::of_layers(place.ownership, place.directory, &layers)
        }
        ArchiveRoot::Directory(_) | ArchiveRoot::Container(_) => Ok(Owners::outside_layers(place.ownership)),
    }
}

/// Makes the root of a request this process's root, and says whose its files are.
pub(crate) fn enter(
    place: &Workplace<'_>,
    root: &ArchiveRoot,
    inside: Option<OwnedFd>,
    access: Access,
) -> Result<Owners> {
    if let (ArchiveRoot::Root(_), Rooms::Trees(tree)) = (root, &place.rooms) {
        return tree.as_ref().ok_or_else(no_tree)?.enter(place);
    }
    let owners = owners_of(place, root)?;
    match (root, inside) {
        (ArchiveRoot::Root(root), _) => overlay::enter(place.directory, root, access, place.ownership),
        (ArchiveRoot::Directory(path), _) => {
            let directory = beneath::open_with(place.directory, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
            place.enter(&directory)
        }
        (ArchiveRoot::Container(container), Some(init)) => start::enter(*container, init),
        (ArchiveRoot::Container(container), None) => Err(KeeperError::UnknownContainer {
            container: *container,
        }),
    }?;
    Ok(owners)
}

/// Makes what is missing of a directory, links followed inside the root; a link that leads nowhere gets what it leads to.
/// Gives where it is in the root, with no link on the way.
fn make_target(
    root: &OwnedFd,
    target: &Path,
    owners: &Owners,
    (mode, owner): (u32, (u32, u32)),
) -> Result<PathBuf> {
    let action = || format!("make {} in the root", target.display());
    let (uid, gid) = owner::ids(&target.to_string_lossy(), owner)?;
    let place = resolve(root, target, Last::Follow, Missing::Allowed).doing(action)?;
    let mut parent = rustix::io::fcntl_dupfd_cloexec(root, 3).doing(action)?;
    for name in place.iter().filter(|name| *name != ".") {
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let made = rustix::fs::openat(&parent, name, flags, Mode::empty()).doing(action)?;
                owners.own(&made, uid, gid).doing(action)?;
                owners.set_mode(&made, mode).doing(action)?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).doing(action),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        parent = rustix::fs::openat(&parent, name, flags, Mode::empty()).doing(action)?;
    }
    Ok(place)
}

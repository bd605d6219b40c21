//! Extracting an archive into a root that is a tree.
//!
//! A process of its own extracts, with the tree as its root, and says how it went; this one then reads off what has changed.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::WaitOptions;

use super::fittings::Restored;
use super::minder;
use super::tree::Assigned;
use crate::archive;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::owners::Owners;
use crate::requests::{ApplyPlan, UnpackReport};
use crate::sys::{self, Fork};
use crate::wire;

/// Extracts into a tree, whose changes go to `upper`; without a tree into the upper directory itself, with nothing below it.
pub(crate) fn apply(
    place: &Workplace<'_>,
    tree: Option<&Assigned>,
    upper: &Path,
    plan: &ApplyPlan,
    stream: OwnedFd,
) -> Result<UnpackReport> {
    let Some(tree) = tree else {
        let root = made(place.directory, upper)?;
        let owners = Owners::writing(place.ownership, place.directory, &[], &root)?;
        return extract(place, (&root, &owners), plan, stream);
    };
    let opened = tree.open(place)?;
    let below = tree.stack(place)?;
    let report = extract(place, (&opened.root, &opened.owners), plan, stream)?;
    let opened = opened.read_again(place.ownership)?;
    let outcome = minder::collect(place, upper, &opened, &below, &Restored::default())?;
    place.settled(rustix::process::getpid(), outcome, None)?;
    Ok(report)
}

/// The directory of the changes, made if it is missing.
fn made(directory: &OwnedFd, upper: &Path) -> Result<OwnedFd> {
    let home = beneath::open_with(directory, upper, OFlags::RDONLY | OFlags::DIRECTORY)?;
    match rustix::fs::mkdirat(&home, "fs", Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).doing(|| format!("make {}/fs", upper.display())),
    }
    beneath::open_with(&home, Path::new("fs"), OFlags::RDONLY | OFlags::DIRECTORY)
}

fn extract(
    place: &Workplace<'_>,
    (root, owners): (&OwnedFd, &Owners),
    plan: &ApplyPlan,
    stream: OwnedFd,
) -> Result<UnpackReport> {
    let (near, far) = wire::pair()?;
    match sys::fork().doing(|| "fork to extract an archive".into())? {
        Fork::Child => {
            drop(near);
            let done = place.enter(root).and_then(|()| {
                let mut keep = vec![stream.as_fd(), far.as_fd()];
                keep.extend(owners.descriptor().map(OwnedFd::as_fd));
                sys::close_all_but(&keep).doing(|| "close what is the keeper's".into())?;
                archive::apply_here(plan, owners, stream)
            });
            let told = wire::send(&far, &done, &[]);
            sys::exit(i32::from(told.is_err()));
        }
        Fork::Parent(pid) => {
            drop((far, stream));
            let answer = wire::receive::<Result<UnpackReport>>(&near);
            // It has answered or ended; its code says nothing more.
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
            match answer? {
                Some((done, _)) => done,
                None => Err(KeeperError::Worker {
                    how: "it was ended while it extracted an archive".into(),
                }),
            }
        }
    }
}

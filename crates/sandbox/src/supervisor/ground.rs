//! Where a supervisor stands: in the root of its step, with a `/proc` that shows the step's processes.
//!
//! A container with mounts of its own is entered by its mount namespace, from which its overlay is seen; the supervisor mounts a `/proc`
//! for itself. Where nothing can be mounted there is the place's `/proc`, which numbers processes as this one does, and a tree, which is
//! entered by `chroot` as the step entered it.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::devices::Devices;
use super::files::{Files, Marks};
use super::task::View;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::overlay;
use crate::owners::links::Links;
use crate::spec::RootSpec;
use crate::start::file_system;
use crate::sys;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

/// What a step stands on.
pub(crate) enum Ground<'g> {
    /// An overlay in a mount namespace of the step's own.
    Overlay(&'g RootSpec),
    /// A tree: its root, and where marks of links go.
    Tree { root: &'g OwnedFd, marks: &'g OwnedFd },
}

impl Ground<'_> {
    /// Goes there. Of what is open only what is given back and `keep` stays open.
    pub(super) fn settle(
        &self,
        place: &Workplace<'_>,
        mounts: Option<OwnedFd>,
        keep: &[BorrowedFd<'_>],
    ) -> Result<(View, Files)> {
        let mut links = Links::default();
        let (processes, marks, devices) = match self {
            Self::Overlay(root) => {
                let mounts = mounts.ok_or_else(|| KeeperError::Message {
                    reason: "a step to be supervised without its mounts".into(),
                })?;
                let top = read_layers(place, root, &mut links)?;
                let processes = file_system("proc", &[], MountAttrFlags::empty())
                    .doing(|| "mount a fresh /proc to supervise a step by".into())?;
                move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
                    .doing(|| "enter the container that is supervised".into())?;
                (processes, Marks::Upper(top), Devices::default())
            }
            Self::Tree { root, marks } => {
                links
                    .load(marks)
                    .doing(|| "read the owners of a tree's links".into())?;
                let marks = rustix::io::fcntl_dupfd_cloexec(marks, 3)
                    .doing(|| "keep the owners of a tree's links open".into())?;
                let processes = rustix::fs::open("/proc", DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .doing(|| "open /proc to supervise a step by".into())?;
                let real = Devices::of_this_place();
                overlay::enter_directory(root)?;
                (processes, Marks::Tree(marks), real.standing_in_this_root())
            }
        };
        let mut kept = keep.to_vec();
        kept.extend([processes.as_fd(), marks.directory().as_fd()]);
        kept.extend(devices.descriptors());
        sys::close_all_but(&kept).doing(|| "close what is the keeper's".into())?;
        // Files of this process are named by its `/proc`, from where it stands.
        rustix::process::fchdir(&processes).doing(|| "enter /proc".into())?;
        let action = || "look at the root that is supervised".to_owned();
        let view = View::new(processes).doing(action)?;
        Ok((view, Files::new(links, marks, devices).doing(action)?))
    }
}

/// Reads whose links are in the layers of a root, and gives the top of its upper directory.
fn read_layers(place: &Workplace<'_>, root: &RootSpec, links: &mut Links) -> Result<OwnedFd> {
    let action = || "read the owners of a step's files".to_owned();
    for layer in &root.layers {
        links
            .load(&beneath::open_with(place.directory, layer, DIRECTORY)?)
            .doing(action)?;
    }
    let upper = root.upper.as_ref().ok_or_else(overlay::nowhere_to_write)?;
    let top = beneath::open_with(place.directory, &upper.join("fs"), DIRECTORY)?;
    links.load(&top).doing(action)?;
    Ok(top)
}

//! Devices of a step where no device can be made and none be mounted.
//!
//! `/dev/null` and the like of a tree are empty files that stand for the real ones. Who opens one is given a descriptor of the place's
//! own device, which this process opens for it; who asks what it is, is told what that is. They are known by what they are and not by a
//! name, so links to them lead there too.
//!
//! A step that replaces one has a file of its own there, as it would have elsewhere.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, major, minor};
use rustix::io::Errno;

use super::calls::Named;
use super::task::{Task, own};
use crate::chroot::DEVICES;

/// Flags of opening that are for who makes a file, or are done with when it has been found.
const OF_THE_WAY: OFlags = OFlags::CREATE.union(OFlags::TRUNC).union(OFlags::NOFOLLOW);

/// The devices that a step may open.
#[derive(Default)]
pub(super) struct Devices {
    all: Vec<Device>,
}

struct Device {
    name: &'static str,
    real: Held,
    /// The file that stands for it.
    stands_for_it: Option<Held>,
}

/// A file that is open as a place only, so that no other one can be given its number.
struct Held {
    file: OwnedFd,
    spot: Spot,
}

/// Device and number.
type Spot = (u32, u32, u64);

impl Held {
    fn at(path: &str) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let spot = spot(&file)?;
        Ok(Self { file, spot })
    }
}

fn spot(file: &OwnedFd) -> Result<Spot, Errno> {
    let status = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO)?;
    Ok((status.stx_dev_major, status.stx_dev_minor, status.stx_ino))
}

impl Devices {
    /// Those that this place has. Must come before it is left for a root that has none.
    pub(super) fn of_this_place() -> Self {
        let all = DEVICES
            .into_iter()
            .filter_map(|(name, number, part)| {
                let real = Held::at(&format!("/dev/{name}")).ok()?;
                let status = rustix::fs::fstat(&real.file).ok()?;
                let is_it = FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
                    && (major(status.st_rdev), minor(status.st_rdev)) == (number, part);
                is_it.then_some(Device {
                    name,
                    real,
                    stands_for_it: None,
                })
            })
            .collect();
        Self { all }
    }

    /// The same when this process has entered a root, in which files stand for them.
    pub(super) fn standing_in_this_root(mut self) -> Self {
        for device in &mut self.all {
            device.stands_for_it = Held::at(&format!("/dev/{}", device.name)).ok();
        }
        self
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let held = |device| {
            let Device {
                real, stands_for_it, ..
            }: &Device = device;
            [Some(real), stands_for_it.as_ref()]
        };
        self.all
            .iter()
            .flat_map(held)
            .flatten()
            .map(|held| held.file.as_fd())
    }

    /// The device that an open file is or stands for.
    pub(super) fn meant_by(&self, file: &OwnedFd) -> Result<Option<&OwnedFd>, Errno> {
        if self.all.is_empty() {
            return Ok(None);
        }
        let spot = spot(file)?;
        let is_meant = |device: &&Device| {
            device.real.spot == spot
                || device
                    .stands_for_it
                    .as_ref()
                    .is_some_and(|file| file.spot == spot)
        };
        Ok(self.all.iter().find(is_meant).map(|device| &device.real.file))
    }

    /// Opens the device that a call names, if it names one.
    pub(super) fn open(
        &self,
        task: &Task<'_>,
        named: Named,
        flags: OFlags,
    ) -> Result<Option<OwnedFd>, Errno> {
        let wants_another = flags.intersects(OFlags::PATH | OFlags::DIRECTORY | OFlags::EXCL);
        if self.all.is_empty() || wants_another {
            return Ok(None);
        }
        let follows = !flags.contains(OFlags::NOFOLLOW);
        // What cannot be found is the kernel's to say.
        let Ok(found) = task.open(Named { follows, ..named }) else {
            return Ok(None);
        };
        let Some(real) = self.meant_by(&found)? else {
            return Ok(None);
        };
        let flags = flags.difference(OF_THE_WAY) | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(own(real), flags, Mode::empty()).map(Some)
    }
}

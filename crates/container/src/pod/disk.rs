//! Who fills the disk.
//!
//! Of the disk, all pods of a data directory share what is free, whatever process they are of. One that holds much is not to blame
//! for what another one writes, or hides: a pod is ended by its own process when it grew by a good part of what the disk lost since
//! the look before, and when what it holds is at least what is missing. Where no pod's growth explains the loss, none is ended. The
//! same is asked of bytes and of files, since many file systems hold only so many files however small.
//!
//! A pod holds its directory, the kept volumes that it has, the files that its processes have open and that lost their names, and
//! what is written for it elsewhere (its [`shipway_store::Meter`]). What somebody keeps in memory files or maps without a descriptor is
//! nobody's.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;
use shipway_sandbox::{DiskUsage, KeeperError};
use shipway_store::Meter;

use super::PodInner;
use super::processes::family;
use super::watch::{LONGEST, SHORTEST, end, time_to_fill};
use crate::limits::{ByteSize, Excess};

/// How long it is looked at what a nearly full disk loses.
const BETWEEN: Duration = Duration::from_millis(200);
/// A pod whose growth is at least this part of what the disk lost is one of those that fill it.
const PART: u64 = 4;
/// Bytes that a file counts as, where it is asked how soon there may be none left: a million of files in a second.
const PACE_OF_A_FILE: u64 = 4 << 10;

/// Judges the pod where the disk is nearly full. Says how long it cannot be.
pub(super) fn look(pod: &PodInner, last: &mut Option<Look>) -> Duration {
    let Some(space) = Space::of(pod) else {
        return LONGEST;
    };
    if !space.is_short() {
        *last = None;
        return space.time_to_fill();
    }
    match Look::at(pod, &space) {
        Ok(now) => {
            if let Some(before) = last.replace(now) {
                judge(pod, before, now);
            }
        }
        // It is ending.
        Err(KeeperError::Gone) => {}
        Err(error) => {
            tracing::warn!(%error, "the disk is nearly full, and what a job holds cannot be measured");
        }
    }
    BETWEEN
}

/// The file system of a data directory.
#[derive(Debug, Clone, Copy)]
struct Space {
    free: DiskUsage,
    reserve: DiskUsage,
}

impl Space {
    fn of(pod: &PodInner) -> Option<Self> {
        let space = statvfs(pod.runtime.data()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        let reserve = pod.runtime.limits().disk_reserve;
        Some(Self {
            free: DiskUsage {
                bytes: bytes(space.f_bavail),
                files: space.f_favail,
            },
            reserve: DiskUsage {
                bytes: reserve.of(bytes(space.f_blocks)).get(),
                files: reserve.files_of(space.f_files),
            },
        })
    }

    fn missing(&self) -> DiskUsage {
        DiskUsage {
            bytes: self.reserve.bytes.saturating_sub(self.free.bytes),
            files: self.reserve.files.saturating_sub(self.free.files),
        }
    }

    fn is_short(&self) -> bool {
        self.missing() != DiskUsage::default()
    }

    fn time_to_fill(&self) -> Duration {
        let files = self.free.files.saturating_sub(self.reserve.files);
        // Where files are not counted, there is no end of them.
        let files = if self.reserve.files == 0 { u64::MAX } else { files };
        let bytes = self.free.bytes.saturating_sub(self.reserve.bytes);
        time_to_fill(bytes.min(files.saturating_mul(PACE_OF_A_FILE)))
    }
}

/// What a pod held when so much was free.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    held: DiskUsage,
    /// What of it outlives the pod.
    kept: DiskUsage,
    free: DiskUsage,
}

impl Look {
    fn at(pod: &PodInner, space: &Space) -> Result<Self, KeeperError> {
        let keeper = pod.keeper();
        let kept: Vec<PathBuf> = pod.kept_volumes();
        let processes: Vec<u32> = family(keeper.launcher_id()).into_keys().collect();
        let kept = keeper.usage(&kept)?;
        let held = keeper
            .usage(std::slice::from_ref(&pod.directory))?
            .plus(keeper.unlinked(&processes)?)
            .plus(kept)
            .plus(counted(&pod.written))
            .plus(counted(&pod.printed));
        Ok(Self {
            held,
            kept,
            free: space.free,
        })
    }

    /// Whether a pod that held as much before, and holds as much now, is one of those that fill the disk, of which so much is
    /// missing.
    fn fills_since(self, before: Self, missing: DiskUsage) -> Option<Filled> {
        let fills = |held: u64, held_before: u64, free: u64, free_before: u64, missing: u64| {
            let lost = free_before.saturating_sub(free);
            // Nobody hides where it cannot be measured.
            let grew = match held {
                u64::MAX => u64::MAX,
                held => held.saturating_sub(held_before),
            };
            missing > 0 && lost > 0 && grew >= lost / PART && held >= missing
        };
        let (held, free) = (self.held, self.free);
        if fills(
            held.bytes,
            before.held.bytes,
            free.bytes,
            before.free.bytes,
            missing.bytes,
        ) {
            Some(Filled::Bytes)
        } else if fills(
            held.files,
            before.held.files,
            free.files,
            before.free.files,
            missing.files,
        ) {
            Some(Filled::Files)
        } else {
            None
        }
    }
}

fn counted(meter: &Meter) -> DiskUsage {
    DiskUsage {
        bytes: meter.bytes(),
        files: meter.files(),
    }
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filled {
    Bytes,
    Files,
}

/// Ends this pod if it is one of those that fill the disk. One pod of a process is judged at a time, and its end is waited for:
/// then there may be room again.
fn judge(pod: &PodInner, before: Look, now: Look) {
    let _turn = pod.runtime.turn_to_judge();
    let Some(space) = Space::of(pod) else { return };
    let Some(filled) = now.fills_since(before, space.missing()) else {
        return;
    };
    let excess = match filled {
        Filled::Bytes => Excess::Disk {
            held: ByteSize::new(now.held.bytes),
            free: ByteSize::new(space.free.bytes),
            reserve: ByteSize::new(space.reserve.bytes),
        },
        Filled::Files => Excess::Files {
            held: now.held.files,
            free: space.free.files,
            reserve: space.reserve.files,
        },
    };
    // What made the disk full must not stay for the next job, which would find it as full.
    if now.kept.bytes > before.kept.bytes || now.kept.files > before.kept.files {
        pod.give_up_kept_volumes();
    }
    end(pod, excess);
    // What it printed goes with its last reader, which has been told.
    let given_up = Instant::now() + LONGEST * 3;
    while Instant::now() < given_up && Space::of(pod).is_some_and(|space| space.is_short()) {
        std::thread::park_timeout(SHORTEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: DiskUsage = DiskUsage { bytes: 0, files: 0 };

    fn bytes(bytes: u64) -> DiskUsage {
        DiskUsage { bytes, files: 0 }
    }

    fn files(files: u64) -> DiskUsage {
        DiskUsage { bytes: 0, files }
    }

    fn look(held: DiskUsage, free: DiskUsage) -> Look {
        Look {
            held,
            kept: NOTHING,
            free,
        }
    }

    #[test]
    fn whoever_grows_as_the_disk_is_lost_fills_it_and_nobody_else() {
        let now = |held, free| {
            look(bytes(held), bytes(free)).fills_since(look(bytes(150), bytes(1000)), bytes(100))
                == Some(Filled::Bytes)
        };
        assert!(now(350, 800));
        assert!(now(200, 800), "one of four");
        assert!(!now(150, 800), "somebody else, or something hidden");
        assert!(!now(160, 800), "it writes a little beside somebody else");
        assert!(!now(350, 1000), "somebody made room for it");
        assert!(now(u64::MAX, 999));
    }

    #[test]
    fn whoever_holds_less_than_is_missing_is_not_to_blame() {
        let now =
            |missing| look(bytes(200), bytes(800)).fills_since(look(bytes(0), bytes(1000)), bytes(missing));
        assert_eq!(now(200), Some(Filled::Bytes));
        assert_eq!(now(201), None);
        assert_eq!(now(0), None, "there is room again");
    }

    #[test]
    fn files_are_judged_as_bytes_are() {
        let now = |held| look(files(held), files(800)).fills_since(look(files(150), files(1000)), files(100));
        assert_eq!(now(350), Some(Filled::Files));
        assert_eq!(now(160), None);
    }

    #[test]
    fn the_next_look_comes_before_the_last_file_is_made() {
        let space = |free, reserve| Space { free, reserve }.time_to_fill();
        let room = 1 << 50;
        let free = |files| DiskUsage { bytes: room, files };
        assert_eq!(space(free(1000), files(1000)), SHORTEST);
        assert_eq!(space(free(100_000), files(1)), Duration::from_millis(95));
        assert_eq!(
            space(free(0), NOTHING),
            LONGEST,
            "a file system without such a bound"
        );
    }
}

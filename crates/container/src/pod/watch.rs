//! Looks at what a pod uses, and ends it where that is too much.
//!
//! A look, because nothing stronger is to be had everywhere: an ordinary user has no quota, and seldom a cgroup of their own. The
//! next look comes before memory or disk could be full at a pace that few machines reach, so what a pod gets beyond its limit is
//! what it takes in one look's time. What it is told of is in [`crate::Excess`].
//!
//! Of the disk, all pods of a data directory share what is free, whatever process they are of. One that holds much is not to blame
//! for what another one writes, or hides: a pod is ended by its own process when it grew by a good part of what the disk lost since
//! the look before, and when without it the reserve is there again. Where no pod's growth explains the loss, none is ended.
//!
//! Failure: what cannot be asked is no excess. `shipway doctor` asks beforehand.

use std::convert::Infallible;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use super::{PodInner, memory};
use crate::limits::{ByteSize, Excess};

/// Bytes in a second that no pod is expected to exceed.
const PACE: u64 = 4 << 30;
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(1);
/// How long it is looked at what a nearly full disk loses.
const BETWEEN: Duration = Duration::from_millis(200);
/// A pause is as many times the look before it, so that looking takes little of the machine however much there is to see.
const SHARE: u32 = 4;
/// A pod whose growth is at least this part of what the disk lost is one of those that fill it.
const PART: u64 = 4;

/// Looks until the pod ends; `dropped` hears nothing, and is disconnected with the pod.
pub(super) fn begin(pod: &Arc<PodInner>, dropped: Receiver<Infallible>) -> std::io::Result<()> {
    let pod = Arc::downgrade(pod);
    let watching = std::thread::Builder::new().name("pod-watch".into());
    watching.spawn(move || watch(&pod, &dropped)).map(drop)
}

fn watch(pod: &Weak<PodInner>, dropped: &Receiver<Infallible>) {
    let mut last = None;
    loop {
        let began = Instant::now();
        let pause = {
            let Some(pod) = pod.upgrade() else { return };
            if pod.closing.is_cancelled() {
                return;
            }
            // There may be another one the next time.
            if pod.keeper().is_alive() {
                look_at_memory(&pod).min(look_at_disk(&pod, &mut last))
            } else {
                LONGEST
            }
        };
        let pause = pause.max(began.elapsed() * SHARE);
        if dropped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn end(pod: &PodInner, excess: Excess) {
    tracing::warn!(%excess, pod = %pod.id, "a pod is ended");
    pod.excess.tell(excess);
    pod.end();
}

/// How long nothing can be full.
fn look_at_memory(pod: &PodInner) -> Duration {
    let Some(limit) = pod.runtime.limits().memory else {
        return LONGEST;
    };
    let used = memory::used(pod.keeper().launcher_id(), limit.get());
    if used > limit.get() {
        let used = ByteSize::new(used);
        end(pod, Excess::Memory { used, limit });
    }
    time_to_fill(limit.get().saturating_sub(used))
}

/// How long nothing can be full.
fn look_at_disk(pod: &PodInner, last: &mut Option<Look>) -> Duration {
    let Some(space) = Space::of(pod) else {
        return LONGEST;
    };
    if space.missing() > 0 {
        judge(pod, last);
        return BETWEEN;
    }
    *last = None;
    time_to_fill(space.free - space.reserve)
}

fn time_to_fill(bytes: u64) -> Duration {
    Duration::from_millis(bytes / (PACE / 1000)).clamp(SHORTEST, LONGEST)
}

/// The file system of a data directory.
struct Space {
    free: u64,
    reserve: u64,
}

impl Space {
    fn of(pod: &PodInner) -> Option<Self> {
        let space = statvfs(pod.runtime.data()).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        Some(Self {
            free: bytes(space.f_bavail),
            reserve: pod.runtime.limits().disk_reserve.of(bytes(space.f_blocks)).get(),
        })
    }

    fn missing(&self) -> u64 {
        self.reserve.saturating_sub(self.free)
    }
}

/// What a pod held when so much was free.
#[derive(Clone, Copy)]
struct Look {
    held: u64,
    free: u64,
}

impl Look {
    /// Whether a pod that held as much before, and holds as much now, is one of those that fill the disk.
    fn fills_since(self, before: Self) -> bool {
        let lost = before.free.saturating_sub(self.free);
        // Nobody hides below more levels than can be measured.
        let grew = match self.held {
            u64::MAX => u64::MAX,
            held => held.saturating_sub(before.held),
        };
        lost > 0 && grew >= lost / PART
    }
}

/// Ends this pod if it is one of those that fill the disk. One pod of a process is judged at a time, and its end is waited for:
/// then there may be room again.
fn judge(pod: &PodInner, last: &mut Option<Look>) {
    let _turn = pod.runtime.turn_to_judge();
    let Some(space) = Space::of(pod).filter(|space| space.missing() > 0) else {
        *last = None;
        return;
    };
    let sizes = match pod.keeper().sizes(&Path::new("pods").join(pod.id.as_str())) {
        Ok(sizes) => sizes,
        Err(error) => {
            tracing::warn!(%error, "the disk is nearly full, and what a job holds cannot be measured");
            return;
        }
    };
    let held = sizes
        .iter()
        .fold(pod.spooled(), |held, (_, size)| held.saturating_add(*size));
    let look = Look {
        held,
        free: space.free,
    };
    let Some(before) = last.replace(look) else { return };
    if !look.fills_since(before) || held < space.missing() {
        return;
    }
    let excess = Excess::Disk {
        held: ByteSize::new(held),
        free: ByteSize::new(space.free),
        reserve: ByteSize::new(space.reserve),
    };
    end(pod, excess);
    // What it printed goes with its last reader, which has been told.
    let given_up = Instant::now() + LONGEST * 3;
    while Instant::now() < given_up && Space::of(pod).is_some_and(|space| space.missing() > 0) {
        std::thread::park_timeout(SHORTEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_look_comes_before_what_is_left_is_gone() {
        assert_eq!(time_to_fill(0), SHORTEST);
        assert_eq!(time_to_fill(1 << 30), Duration::from_millis(250));
        assert_eq!(time_to_fill(1 << 40), LONGEST);
    }

    #[test]
    fn whoever_grows_as_the_disk_is_lost_fills_it_and_nobody_else() {
        let before = Look {
            held: 150,
            free: 1000,
        };
        let now = |held, free| Look { held, free }.fills_since(before);
        assert!(now(350, 800));
        assert!(now(200, 800), "one of four");
        assert!(!now(150, 800), "somebody else, or something hidden");
        assert!(!now(160, 800), "it writes a little beside somebody else");
        assert!(!now(350, 1000), "somebody made room for it");
        assert!(now(u64::MAX, 999));
    }
}

//! Looks at what a pod uses, and ends it where that is too much.
//!
//! A look, because nothing stronger is to be had everywhere: an ordinary user has no quota, and seldom a cgroup of their own. The
//! next look comes before memory or disk could be full at a pace that few machines reach, so what a pod gets beyond its limit is
//! what it takes in one look's time. What it is told of is in [`crate::Excess`]; how a disk is judged is in `disk`.
//!
//! Failure: what cannot be asked is no excess. `shipway doctor` asks beforehand.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{PodInner, disk, memory};
use crate::limits::{ByteSize, Excess};

/// Bytes in a second that no pod is expected to exceed.
const PACE: u64 = 4 << 30;
pub(super) const SHORTEST: Duration = Duration::from_millis(50);
pub(super) const LONGEST: Duration = Duration::from_secs(1);
/// A pause is as many times the look before it, so that looking takes little of the machine however much there is to see.
const SHARE: u32 = 4;

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
                look_at_memory(&pod).min(disk::look(&pod, &mut last))
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

pub(super) fn end(pod: &PodInner, excess: Excess) {
    // Whoever has the pod is told, and tells people.
    tracing::debug!(%excess, pod = %pod.id, "a pod is ended");
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

/// How long it takes to fill as many bytes.
pub(super) fn time_to_fill(bytes: u64) -> Duration {
    Duration::from_millis(bytes / (PACE / 1000)).clamp(SHORTEST, LONGEST)
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
}

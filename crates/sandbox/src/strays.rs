//! Ending every descendant of this process, where no pid namespace does it.
//!
//! The caller adopts the orphans of its descendants (it is a subreaper), so none of them can leave its family. A family is found by the
//! parents that `/proc` tells. Process groups are ended as a whole, which no number of forks outruns: all groups of descendants are of
//! sessions that descendants began, so no stranger is in one. Who makes a new group for each fork is ended one by one, in turns.
//!
//! Failure: what goes on making processes faster than they are ended is given up on after [`PATIENCE`], and said.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open};

use crate::error::{KeeperError, Result};

/// How long it may take until none is left.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// One process, as its parent knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Relation {
    parent: i32,
    group: i32,
}

/// The descendants of a process, those below `apart` and themselves left out, each with its group.
fn descendants(of: Pid, apart: &HashSet<Pid>) -> BTreeMap<i32, i32> {
    let mut children: BTreeMap<i32, Vec<(i32, i32)>> = BTreeMap::new();
    for (id, Relation { parent, group }) in relations() {
        children.entry(parent).or_default().push((id, group));
    }
    let mut found = BTreeMap::new();
    let mut left = vec![of.as_raw_nonzero().get()];
    while let Some(id) = left.pop() {
        for (child, group) in children.remove(&id).unwrap_or_default() {
            if !apart.iter().any(|apart| apart.as_raw_nonzero().get() == child) {
                found.insert(child, group);
                left.push(child);
            }
        }
    }
    found
}

fn relations() -> Vec<(i32, Relation)> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, relation(id)?))
        })
        .collect()
}

fn relation(id: i32) -> Option<Relation> {
    let stat = std::fs::read(format!("/proc/{id}/stat")).ok()?;
    parse(&String::from_utf8_lossy(&stat))
}

/// A name may hold anything, a closing bracket too: what follows the last one counts.
fn parse(stat: &str) -> Option<Relation> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(1);
    Some(Relation {
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// How many descendants this process has.
pub(crate) fn count() -> usize {
    descendants(rustix::process::getpid(), &HashSet::new()).len()
}

/// Ends all descendants but `apart` and theirs, and reaps those that are or become this process's own. `reaped` hears of each.
pub(crate) fn end_all(apart: &HashSet<Pid>, mut reaped: impl FnMut(Pid)) -> Result<()> {
    let own = rustix::process::getpid();
    let own_group = rustix::process::getpgrp();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = descendants(own, apart);
        let groups: BTreeSet<i32> = left.values().copied().collect();
        for group in groups.into_iter().filter_map(Pid::from_raw) {
            if group != own_group && group != Pid::INIT {
                // Gone meanwhile, or of nobody any more.
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
        }
        for (id, group) in &left {
            end(*id, *group);
        }
        reap(&left, &mut reaped);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(KeeperError::Worker {
                how: format!("{} processes that it left behind cannot be ended", left.len()),
            });
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Ends one process, unless its number is somebody else's by now: held first, then looked at again.
fn end(id: i32, group: i32) {
    let Some(held) = Pid::from_raw(id).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
        return;
    };
    if relation(id).is_some_and(|relation| relation.group == group) {
        // Ended meanwhile.
        let _ = rustix::process::pidfd_send_signal(held, Signal::KILL);
    }
}

/// Only of those that were found: others are for somebody else to wait for.
fn reap(found: &BTreeMap<i32, i32>, reaped: &mut impl FnMut(Pid)) {
    for process in found.keys().copied().filter_map(Pid::from_raw) {
        match rustix::process::waitpid(Some(process), WaitOptions::NOHANG) {
            Ok(Some(_)) => reaped(process),
            // Not this process's child (yet), or not ended.
            Ok(None) | Err(Errno::CHILD | Errno::INTR) => {}
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_pass_for_a_parent() {
        let stat = "42 (a) R 7 7) S 3 41 41 0 -1 4194560";
        assert_eq!(parse(stat), Some(Relation { parent: 3, group: 41 }));
        assert_eq!(parse("42"), None);
    }

    #[test]
    fn this_process_knows_its_child() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let own = rustix::process::getpid();
        let id = i32::try_from(child.id()).unwrap();
        assert!(descendants(own, &HashSet::new()).contains_key(&id));
        let apart = HashSet::from([Pid::from_raw(id).unwrap()]);
        assert!(!descendants(own, &apart).contains_key(&id));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

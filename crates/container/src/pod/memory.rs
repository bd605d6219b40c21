//! How much memory the processes of a pod use, by what `/proc` tells of them.
//!
//! Counted is what the kernel cannot get back by forgetting it: anonymous memory, mapped shared memory, and what of both was
//! swapped out. Files that are mapped are not, nor are a tmpfs, memory files that nobody has mapped, and the kernel's own: who
//! means to hide memory can. The quick sum counts memory that several processes share once for each; so what seems too much
//! is counted again by shares, which costs a walk over the page tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const KIB: u64 = 1024;

/// What `/proc/PID/status` says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Bytes, what is shared included.
    memory: u64,
}

/// The bytes that a process and its descendants use: at most so many where that is no more than `limit`, else just so many.
pub(super) fn used(launcher: u32, limit: u64) -> u64 {
    let processes = processes();
    let pod = descendants(&processes, launcher);
    let quick = |id| processes.get(id).map_or(0, |process| process.memory);
    let at_most = pod.iter().map(quick).sum();
    if at_most <= limit {
        return at_most;
    }
    pod.iter().map(|id| share(*id).unwrap_or_else(|| quick(id))).sum()
}

/// Whether this place tells what is needed, asked about the calling process.
pub(super) fn is_known() -> bool {
    let id = std::process::id();
    read(id, "status")
        .as_deref()
        .and_then(parse_status)
        .is_some_and(|process| process.memory > 0)
        && share(id).is_some()
}

fn processes() -> BTreeMap<u32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, parse_status(&read(id, "status")?)?))
        })
        .collect()
}

/// Orphans of a pod are adopted inside of it, so the tree holds all of them.
fn descendants(processes: &BTreeMap<u32, Process>, root: u32) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, process) in processes {
        children.entry(process.parent).or_default().push(*id);
    }
    let mut found = BTreeSet::from([root]);
    let mut left = vec![root];
    while let Some(parent) = left.pop() {
        // A number that was given anew between two reads may close a circle.
        let new = children.remove(&parent).unwrap_or_default();
        left.extend(new.iter().filter(|id| found.insert(**id)));
    }
    found
}

/// What a process uses, with its share of what it shares.
fn share(id: u32) -> Option<u64> {
    let text = read(id, "smaps_rollup")?;
    sum(&text, &["Pss_Anon", "Pss_Shmem", "SwapPss"])
}

fn parse_status(text: &str) -> Option<Process> {
    Some(Process {
        parent: field(text, "PPid")?.parse().ok()?,
        // A process that has ended, or is the kernel's, has none.
        memory: sum(text, &["RssAnon", "RssShmem", "VmSwap"]).unwrap_or_default(),
    })
}

fn sum(text: &str, names: &[&str]) -> Option<u64> {
    let kibibytes = |name| {
        field(text, name)?
            .strip_suffix("kB")?
            .trim_end()
            .parse::<u64>()
            .ok()
    };
    let sum: Option<u64> = names.iter().map(|name| kibibytes(name)).sum();
    Some(sum?.saturating_mul(KIB))
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn read(id: u32, file: &str) -> Option<String> {
    // A process names itself in it, in bytes that need not be text.
    let bytes = std::fs::read(Path::new("/proc").join(id.to_string()).join(file)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_with_what_it_holds() {
        let id = std::process::id();
        let ballast = vec![1_u8; 64 << 20];
        let (exact, at_most) = (used(id, 0), used(id, u64::MAX));
        assert!(exact >= ballast.len() as u64, "{exact}");
        assert!(at_most >= ballast.len() as u64, "{at_most}");
        assert!(is_known());
    }

    #[test]
    fn a_name_does_not_pass_for_a_number() {
        let text =
            "Name:\tx\nPPid:\t7\nRssAnon:\t    2048 kB\nRssShmem:\t       1 kB\nVmSwap:\t       0 kB\n";
        let process = parse_status(text).unwrap();
        assert_eq!((process.parent, process.memory), (7, 2049 * 1024));
        assert_eq!(parse_status("Name:\tPPid\nPid:\t1\n"), None);
    }

    #[test]
    fn a_tree_holds_its_own_and_ends_where_it_bites_itself() {
        let tree = [(1, 0), (2, 1), (3, 2), (4, 3), (5, 1), (2, 4)];
        let processes = tree.map(|(id, parent)| (id, Process { parent, memory: 0 }));
        let processes = BTreeMap::from(processes);
        assert_eq!(descendants(&processes, 2), BTreeSet::from([2, 3, 4]));
        assert_eq!(descendants(&processes, 9), BTreeSet::from([9]));
    }
}

//! The processes of a pod, by what `/proc` tells of them.
//!
//! Apart because what is asked of them differs: their memory, and the files that they hold.

use std::collections::BTreeMap;
use std::path::Path;

const KIB: u64 = 1024;

/// What `/proc/PID/status` says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Process {
    parent: u32,
    /// Bytes, what is shared included.
    pub(super) memory: u64,
}

/// A process and its descendants. Orphans of a pod are adopted inside of it, so those of its launcher are all of it.
pub(super) fn family(launcher: u32) -> BTreeMap<u32, Process> {
    descendants(all(), launcher)
}

fn all() -> BTreeMap<u32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, status(id)?))
        })
        .collect()
}

fn descendants(mut processes: BTreeMap<u32, Process>, root: u32) -> BTreeMap<u32, Process> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (id, process) in &processes {
        children.entry(process.parent).or_default().push(*id);
    }
    let mut found = BTreeMap::new();
    let mut left = vec![root];
    while let Some(id) = left.pop() {
        // A number that was given anew between two reads may close a circle.
        let Some(process) = processes.remove(&id) else {
            continue;
        };
        found.insert(id, process);
        left.extend(children.remove(&id).unwrap_or_default());
    }
    found
}

/// One process; none when it has ended.
pub(super) fn status(id: u32) -> Option<Process> {
    parse_status(&read(id, "status")?)
}

fn parse_status(text: &str) -> Option<Process> {
    Some(Process {
        parent: field(text, "PPid")?.parse().ok()?,
        // A process that has ended, or is the kernel's, has none.
        memory: sum(text, &["RssAnon", "RssShmem", "VmSwap"]).unwrap_or_default(),
    })
}

/// The sum of some fields that are kibibytes, in bytes.
pub(super) fn sum(text: &str, names: &[&str]) -> Option<u64> {
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

/// A file that the kernel has about a process.
pub(super) fn read(id: u32, file: &str) -> Option<String> {
    // A process names itself in it, in bytes that need not be text.
    let bytes = std::fs::read(Path::new("/proc").join(id.to_string()).join(file)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let tree = [(1, 0), (2, 4), (3, 2), (4, 3), (5, 1)];
        let processes = tree.map(|(id, parent)| (id, Process { parent, memory: 0 }));
        let processes = BTreeMap::from(processes);
        let family = |root| Vec::from_iter(descendants(processes.clone(), root).into_keys());
        assert_eq!(family(2), [2, 3, 4]);
        assert_eq!(family(1), [1, 5]);
        assert!(family(9).is_empty());
    }
}

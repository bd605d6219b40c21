//! What a run left behind: processes and mounts that still name its home.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::{Home, wait_for};

/// The command lines of all processes that name a path.
#[must_use]
pub fn processes_naming(path: &Path) -> Vec<String> {
    let needle = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&needle))
        .collect()
}

/// Waits until nothing of a home runs any more, and insists that nothing of it is mounted.
///
/// # Errors
/// What is still there after ten seconds.
pub fn assert_nothing_left(home: &Home) -> anyhow::Result<()> {
    wait_for(Duration::from_secs(10), || {
        let processes = processes_naming(home.path());
        if processes.is_empty() {
            Ok(())
        } else {
            Err(format!("left behind: {processes:?}"))
        }
    })?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let home = home.path().to_string_lossy().into_owned();
    ensure!(!mounts.contains(&home), "mounts left behind in {home}");
    Ok(())
}

//! What a run left behind: processes and mounts that still name its home.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;

use crate::{Home, wait_for};

/// The processes that name a path: on their command line, as their program, or as what they have open. A keeper's command
/// line says nothing of whose it is. What another user's processes have open is seen by root alone; the test itself does not count.
#[must_use]
pub fn processes_naming(path: &Path) -> Vec<String> {
    let needle = path.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|process| is_other_process(process))
        .filter_map(|process| {
            let line = std::fs::read(process.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let named = line.contains(&needle) || links(&process).any(|link| link.contains(&needle));
            named.then(|| format!("{} {line}", process.display()))
        })
        .collect()
}

fn is_other_process(entry: &Path) -> bool {
    entry
        .file_name()
        .and_then(|name| name.to_str()?.parse::<u32>().ok())
        .is_some_and(|id| id != std::process::id())
}

/// Where the program and the descriptors of a process lead.
fn links(process: &Path) -> impl Iterator<Item = String> {
    let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten();
    std::iter::once(process.join("exe"))
        .chain(descriptors.flatten().map(|descriptor| descriptor.path()))
        .filter_map(|link| std::fs::read_link(link).ok())
        .map(|target| target.to_string_lossy().into_owned())
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

#[cfg(test)]
mod tests {
    use super::{processes_naming, wait_for};
    use std::fs::File;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn a_process_is_found_by_what_it_has_open() {
        let place = tempfile::tempdir().unwrap();
        let file = File::create(place.path().join("held")).unwrap();
        assert_eq!(processes_naming(place.path()), Vec::<String>::new());
        let mut holder = Command::new("sleep").arg("60").stdin(file).spawn().unwrap();
        // What it has open is there before its command line is.
        let found = wait_for(Duration::from_secs(10), || match processes_naming(place.path()) {
            found if matches!(found.as_slice(), [one] if one.ends_with("sleep 60 ")) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        holder.kill().unwrap();
        holder.wait().unwrap();
        found.unwrap();
    }
}

//! What is said of the build cache: as a table, by scope, and of what went.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::json;
use shipway_build::{KeptMount, recorded_step};
use shipway_oci::Digest;
use shipway_store::{CacheEntry, CollectReport};

use super::limits::Dropped;
use super::{Found, PruneArguments, id, mounts};
use crate::commands::upkeep::count;
use crate::screen;

/// A line of the table.
struct Line {
    used: SystemTime,
    id: String,
    kind: String,
    bytes: u64,
    is_shared: bool,
    scope: String,
    /// Of a mount its own id.
    mount: String,
    json: serde_json::Value,
}

impl Line {
    fn of_step(entry: &CacheEntry) -> Self {
        let (step, bytes) = (recorded_step(&entry.record).unwrap_or_default(), bytes(entry));
        Self {
            json: json!({
                "kind": "step",
                "id": id(entry),
                "scope": entry.scope.as_str(),
                "step": step,
                "bytes": bytes,
                "shared": entry.is_shared,
                "used": seconds(entry.used),
                "blobs": entry.blobs.iter().map(|(digest, _)| digest.as_str()).collect::<Vec<_>>(),
            }),
            used: entry.used,
            id: id(entry),
            kind: step,
            bytes,
            is_shared: entry.is_shared,
            scope: entry.scope.to_string(),
            mount: String::new(),
        }
    }

    fn of_mount(mount: &KeptMount) -> Self {
        Self {
            json: json!({
                "kind": "mount",
                "id": mount.name,
                "scope": mount.scope,
                "mount": mount.id,
                "bytes": mount.bytes,
                "shared": false,
                "used": seconds(mount.used),
            }),
            used: mount.used,
            id: mount.name.clone(),
            kind: "mount".to_owned(),
            bytes: mount.bytes.unwrap_or_default(),
            is_shared: false,
            scope: mount.scope.clone().unwrap_or_default(),
            mount: mount.id.clone().unwrap_or_default(),
        }
    }
}

pub(super) fn list(found: &Found, as_json: bool) {
    let mut lines: Vec<Line> = found.steps.iter().map(Line::of_step).collect();
    lines.extend(found.mounts.iter().map(Line::of_mount));
    lines.sort_by_key(|line| std::cmp::Reverse(line.used));
    if as_json {
        let lines: Vec<_> = lines.into_iter().map(|line| line.json).collect();
        screen::document(&json!(lines).to_string());
        return;
    }
    let now = SystemTime::now();
    screen::line(&format!(
        "{:<12}  {:<7}  {:>9}  {:<6}  {:<6}  SCOPE",
        "ID", "KIND", "SIZE", "SHARED", "USED"
    ));
    for line in &lines {
        let shared = if line.is_shared { "yes" } else { "" };
        let text = format!(
            "{:<12.12}  {:<7}  {:>9}  {shared:<6}  {:<6}  {}  {}",
            line.id,
            line.kind,
            screen::size(line.bytes),
            age(line.used, now),
            line.scope,
            line.mount,
        );
        screen::line(text.trim_end());
    }
}

pub(super) fn usage(found: &Found, as_json: bool) {
    let mut scopes: BTreeMap<String, Found> = BTreeMap::new();
    for step in &found.steps {
        let scope = scopes.entry(step.scope.to_string()).or_default();
        scope.steps.push(step.clone());
    }
    for mount in &found.mounts {
        let scope = scopes.entry(mount.scope.clone().unwrap_or_default()).or_default();
        scope.mounts.push(mount.clone());
    }
    if as_json {
        let mut document = of_scope(found);
        document["scopes"] = scopes
            .iter()
            .map(|(scope, found)| (scope.clone(), of_scope(found)))
            .collect();
        screen::document(&document.to_string());
        return;
    }
    for (scope, found) in &scopes {
        let (layers, _) = total(&found.steps);
        screen::line(&format!(
            "{:>9}  {:>8}  {:>14}  {scope}",
            screen::size(layers.saturating_add(mounts::bytes(&found.mounts))),
            count(found.steps.len() as u64, "step"),
            count(found.mounts.len() as u64, "cache mount"),
        ));
    }
    let (layers, own) = total(&found.steps);
    screen::line(&format!(
        "{} in {}, of which {} is kept for nothing else",
        screen::size(layers),
        count(found.steps.len() as u64, "step"),
        screen::size(own)
    ));
    if !found.mounts.is_empty() {
        screen::line(&format!(
            "{} in {}",
            screen::size(mounts::bytes(&found.mounts)),
            count(found.mounts.len() as u64, "cache mount")
        ));
    }
}

fn of_scope(found: &Found) -> serde_json::Value {
    let ((layers, own), of_mounts) = (total(&found.steps), mounts::bytes(&found.mounts));
    json!({
        "steps": found.steps.len(),
        "mounts": found.mounts.len(),
        "bytes": layers.saturating_add(of_mounts),
        "mount_bytes": of_mounts,
        "reclaimable": own.saturating_add(of_mounts),
    })
}

/// `own` is what nothing else keeps of the steps, if that was looked at.
pub(super) fn pruned(dropped: &Dropped, own: Option<u64>, freed: &CollectReport, arguments: &PruneArguments) {
    let of_mounts = mounts::bytes(&dropped.mounts);
    if arguments.list.json {
        let document = json!({
            "steps": dropped.steps,
            "mounts": dropped.mounts.len(),
            "mount_bytes": of_mounts,
            "blobs": freed.blobs,
            "bytes": freed.bytes,
            "dry_run": arguments.dry_run,
        });
        screen::document(&document.to_string());
        return;
    }
    let verb = if arguments.dry_run {
        "could be removed"
    } else {
        "removed"
    };
    let own = own.filter(|_| arguments.dry_run);
    let own = own.map(|bytes| format!(", with {} that nothing else keeps", screen::size(bytes)));
    screen::line(&format!(
        "{} {verb}{}",
        count(dropped.steps, "step"),
        own.unwrap_or_default()
    ));
    if !dropped.mounts.is_empty() {
        let mounts = count(dropped.mounts.len() as u64, "cache mount");
        let of_them = match of_mounts {
            // Of age alone nobody has asked what they take.
            0 => String::new(),
            bytes => format!(" with {}", screen::size(bytes)),
        };
        screen::line(&format!("{mounts}{of_them} {verb}"));
    }
    if arguments.dry_run {
        return;
    }
    screen::line(&format!(
        "{} in {} freed",
        screen::size(freed.bytes),
        count(freed.blobs, "blob")
    ));
    if dropped.steps > 0 && freed.blobs == 0 {
        screen::line("what was used within the hour goes with a later `shipway gc`");
    }
}

fn bytes(entry: &CacheEntry) -> u64 {
    entry.blobs.iter().map(|(_, bytes)| bytes).sum()
}

/// What entries take together, each blob counted once: all of it, and what nothing else keeps.
pub(super) fn total(entries: &[CacheEntry]) -> (u64, u64) {
    let mut blobs: BTreeMap<&Digest, (u64, bool)> = BTreeMap::new();
    for entry in entries {
        for (digest, bytes) in &entry.blobs {
            blobs.entry(digest).or_insert((*bytes, false)).1 |= entry.is_shared;
        }
    }
    let all = blobs.values().map(|(bytes, _)| bytes).sum();
    let own = blobs.values().filter(|(_, is_shared)| !is_shared);
    (all, own.map(|(bytes, _)| bytes).sum())
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// For how long it was not used, as people say it.
fn age(used: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(used).unwrap_or_default().as_secs();
    match seconds {
        0..60 => "now".to_owned(),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

//! What `shipway prune` did, for people and for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shipway_build::KeptMount;
use shipway_container::{KeptState, KeptVolume, Swept};
use shipway_runner::retention::{Expired, Freed};
use shipway_store::{CollectReport, Usage};

use crate::commands::upkeep::count;
use crate::screen::{phrase, size};

/// Cache mounts that are named.
const MOST_NAMES: usize = 8;

/// What only `--all` takes away and no retention rules.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Forgotten {
    /// Steps of the build cache.
    pub(super) cache_records: u64,
    /// Names of images that jobs pulled, by project.
    pub(super) pulled_names: u64,
    /// Copies of work trees' histories.
    pub(super) histories: u64,
}

/// What became of the unpacked layers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layers {
    /// So many are gone, or would be.
    Removed(usize),
    /// All are left to the pods that live.
    InUse,
}

/// What there was, what went and what stays.
pub(super) struct Figures {
    pub(super) usage: Usage,
    pub(super) bytes_on_disk: u64,
    pub(super) swept: Swept,
    pub(super) nameless: u64,
    pub(super) kept_nameless: u64,
    pub(super) expired: Expired,
    pub(super) forgotten: Forgotten,
    pub(super) volumes: Vec<KeptVolume>,
    /// Cache mounts of builds.
    pub(super) mounts: Vec<KeptMount>,
    /// Whether what is kept for later jobs goes as well.
    pub(super) takes_all: bool,
    pub(super) removed: CollectReport,
    /// What only the grace keeps.
    pub(super) young: CollectReport,
    pub(super) layers: Layers,
    pub(super) only_asked: bool,
}

impl Figures {
    /// A line for each kind of thing that there is.
    pub(super) fn lines(&self) -> Vec<String> {
        let verb = if self.only_asked {
            "could be removed"
        } else {
            "removed"
        };
        let mut lines = vec![format!(
            "{} in {}, {}",
            size(self.usage.blob_bytes),
            count(self.usage.blobs, "blob"),
            if self.usage.repositories == 1 {
                "1 repository".to_owned()
            } else {
                format!("{} repositories", self.usage.repositories)
            }
        )];
        let (gone, kept): (Vec<_>, Vec<_>) = self
            .volumes
            .iter()
            .partition(|volume| self.state_after(volume) == KeptState::Removed);
        if !kept.is_empty() {
            lines.push(format!(
                "{} in {} of jobs, such as `/cache`",
                bytes(&kept),
                count(kept.len() as u64, "volume")
            ));
        }
        if self.swept.pods > 0 {
            lines.push(format!(
                "what {} left {verb}",
                count(self.swept.pods as u64, "dead pod")
            ));
        }
        if self.nameless > 0 {
            lines.push(format!("{} without a name {verb}", count(self.nameless, "image")));
        }
        if self.kept_nameless > 0 {
            lines.push(format!(
                "{} without a name kept: younger than an hour, or a container of an engine stands on it",
                count(self.kept_nameless, "image")
            ));
        }
        let Expired {
            artifacts,
            traces,
            caches,
        } = self.expired;
        for (freed, what, thing) in [
            (artifacts, "artifacts of ", "job"),
            (traces, "traces of ", "pipeline"),
            (caches, "", "cache"),
        ] {
            if freed.count > 0 {
                lines.push(format!(
                    "{} in {what}{} {verb}",
                    size(freed.bytes),
                    count(freed.count, thing)
                ));
            }
        }
        if !gone.is_empty() {
            lines.push(format!(
                "{} in {} of jobs {verb}",
                bytes(&gone),
                count(gone.len() as u64, "volume")
            ));
        }
        if !self.mounts.is_empty() {
            lines.push(format!(
                "{} in {} {verb}: {}",
                size(self.mount_bytes()),
                count(self.mounts.len() as u64, "cache mount"),
                self.mount_names()
            ));
        }
        let Forgotten {
            cache_records,
            pulled_names,
            histories,
        } = self.forgotten;
        for (number, things) in [
            (cache_records, count(cache_records, "cached build step")),
            (
                pulled_names,
                count(pulled_names, "name") + " of images that jobs pulled",
            ),
            (histories, format!("history of {}", count(histories, "work tree"))),
        ] {
            if number > 0 {
                lines.push(format!("{things} {verb}"));
            }
        }
        lines.push(format!(
            "{} in {} {verb}",
            size(self.removed.bytes),
            count(self.removed.blobs, "blob")
        ));
        if self.young.blobs > 0 {
            lines.push(format!(
                "{} in {} kept: used less than an hour ago, run this again later",
                size(self.young.bytes),
                count(self.young.blobs, "blob")
            ));
        }
        if let Layers::Removed(layers @ 1..) = self.layers {
            lines.push(format!("{} {verb}", count(layers as u64, "unpacked layer")));
        }
        lines
    }

    fn mount_bytes(&self) -> u64 {
        let bytes = self.mounts.iter().map(|mount| mount.bytes.unwrap_or_default());
        bytes.fold(0, u64::saturating_add)
    }

    /// What Dockerfiles call them, each once.
    fn mount_names(&self) -> String {
        let names: BTreeSet<String> = self
            .mounts
            .iter()
            .map(|mount| phrase(mount.id.as_deref().unwrap_or("?")))
            .collect();
        let shown: Vec<&str> = names.iter().take(MOST_NAMES).map(String::as_str).collect();
        let more = match names.len().saturating_sub(MOST_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("{}{more}", shown.join(", "))
    }

    /// A volume that would go has gone as far as the figures tell.
    fn state_after(&self, volume: &KeptVolume) -> KeptState {
        match volume.state {
            KeptState::Kept if self.takes_all && self.only_asked => KeptState::Removed,
            state => state,
        }
    }

    /// What could not go, and what to do.
    pub(super) fn warning(&self) -> Option<String> {
        match self.layers {
            Layers::Removed(_) => None,
            Layers::InUse => Some(
                "the unpacked layers stay, and the volumes that jobs have now: a job, a build or an engine of this installation is \
                 running and may use them; end it and run `shipway prune --all` again"
                    .to_owned(),
            ),
        }
    }

    /// For programs. Sizes are in bytes.
    pub(super) fn json(&self) -> Value {
        let freed = |freed: Freed| json!({"count": freed.count, "bytes": freed.bytes});
        let volumes = |state: KeptState| {
            let volumes: Vec<&KeptVolume> = self
                .volumes
                .iter()
                .filter(|volume| self.state_after(volume) == state)
                .collect();
            json!({"count": volumes.len(), "bytes": total(&volumes)})
        };
        let layers = match self.layers {
            Layers::Removed(layers) => layers,
            Layers::InUse => 0,
        };
        json!({
            "blobs": self.usage.blobs,
            "blob_bytes": self.usage.blob_bytes,
            "repositories": self.usage.repositories,
            "bytes_on_disk": self.bytes_on_disk,
            "swept_pods": self.swept.pods,
            "removed_images": self.nameless,
            "kept_nameless_images": self.kept_nameless,
            "removed_artifacts": freed(self.expired.artifacts),
            "removed_traces": freed(self.expired.traces),
            "removed_caches": freed(self.expired.caches),
            "removed_cached_build_steps": self.forgotten.cache_records,
            "removed_cache_mounts": {"count": self.mounts.len(), "bytes": self.mount_bytes()},
            "removed_pulled_names": self.forgotten.pulled_names,
            "removed_histories": self.forgotten.histories,
            "kept_volumes": volumes(KeptState::Kept),
            "volumes_in_use": volumes(KeptState::InUse),
            "removed_volumes": volumes(KeptState::Removed),
            "removed_blobs": self.removed.blobs,
            "removed_bytes": self.removed.bytes,
            "kept_young_blobs": self.young.blobs,
            "kept_young_bytes": self.young.bytes,
            "removed_layers": layers,
            "layers_in_use": matches!(self.layers, Layers::InUse),
            "dry_run": self.only_asked,
        })
    }
}

fn total(volumes: &[&KeptVolume]) -> u64 {
    volumes
        .iter()
        .fold(0, |sum, volume| sum.saturating_add(volume.bytes))
}

fn bytes(volumes: &[&KeptVolume]) -> String {
    match total(volumes) {
        u64::MAX => "more than can be measured".to_owned(),
        total => size(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_would_go_is_named_before_as_after() {
        let mount = |id: &str| KeptMount {
            name: String::new(),
            scope: None,
            id: Some(id.to_owned()),
            used: std::time::SystemTime::UNIX_EPOCH,
            bytes: Some(1000),
        };
        let figures = |only_asked| Figures {
            usage: Usage::default(),
            bytes_on_disk: 0,
            swept: Swept::default(),
            nameless: 0,
            kept_nameless: 0,
            expired: Expired::default(),
            forgotten: Forgotten {
                cache_records: 2,
                pulled_names: 1,
                histories: 3,
            },
            volumes: Vec::new(),
            mounts: ["apt", "go", "apt"].map(mount).into(),
            takes_all: true,
            removed: CollectReport { blobs: 4, bytes: 10 },
            young: CollectReport::default(),
            layers: Layers::Removed(5),
            only_asked,
        };
        for (only_asked, verb) in [(true, "could be removed"), (false, "removed")] {
            let lines = figures(only_asked).lines();
            for thing in [
                "2 cached build steps",
                "1 name of images that jobs pulled",
                "history of 3 work trees",
                "10 B in 4 blobs",
                "5 unpacked layers",
            ] {
                let line = format!("{thing} {verb}");
                assert!(lines.contains(&line), "{line}: {lines:?}");
            }
            let mounts = format!("3.0 kB in 3 cache mounts {verb}: apt, go");
            assert!(lines.contains(&mounts), "{lines:?}");
        }
        assert_eq!(figures(true).json()["removed_layers"], 5);
        assert_eq!(figures(true).json()["removed_cache_mounts"]["count"], 3);
        assert_eq!(figures(true).json()["removed_pulled_names"], 1);
    }
}

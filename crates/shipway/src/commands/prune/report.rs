//! What `shipway prune` did, for people and for programs.

use serde_json::{Value, json};
use shipway_container::{KeptState, KeptVolume, Swept};
use shipway_runner::retention::{Expired, Freed};
use shipway_store::{CollectReport, Usage};

use crate::commands::upkeep::count;
use crate::screen::size;

/// What became of the unpacked layers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layers {
    /// So many are gone.
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
    pub(super) volumes: Vec<KeptVolume>,
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
        let (kept, gone): (Vec<_>, Vec<_>) = self
            .volumes
            .iter()
            .partition(|volume| volume.state != KeptState::Removed);
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
            lines.push(format!("{} removed", count(layers as u64, "unpacked layer")));
        }
        lines
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
                .filter(|volume| volume.state == state)
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

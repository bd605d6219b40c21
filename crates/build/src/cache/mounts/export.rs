//! Which mounts of a build go into its exported cache, and in what form.
//!
//! One that a step had is packed as it is now. One whose step was known, so that nothing mounted it, is named again as the artifact under
//! the name has it, or as the import did: a build in which all is cached must not empty the cache of the next one. That ends after
//! [`MOST_DAYS`], for nobody has used it since.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use shipway_container::{Housekeeper, Runtime};
use shipway_oci::{Descriptor, with_causes};
use shipway_sandbox::LaunchError;
use shipway_store::Store;

use super::super::origin::SharedOrigin;
use super::super::steps::{CacheSteps, UsedMount};
use super::archive::archive;
use super::key::MountKey;
use super::known::Known;
use super::offer::{MountClaim, open_index};
use super::{INDEX_TYPE, MOST_MOUNT_BYTES, MOST_MOUNTS, MOST_PACKS, index};
use crate::error::StepError;
use crate::mounted::{FOLDER, Upkeep, locks};

/// For how long a mount that no step has had is named again.
const MOST_DAYS: u32 = 30;
/// How long steps of other builds that have a mount are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which mounts are exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSelection {
    /// Those with these ids; all without.
    pub ids: Option<BTreeSet<String>>,
    /// The most bytes of disk that all of them may take. The smallest go first.
    pub most_bytes: u64,
}

/// A cache mount that is in an exported cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedMount {
    /// Its id.
    pub id: String,
    /// The bytes of its files, as a tar.
    pub bytes: u64,
    /// The bytes that were packed anew: no others are sent.
    pub new_bytes: u64,
}

/// Why a cache mount was not exported.
#[derive(Debug, thiserror::Error)]
pub enum MountExportError {
    /// No keeper can be started, and only a keeper can read it.
    #[error("cannot start a keeper to read it")]
    Launch {
        /// Why.
        #[source]
        source: LaunchError,
    },
    /// It cannot be read or packed.
    #[error("it cannot be packed")]
    Pack {
        /// Why.
        #[source]
        source: Box<StepError>,
    },
    /// It has too much in it.
    #[error("its files have {bytes} bytes, and at most {MOST_MOUNT_BYTES} can be exported")]
    TooLarge {
        /// Its bytes, as a tar.
        bytes: u64,
    },
    /// Another build has it.
    #[error("another build has it for longer than {} seconds", PATIENCE.as_secs())]
    InUse,
}

/// What an export needs.
pub(crate) struct MountExporter<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) store: &'a Store,
    pub(crate) steps: &'a CacheSteps,
    pub(crate) selection: &'a MountSelection,
    /// The artifact that is there already, with its mounts.
    pub(in crate::cache) previous: Option<(SharedOrigin, Vec<MountClaim>)>,
}

/// A mount as it goes out.
#[derive(Debug, Clone)]
pub(crate) struct MountParcel {
    pub(crate) claim: MountClaim,
    pub(crate) exported: ExportedMount,
    reused: Vec<Descriptor>,
    /// Where its blobs are, when it was not packed here.
    pub(in crate::cache) origin: Option<SharedOrigin>,
}

impl MountParcel {
    /// Its blobs: the index and the packs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.claim.index).chain(&self.claim.packs)
    }

    /// The packs that were not written here but are taken to be where it goes.
    pub(crate) fn reused(&self) -> impl Iterator<Item = &Descriptor> {
        self.reused.iter()
    }

    fn carried(claim: &MountClaim, origin: &SharedOrigin) -> Self {
        Self {
            reused: Vec::new(),
            claim: claim.clone(),
            exported: ExportedMount {
                id: claim.id.clone(),
                bytes: claim.size,
                new_bytes: 0,
            },
            origin: Some(origin.clone()),
        }
    }
}

impl MountExporter<'_> {
    /// The mounts in their forms, and what is to be told of those that are left out.
    pub(crate) async fn parcels(&self) -> (Vec<MountParcel>, Vec<String>) {
        let (mut parcels, mut notes) = (Vec::new(), Vec::new());
        let ids = self.selection.ids.as_ref();
        let wanted = self.steps.mounts.iter();
        let wanted: Vec<(&MountKey, &UsedMount)> = wanted
            .filter(|(_, mount)| ids.is_none_or(|ids| ids.contains(&mount.id)))
            .collect();
        for id in ids.into_iter().flatten() {
            if !wanted.iter().any(|(_, mount)| mount.id == *id) {
                notes.push(format!("no step of the build has the cache mount `{id}`"));
            }
        }
        let mut to_pack = Vec::new();
        for (key, mount) in wanted {
            match self.carried(key, mount).filter(|_| !mount.is_mounted) {
                Some(parcel) if today().saturating_sub(parcel.claim.day) <= MOST_DAYS => parcels.push(parcel),
                Some(_) => {}
                None => to_pack.push((key, mount)),
            }
        }
        if to_pack.is_empty() {
            return (parcels, notes);
        }
        let known = self.known().await;
        let names = to_pack.iter().map(|(_, mount)| mount.directory.clone()).collect();
        let packing = Packing {
            runtime: self.runtime.clone(),
            store: self.store.clone(),
            most_bytes: self.selection.most_bytes,
        };
        let begun = tokio::task::spawn_blocking(move || packing.pack(names, &known)).await;
        let packed = match begun {
            Ok(Ok(packed)) => packed,
            Ok(Err(error)) => {
                notes.push(format!(
                    "the cache mounts are not exported: {}",
                    with_causes(&error)
                ));
                return (parcels, notes);
            }
            Err(_) => return (parcels, notes),
        };
        for ((key, mount), packed) in to_pack.into_iter().zip(packed) {
            match packed {
                Outcome::Packed(packed) => parcels.push(packed.parcel(key, mount)),
                Outcome::Empty => {}
                Outcome::Left(why) => {
                    let carried = self.carried(key, mount);
                    let rest = match carried {
                        Some(_) => "what the cache has of it stays",
                        None => "it is left out",
                    };
                    notes.push(format!("the cache mount `{}`: {why}; {rest}", mount.id));
                    parcels.extend(carried);
                }
            }
        }
        if parcels.len() > MOST_MOUNTS {
            notes.push(format!("only {MOST_MOUNTS} cache mounts are exported"));
            parcels.truncate(MOST_MOUNTS);
        }
        parcels.sort_by(|one, other| one.claim.key.cmp(&other.claim.key));
        (parcels, notes)
    }

    /// A mount as it is elsewhere: best where it goes, for then nothing of it is moved.
    fn carried(&self, key: &MountKey, mount: &UsedMount) -> Option<MountParcel> {
        let there = self.previous.as_ref().and_then(|(origin, claims)| {
            let claim = claims.iter().find(|claim| claim.key == *key)?;
            Some(MountParcel::carried(claim, origin))
        });
        let offered = mount.offered.as_ref();
        there.or_else(|| offered.map(|offered| MountParcel::carried(&offered.claim, &offered.origin)))
    }

    /// The chunks that are where the cache goes. What was found to be false there is not counted on.
    async fn known(&self) -> Known {
        let mut known = Known::default();
        let Some((origin, claims)) = self.previous.as_ref().filter(|_| !self.steps.distrust) else {
            return known;
        };
        for claim in claims {
            match open_index(claim, origin, self.store).await {
                Ok(chunks) => known.add(&claim.packs, &chunks),
                Err(error) => {
                    tracing::debug!(
                        error = with_causes(&error),
                        id = claim.id,
                        "its chunks are sent again"
                    );
                }
            }
        }
        known
    }
}

/// What became of a mount.
enum Outcome {
    Packed(Box<PackedMount>),
    /// There is nothing in it, or nobody has ever had it.
    Empty,
    Left(String),
}

struct PackedMount {
    index: Descriptor,
    packs: Vec<Descriptor>,
    reused: Vec<Descriptor>,
    size: u64,
    new_bytes: u64,
}

impl PackedMount {
    fn parcel(self, key: &MountKey, mount: &UsedMount) -> MountParcel {
        MountParcel {
            exported: ExportedMount {
                id: mount.id.clone(),
                bytes: self.size,
                new_bytes: self.new_bytes,
            },
            claim: MountClaim {
                key: key.clone(),
                id: mount.id.clone(),
                index: self.index,
                packs: self.packs,
                size: self.size,
                day: today(),
            },
            reused: self.reused,
            origin: None,
        }
    }
}

/// The part that blocks.
struct Packing {
    runtime: Runtime,
    store: Store,
    most_bytes: u64,
}

impl Packing {
    fn pack(&self, names: Vec<String>, known: &Known) -> Result<Vec<Outcome>, MountExportError> {
        let folder = self.runtime.keeper_directory().join(FOLDER);
        if !names.iter().any(|name| folder.join(name).is_dir()) {
            return Ok(names.iter().map(|_| Outcome::Empty).collect());
        }
        let keeper = self
            .runtime
            .housekeeper()
            .map_err(|source| MountExportError::Launch { source })?;
        let mut sizes = Vec::new();
        for (place, name) in names.iter().enumerate() {
            // One that cannot be measured fails when it is read.
            let usage = keeper.usage(&[Path::new(FOLDER).join(name)]).unwrap_or_default();
            sizes.push((usage.bytes, place));
        }
        sizes.sort_unstable();
        let mut outcomes: Vec<Outcome> = names.iter().map(|_| Outcome::Empty).collect();
        let mut total = 0_u64;
        for (bytes, place) in sizes {
            let (Some(name), Some(outcome)) = (names.get(place), outcomes.get_mut(place)) else {
                continue;
            };
            total = total.saturating_add(bytes);
            if total > self.most_bytes {
                let most = self.most_bytes;
                *outcome = Outcome::Left(format!(
                    "with its {bytes} bytes the exported mounts would take more than {most} (mounts-max-size)"
                ));
                continue;
            }
            if folder.join(name).is_dir() {
                *outcome = self
                    .pack_one(&keeper, name, known)
                    .unwrap_or_else(|error| Outcome::Left(with_causes(&error)));
            }
        }
        Ok(outcomes)
    }

    fn pack_one(&self, keeper: &Housekeeper, name: &str, known: &Known) -> Result<Outcome, MountExportError> {
        let failed = |source: StepError| MountExportError::Pack {
            source: Box::new(source),
        };
        let upkeep = Upkeep::take(&locks(self.runtime.data()), name, PATIENCE);
        let _upkeep = upkeep
            .map_err(|error| failed(error.into()))?
            .ok_or(MountExportError::InUse)?;
        let packed = archive(keeper, &Path::new(FOLDER).join(name), &self.store, known).map_err(failed)?;
        let Some(packed) = packed else {
            return Ok(Outcome::Empty);
        };
        if packed.size > MOST_MOUNT_BYTES || packed.packs.len() > MOST_PACKS {
            return Err(MountExportError::TooLarge { bytes: packed.size });
        }
        let written = index::encode(&packed.chunks).map_err(|error| failed(error.into()))?;
        let blob = self
            .store
            .put_blob(&written)
            .map_err(|source| failed(StepError::Commit { source }))?;
        Ok(Outcome::Packed(Box::new(PackedMount {
            index: Descriptor::new(INDEX_TYPE, blob.digest, blob.size),
            packs: packed.packs,
            reused: packed.reused,
            size: packed.size,
            new_bytes: packed.new_bytes,
        })))
    }
}

/// Days since 1970.
fn today() -> u32 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u32::try_from(since.as_secs() / (24 * 60 * 60)).unwrap_or(u32::MAX)
}

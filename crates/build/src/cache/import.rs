//! Caches that a build looks into, beside the records of its scope.
//!
//! A hit costs no byte: the step's layer stands for itself as [`Elsewhere`], and is brought when its files or its bytes are needed.
//!
//! What cannot be brought, or is not what was claimed, fails the step that needed it. The import is then given up, whole or only for
//! what it knows without having it, and the build begins again without it ([`Imports::give_up`]): what was done meanwhile is in the
//! scope's own cache, so nothing is done twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use shipway_oci::{Descriptor, Digest, Platform, with_causes};
use shipway_registry::{Client, RegistryCredentials};
use shipway_store::Store;
use tokio::sync::OnceCell;

use super::mounts::{MountKey, OfferedMount};
use super::options::CacheImport;
use super::origin::{Origin, OriginError, SharedOrigin};
use crate::error::StepError;
use crate::plan::CacheKey;
use crate::request::CredentialSource;

/// The imports of one build, in the order in which they are asked.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    imports: Vec<Import>,
    /// What is to be told of those that could not be opened.
    notes: Vec<String>,
}

#[derive(Debug)]
struct Import {
    place: Arc<Place>,
    steps: BTreeMap<CacheKey, Option<Arc<Elsewhere>>>,
    mounts: BTreeMap<MountKey, Arc<OfferedMount>>,
}

/// Where an import is, and what came of it.
#[derive(Debug)]
struct Place {
    name: String,
    origin: SharedOrigin,
    /// Why it is not asked any more.
    failure: Mutex<Option<String>>,
    is_over: AtomicBool,
    /// Whether what it knows without having it is believed.
    knows: AtomicBool,
}

/// A layer of an import.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    pub(crate) diff_id: Digest,
    pub(crate) blob: Option<Descriptor>,
    place: Arc<Place>,
    brought: OnceCell<()>,
}

/// What an import knows of a step: its layer, or that it changed nothing.
pub(crate) type ImportedLayer = Option<Arc<Elsewhere>>;

impl Imports {
    /// Opens all, side by side. What cannot be used is noted and left out.
    pub(crate) async fn open(
        wanted: &[CacheImport],
        client: &Client,
        credentials: &dyn CredentialSource,
        store: &Store,
        platforms: &[Platform],
    ) -> Self {
        // An image of several platforms has a cache for each; what is the same for all is only looked at again.
        let wanted: Vec<(&CacheImport, &Platform)> = wanted
            .iter()
            .flat_map(|import| platforms.iter().map(move |platform| (import, platform)))
            .collect();
        let opening = wanted.iter().map(|(import, platform)| {
            let credentials = match import {
                CacheImport::Registry(reference) => credentials.credentials(&reference.registry),
                CacheImport::Local { .. } => None,
            };
            open(import, client, credentials, store, platform)
        });
        let mut imports = Self::default();
        for ((import, _), opened) in wanted.iter().zip(futures::future::join_all(opening).await) {
            match opened {
                Ok(opened) => imports.imports.push(opened),
                Err(error) => {
                    let note = format!("the cache {import} is passed over: {}", with_causes(&error));
                    if !imports.notes.contains(&note) {
                        imports.notes.push(note);
                    }
                }
            }
        }
        imports
    }

    /// What is to be told of the imports, once.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the first import that knows the step says of it. One that has the layer goes before one that only knows it.
    pub(crate) fn find(&self, key: &CacheKey) -> Option<ImportedLayer> {
        let mut known = None;
        for import in &self.imports {
            let Some(found) = import.steps.get(key) else {
                continue;
            };
            let is_only_known = found.as_ref().is_some_and(|layer| layer.blob.is_none());
            match &import.place {
                place if place.is_over.load(Ordering::Relaxed) => {}
                _ if !is_only_known => return Some(found.clone()),
                place if place.knows.load(Ordering::Relaxed) => {
                    known.get_or_insert_with(|| found.clone());
                }
                _ => {}
            }
        }
        known
    }

    /// What the first import that has a cache mount has of it.
    pub(crate) fn mount(&self, key: &MountKey) -> Option<Arc<OfferedMount>> {
        self.imports
            .iter()
            .filter(|import| !import.place.is_over.load(Ordering::Relaxed))
            .find_map(|import| import.mounts.get(key).cloned())
    }

    /// Gives up those that failed since this was last asked, and says why; nothing when none did.
    pub(crate) fn give_up(&self) -> Vec<String> {
        let failed = self.imports.iter().filter_map(|import| {
            let place = &import.place;
            let mut failure = place.failure.lock().unwrap_or_else(PoisonError::into_inner);
            let why = failure.take()?;
            Some(format!("the cache {}: {why}", place.name))
        });
        failed.collect()
    }
}

async fn open(
    import: &CacheImport,
    client: &Client,
    credentials: Option<RegistryCredentials>,
    store: &Store,
    platform: &Platform,
) -> Result<Import, OriginError> {
    let (origin, contents) = Origin::open(import, client, credentials.as_ref(), store, platform).await?;
    let place = Arc::new(Place {
        name: import.to_string(),
        origin: Arc::new(origin),
        failure: Mutex::default(),
        is_over: AtomicBool::new(false),
        knows: AtomicBool::new(true),
    });
    // One for each layer, so that it is brought once whichever step needs it.
    let mut layers: BTreeMap<Digest, Arc<Elsewhere>> = BTreeMap::new();
    let steps = contents.steps.into_iter().map(|(key, claim)| {
        let layer = claim.map(|claim| {
            let layer = layers.entry(claim.diff_id.clone()).or_insert_with(|| {
                Arc::new(Elsewhere {
                    diff_id: claim.diff_id,
                    blob: claim.blob,
                    place: Arc::clone(&place),
                    brought: OnceCell::new(),
                })
            });
            Arc::clone(layer)
        });
        (key, layer)
    });
    let mounts = contents.mounts.into_iter().map(|claim| {
        let offered = OfferedMount {
            cache: place.name.clone(),
            origin: Arc::clone(&place.origin),
            claim,
        };
        (offered.claim.key.clone(), Arc::new(offered))
    });
    Ok(Import {
        mounts: mounts.collect(),
        steps: steps.collect(),
        place,
    })
}

impl Elsewhere {
    /// Its descriptor, once its blob is in the store.
    pub(crate) async fn bring(&self, store: &Store) -> Result<Descriptor, StepError> {
        let Some(blob) = &self.blob else {
            self.place.knows.store(false, Ordering::Relaxed);
            self.place.say(&OriginError::WithoutFiles);
            return Err(self.failed(OriginError::WithoutFiles));
        };
        let brought = self
            .brought
            .get_or_try_init(async || self.place.origin.bring(blob, store).await);
        match brought.await {
            Ok(()) => Ok(blob.clone()),
            Err(error) => {
                self.place.end(&error);
                Err(self.failed(error))
            }
        }
    }

    /// Takes note that its blob is not the layer that was claimed.
    pub(crate) fn is_false(&self, why: &(dyn std::error::Error + 'static)) {
        self.place.end(why);
    }

    fn failed(&self, source: OriginError) -> StepError {
        StepError::CacheImport {
            cache: self.place.name.clone(),
            source: Box::new(source),
        }
    }
}

impl Place {
    fn end(&self, why: &(dyn std::error::Error + 'static)) {
        self.is_over.store(true, Ordering::Relaxed);
        self.say(why);
    }

    fn say(&self, why: &(dyn std::error::Error + 'static)) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| with_causes(why));
    }
}

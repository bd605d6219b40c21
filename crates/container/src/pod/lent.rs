//! Images that a pod's containers stand on.
//!
//! A container needs no more of its image than the unpacked layers, which its pod keeps. But whoever made it may ask for the rest at
//! any time: inspect the image, commit the container, start another one of the same id. So the pod is lent the image, and what frees
//! space elsewhere leaves it alone (see [`shipway_store::Store::lend_image`]). What a dead pod was lent goes with its leftovers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use shipway_oci::Digest;
use shipway_store::{Scope, ScopeError, Store, StoreError};

use super::{Pod, PodInner};
use crate::ids::PodId;
use crate::images::ImagesError;

impl Pod {
    /// Keeps an image of a scope until it was given back as often, or the pod ends. Those of a job's scope last as long as its pod
    /// anyway.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn borrow_image(&self, scope: &Scope, manifest: &Digest) -> Result<(), ImagesError> {
        if !scope.is_lasting() {
            return Ok(());
        }
        let (pod, scope, manifest) = (self.clone(), scope.clone(), manifest.clone());
        let borrowed = tokio::task::spawn_blocking(move || pod.inner.borrow_blocking(&scope, manifest));
        borrowed
            .await
            .map_err(|_| ImagesError::Interrupted)?
            .map_err(|source| ImagesError::Store { source })
    }

    /// Gives back what was borrowed once.
    pub async fn give_back_image(&self, manifest: &Digest) {
        let (pod, manifest) = (self.clone(), manifest.clone());
        let returned = tokio::task::spawn_blocking(move || pod.inner.give_back_blocking(&manifest));
        if returned.await.is_err() {
            tracing::warn!(pod = %self.inner.id, "an image is kept until the pod ends");
        }
    }
}

impl PodInner {
    fn borrow_blocking(&self, scope: &Scope, manifest: Digest) -> Result<(), StoreError> {
        let Ok(place) = place(&self.id) else { return Ok(()) };
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        if !lent.contains_key(&manifest) && !self.runtime.store().lend_image(scope, &manifest, &place)? {
            tracing::debug!(%manifest, %scope, "an image that the scope has no longer is not borrowed");
            return Ok(());
        }
        *lent.entry(manifest).or_default() += 1;
        Ok(())
    }

    fn give_back_blocking(&self, manifest: &Digest) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        match lent.get_mut(manifest) {
            None => {}
            Some(borrowers) if *borrowers > 1 => *borrowers -= 1,
            Some(_) => {
                lent.remove(manifest);
                let Ok(place) = place(&self.id) else { return };
                if let Err(error) = self.runtime.store().give_back_image(manifest, &place) {
                    tracing::warn!(%error, %manifest, pod = %self.id, "an image is kept until the pod ends");
                }
            }
        }
    }
}

/// At the end of a pod. What cannot be given back stays until somebody sweeps what dead pods left.
pub(super) fn give_back_all(store: &Store, pod: &PodId, lent: &Mutex<BTreeMap<Digest, usize>>) {
    let lent = std::mem::take(&mut *lent.lock().unwrap_or_else(PoisonError::into_inner));
    if lent.is_empty() {
        return;
    }
    if let Err(error) = forget(store, pod) {
        tracing::warn!(%error, %pod, "the images of a pod that has ended stay");
    }
}

/// Gives back all that a pod was lent.
pub(crate) fn forget(store: &Store, pod: &PodId) -> Result<(), StoreError> {
    match place(pod) {
        Ok(place) => store.forget_scope(&place),
        Err(_) => Ok(()),
    }
}

/// The id of a pod always names a scope.
fn place(pod: &PodId) -> Result<Scope, ScopeError> {
    Scope::lent(pod.as_str())
}

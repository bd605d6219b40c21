//! Whether a blob is the layer that a configuration says.
//!
//! Unpacked layers are found by chain ids, which follow from diffIDs, and those are a claim of whoever wrote the configuration. Whoever
//! could have a directory for the claim alone would read what another project built by naming it. What a blob unpacks to is
//! therefore known before it stands for a directory: it was unpacked or built here, or it is hashed now, once. The store remembers.

use std::io::{self, Read};

use shipway_oci::{Descriptor, Digest, Hasher, VerifyingReader};
use shipway_store::Store;

use super::unpack::MAX_LAYER_BYTES;
use super::{LayerError, Layers};
use crate::compression::Decompressor;

impl Layers {
    /// Sees to it that each blob is known to unpack to the diffID beside it. Reads those of which that is not known yet, and
    /// takes as long.
    pub(crate) async fn prove(&self, claims: Vec<(Digest, Descriptor)>) -> Result<(), LayerError> {
        let Some((_, last)) = claims.last() else {
            return Ok(());
        };
        let (store, lost) = (self.inner.store.clone(), last.digest.clone());
        tokio::task::spawn_blocking(move || {
            claims
                .iter()
                .try_for_each(|(diff_id, blob)| prove(&store, diff_id, blob))
        })
        .await
        .map_err(|_| LayerError::Thread { layer: lost })?
    }
}

fn prove(store: &Store, diff_id: &Digest, blob: &Descriptor) -> Result<(), LayerError> {
    let unreadable = |source| LayerError::Read {
        layer: blob.digest.clone(),
        source,
    };
    let known = store
        .diff_id(&blob.digest)
        .map_err(|source| unreadable(io::Error::other(source)))?;
    if known.as_ref() == Some(diff_id) {
        return Ok(());
    }
    let found = unpacked(store, blob, diff_id).map_err(unreadable)?;
    if found != *diff_id {
        return Err(LayerError::DiffId {
            layer: blob.digest.clone(),
            expected: diff_id.clone(),
            found,
        });
    }
    keep(store, blob, diff_id);
    Ok(())
}

/// Remembers what was seen. That it could not be written down costs one more look.
pub(super) fn keep(store: &Store, blob: &Descriptor, diff_id: &Digest) {
    if let Err(error) = store.keep_diff_id(&blob.digest, diff_id) {
        tracing::debug!(%error, layer = %blob.digest, "a layer will be hashed again");
    }
}

fn unpacked(store: &Store, blob: &Descriptor, diff_id: &Digest) -> io::Result<Digest> {
    let file = store.open_blob(&blob.digest).map_err(io::Error::other)?;
    let verified = VerifyingReader::new(file, blob.digest.clone(), Some(blob.size));
    let mut layer = Decompressor::new(verified, MAX_LAYER_BYTES)?;
    let mut hasher = Hasher::new(diff_id.algorithm());
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match layer.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    layer.finish()?;
    Ok(hasher.finish())
}

//! The blobs of an image's layers as an output wants them.
//!
//! A layer is known by its diffID and may lie in the store in several compressions. Whoever made one remembers it under the diffID and
//! the compression with its level, so that it is made once; and nothing else is taken for it, because what another program made of the
//! same tar has another digest.

use std::io;

use serde::{Deserialize, Serialize};
use shipway_oci::media_type::{LayerCompression, layer_compression};
use shipway_oci::{Descriptor, Digest};
use shipway_store::{Scope, Store};

use super::error::ExportError;
use super::options::ImageOptions;
use crate::compression::{BYTES, Compression, Compressor, estargz};
use crate::context::decompressed;

/// A layer in one of its compressions, as the store's cache remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    digest: Digest,
    size: u64,
    /// Of eStargz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table: Option<Table>,
}

/// What eStargz adds to a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Table {
    diff_id: Digest,
    digest: Digest,
    uncompressed: u64,
}

/// A layer as a manifest has it, and its diffID as the configuration has it.
pub(super) struct LaidOut {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
}

/// Annotations by which readers of eStargz know a layer; BuildKit writes the same.
const TABLE_DIGEST: &str = "containerd.io/snapshot/stargz/toc.digest";
const UNCOMPRESSED_SIZE: &str = "io.containers.estargz.uncompressed-size";

/// The layers of a store, and a way to compress them.
#[derive(Clone)]
pub(crate) struct Layers {
    pub(crate) store: Store,
    /// The scope of what is remembered.
    pub(crate) scope: Scope,
    pub(crate) compressor: Compressor,
}

impl Layers {
    /// The layer as an output wants it: as it is, unless it is in another compression and that is to be forced, which makes layers of
    /// this build's steps of that level, too. eStargz is made of those in any case.
    pub(super) fn laid_out(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        is_own: bool,
        options: &ImageOptions,
    ) -> Result<LaidOut, ExportError> {
        let as_it_is = || LaidOut {
            blob: layer.clone(),
            diff_id: diff_id.clone(),
        };
        let wanted = options.compression;
        let there = layer_compression(&layer.media_type);
        // What is no layer of ours to touch, such as one that lies elsewhere, stays.
        let is_made = match wanted {
            Compression::Estargz(_) => layer.annotations.contains_key(TABLE_DIGEST),
            // One that a step made may be of another level; which, depends on what was built before.
            _ => there == Some(kind(wanted)) && !(options.force_compression && is_own),
        };
        if layer.is_nondistributable() || there.is_none() || is_made {
            return Ok(as_it_is());
        }
        let is_estargz = matches!(wanted, Compression::Estargz(_));
        if is_estargz && !is_own && !options.force_compression {
            return Ok(as_it_is());
        }
        let record = match self.find(diff_id, wanted)? {
            Some(record) => record,
            None if !options.force_compression && !is_estargz => return Ok(as_it_is()),
            None => self.compress(layer, diff_id, wanted)?,
        };
        let mut blob = Descriptor::new(wanted.media_type(), record.digest, record.size);
        let Some(table) = record.table else {
            return Ok(LaidOut {
                blob,
                diff_id: diff_id.clone(),
            });
        };
        let annotations = &mut blob.annotations;
        annotations.insert(TABLE_DIGEST.to_owned(), table.digest.to_string());
        annotations.insert(UNCOMPRESSED_SIZE.to_owned(), table.uncompressed.to_string());
        Ok(LaidOut {
            blob,
            diff_id: table.diff_id,
        })
    }

    /// A layer that was compressed so before. Blocks.
    fn find(&self, diff_id: &Digest, compression: Compression) -> Result<Option<Record>, ExportError> {
        let failed = |source| ExportError::Store { source };
        let record = self
            .store
            .cache_record(&self.scope, &key(diff_id, compression))
            .map_err(failed)?;
        let Some(Ok(record)) = record.map(|bytes| serde_json::from_slice::<Record>(&bytes)) else {
            return Ok(None);
        };
        let there = self.store.blob(&record.digest).map_err(failed)?.is_some();
        Ok(there.then_some(record))
    }

    /// Remembers what a layer is in a compression. Blocks.
    fn keep(&self, diff_id: &Digest, compression: Compression, record: &Record) -> Result<(), ExportError> {
        let bytes = serde_json::to_vec(record).unwrap_or_default();
        let blobs = [record.digest.clone()];
        self.store
            .put_cache_record(&self.scope, &key(diff_id, compression), &bytes, &blobs)
            .map_err(|source| ExportError::Remember { source })
    }

    fn compress(
        &self,
        layer: &Descriptor,
        diff_id: &Digest,
        wanted: Compression,
    ) -> Result<Record, ExportError> {
        let unreadable = |source: io::Error| ExportError::Layer {
            layer: layer.digest.clone(),
            source,
        };
        let failed = |source| ExportError::Store { source };
        let file = self.store.open_blob(&layer.digest).map_err(failed)?;
        let mut plain = decompressed(file, "layer").map_err(|error| unreadable(io::Error::other(error)))?;
        let mut blob = self.store.begin_blob().map_err(failed)?;
        let compressing = |source| ExportError::Compress {
            layer: layer.digest.clone(),
            source,
        };
        let (found, table) = match wanted {
            Compression::Estargz(level) => {
                let made = estargz::write(level, &mut plain, &mut blob).map_err(compressing)?;
                let table = Table {
                    diff_id: made.whole.diff_id,
                    digest: made.table,
                    uncompressed: made.whole.uncompressed,
                };
                (made.tar, Some(table))
            }
            _ => {
                let done = self.compressor.run(wanted, &mut plain, &mut blob);
                (done.map_err(compressing)?.diff_id, None)
            }
        };
        if found != *diff_id {
            return Err(ExportError::DiffId {
                layer: layer.digest.clone(),
                expected: diff_id.clone(),
                found,
            });
        }
        let info = blob
            .commit(None)
            .map_err(|source| ExportError::Commit { source })?;
        let unpacks_to = table.as_ref().map_or(diff_id, |table| &table.diff_id);
        self.store
            .keep_diff_id(&info.digest, unpacks_to)
            .map_err(failed)?;
        let record = Record {
            digest: info.digest,
            size: info.size,
            table,
        };
        self.keep(diff_id, wanted, &record)?;
        Ok(record)
    }
}

fn kind(compression: Compression) -> LayerCompression {
    match compression {
        Compression::Uncompressed => LayerCompression::None,
        Compression::Gzip(_) | Compression::Estargz(_) => LayerCompression::Gzip,
        Compression::Zstd(_) => LayerCompression::Zstd,
    }
}

fn key(diff_id: &Digest, compression: Compression) -> [u8; 32] {
    let level = match compression {
        Compression::Uncompressed => 0,
        Compression::Gzip(level) | Compression::Estargz(level) => i64::from(level),
        Compression::Zstd(level) => i64::from(level),
    };
    let mut hasher = blake3::Hasher::new();
    for part in [
        BYTES.as_bytes(),
        diff_id.as_str().as_bytes(),
        compression.to_string().as_bytes(),
        &level.to_le_bytes(),
    ] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

//! The packages of the layers that an image is made of, whoever made them.

use std::io::Read;
use std::sync::Arc;

use shipway_attest::{LayerScan, LayerScanner};
use shipway_oci::{Descriptor, Digest};
use shipway_store::{Scope, Store};

use super::Recorder;
use crate::context::decompressed;
use crate::export::ExportError;

/// What a layer may unpack to and still be read to its end: as much as may be unpacked for a step.
const MOST_BYTES: u64 = 256 << 30;
/// Bytes that are taken at once.
const PIECE: usize = 256 << 10;

/// What each layer says, bottom first: as it was noted while it was written, as an earlier build found, or as is found now. Blocks.
///
/// # Errors
/// When the store fails, or a layer cannot be read.
pub(crate) fn scans(
    recorder: &Recorder,
    store: &Store,
    scope: &Scope,
    diff_ids: &[Digest],
    layers: &[Descriptor],
) -> Result<Vec<Arc<LayerScan>>, ExportError> {
    let scan = |(diff_id, layer): (&Digest, &Descriptor)| {
        let failed = |source| ExportError::Scan {
            layer: layer.digest.clone(),
            source,
        };
        let key = key(&layer.digest);
        let noted = recorder.scan(diff_id);
        if noted.is_none()
            && let Some(bytes) = store
                .cache_record(scope, &key)
                .map_err(|error| failed(Box::new(error)))?
            && let Some(scan) = LayerScan::parse(&bytes)
        {
            return Ok(Arc::new(scan));
        }
        let scan = match noted {
            Some(scan) => scan,
            None => Arc::new(look_at(store, layer).map_err(failed)?),
        };
        // Without its blob: what is known of a layer is small, and no reason to keep the layer.
        store
            .put_cache_record(scope, &key, &scan.to_json(), &[])
            .map_err(|error| failed(Box::new(error)))?;
        Ok(scan)
    };
    diff_ids.iter().zip(layers).map(scan).collect()
}

/// By the bytes of the blob and by nothing that anybody claims of it.
fn key(layer: &Digest) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("shipway packages of a layer");
    hasher.update(layer.as_str().as_bytes());
    *hasher.finalize().as_bytes()
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn look_at(store: &Store, layer: &Descriptor) -> Result<LayerScan, Cause> {
    let blob = store.open_blob(&layer.digest)?;
    let mut plain = decompressed(blob, "layer")?.take(MOST_BYTES);
    let mut scanner = LayerScanner::default();
    let mut piece = vec![0; PIECE];
    loop {
        match plain.read(&mut piece)? {
            0 => return Ok(scanner.finish()),
            read => scanner.push(&piece[..read]),
        }
    }
}

//! Configuration and manifest: the image as bytes, the same ones for the same build.

use shipway_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Reference, media_type};
use shipway_store::{ManifestWrite, Scope, Store};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::ExportError;

/// 1980-01-01: the time of everything when nobody gives one. Earlier ones are refused by zip.
pub(crate) const FIXED_EPOCH: i64 = 315_532_800;

/// Seconds since 1970 as an image's configuration writes them.
pub(crate) fn timestamp(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339)
        .unwrap_or_else(|_| "1970-01-01T00:00:00Z".to_owned())
}

/// An image that was put into the store.
pub(crate) struct Exported {
    pub(crate) manifest: Digest,
    pub(crate) id: Digest,
}

/// Puts an image into a scope, under names or without one. Blocks.
pub(crate) fn export(
    store: &Store,
    scope: &Scope,
    tags: &[Reference],
    config: &ImageConfig,
    layers: Vec<Descriptor>,
) -> Result<Exported, ExportError> {
    let encode = |source| ExportError::Encode { source };
    let config = config.to_json().map_err(encode)?;
    let blob = store
        .put_blob(&config)
        .map_err(|source| ExportError::Commit { source })?;
    let descriptor = descriptor(media_type::OCI_CONFIG, blob.digest.clone(), blob.size);
    let manifest = ImageManifest::new(descriptor, layers.into_iter().map(as_oci).collect());
    let bytes = shipway_oci::Manifest::Image(manifest).to_json().map_err(encode)?;
    let write = ManifestWrite::new(Some(media_type::OCI_MANIFEST), bytes)
        .map_err(|source| ExportError::Manifest { source })?;
    let put = |source| ExportError::Put { source };
    if tags.is_empty() {
        store.put_unnamed_image(scope, &write).map_err(put)?;
    }
    for tag in tags {
        store.put_image(scope, tag, &write).map_err(put)?;
    }
    Ok(Exported {
        manifest: write.digest,
        id: blob.digest,
    })
}

pub(crate) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor::new(media_type, digest, size)
}

/// A base image may have Docker's media types; the bytes of a layer are the same under both.
fn as_oci(layer: Descriptor) -> Descriptor {
    let media_type = match layer.media_type.as_str() {
        media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP,
        other => other,
    };
    Descriptor {
        media_type: media_type.to_owned(),
        ..layer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(timestamp(FIXED_EPOCH), "1980-01-01T00:00:00Z");
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(i64::MAX), "1970-01-01T00:00:00Z");
    }
}

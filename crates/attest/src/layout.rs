//! How statements stand beside an image: BuildKit's layout, <https://github.com/moby/buildkit/blob/master/docs/attestations/attestation-storage.md>.
//!
//! Each image of an index may have one more manifest in it that holds the statements about it. It is for no platform, so that nobody
//! pulls it for an image, says in annotations which image it is about, and is an OCI artifact whose `subject` is that image, so that a
//! registry lists it among the image's referrers, too.

use shipway_oci::{Descriptor, EncodeError, ImageIndex, ImageManifest, Manifest, Platform, media_type};

use crate::statement::Statement;

/// The type of a statement.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// What kind of artifact the manifest of statements is.
pub const ATTESTATION_ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";

const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";
const ATTESTATION_MANIFEST: &str = "attestation-manifest";

/// The empty configuration of an artifact, and the same in base64.
const EMPTY: &[u8] = b"{}";
const EMPTY_DATA: &str = "e30=";

/// Statements about an image, ready to be kept: blobs first, then the manifest, then the index that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// How an index lists it.
    pub descriptor: Descriptor,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// What the manifest names.
    pub blobs: Vec<Vec<u8>>,
}

/// Lays out statements about the image with this descriptor.
///
/// # Errors
/// When the manifest cannot be written as JSON.
pub fn attach(image: &Descriptor, statements: &[Statement]) -> Result<Attachment, EncodeError> {
    let mut config = Descriptor::of(media_type::OCI_EMPTY, EMPTY);
    config.data = Some(EMPTY_DATA.to_owned());
    let layers = statements.iter().map(|statement| {
        let mut layer = Descriptor::of(IN_TOTO, &statement.bytes);
        layer
            .annotations
            .insert(PREDICATE_TYPE.to_owned(), statement.predicate_type.clone());
        layer
    });
    let mut manifest = ImageManifest::new(config, layers.collect());
    manifest.artifact_type = Some(ATTESTATION_ARTIFACT.to_owned());
    manifest.subject = Some(Descriptor::new(
        &image.media_type,
        image.digest.clone(),
        image.size,
    ));
    let manifest = Manifest::Image(manifest).to_json()?;
    let mut descriptor = Descriptor::of(media_type::OCI_MANIFEST, &manifest);
    descriptor.platform = Some(Platform::new("unknown", "unknown"));
    descriptor
        .annotations
        .insert(REFERENCE_TYPE.to_owned(), ATTESTATION_MANIFEST.to_owned());
    descriptor
        .annotations
        .insert(REFERENCE_DIGEST.to_owned(), image.digest.to_string());
    let statements = statements.iter().map(|statement| statement.bytes.clone());
    Ok(Attachment {
        descriptor,
        manifest,
        blobs: std::iter::once(EMPTY.to_vec()).chain(statements).collect(),
    })
}

/// An index of images, each with its platform, and of what is attached to them, behind them.
pub fn image_index(images: Vec<Descriptor>, attachments: impl IntoIterator<Item = Descriptor>) -> ImageIndex {
    let mut manifests = images;
    manifests.extend(attachments);
    ImageIndex::new(manifests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{SPDX_DOCUMENT, Subject};
    use shipway_oci::Digest;

    #[test]
    fn the_layout_is_buildkits() {
        let mut image = Descriptor::of(media_type::OCI_MANIFEST, b"image");
        image.platform = Some(Platform::new("linux", "amd64"));
        let subjects = Subject::of_image(&[], &image.digest);
        let statement = Statement::new(SPDX_DOCUMENT, &subjects, &serde_json::json!({})).unwrap();
        let attached = attach(&image, std::slice::from_ref(&statement)).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&attached.manifest).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.empty.v1+json",
                    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                    "size": 2,
                    "data": "e30=",
                },
                "layers": [{
                    "mediaType": "application/vnd.in-toto+json",
                    "digest": Digest::sha256(&statement.bytes),
                    "size": statement.bytes.len(),
                    "annotations": {"in-toto.io/predicate-type": "https://spdx.dev/Document"},
                }],
                "subject": {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": image.digest,
                    "size": 5,
                },
            })
        );
        assert_eq!(attached.blobs, [EMPTY.to_vec(), statement.bytes]);
        let index = image_index(vec![image.clone()], [attached.descriptor]);
        let entry = serde_json::to_value(&index.manifests[1]).unwrap();
        assert_eq!(
            entry["platform"],
            serde_json::json!({"architecture": "unknown", "os": "unknown"})
        );
        assert_eq!(
            entry["annotations"],
            serde_json::json!({
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image.digest,
            })
        );
        // Nobody gets it for an image.
        assert_eq!(index.select(&Platform::new("linux", "amd64")), Some(&image));
        assert_eq!(index.select(&Platform::new("linux", "arm64")), None);
    }
}

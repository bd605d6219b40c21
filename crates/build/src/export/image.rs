//! Configuration, manifest and index: the image as bytes, the same ones for the same build.
//!
//! An image for one platform is a manifest. Images for several are an index, and so is one about which something is said, with that
//! behind it.

use std::collections::BTreeSet;

use shipway_attest::{attach, image_index};
use shipway_container::ArchiveImage;
use shipway_oci::{Descriptor, Digest, ImageConfig, ImageManifest, Manifest, Platform, Reference};
use shipway_store::{ManifestWrite, Scope, Store, StoredManifest};

use super::annotation::AnnotationLevel;
use super::error::ExportError;
use super::layers::Layers;
use super::options::{ImageOptions, MediaTypes};
use crate::attest::{About, Attestations};

/// What a build made for one platform: everything that documents are written from.
#[derive(Debug, Clone)]
pub struct PlatformImage {
    /// What it runs on.
    pub platform: Platform,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers in the store, bottom first; as many as the configuration has diffIDs.
    pub layers: Vec<Descriptor>,
    /// The diffIDs of layers that steps made; the others are a base's.
    pub(crate) own: BTreeSet<Digest>,
    /// What there is to say about it.
    pub(crate) attestations: Attestations,
}

/// An image's documents. Its blobs are in the store; the documents need not be.
#[derive(Debug, Clone)]
pub struct Composition {
    /// The manifest, or the index, with the annotations that an archive's index gives it.
    pub root: Descriptor,
    /// The image's id: the digest of the configuration, or of the index where there are several.
    pub id: Digest,
    /// The configuration's digest; of an index none.
    pub config: Option<Digest>,
    /// The manifests, those that the index lists before the index.
    pub manifests: Vec<StoredManifest>,
}

/// Writes the documents of an image. Blocks.
///
/// # Errors
/// When the options contradict each other or the images, or the store fails.
pub(crate) fn compose(
    layers: &Layers,
    images: &[PlatformImage],
    options: &ImageOptions,
    names: &[Reference],
) -> Result<Composition, ExportError> {
    let platforms: Vec<&Platform> = images.iter().map(|image| &image.platform).collect();
    let attested = images.iter().any(|image| !image.attestations.is_empty());
    check(&platforms, attested, options)?;
    let annotations = &options.annotations;
    let mut manifests = Vec::new();
    let mut entries = Vec::new();
    let mut attached = Vec::new();
    let mut config = None;
    for image in images {
        let (mut entry, id, blobs) = image_manifest(layers, image, options, &mut manifests)?;
        entry.platform = Some(image.platform.clone());
        entry.annotations = annotations.at(AnnotationLevel::ManifestDescriptor, Some(&image.platform));
        if !image.attestations.is_empty() {
            attached.push(attach_to(layers, image, names, &entry, &blobs, &mut manifests)?);
        }
        entries.push(entry);
        config = Some(id);
    }
    if images.len() < 2 && !attested {
        let (Some(root), Some(config)) = (entries.pop(), config) else {
            return Err(conflict("there is no image to write".to_owned()));
        };
        return Ok(Composition {
            root,
            id: config.clone(),
            config: Some(config),
            manifests,
        });
    }
    let mut index = image_index(entries, attached);
    index.media_type = Some(options.media_types.index().to_owned());
    index.annotations = annotations.at(AnnotationLevel::Index, None);
    let mut root = write(Manifest::Index(index), &mut manifests)?;
    root.annotations = annotations.at(AnnotationLevel::IndexDescriptor, None);
    Ok(Composition {
        // Of several images none is the one.
        id: match config {
            Some(config) if images.len() == 1 => config,
            _ => root.digest.clone(),
        },
        config: None,
        root,
        manifests,
    })
}

/// Writes what is said about an image, and gives what points to it.
fn attach_to(
    layers: &Layers,
    image: &PlatformImage,
    names: &[Reference],
    entry: &Descriptor,
    blobs: &[Descriptor],
    manifests: &mut Vec<StoredManifest>,
) -> Result<Descriptor, ExportError> {
    let encode = |source| ExportError::Encode { source };
    let about = About {
        names,
        platform: &image.platform,
        manifest: &entry.digest,
        created: image.config.created.as_deref().unwrap_or_default(),
        layers: blobs,
    };
    let statements = image.attestations.statements(&about).map_err(encode)?;
    let attachment = attach(entry, &statements).map_err(encode)?;
    for blob in &attachment.blobs {
        layers
            .store
            .put_blob(blob)
            .map_err(|source| ExportError::Commit { source })?;
    }
    manifests.push(StoredManifest {
        digest: attachment.descriptor.digest.clone(),
        media_type: attachment.descriptor.media_type.clone(),
        bytes: attachment.manifest,
    });
    Ok(attachment.descriptor)
}

/// The manifest of one image, the digest of its configuration, and its layers as they are laid out.
fn image_manifest(
    layers: &Layers,
    image: &PlatformImage,
    options: &ImageOptions,
    manifests: &mut Vec<StoredManifest>,
) -> Result<(Descriptor, Digest, Vec<Descriptor>), ExportError> {
    let encode = |source| ExportError::Encode { source };
    let mut blobs = Vec::with_capacity(image.layers.len());
    let mut config = image.config.clone();
    for (layer, diff_id) in image.layers.iter().zip(&mut config.rootfs.diff_ids) {
        let is_own = image.own.contains(diff_id);
        let mut laid_out = layers.laid_out(layer, diff_id, is_own, options)?;
        laid_out.blob.media_type = options.media_types.layer(&laid_out.blob.media_type).to_owned();
        blobs.push(laid_out.blob);
        *diff_id = laid_out.diff_id;
    }
    let bytes = config.to_json().map_err(encode)?;
    let kept = layers
        .store
        .put_blob(&bytes)
        .map_err(|source| ExportError::Commit { source })?;
    let id = kept.digest.clone();
    let config = Descriptor::new(options.media_types.config(), kept.digest, kept.size);
    let mut manifest = ImageManifest::new(config, blobs.clone());
    manifest.media_type = Some(options.media_types.manifest().to_owned());
    manifest.annotations = options
        .annotations
        .at(AnnotationLevel::Manifest, Some(&image.platform));
    Ok((write(Manifest::Image(manifest), manifests)?, id, blobs))
}

/// Writes a document, and gives what points to it.
fn write(manifest: Manifest, manifests: &mut Vec<StoredManifest>) -> Result<Descriptor, ExportError> {
    let media_type = manifest.media_type().to_owned();
    let bytes = manifest
        .to_json()
        .map_err(|source| ExportError::Encode { source })?;
    let descriptor = Descriptor::of(&media_type, &bytes);
    manifests.push(StoredManifest {
        digest: descriptor.digest.clone(),
        media_type,
        bytes,
    });
    Ok(descriptor)
}

fn conflict(what: String) -> ExportError {
    ExportError::Conflict { what }
}

/// What BuildKit refuses, for its reasons. Pure, so that nobody builds for an hour what cannot be written.
///
/// # Errors
/// When the options contradict each other or the platforms.
pub(crate) fn check(
    platforms: &[&Platform],
    attested: bool,
    options: &ImageOptions,
) -> Result<(), ExportError> {
    let ImageOptions {
        compression,
        media_types,
        annotations,
        ..
    } = options;
    if let Some(stray) = annotations.stray_platform(platforms) {
        return Err(conflict(format!(
            "an annotation is for {stray}, which is not built"
        )));
    }
    if *media_types == MediaTypes::Docker && compression.needs_oci() {
        let what =
            format!("compression={compression} needs OCI's media types: leave oci-mediatypes=false out");
        return Err(conflict(what));
    }
    if *media_types == MediaTypes::Docker && (attested || annotations.needs_oci()) {
        let what = "attestations, and annotations of indexes and descriptors, need OCI's media types: leave oci-mediatypes=false out";
        return Err(conflict(what.to_owned()));
    }
    let of_an_index = |level| !annotations.at(level, None).is_empty();
    if platforms.len() == 1
        && !attested
        && (of_an_index(AnnotationLevel::Index) || of_an_index(AnnotationLevel::IndexDescriptor))
    {
        let what = "an image for one platform has no index that could be annotated: use manifest: or manifest-descriptor:";
        return Err(conflict(what.to_owned()));
    }
    Ok(())
}

impl Composition {
    /// Puts it into a scope, under names or without one. Blocks.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put(&self, store: &Store, scope: &Scope, names: &[Reference]) -> Result<(), ExportError> {
        let put = |source| ExportError::Put { source };
        for stored in &self.manifests {
            let write = ManifestWrite::new(Some(&stored.media_type), stored.bytes.clone())
                .map_err(|source| ExportError::Manifest { source })?;
            if write.digest != self.root.digest || names.is_empty() {
                store.put_unnamed_image(scope, &write).map_err(put)?;
                continue;
            }
            for name in names {
                store.put_image(scope, name, &write).map_err(put)?;
            }
        }
        Ok(())
    }

    /// The same as an archive takes it.
    pub fn for_archive(&self, references: Vec<Reference>) -> ArchiveImage {
        ArchiveImage {
            root: self.root.clone(),
            manifests: self.manifests.clone(),
            references,
        }
    }
}

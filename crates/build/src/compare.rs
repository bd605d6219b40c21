//! In what two builds of the same thing differ: by layer and path, and how.
//!
//! A layer whose diffID is the same in both is not read. Of the others both tars are read to their end, and what is kept of an entry are its
//! header and a hash of its content.

mod listing;

use std::fmt;

use shipway_oci::{Descriptor, Digest, ImageConfig, Platform};
use shipway_store::Store;

pub use listing::Aspect;
use listing::{Listing, list};

use crate::export::PlatformImage;
use crate::request::Built;

/// A layer cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the layer {layer}")]
pub struct CompareError {
    /// Which.
    pub layer: Digest,
    /// Why.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What two images for a platform have not in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What they run on.
    pub platform: Platform,
    /// Layers that differ, bottom first.
    pub layers: Vec<LayerDifference>,
    /// Whether something else differs: the number of layers, or the configuration beside them.
    pub configuration: bool,
}

/// What two layers have not in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerDifference {
    /// Its number from the bottom, from 1.
    pub number: usize,
    /// The step that made it, as the image's history has it.
    pub created_by: String,
    /// Paths that differ, sorted; none when only the order of the entries or the bytes between them do.
    pub paths: Vec<PathDifference>,
}

/// How a path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathDifference {
    /// From the root, with a slash in front.
    pub path: String,
    /// How.
    pub kind: Deviation,
}

/// How a path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deviation {
    /// The second build does not have it.
    OnlyFirst,
    /// The first build does not have it.
    OnlySecond,
    /// Both have it, with these not the same.
    Changed(Vec<Aspect>),
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OnlyFirst => f.write_str("only in the first build"),
            Self::OnlySecond => f.write_str("only in the second build"),
            Self::Changed(aspects) => {
                for (number, aspect) in aspects.iter().enumerate() {
                    let separator = if number == 0 { "" } else { ", " };
                    write!(f, "{separator}{aspect}")?;
                }
                Ok(())
            }
        }
    }
}

/// Compares what two builds of the same request made, for each platform where something differs. Blocks.
///
/// # Errors
/// When a layer that differs cannot be read.
pub fn compare_builds(store: &Store, first: &Built, second: &Built) -> Result<Vec<Comparison>, CompareError> {
    let mut differing = Vec::new();
    for (one, other) in first.images.iter().zip(&second.images) {
        let comparison = compare_images(store, one, other)?;
        if comparison.configuration || !comparison.layers.is_empty() {
            differing.push(comparison);
        }
    }
    Ok(differing)
}

fn compare_images(
    store: &Store,
    first: &PlatformImage,
    second: &PlatformImage,
) -> Result<Comparison, CompareError> {
    let (ours, theirs) = (&first.config.rootfs.diff_ids, &second.config.rootfs.diff_ids);
    let mut layers = Vec::new();
    for (index, (one, other)) in ours.iter().zip(theirs).enumerate() {
        if one != other {
            layers.push(LayerDifference {
                number: index + 1,
                created_by: created_by(&first.config, index),
                paths: compare(
                    read(store, &first.layers[index])?,
                    read(store, &second.layers[index])?,
                ),
            });
        }
    }
    let without_layers = |image: &PlatformImage| {
        let mut config = image.config.clone();
        config.rootfs.diff_ids.clear();
        config
    };
    Ok(Comparison {
        platform: first.platform.clone(),
        layers,
        configuration: ours.len() != theirs.len() || without_layers(first) != without_layers(second),
    })
}

/// The step that made a layer.
fn created_by(config: &ImageConfig, layer: usize) -> String {
    let mut steps = config.history.iter().filter(|entry| !entry.empty_layer);
    let step = steps.nth(layer).and_then(|entry| entry.created_by.clone());
    step.unwrap_or_default()
}

fn read(store: &Store, layer: &Descriptor) -> Result<Listing, CompareError> {
    list(store, &layer.digest).map_err(|source| CompareError {
        layer: layer.digest.clone(),
        source,
    })
}

fn compare(first: Listing, mut second: Listing) -> Vec<PathDifference> {
    let mut paths = Vec::new();
    for (path, one) in first {
        let kind = match second.remove(&path) {
            None => Deviation::OnlyFirst,
            Some(other) => match one.differences(&other) {
                aspects if aspects.is_empty() => continue,
                aspects => Deviation::Changed(aspects),
            },
        };
        paths.push(PathDifference { path, kind });
    }
    paths.extend(second.into_keys().map(|path| PathDifference {
        path,
        kind: Deviation::OnlySecond,
    }));
    paths.sort_by(|one, other| one.path.cmp(&other.path));
    paths
}

#[cfg(test)]
mod tests;

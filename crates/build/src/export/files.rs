//! The files of what was built, in a directory or a tar.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use shipway_oci::Platform;
use shipway_store::Store;

use super::created::FIXED_EPOCH;
use super::directory::DirectorySink;
use super::error::ExportError;
use super::image::PlatformImage;
use super::merge::{Sink, merge};
use super::rootfs::Layer;
use super::said::Witness;
use super::tar::TarSink;

/// How files are written out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileOptions {
    /// The time of every file; its own without.
    pub epoch: Option<i64>,
    /// Whether each platform has a directory of its own; when there are several without.
    pub platform_split: Option<bool>,
    /// Whether files of the directory that are not written go.
    pub delete: bool,
}

impl FileOptions {
    /// What the names of statements about an image end with: its platform, where it shares a directory with others.
    fn suffix(self, images: &[PlatformImage], image: &PlatformImage) -> String {
        match self.platform_split {
            Some(false) if images.len() > 1 => format!(".{}", image.platform.to_string().replace('/', "_")),
            _ => String::new(),
        }
    }

    /// The directories of the platforms, `linux_arm64`; none where all goes to the top.
    fn directories(self, images: &[PlatformImage]) -> Vec<Option<String>> {
        let split = self.platform_split.unwrap_or(images.len() > 1);
        let name = |platform: &Platform| platform.to_string().replace('/', "_");
        images
            .iter()
            .map(|image| split.then(|| name(&image.platform)))
            .collect()
    }
}

/// Writes the files into a directory, and gives the devices that were left out. Blocks.
///
/// # Errors
/// When a layer cannot be read, or a file cannot be written; what was written by then stays.
pub fn write_directory(
    store: &Store,
    images: &[PlatformImage],
    directory: &Path,
    options: FileOptions,
) -> Result<Vec<PathBuf>, ExportError> {
    let failed = |source| ExportError::Write {
        path: directory.to_owned(),
        source,
    };
    let mut left_out = Vec::new();
    for (image, name) in images.iter().zip(options.directories(images)) {
        let below = name.map_or_else(|| directory.to_owned(), |name| directory.join(name));
        let mut sink = DirectorySink::new(&below, options.epoch, options.delete).map_err(failed)?;
        write(store, image, &mut sink, options, &options.suffix(images, image))?;
        left_out.extend(sink.finish().map_err(failed)?);
    }
    Ok(left_out)
}

/// Writes the files as a tar. Blocks.
///
/// # Errors
/// When a layer cannot be read, or the output cannot be written.
pub fn write_tar(
    store: &Store,
    images: &[PlatformImage],
    output: impl Write,
    options: FileOptions,
) -> Result<(), ExportError> {
    let failed = |source: io::Error| ExportError::Write {
        path: PathBuf::from("the tar"),
        source,
    };
    let mut sink = TarSink::new(output, options.epoch);
    for (image, name) in images.iter().zip(options.directories(images)) {
        if let Some(name) = name {
            sink.enter(&name).map_err(failed)?;
        }
        write(store, image, &mut sink, options, &options.suffix(images, image))?;
    }
    sink.finish().map_err(failed)
}

/// The files, and what there is to say about them.
fn write(
    store: &Store,
    image: &PlatformImage,
    sink: &mut dyn Sink,
    options: FileOptions,
    suffix: &str,
) -> Result<(), ExportError> {
    let diff_ids = &image.config.rootfs.diff_ids;
    let layers: Vec<Layer<'_>> = image
        .layers
        .iter()
        .zip(diff_ids)
        .map(|(blob, diff_id)| Layer { blob, diff_id })
        .collect();
    if image.attestations.is_empty() {
        return merge(store, &layers, sink);
    }
    let mut witness = Witness::new(sink);
    merge(store, &layers, &mut witness)?;
    witness.say(image, suffix, options.epoch.unwrap_or(FIXED_EPOCH))
}

//! What programs read of a build: `--metadata-file` and `--iidfile`.
//!
//! The keys are buildx's. What only a daemon could know, such as a reference into its history of builds, is left out.

use std::path::Path;

use serde_json::{Map, Value, json};
use shipway_build::Composition;
use shipway_oci::Reference;

use crate::failure::{Failure, FailureKind};

/// Writes what is known of an image; of files there is nothing to say.
pub(super) fn write_metadata(
    path: &Path,
    image: Option<&Composition>,
    names: &[Reference],
) -> Result<(), Failure> {
    let mut document = Map::new();
    if let Some(image) = image {
        if let Some(config) = &image.config {
            document.insert("containerimage.config.digest".to_owned(), json!(config));
        }
        let descriptor = serde_json::to_value(&image.root).unwrap_or(Value::Null);
        document.insert("containerimage.descriptor".to_owned(), descriptor);
        document.insert("containerimage.digest".to_owned(), json!(image.root.digest));
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(Reference::to_string).collect();
            document.insert("image.name".to_owned(), json!(names.join(",")));
        }
    }
    let text = serde_json::to_string_pretty(&Value::Object(document)).unwrap_or_default();
    write(path, &text)
}

/// Writes the image's id: of an image for several platforms its digest.
pub(super) fn write_id(path: &Path, image: Option<&Composition>) -> Result<(), Failure> {
    write(path, &image.map(|image| image.id.to_string()).unwrap_or_default())
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        Failure::caused(
            FailureKind::Place,
            &format!("writing `{}`", path.display()),
            &error,
        )
    })
}

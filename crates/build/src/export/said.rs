//! What is said about files that are written out: statements beside them, about each of them, as BuildKit has it.
//!
//! The files are hashed while they pass into the directory or the tar, so that nothing is read twice and nothing is said of bytes that
//! were not written.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use shipway_attest::{SLSA_PROVENANCE, SPDX_DOCUMENT, Subject};
use shipway_oci::{Algorithm, Digest, EncodeError, Hasher};

use super::error::ExportError;
use super::image::PlatformImage;
use super::merge::Sink;
use super::rootfs::{Entry, Kind};
use crate::attest::About;

/// Nobody else's to read, as BuildKit makes them.
const MODE: u32 = 0o600;

/// A sink that takes note of what goes through it.
pub(super) struct Witness<'s> {
    sink: &'s mut dyn Sink,
    files: BTreeMap<PathBuf, Digest>,
}

impl<'s> Witness<'s> {
    pub(super) fn new(sink: &'s mut dyn Sink) -> Self {
        Self {
            sink,
            files: BTreeMap::new(),
        }
    }

    /// All files of an image have passed: writes what there is to say about them. `suffix` tells the statements of platforms apart that
    /// share a directory.
    pub(super) fn say(self, image: &PlatformImage, suffix: &str, modified: i64) -> Result<(), ExportError> {
        let encode = |source| ExportError::Encode { source };
        let subjects: Vec<Subject> = self
            .files
            .iter()
            .map(|(path, digest)| Subject {
                name: path.to_string_lossy().into_owned(),
                digest: digest.clone(),
            })
            .collect();
        // There is no manifest: the configuration stands for what the files were made as.
        let id = Digest::sha256(&image.config.to_json().map_err(encode)?);
        let about = About {
            names: &[],
            platform: &image.platform,
            manifest: &id,
            created: image.config.created.as_deref().unwrap_or_default(),
            layers: &image.layers,
        };
        let statements = image.attestations.statements_about(&about, &subjects);
        for statement in statements.map_err(encode)? {
            let (name, kind) = match statement.predicate_type.as_str() {
                SPDX_DOCUMENT => ("sbom.spdx", "json"),
                SLSA_PROVENANCE => ("provenance", "json"),
                _ => continue,
            };
            let path = PathBuf::from(format!("{name}{suffix}.{kind}"));
            if self.files.contains_key(&path) {
                let what = format!(
                    "the image has a file /{}, where the statement about it would be written: export it without \
                     --provenance and --sbom, or as an image",
                    path.display()
                );
                return Err(ExportError::Conflict { what });
            }
            let bytes = indented(&statement.bytes).map_err(encode)?;
            let entry = Entry {
                path,
                kind: Kind::File,
                mode: MODE,
                owner: (0, 0),
                modified,
                attributes: Vec::new(),
                size: bytes.len() as u64,
            };
            self.sink.take(&entry, &mut bytes.as_slice())?;
        }
        Ok(())
    }
}

fn indented(json: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let value: Result<serde_json::Value, _> = serde_json::from_slice(json);
    value
        .and_then(|value| serde_json::to_vec_pretty(&value))
        .map_err(|source| EncodeError {
            what: "statement",
            source,
        })
}

impl Sink for Witness<'_> {
    fn take(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), ExportError> {
        let mut passing = Hashing {
            content,
            hasher: Hasher::new(Algorithm::Sha256),
        };
        self.sink.take(entry, &mut passing)?;
        match &entry.kind {
            Kind::File => {
                self.files.insert(entry.path.clone(), passing.hasher.finish());
            }
            Kind::HardLink(first) => {
                if let Some(digest) = self.files.get(Path::new(first)).cloned() {
                    self.files.insert(entry.path.clone(), digest);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

struct Hashing<'c> {
    content: &'c mut dyn Read,
    hasher: Hasher,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

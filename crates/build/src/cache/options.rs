//! `--cache-to` and `--cache-from` as buildx has them: `type=…,key=value`, or the name of an image alone.
//!
//! Pure: nothing is looked at. Each word that is not known is an error that names it, since a cache that was misspelled would be one
//! that silently never hits.

mod mounts;

use std::path::PathBuf;
use std::str::FromStr;

use shipway_oci::{Digest, Reference, ReferenceError};

use super::mounts::MountSelection;
use crate::compression::{Compression, CompressionError};
use crate::csv::csv_fields;

/// Why a text names no cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheOptionError {
    /// A kind of cache that is not here.
    #[error("there is no cache of type `{found}` here: use `registry`, `local` or, to export, `inline`")]
    Type {
        /// What was asked for.
        found: String,
    },
    /// A quote does not end, or something follows its end.
    #[error("`{text}`: a quote is not closed")]
    Quote {
        /// As written.
        text: String,
    },
    /// A word that this type does not have.
    #[error("a cache of type {kind} has no `{key}`")]
    Key {
        /// The type.
        kind: &'static str,
        /// The word.
        key: String,
    },
    /// A word has a value that it cannot have.
    #[error("`{key}={value}`: {wanted}")]
    Value {
        /// The word.
        key: &'static str,
        /// The value.
        value: String,
        /// What it can be.
        wanted: &'static str,
    },
    /// A word is missing.
    #[error("a cache of type {kind} needs `{key}=`")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The word.
        key: &'static str,
    },
    /// It names no compression.
    #[error("the cache's compression")]
    Compression {
        /// Why.
        #[source]
        source: CompressionError,
    },
    /// The reference is none.
    #[error("`{text}` is no reference")]
    Reference {
        /// The text.
        text: String,
        /// Why.
        #[source]
        source: ReferenceError,
    },
}

/// How much of a build is exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// The layers of the result, and what is known of all other steps without their layers.
    #[default]
    Min,
    /// The layers of every step of every stage.
    Max,
}

/// Where a cache goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheExportPlace {
    /// To a registry, under this name.
    Registry(Reference),
    /// Into a directory, as an OCI layout.
    Local {
        /// The directory.
        directory: PathBuf,
        /// Its name there.
        tag: String,
    },
    /// Into the configuration of the image itself.
    Inline,
}

/// A cache to be written: `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheExport {
    /// Where to.
    pub place: CacheExportPlace,
    /// How much.
    pub mode: CacheMode,
    /// Which cache mounts go with it. Without `mounts=` those that the build used with [`CacheMode::Max`], and none with
    /// [`CacheMode::Min`].
    pub mounts: Option<MountSelection>,
    /// Whether a failure is a warning only.
    pub ignore_error: bool,
    /// How its layers are to be compressed. They are those of the image, so that it can only be what the image has.
    pub compression: Option<Compression>,
}

/// A cache to be looked into: `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheImport {
    /// In a registry: an artifact, or an image with an inline cache.
    Registry(Reference),
    /// In a directory that is an OCI layout.
    Local {
        /// The directory.
        directory: PathBuf,
        /// Its name there; the digest goes before it.
        tag: String,
        /// The digest of its manifest.
        digest: Option<Digest>,
    },
}

/// The name of a cache in a directory, unless one is given.
const USUAL_TAG: &str = "latest";

impl FromStr for CacheExport {
    type Err = CacheOptionError;

    fn from_str(text: &str) -> Result<Self, CacheOptionError> {
        let mut fields = Fields::of(text)?;
        let mut export = Self {
            place: CacheExportPlace::Inline,
            mode: fields.mode()?,
            mounts: None,
            ignore_error: fields.truth("ignore-error")?.unwrap_or(false),
            compression: fields.compression()?,
        };
        export.place = match fields.kind.as_str() {
            "registry" => CacheExportPlace::Registry(fields.reference("registry")?),
            "local" => CacheExportPlace::Local {
                directory: fields.needed("local", "dest")?.into(),
                tag: fields.take("tag").unwrap_or_else(|| USUAL_TAG.to_owned()),
            },
            "inline" => CacheExportPlace::Inline,
            other => {
                return Err(CacheOptionError::Type {
                    found: other.to_owned(),
                });
            }
        };
        if export.place != CacheExportPlace::Inline {
            export.mounts = fields.mounts(export.mode)?;
        }
        // BuildKit's choices about the form. Ours has one that every registry takes, of the layers that the image has.
        for key in ["image-manifest", "oci-mediatypes", "force-compression"] {
            fields.truth(key)?;
        }
        fields.end(export.place.name())?;
        Ok(export)
    }
}

impl FromStr for CacheImport {
    type Err = CacheOptionError;

    fn from_str(text: &str) -> Result<Self, CacheOptionError> {
        let mut fields = Fields::of(text)?;
        match fields.kind.as_str() {
            "registry" => {
                let reference = fields.reference("registry")?;
                fields.end("registry")?;
                Ok(Self::Registry(reference))
            }
            "local" => {
                let digest = fields.take("digest").map(|text| {
                    text.parse().map_err(|_| CacheOptionError::Value {
                        key: "digest",
                        value: text,
                        wanted: "a digest is `sha256:` and 64 hexadecimal digits",
                    })
                });
                let import = Self::Local {
                    directory: fields.needed("local", "src")?.into(),
                    tag: fields.take("tag").unwrap_or_else(|| USUAL_TAG.to_owned()),
                    digest: digest.transpose()?,
                };
                fields.end("local")?;
                Ok(import)
            }
            other => Err(CacheOptionError::Type {
                found: other.to_owned(),
            }),
        }
    }
}

impl CacheExportPlace {
    fn name(&self) -> &'static str {
        match self {
            Self::Registry(_) => "registry",
            Self::Local { .. } => "local",
            Self::Inline => "inline",
        }
    }
}

impl std::fmt::Display for CacheExportPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Local { directory, .. } => write!(f, "{}", directory.display()),
            Self::Inline => f.write_str("the image"),
        }
    }
}

impl std::fmt::Display for CacheImport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Registry(reference) => f.write_str(&reference.familiar()),
            Self::Local { directory, .. } => write!(f, "{}", directory.display()),
        }
    }
}

/// The words of one option that were not looked at yet.
struct Fields {
    kind: String,
    rest: Vec<(String, String)>,
}

impl Fields {
    fn of(text: &str) -> Result<Self, CacheOptionError> {
        let fields = csv_fields(text).ok_or_else(|| CacheOptionError::Quote {
            text: text.to_owned(),
        })?;
        let mut rest: Vec<(String, String)> = fields
            .into_iter()
            .map(|field| match field.split_once('=') {
                Some((key, value)) => (key.trim().to_ascii_lowercase(), value.to_owned()),
                // The name of an image alone.
                None => ("ref".to_owned(), field),
            })
            .collect();
        let kind = rest.iter().position(|(key, _)| key == "type");
        let kind = kind.map_or_else(|| "registry".to_owned(), |at| rest.remove(at).1);
        Ok(Self { kind, rest })
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.rest.iter().position(|(found, _)| found == key)?;
        Some(self.rest.remove(at).1)
    }

    fn needed(&mut self, kind: &'static str, key: &'static str) -> Result<String, CacheOptionError> {
        let given = self.take(key).filter(|value| !value.is_empty());
        given.ok_or(CacheOptionError::Missing { kind, key })
    }

    fn reference(&mut self, kind: &'static str) -> Result<Reference, CacheOptionError> {
        let text = self.needed(kind, "ref")?;
        Reference::parse(&text).map_err(|source| CacheOptionError::Reference { text, source })
    }

    fn mode(&mut self) -> Result<CacheMode, CacheOptionError> {
        match self.take("mode").as_deref() {
            None | Some("min") => Ok(CacheMode::Min),
            Some("max") => Ok(CacheMode::Max),
            Some(other) => Err(CacheOptionError::Value {
                key: "mode",
                value: other.to_owned(),
                wanted: "it is `min` or `max`",
            }),
        }
    }

    fn truth(&mut self, key: &'static str) -> Result<Option<bool>, CacheOptionError> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(CacheOptionError::Value {
                key,
                value: other.to_owned(),
                wanted: "it is `true` or `false`",
            }),
        }
    }

    fn compression(&mut self) -> Result<Option<Compression>, CacheOptionError> {
        let (name, level) = (self.take("compression"), self.take("compression-level"));
        if name.is_none() && level.is_none() {
            return Ok(None);
        }
        let number = |text: String| {
            text.parse::<i32>().map_err(|_| CacheOptionError::Value {
                key: "compression-level",
                value: text,
                wanted: "it is a number",
            })
        };
        let level = level.map(number).transpose()?;
        Compression::new(name.as_deref().unwrap_or("gzip"), level)
            .map(Some)
            .map_err(|source| CacheOptionError::Compression { source })
    }

    fn end(self, kind: &'static str) -> Result<(), CacheOptionError> {
        match self.rest.into_iter().next() {
            Some((key, _)) => Err(CacheOptionError::Key { kind, key }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;

//! The configuration of an image: what it runs on, how it starts, what its layers unpack to, how it came about.
//!
//! The JSON names are docker's. Docker writes `null` for what is not set and has fields that OCI never had; both are
//! read, and unknown fields are kept, because the configuration's digest is the image's id.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::json::{encode, key_set, null_is_default};
use crate::{Digest, EncodeError, Platform};

/// The largest configuration that is read.
pub const MAX_CONFIG_BYTES: usize = 8 * 1024 * 1024;
const MAX_LAYERS: usize = crate::MAX_MANIFEST_ENTRIES;

/// Why bytes are no image configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There are too many bytes.
    #[error("the image configuration has {size} bytes, at most {MAX_CONFIG_BYTES} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
    },
    /// There are too many layers.
    #[error("the image configuration lists {count} layers, at most {MAX_LAYERS} are allowed")]
    TooManyLayers {
        /// How many.
        count: usize,
    },
    /// It is no JSON, or a field has the wrong type or is missing.
    #[error("the image configuration cannot be read")]
    Json {
        /// The parser's own words, with line and column.
        #[source]
        source: serde_json::Error,
    },
}

/// The configuration of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When it was made, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor, by Go's name.
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The operating system, by Go's name.
    #[serde(default)]
    pub os: String,
    /// How a container of it starts.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ExecutionConfig,
    /// What its layers unpack to.
    #[serde(default)]
    pub rootfs: RootFs,
    /// The steps that made it, oldest first.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub history: Vec<History>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How a container starts, as a Dockerfile sets it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecutionConfig {
    /// `USER`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `EXPOSE`: `80/tcp`.
    #[serde(default, with = "key_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// `ENV`: `NAME=value`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub env: Vec<String>,
    /// `ENTRYPOINT`; an empty one is not the same as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`; an empty one is not the same as none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `VOLUME`.
    #[serde(default, with = "key_set", skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// `WORKDIR`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// `LABEL`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `HEALTHCHECK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// `ONBUILD`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub on_build: Vec<String>,
    /// `SHELL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Docker's mark that a Windows command line is already escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// How to find out whether a container is well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub test: Vec<String>,
    /// Nanoseconds between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// Nanoseconds that one may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Nanoseconds in which failures do not count yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Nanoseconds between two checks in the start period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures in a row that make it unwell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// What the layers unpack to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers")]
    pub kind: String,
    /// The digests of the uncompressed layers, bottom first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<Digest>,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One step that made the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
    /// What we do not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn layers() -> String {
    "layers".to_owned()
}

impl Default for RootFs {
    fn default() -> Self {
        Self {
            kind: layers(),
            diff_ids: Vec::new(),
            other: Map::new(),
        }
    }
}

impl ImageConfig {
    /// An image of nothing for a platform: what `FROM scratch` starts with.
    pub fn new(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..Self::default()
        }
    }

    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLarge { size: bytes.len() });
        }
        let config: Self = serde_json::from_slice(bytes).map_err(|source| ConfigError::Json { source })?;
        let count = config.rootfs.diff_ids.len();
        if count > MAX_LAYERS {
            return Err(ConfigError::TooManyLayers { count });
        }
        Ok(config)
    }

    /// As JSON, in a fixed order of fields.
    pub fn to_json(&self) -> Result<Vec<u8>, EncodeError> {
        encode("image configuration", self)
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            variant: self.variant.clone(),
            ..Platform::new(&self.os, &self.architecture)
        }
    }
}

#[cfg(test)]
mod tests;

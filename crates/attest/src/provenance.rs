//! How an image was made: SLSA provenance, version 1, <https://slsa.dev/spec/v1.1/provenance>.
//!
//! What the fields mean is written down in `docs/provenance.md`, which [`BUILD_TYPE`] stands for. Nothing is in them that the build did
//! not see itself, but for the two that say so: the builder's id and the source's revision are what its caller told it.

mod model;

use std::collections::BTreeMap;

use serde_json::Value;
use shipway_oci::Digest;

use self::model::{BuildDefinition, Builder, Metadata, Predicate, RunDetails};

/// What the parameters of these builds mean.
pub const BUILD_TYPE: &str = "urn:shipway:build-type:dockerfile:1";

/// How much is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// What cannot give a secret away: no build arguments, no labels, no ids of secrets, no Dockerfile.
    #[default]
    Min,
    /// Everything, the Dockerfile and its steps included.
    Max,
}

/// Where the Dockerfile is from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigSource {
    /// The address of a context that is none of this machine, without what logs in there.
    pub uri: Option<String>,
    /// What it resolved to: algorithm and hexadecimal digits; a commit has `sha1`.
    pub digest: BTreeMap<String, String>,
    /// The Dockerfile in it.
    pub path: String,
}

/// What the caller asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The stage, if not the last one.
    pub target: Option<String>,
    /// Build arguments that have a value.
    pub build_args: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Other options by BuildKit's names for them, such as `force-network-mode`.
    pub options: BTreeMap<String, String>,
    /// Ids of secrets that steps asked for, and whether they could do without.
    pub secrets: BTreeMap<String, bool>,
    /// Ids of agents that steps asked for, and whether they could do without.
    pub ssh: BTreeMap<String, bool>,
    /// Directories of this machine that were read, by BuildKit's names: `context`, `dockerfile`.
    pub locals: Vec<String>,
    /// The compatibility number that the image's bytes go by.
    pub compatibility: u32,
}

/// What came from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// Its address: a package URL for images.
    pub uri: String,
    /// Which bytes it was, algorithm and hexadecimal digits.
    pub digest: BTreeMap<String, String>,
}

impl Material {
    /// Something with a digest as images have it.
    pub fn new(uri: &str, digest: &Digest) -> Self {
        let text = digest.as_str();
        let algorithm = text.split(':').next().unwrap_or_default().to_owned();
        Self {
            uri: uri.to_owned(),
            digest: BTreeMap::from([(algorithm, digest.hex().to_owned())]),
        }
    }
}

/// The source's address and revision, as its caller found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceRevision {
    /// Where it is kept, without what logs in there.
    pub source: Option<String>,
    /// Its commit.
    pub revision: Option<String>,
}

/// A step that was carried out, or found done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number in the build.
    pub number: usize,
    /// The stage.
    pub stage: String,
    /// Its line in the Dockerfile.
    pub line: u32,
    /// The instruction as written.
    pub instruction: String,
    /// Whether its result was known from an earlier build.
    pub cached: bool,
    /// The diffID of the layer that it made, if it changed files.
    pub layer: Option<Digest>,
}

/// What is told of completeness, and only if it is so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Completeness {
    /// All that steps used from elsewhere is among the materials.
    pub materials: bool,
    /// No step could reach a network, and all materials are named.
    pub hermetic: bool,
}

/// What a build recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Where the Dockerfile is from.
    pub source: ConfigSource,
    /// What was asked for.
    pub parameters: Parameters,
    /// The platform of the machine that built.
    pub builder_platform: String,
    /// What came from elsewhere.
    pub materials: Vec<Material>,
    /// The steps, by number.
    pub steps: Vec<Step>,
    /// The Dockerfile as it was read.
    pub dockerfile: Vec<u8>,
    /// What is known to be complete.
    pub completeness: Completeness,
}

/// A build's provenance, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provenance {
    /// How much is told.
    pub detail: Detail,
    /// What built: a URI.
    pub builder_id: String,
    /// Sets this build apart from others.
    pub invocation_id: String,
    /// When it began and ended, as RFC 3339 has it.
    pub started_on: String,
    /// When it ended.
    pub finished_on: String,
    /// The caller's word on the source.
    pub revision: SourceRevision,
    /// Whether the caller says that the result can be made again.
    pub reproducible: bool,
    /// What was recorded.
    pub facts: Facts,
}

impl Provenance {
    /// The predicate.
    pub fn predicate(&self) -> Value {
        let detailed = self.detail == Detail::Max;
        let definition = BuildDefinition {
            build_type: BUILD_TYPE,
            external_parameters: self.external_parameters(),
            internal_parameters: self.internal_parameters(),
            resolved_dependencies: self.facts.materials.iter().map(model::material).collect(),
        };
        let mut extension = serde_json::Map::new();
        let vcs = &self.revision;
        let vcs: BTreeMap<&str, &String> = [("source", &vcs.source), ("revision", &vcs.revision)]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .collect();
        if !vcs.is_empty() {
            extension.insert("vcs".to_owned(), serde_json::json!(vcs));
        }
        if detailed {
            extension.insert("source".to_owned(), model::source(&self.facts));
        }
        let predicate = Predicate {
            build_definition: definition,
            run_details: RunDetails {
                builder: Builder {
                    id: &self.builder_id,
                    version: BTreeMap::from([("shipway", env!("CARGO_PKG_VERSION"))]),
                },
                metadata: Metadata {
                    invocation_id: &self.invocation_id,
                    started_on: &self.started_on,
                    finished_on: &self.finished_on,
                    extension: Value::Object(extension),
                    completeness: serde_json::json!({
                        "request": detailed || !self.leaves_out(),
                        "resolvedDependencies": self.facts.completeness.materials,
                    }),
                    hermetic: self.facts.completeness.hermetic,
                    reproducible: self.reproducible,
                },
            },
        };
        serde_json::to_value(predicate).unwrap_or_default()
    }

    /// Whether the short form has less of the request than there was.
    fn leaves_out(&self) -> bool {
        let parameters = &self.facts.parameters;
        !(parameters.build_args.is_empty()
            && parameters.labels.is_empty()
            && parameters.secrets.is_empty()
            && parameters.ssh.is_empty())
    }

    fn external_parameters(&self) -> Value {
        let parameters = &self.facts.parameters;
        let mut arguments: BTreeMap<String, &str> = parameters
            .options
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str()))
            .collect();
        if let Some(target) = &parameters.target {
            arguments.insert("target".to_owned(), target);
        }
        let mut request = serde_json::Map::new();
        request.insert("frontend".to_owned(), "dockerfile.v0".into());
        if self.detail == Detail::Max {
            let named = |prefix: &str, name: &String| format!("{prefix}:{name}");
            arguments.extend(
                parameters
                    .build_args
                    .iter()
                    .map(|(name, value)| (named("build-arg", name), value.as_str())),
            );
            arguments.extend(
                parameters
                    .labels
                    .iter()
                    .map(|(name, value)| (named("label", name), value.as_str())),
            );
        }
        request.insert("args".to_owned(), serde_json::json!(arguments));
        if self.detail == Detail::Max {
            request.insert("secrets".to_owned(), model::ids(&parameters.secrets));
            request.insert("ssh".to_owned(), model::ids(&parameters.ssh));
        }
        let locals: Vec<Value> = parameters
            .locals
            .iter()
            .map(|name| serde_json::json!({"name": name}))
            .collect();
        request.insert("locals".to_owned(), locals.into());
        request.insert("compatibilityVersion".to_owned(), parameters.compatibility.into());
        serde_json::json!({"configSource": model::config_source(&self.facts.source), "request": request})
    }

    fn internal_parameters(&self) -> Value {
        let mut internal = serde_json::json!({"builderPlatform": self.facts.builder_platform});
        if self.detail == Detail::Max {
            let steps: Vec<Value> = self.facts.steps.iter().map(model::step).collect();
            internal["buildConfig"] = serde_json::json!({"steps": steps});
        }
        internal
    }
}

#[cfg(test)]
mod tests;

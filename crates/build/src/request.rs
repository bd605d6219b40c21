//! What is asked of a builder, and what it gives back.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use shipway_container::{Egress, Pod};
use shipway_oci::{Digest, Platform, Reference, RegistryName};
use shipway_registry::RegistryCredentials;
use shipway_store::Scope;

use crate::context::{Context, Modes};

/// Where the Dockerfile is.
#[derive(Debug, Clone)]
pub enum DockerfileSource {
    /// A file of the context.
    Path(PathBuf),
    /// Its bytes: from standard input, or from outside the context.
    Bytes {
        /// The file's content.
        bytes: Vec<u8>,
        /// Its name in messages.
        name: String,
        /// What the ignore file beside it says, which goes before the context's.
        ignore: Option<Vec<u8>>,
    },
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::Path("Dockerfile".into())
    }
}

/// The network of RUN steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// The pod's: names of the pod, and outside what its egress policy permits.
    #[default]
    Pod,
    /// None.
    None,
}

/// Who logs in where.
pub trait CredentialSource: Send + Sync {
    /// What to show a registry, if anything.
    fn credentials(&self, registry: &RegistryName) -> Option<RegistryCredentials>;
}

/// Nobody logs in anywhere.
impl CredentialSource for () {
    fn credentials(&self, _registry: &RegistryName) -> Option<RegistryCredentials> {
        None
    }
}

/// Bytes that a RUN may see and that nothing keeps. `Debug` hides them.
#[derive(Clone)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes")
    }
}

/// A build. Start from [`BuildRequest::new`].
#[derive(Clone)]
pub struct BuildRequest {
    /// The files.
    pub context: Context,
    /// The Dockerfile.
    pub dockerfile: DockerfileSource,
    /// The stage asked for; the last one without.
    pub target: Option<String>,
    /// Build arguments; one without a value is as if it were not given.
    pub build_args: BTreeMap<String, Option<String>>,
    /// Labels for the image, over those of the Dockerfile.
    pub labels: BTreeMap<String, String>,
    /// Names for the image.
    pub tags: Vec<Reference>,
    /// Whether registries are asked for base images that are here.
    pub pull: bool,
    /// Whether earlier results are passed over. This build's are kept all the same.
    pub no_cache: bool,
    /// For which platform; this machine's without.
    pub platform: Option<Platform>,
    /// The network of RUN steps.
    pub network: RunNetwork,
    /// The scope of image names: base images are looked up here and the result is named here.
    pub scope: Scope,
    /// The scope of earlier results.
    pub cache_scope: Scope,
    /// Who logs in where.
    pub credentials: Arc<dyn CredentialSource>,
    /// Secrets for `RUN --mount=type=secret`, by id.
    pub secrets: BTreeMap<String, SecretBytes>,
    /// `SOURCE_DATE_EPOCH`: no file of a layer is later than this, and the image is as old. Part of cache keys.
    pub source_date_epoch: Option<i64>,
    /// The commit's time, used as the image's date when there is no `SOURCE_DATE_EPOCH`. Files are not dated by it, so
    /// that a new commit is no cache miss.
    pub created: Option<i64>,
    /// How modes of the context's files reach the image.
    pub modes: Modes,
    /// How many stages that do not need each other are built at the same time. With more than one, the events of
    /// several steps mix; the image does not depend on it.
    pub parallel_stages: usize,
    /// The pod to run in; without one, a pod is started by the first step that needs one.
    pub pod: Option<Pod>,
    /// What such a pod may reach; detected without.
    pub egress: Option<Egress>,
}

impl BuildRequest {
    /// A build of `context` with `Dockerfile` in it, in the user's scope.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            dockerfile: DockerfileSource::default(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            tags: Vec::new(),
            pull: false,
            no_cache: false,
            platform: None,
            network: RunNetwork::default(),
            scope: Scope::user(),
            cache_scope: Scope::user(),
            credentials: Arc::new(()),
            secrets: BTreeMap::new(),
            source_date_epoch: None,
            created: None,
            modes: Modes::default(),
            parallel_stages: 1,
            pod: None,
            egress: None,
        }
    }
}

/// A finished image, in the store and named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Digest of its configuration: the image's id.
    pub id: Digest,
    /// Everything that was told as a warning.
    pub warnings: Vec<String>,
}

//! What is asked of a builder, and what it gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use shipway_container::{Egress, Pod};
use shipway_oci::{Digest, Platform, Reference, RegistryName};
use shipway_registry::RegistryCredentials;
use shipway_sandbox::ResourceLimit;
use shipway_store::{Hold, Scope};
use tokio_util::sync::CancellationToken;

use crate::attest::ProvenanceRequest;
use crate::cache::{CacheImport, CacheSteps};
use crate::context::Modes;
use crate::export::{Composition, ImageOptions, PlatformImage};
use crate::named::NamedContexts;
use crate::source::ContextSource;

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

/// What RUN steps may ask for beyond the usual. Without one of these such a step is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entitlements {
    /// `network.host`, for `RUN --network=host`.
    pub network_host: bool,
    /// `security.insecure`, for `RUN --security=insecure`.
    pub security_insecure: bool,
}

/// A build. Start from [`BuildRequest::new`].
#[derive(Clone)]
pub struct BuildRequest {
    /// The files.
    pub context: ContextSource,
    /// What names of the Dockerfile stand for, where they do not stand for what it says.
    pub contexts: NamedContexts,
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
    /// Whether the packages of the image are listed beside it.
    pub sbom: bool,
    /// Whether and how it is said beside the image how it was made. With it, no two builds have the same index.
    pub provenance: Option<ProvenanceRequest>,
    /// How the image is laid down.
    pub image: ImageOptions,
    /// Whether the image is put into the store under its names. Its layers are there in any case.
    pub keep_image: bool,
    /// Whether registries are asked for base images that are here.
    pub pull: bool,
    /// Whether earlier results are passed over. This build's are kept all the same.
    pub no_cache: bool,
    /// For which platforms; this machine's without. Of several the images make one index.
    pub platforms: Vec<Platform>,
    /// The network of RUN steps.
    pub network: RunNetwork,
    /// The scope of image names: base images are looked up here and the result is named here.
    pub scope: Scope,
    /// The scope of earlier results.
    pub cache_scope: Scope,
    /// Whether it is told of each step that is not known which of its inputs changed.
    pub explain: bool,
    /// Caches that are looked into behind the scope's own, in this order.
    pub cache_from: Vec<CacheImport>,
    /// Whether the image carries its own cache, for later builds to import.
    pub inline_cache: bool,
    /// Who logs in where.
    pub credentials: Arc<dyn CredentialSource>,
    /// Secrets for `RUN --mount=type=secret`, by id.
    pub secrets: BTreeMap<String, SecretBytes>,
    /// Sockets of ssh agents for `RUN --mount=type=ssh`, by id. Steps can list their keys and have something signed.
    pub ssh: BTreeMap<String, PathBuf>,
    /// Lines of `/etc/hosts` of RUN steps; part of their keys.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Bytes of `/dev/shm` of RUN steps, part of their keys; the machine's default without.
    pub shm_size: Option<u64>,
    /// Limits of the processes of RUN steps; part of their keys.
    pub limits: Vec<ResourceLimit>,
    /// Stages, by name, or by number where they have none, for which earlier results are passed over.
    pub no_cache_stages: BTreeSet<String>,
    /// What steps may ask for.
    pub entitlements: Entitlements,
    /// `SOURCE_DATE_EPOCH`: no file of a layer is later than this, and the image is as old. Part of cache keys. The build argument
    /// of that name goes before it.
    pub source_date_epoch: Option<i64>,
    /// The commit's time, used as the image's date when there is no `SOURCE_DATE_EPOCH`. Files are not dated by it, so
    /// that a new commit is no cache miss.
    pub created: Option<i64>,
    /// How modes of the context's files reach the image.
    pub modes: Modes,
    /// How many stages that do not need each other are built at the same time. With more than one, the events of
    /// several steps mix; the image does not depend on it.
    pub parallel_stages: usize,
    /// Ends the build when it is cancelled: what runs is ended and what it had is removed before the build returns.
    pub cancellation: CancellationToken,
    /// The pod to run in; without one, a pod is started by the first step that needs one.
    pub pod: Option<Pod>,
    /// What such a pod may reach; detected without.
    pub egress: Option<Egress>,
}

/// The build argument by which BuildKit's clients ask for what [`BuildRequest::inline_cache`] is.
const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
/// The one by which they give [`BuildRequest::source_date_epoch`], in seconds or as [`TIME_OF_THE_CONTEXT`].
pub(crate) const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// That of the commit, where the context is a repository.
pub(crate) const TIME_OF_THE_CONTEXT: &str = "context";

impl BuildRequest {
    /// Whether the image carries its cache, by whichever way that is asked for.
    pub(crate) fn wants_inline_cache(&self) -> bool {
        self.inline_cache || matches!(self.argument(INLINE_CACHE), Some("1" | "true"))
    }

    /// The value of a build argument, if it has one.
    pub(crate) fn argument(&self, name: &str) -> Option<&str> {
        self.build_args.get(name)?.as_deref()
    }

    /// A build of `context` with `Dockerfile` in it, in the user's scope.
    pub fn new(context: impl Into<ContextSource>) -> Self {
        Self {
            context: context.into(),
            contexts: NamedContexts::new(),
            dockerfile: DockerfileSource::default(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            tags: Vec::new(),
            sbom: false,
            provenance: None,
            image: ImageOptions::default(),
            keep_image: true,
            pull: false,
            no_cache: false,
            platforms: Vec::new(),
            network: RunNetwork::default(),
            scope: Scope::user(),
            cache_scope: Scope::user(),
            explain: false,
            cache_from: Vec::new(),
            inline_cache: false,
            credentials: Arc::new(()),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            extra_hosts: Vec::new(),
            shm_size: None,
            limits: Vec::new(),
            no_cache_stages: BTreeSet::new(),
            entitlements: Entitlements::default(),
            source_date_epoch: None,
            created: None,
            modes: Modes::default(),
            parallel_stages: 1,
            cancellation: CancellationToken::new(),
            pod: None,
            egress: None,
        }
    }
}

/// A finished image, in the store and named unless the request said otherwise. While it lives, no collection takes what it is made of.
#[derive(Debug, Clone)]
pub struct Built {
    /// Digest of its manifest; of the index when it is for several platforms, or something is said about it.
    pub manifest: Digest,
    /// The image's id: the digest of its configuration, or of the index.
    pub id: Digest,
    /// Its documents.
    pub composition: Composition,
    /// What it is made of, to be written out in other ways: an image for each platform.
    pub images: Vec<PlatformImage>,
    /// Where what is made of its layers is remembered.
    pub(crate) cache_scope: Scope,
    /// Keeps what it is made of in the store.
    pub(crate) _hold: Arc<Hold>,
    /// Everything that was told as a warning.
    pub warnings: Vec<String>,
    /// What an export of the cache is made of.
    pub steps: CacheSteps,
    /// Of what pieces its steps' new layers were made.
    pub pieces: PieceCount,
}

/// The pieces of new layers that are large enough to have several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PieceCount {
    /// How many there are.
    pub all: u64,
    /// How many of them were copied from earlier layers instead of being compressed.
    pub copied: u64,
}

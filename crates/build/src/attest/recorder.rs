//! The notes of one build.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use shipway_attest::{
    Completeness, ConfigSource, Facts, LayerScan, LayerScanner, Material, Parameters, Provenance, Step,
    image_purl, layout_image_purl, without_credentials,
};
use shipway_container::Image;
use shipway_oci::{Digest, Platform, Reference};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::ProvenanceRequest;
use crate::git::GitAddress;
use crate::named::{ContextName, NamedContext};
use crate::request::{BuildRequest, RunNetwork};

/// One build, for all its platforms.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    id: uuid::Uuid,
    began: OffsetDateTime,
}

impl Invocation {
    /// A build that begins now.
    pub(crate) fn begin() -> Self {
        Self {
            id: uuid::Uuid::new_v4(),
            began: OffsetDateTime::now_utc(),
        }
    }
}

/// Takes notes for as long as a build lasts, of what it does for one platform.
#[derive(Debug)]
pub(crate) struct Recorder {
    invocation: Invocation,
    scans: bool,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    materials: BTreeSet<Material>,
    secrets: BTreeMap<String, bool>,
    ssh: BTreeMap<String, bool>,
    /// Whether a step could reach a network.
    network: bool,
    steps: Vec<Step>,
    /// Numbers of steps whose results were known and that are not noted yet.
    cached: BTreeSet<usize>,
    /// By diffID.
    layers: BTreeMap<Digest, Arc<LayerScan>>,
}

impl Recorder {
    /// Begins the notes of a build, with packages when they are asked for.
    pub(crate) fn new(request: &BuildRequest, invocation: &Invocation) -> Self {
        Self {
            invocation: invocation.clone(),
            scans: request.sbom,
            notes: Mutex::default(),
        }
    }

    fn note(&self, note: impl FnOnce(&mut Notes)) {
        note(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Something came from elsewhere.
    fn material(&self, material: Material) {
        self.note(|notes| {
            notes.materials.insert(material);
        });
    }

    /// An image was used, by its name or without one: the bytes are those of its manifest for its platform.
    pub(crate) fn image(&self, name: Option<&Reference>, image: &Image) {
        let uri = match name {
            Some(name) => image_purl(name, &image.platform()),
            None => format!("pkg:oci/image@{}", image.id),
        };
        self.material(Material::new(&uri, &image.manifest));
    }

    /// An image of a directory was used in the place of a name.
    pub(crate) fn layout_image(&self, name: &ContextName, platform: &Platform, manifest: &Digest) {
        if let Some(reference) = name.with_digest(manifest) {
            self.material(Material::new(&layout_image_purl(&reference, platform), manifest));
        }
    }

    /// A file was fetched.
    pub(crate) fn fetched(&self, address: &str, digest: &Digest) {
        self.material(Material::new(&without_credentials(address), digest));
    }

    /// A step could reach a network, whether it did or not.
    pub(crate) fn network(&self) {
        self.note(|notes| notes.network = true);
    }

    /// A repository was fetched, at a commit.
    pub(crate) fn repository(&self, address: &GitAddress, commit: &str) {
        let algorithm = commit_algorithm(commit).to_owned();
        self.material(Material {
            uri: address.to_string(),
            digest: BTreeMap::from([(algorithm, commit.to_owned())]),
        });
    }

    /// A step asked for a secret.
    pub(crate) fn secret(&self, id: &str, required: bool) {
        self.note(|notes| {
            *notes.secrets.entry(id.to_owned()).or_insert(true) &= !required;
        });
    }

    /// A step asked for an agent.
    pub(crate) fn ssh(&self, id: &str, required: bool) {
        self.note(|notes| {
            *notes.ssh.entry(id.to_owned()).or_insert(true) &= !required;
        });
    }

    /// The result of the step with this number is one of an earlier build.
    pub(crate) fn cached(&self, number: usize) {
        self.note(|notes| {
            notes.cached.insert(number);
        });
    }

    /// A step is done.
    pub(crate) fn step(&self, mut step: Step) {
        self.note(|notes| {
            step.cached = notes.cached.remove(&step.number);
            notes.steps.push(step);
        });
    }

    /// Looks at a layer that is being written, if that is wanted.
    pub(crate) fn scanner(&self) -> Option<LayerScanner> {
        self.scans.then(LayerScanner::default)
    }

    /// What was seen in it.
    pub(crate) fn scanned(&self, diff_id: &Digest, scan: LayerScan) {
        self.note(|notes| {
            notes.layers.insert(diff_id.clone(), Arc::new(scan));
        });
    }

    pub(super) fn scan(&self, diff_id: &Digest) -> Option<Arc<LayerScan>> {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.layers.get(diff_id).cloned()
    }

    /// The provenance of the build that ends now.
    pub(crate) fn provenance(
        &self,
        wanted: &ProvenanceRequest,
        request: &BuildRequest,
        name: &str,
        dockerfile: &[u8],
    ) -> Provenance {
        let mut facts = Facts {
            source: ConfigSource {
                path: name.to_owned(),
                ..ConfigSource::default()
            },
            parameters: parameters(request),
            builder_platform: Platform::host().to_string(),
            dockerfile: dockerfile.to_vec(),
            ..Facts::default()
        };
        match &wanted.source {
            Some(source) => {
                facts.source.uri = Some(source.uri.clone());
                facts
                    .source
                    .digest
                    .insert(source.algorithm.clone(), source.digest.clone());
                self.material(Material {
                    uri: source.uri.clone(),
                    digest: facts.source.digest.clone(),
                });
            }
            None => facts
                .parameters
                .locals
                .extend(["context".to_owned(), "dockerfile".to_owned()]),
        }
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        facts.materials = notes.materials.iter().cloned().collect();
        facts.parameters.secrets.clone_from(&notes.secrets);
        facts.parameters.ssh.clone_from(&notes.ssh);
        facts.steps.clone_from(&notes.steps);
        facts.steps.sort_by_key(|step| step.number);
        let is_all_known = facts.parameters.locals.is_empty() && !notes.network;
        facts.completeness = Completeness {
            materials: is_all_known,
            hermetic: is_all_known,
        };
        Provenance {
            detail: wanted.detail,
            builder_id: wanted.builder_id.clone(),
            invocation_id: self.invocation.id.to_string(),
            started_on: moment(self.invocation.began),
            finished_on: moment(OffsetDateTime::now_utc()),
            revision: wanted.revision.clone(),
            reproducible: wanted.reproducible,
            facts,
        }
    }
}

/// How a commit of this length is hashed.
pub(crate) fn commit_algorithm(commit: &str) -> &'static str {
    match commit.len() {
        40 => "sha1",
        _ => "sha256",
    }
}

fn moment(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_default()
}

/// What was asked for, by BuildKit's names.
fn parameters(request: &BuildRequest) -> Parameters {
    let told = |name: &str, value: &str| match name.to_ascii_lowercase().ends_with("_proxy") {
        true => without_credentials(value),
        false => value.to_owned(),
    };
    let mut build_args: BTreeMap<String, String> = request
        .build_args
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), told(name, value.as_deref()?))))
        .collect();
    if let Some(epoch) = request.source_date_epoch {
        build_args
            .entry("SOURCE_DATE_EPOCH".to_owned())
            .or_insert(epoch.to_string());
    }
    let mut options = BTreeMap::new();
    if request.no_cache {
        options.insert("no-cache".to_owned(), String::new());
    }
    if request.network == RunNetwork::None {
        options.insert("force-network-mode".to_owned(), "none".to_owned());
    }
    let mut locals = Vec::new();
    for (name, context) in &request.contexts {
        let value = match context {
            NamedContext::Directory(_) => {
                locals.push(name.to_string());
                format!("local:{name}")
            }
            NamedContext::Git(address) => address.to_string(),
            NamedContext::Url(url) => without_credentials(url),
            NamedContext::Image(reference) => format!("docker-image://{}", reference.familiar()),
            NamedContext::OciLayout(address) => format!("oci-layout://{name}{}", address.selector()),
            NamedContext::Scratch => "docker-image://scratch".to_owned(),
            NamedContext::Stage(stage) => format!("target:{stage}"),
        };
        options.insert(format!("context:{name}"), value);
    }
    Parameters {
        target: request.target.clone(),
        build_args,
        labels: request.labels.clone(),
        options,
        locals,
        compatibility: crate::COMPATIBILITY,
        ..Parameters::default()
    }
}

#[cfg(test)]
mod tests;

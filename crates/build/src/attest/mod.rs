//! What is said about an image that was built: its packages and how it was made.
//!
//! A build takes notes ([`Recorder`]): the images and files that it got from elsewhere, its steps, and of each layer that it writes which
//! packages are in it, looked at in the same pass that hashes and compresses it ([`tap`]). What earlier builds or others made is looked at
//! once and kept in the cache under its digest ([`packages`]). Statements are made when the image has a digest that they can be about; nothing
//! is in them that was not noted, but for the two facts that a [`ProvenanceRequest`] says of the place and the source.
//!
//! A build that was not asked for statements takes notes of its steps and no more: they cost nothing next to a step.

mod packages;
mod recorder;
mod tap;

use std::sync::Arc;

use shipway_attest::{
    Detail, LayerScan, Provenance, SLSA_PROVENANCE, SPDX_DOCUMENT, Sbom, ScannedLayer, SourceRevision,
    Statement, Subject, image_purl, sbom,
};
use shipway_oci::{Descriptor, Digest, EncodeError, ImageConfig, Platform, Reference};
use shipway_store::{Scope, Store};

pub(crate) use recorder::{Invocation, Recorder, commit_algorithm};
pub(crate) use tap::Tapped;

use crate::export::ExportError;
use crate::request::BuildRequest;

/// That and how provenance is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProvenanceRequest {
    /// How much is told.
    pub detail: Detail,
    /// What builds, as a URI: the caller's word.
    pub builder_id: String,
    /// Where the sources are kept and at which commit: the caller's word.
    pub revision: SourceRevision,
    /// Where a context that is not of this machine is from, without what logs in there, and the commit or digest that it was.
    pub source: Option<RemoteSource>,
    /// Whether the caller says that the image can be made again.
    pub reproducible: bool,
}

/// A context from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSource {
    /// Its address.
    pub uri: String,
    /// The algorithm of its digest: `sha1` for a commit.
    pub algorithm: String,
    /// The digest's hexadecimal digits.
    pub digest: String,
}

/// What there is to say about an image once it has a digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attestations {
    /// What each layer says of packages, bottom first.
    pub(crate) packages: Option<Vec<Arc<LayerScan>>>,
    pub(crate) provenance: Option<Arc<Provenance>>,
}

/// What is left to do when all steps are done.
pub(crate) struct Attesting {
    recorder: Arc<Recorder>,
    /// Where it is kept what layers say.
    scope: Scope,
    wants_packages: bool,
    provenance: Option<Arc<Provenance>>,
}

impl Attesting {
    /// The notes of a build that ends now; `dockerfile` is what was read under `name`.
    pub(crate) fn new(
        recorder: &Arc<Recorder>,
        request: &BuildRequest,
        name: &str,
        dockerfile: &[u8],
    ) -> Self {
        let provenance = request.provenance.as_ref();
        Self {
            recorder: Arc::clone(recorder),
            scope: request.cache_scope.clone(),
            wants_packages: request.sbom,
            provenance: provenance
                .map(|wanted| Arc::new(recorder.provenance(wanted, request, name, dockerfile))),
        }
    }

    /// What there is to say about an image of these layers. Blocks.
    pub(crate) fn over(
        self,
        store: &Store,
        config: &ImageConfig,
        layers: &[Descriptor],
    ) -> Result<Attestations, ExportError> {
        let packages = match self.wants_packages {
            true => Some(packages::scans(
                &self.recorder,
                store,
                &self.scope,
                &config.rootfs.diff_ids,
                layers,
            )?),
            false => None,
        };
        Ok(Attestations {
            packages,
            provenance: self.provenance,
        })
    }
}

/// An image that statements are about.
pub(crate) struct About<'a> {
    pub(crate) names: &'a [Reference],
    pub(crate) platform: &'a Platform,
    pub(crate) manifest: &'a Digest,
    /// As its configuration has it.
    pub(crate) created: &'a str,
    /// Bottom first.
    pub(crate) layers: &'a [Descriptor],
}

impl Attestations {
    pub(crate) fn is_empty(&self) -> bool {
        self.packages.is_none() && self.provenance.is_none()
    }

    /// The statements about an image: its packages first.
    pub(crate) fn statements(&self, about: &About<'_>) -> Result<Vec<Statement>, EncodeError> {
        let purls: Vec<String> = about
            .names
            .iter()
            .map(|name| image_purl(name, about.platform))
            .collect();
        self.said(about, &purls, &Subject::of_image(&purls, about.manifest))
    }

    /// The same about other things that were made of it.
    pub(crate) fn statements_about(
        &self,
        about: &About<'_>,
        subjects: &[Subject],
    ) -> Result<Vec<Statement>, EncodeError> {
        self.said(about, &[], subjects)
    }

    fn said(
        &self,
        about: &About<'_>,
        purls: &[String],
        subjects: &[Subject],
    ) -> Result<Vec<Statement>, EncodeError> {
        let mut statements = Vec::new();
        if let Some(scans) = &self.packages {
            let layers: Vec<ScannedLayer<'_>> = about
                .layers
                .iter()
                .zip(scans)
                .map(|(layer, scan)| ScannedLayer {
                    digest: &layer.digest,
                    scan,
                })
                .collect();
            let name = about.names.first().map(Reference::familiar).unwrap_or_default();
            let document = sbom(&Sbom {
                name: &name,
                purl: purls.first().map(String::as_str),
                manifest: about.manifest,
                created: about.created,
                layers: &layers,
            });
            statements.push(Statement::new(SPDX_DOCUMENT, subjects, &document)?);
        }
        if let Some(provenance) = &self.provenance {
            statements.push(Statement::new(
                SLSA_PROVENANCE,
                subjects,
                &provenance.predicate(),
            )?);
        }
        Ok(statements)
    }
}

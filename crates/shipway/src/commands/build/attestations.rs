//! What is said about the image beside it: `--sbom`, `--provenance`, `--attest`.
//!
//! The flags are buildx's. Unlike there, nothing is said without being asked for: what a build gives is the same each time, and a
//! provenance that tells when it was made is not (decision 21).

mod builder;
mod fields;
mod revision;

use clap::Args;
use shipway_build::{BuildRequest, Detail, ProvenanceRequest};

use self::fields::{Fields, switch};
use crate::failure::{Failure, FailureKind};
use crate::screen;

/// The arguments about attestations.
#[derive(Debug, Args)]
pub(super) struct AttestationArguments {
    /// List the image's packages beside it, as SPDX: `true` or `false`
    #[arg(long, value_name = "BOOL")]
    sbom: Option<String>,
    /// Say beside the image how it was made, as SLSA provenance: `true`, `false`, or `mode=min|max` and more, separated by commas
    #[arg(long, value_name = "SETTINGS")]
    provenance: Option<String>,
    /// The same as one flag: `type=sbom` or `type=provenance`, and more, separated by commas; may be given several times
    #[arg(long, value_name = "type=TYPE,…")]
    attest: Vec<String>,
    /// Who builds, as a URI, for the provenance [default: the job's address in a GitLab job]
    #[arg(long, value_name = "URI")]
    builder_id: Option<String>,
}

impl AttestationArguments {
    pub(super) fn apply(
        &self,
        request: &mut BuildRequest,
        context: Option<&std::path::Path>,
    ) -> Result<(), Failure> {
        let mut provenance = None;
        for text in &self.attest {
            let mut fields = Fields::parse("--attest", text)?;
            let kind = fields.take("type").unwrap_or_default();
            let disabled = match fields.take("disabled") {
                Some(text) => switch("--attest", &text)?,
                None => false,
            };
            match kind.as_str() {
                "sbom" => request.sbom = !disabled && wants_packages(fields)?,
                "provenance" if disabled => provenance = None,
                "provenance" => provenance = self.provenance(fields)?,
                other => {
                    let message = format!("--attest: there is no attestation `type={other}`");
                    return Err(
                        Failure::new(FailureKind::Use, message).hint("use type=sbom or type=provenance")
                    );
                }
            }
        }
        if let Some(text) = &self.sbom {
            request.sbom = wants_packages(Fields::parse("--sbom", text)?)?;
        }
        if let Some(text) = &self.provenance {
            provenance = self.provenance(Fields::parse("--provenance", text)?)?;
        }
        if let (Some(provenance), Some(context)) = (&mut provenance, context) {
            provenance.revision = revision::of(context);
        }
        request.provenance = provenance;
        Ok(())
    }

    /// What `--provenance` and `type=provenance` say; nothing for `false`.
    fn provenance(&self, mut fields: Fields) -> Result<Option<ProvenanceRequest>, Failure> {
        if !fields.switch()? {
            return Ok(None);
        }
        let detail = match fields.take("mode").as_deref() {
            None | Some("min") => Detail::Min,
            Some("max") => Detail::Max,
            Some(other) => return Err(fields.refuse("mode", other, "min or max")),
        };
        if let Some(version) = fields.take("version").filter(|version| version != "v1") {
            return Err(fields.refuse("version", &version, "v1"));
        }
        let reproducible = match fields.take("reproducible") {
            Some(text) => switch("reproducible=", &text)?,
            None => false,
        };
        // Which exporters embed it is no question here: all that make images do.
        let _ = fields.take("inline-only");
        let builder_id = fields.take("builder-id").or_else(|| self.builder_id.clone());
        fields.end()?;
        Ok(Some(ProvenanceRequest {
            detail,
            builder_id: builder::id(builder_id)?,
            reproducible,
            ..ProvenanceRequest::default()
        }))
    }
}

/// What `--sbom` and `type=sbom` say.
fn wants_packages(mut fields: Fields) -> Result<bool, Failure> {
    let wanted = fields.switch()?;
    if wanted && fields.take("generator").is_some() {
        screen::warning("the generator is not run: Shipway lists the packages itself");
    }
    fields.end()?;
    Ok(wanted)
}

#[cfg(test)]
mod tests;

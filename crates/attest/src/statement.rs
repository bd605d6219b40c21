//! in-toto statements: what is said, about which bytes.

use serde::Serialize;
use serde_json::Value;
use shipway_oci::{Digest, EncodeError};

/// The predicate of an SPDX document.
pub const SPDX_DOCUMENT: &str = "https://spdx.dev/Document";
/// The predicate of SLSA provenance, version 1.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The name of what has none.
const NAMELESS: &str = "_";

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name, as a package URL.
    pub name: String,
    /// Its digest.
    pub digest: Digest,
}

impl Subject {
    /// The image with this manifest under its names; at least one subject, since a statement about nothing is about nothing.
    pub fn of_image(names: &[String], manifest: &Digest) -> Vec<Self> {
        let subject = |name: &str| Self {
            name: name.to_owned(),
            digest: manifest.clone(),
        };
        if names.is_empty() {
            return vec![subject(NAMELESS)];
        }
        names.iter().map(|name| subject(name)).collect()
    }
}

/// A statement as bytes, which are what a digest or a signature is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What kind of predicate it has.
    pub predicate_type: String,
    /// The JSON.
    pub bytes: Vec<u8>,
}

impl Statement {
    /// Says `predicate` about the subjects.
    ///
    /// # Errors
    /// When the predicate cannot be written as JSON.
    pub fn new(
        predicate_type: &str,
        subjects: &[Subject],
        predicate: &impl Serialize,
    ) -> Result<Self, EncodeError> {
        #[derive(Serialize)]
        struct Document<'a, P> {
            #[serde(rename = "_type")]
            kind: &'static str,
            #[serde(rename = "predicateType")]
            predicate_type: &'a str,
            subject: Vec<Value>,
            predicate: &'a P,
        }
        let document = Document {
            kind: STATEMENT,
            predicate_type,
            subject: subjects
                .iter()
                .map(|subject| serde_json::json!({"name": subject.name, "digest": digest_set(&subject.digest)}))
                .collect(),
            predicate,
        };
        let bytes = serde_json::to_vec(&document).map_err(|source| EncodeError {
            what: "statement",
            source,
        })?;
        Ok(Self {
            predicate_type: predicate_type.to_owned(),
            bytes,
        })
    }
}

/// A digest as in-toto writes it: an object with the algorithm's name.
pub(crate) fn digest_set(digest: &Digest) -> Value {
    let text = digest.as_str();
    let algorithm = text.split(':').next().unwrap_or_default();
    serde_json::json!({algorithm: digest.hex()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_its_subjects_by_their_digest() {
        let manifest = Digest::sha256(b"image");
        let subjects = Subject::of_image(&["pkg:docker/a@1".to_owned()], &manifest);
        let statement = Statement::new(SPDX_DOCUMENT, &subjects, &serde_json::json!({"a": 1})).unwrap();
        let read: Value = serde_json::from_slice(&statement.bytes).unwrap();
        assert_eq!(
            read,
            serde_json::json!({
                "_type": "https://in-toto.io/Statement/v1",
                "predicateType": "https://spdx.dev/Document",
                "subject": [{"name": "pkg:docker/a@1", "digest": {"sha256": manifest.hex()}}],
                "predicate": {"a": 1},
            })
        );
        assert_eq!(Subject::of_image(&[], &manifest)[0].name, "_");
    }
}

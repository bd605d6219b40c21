//! The words of the distribution protocol, apart from either end: routes, errors, and the headers with a grammar.
//!
//! Server and client meet only here. Everything parses what strangers send, so every parser is total and bounded, and
//! nothing here touches a socket, a file or a clock.

mod challenge;
mod error;
mod header;
mod query;
mod range;
mod route;

pub use challenge::{Challenge, ChallengeParameter};
pub use error::{ErrorBody, ErrorCode, RegistryError};
pub use header::{
    DOCKER_API_VERSION, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, OCI_FILTERS_APPLIED, OCI_NAMESPACE,
    OCI_SUBJECT, OCI_TAG, SHIPWAY_CHALLENGE, SHIPWAY_PROOF,
};
pub use query::{Query, encode_component};
pub use range::{ByteRange, ContentRange, RangeRequest};
pub use route::{ManifestReference, Route, RouteError, TOKEN_PATH};

//! Names of headers that HTTP itself does not know.

use http::HeaderName;

/// Says which digest the server gives to what it sends or stored.
pub const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// Tells docker that this is a registry.
pub const DOCKER_API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The id of an upload, as docker reads it.
pub const DOCKER_UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The digest of the subject that a manifest refers to: tells the client that the referrers list is kept for it.
pub const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// The filters that a referrers list was made with.
pub const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// A tag that a manifest got; once for each.
pub const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// The upstream that a mirror answered for.
pub const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
/// Asks a registry whether it is one of the asking installation: an identity challenge.
pub const SHIPWAY_CHALLENGE: HeaderName = HeaderName::from_static("shipway-challenge");
/// The answer to that.
pub const SHIPWAY_PROOF: HeaderName = HeaderName::from_static("shipway-proof");

//! The errors of the protocol: one typed table of code, status and text.
//!
//! A [`RegistryError`] has two messages. The one on the wire says what the client did and what to do; the `source` is
//! for our log and never leaves the process. The same type comes out of the in-process path and out of an HTTP answer,
//! so that callers cannot tell (and need not care) which way they went.

use std::error::Error as StdError;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use shipway_store::is_disk_full;

/// What went wrong, as the specification names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// No such blob in this repository.
    BlobUnknown,
    /// The upload went wrong.
    BlobUploadInvalid,
    /// No such upload.
    BlobUploadUnknown,
    /// The digest is malformed, or not that of the bytes.
    DigestInvalid,
    /// A manifest refers to a blob that the repository does not have.
    ManifestBlobUnknown,
    /// The manifest cannot be read.
    ManifestInvalid,
    /// No such manifest.
    ManifestUnknown,
    /// The repository's name is malformed.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// `n` of a list is no number.
    PaginationNumberInvalid,
    /// The range asked for lies outside the content.
    RangeInvalid,
    /// The length is not the promised one.
    SizeInvalid,
    /// The tag is malformed.
    TagInvalid,
    /// Nobody logged in, or with a wrong password or token.
    Unauthorized,
    /// Logged in, but without the right.
    Denied,
    /// The operation does not exist.
    Unsupported,
    /// Too many requests.
    TooManyRequests,
    /// The server cannot answer now.
    Unavailable,
    /// Anything else.
    Unknown,
}

/// A row of the table.
struct Row {
    name: &'static str,
    status: StatusCode,
    text: &'static str,
}

const fn row(name: &'static str, status: StatusCode, text: &'static str) -> Row {
    Row { name, status, text }
}

impl ErrorCode {
    /// All codes.
    pub const ALL: [Self; 19] = [
        Self::BlobUnknown,
        Self::BlobUploadInvalid,
        Self::BlobUploadUnknown,
        Self::DigestInvalid,
        Self::ManifestBlobUnknown,
        Self::ManifestInvalid,
        Self::ManifestUnknown,
        Self::NameInvalid,
        Self::NameUnknown,
        Self::PaginationNumberInvalid,
        Self::RangeInvalid,
        Self::SizeInvalid,
        Self::TagInvalid,
        Self::Unauthorized,
        Self::Denied,
        Self::Unsupported,
        Self::TooManyRequests,
        Self::Unavailable,
        Self::Unknown,
    ];

    const fn row(self) -> Row {
        use StatusCode as S;
        match self {
            Self::BlobUnknown => row("BLOB_UNKNOWN", S::NOT_FOUND, "this repository has no such blob"),
            Self::BlobUploadInvalid => row("BLOB_UPLOAD_INVALID", S::BAD_REQUEST, "the upload went wrong"),
            Self::BlobUploadUnknown => row(
                "BLOB_UPLOAD_UNKNOWN",
                S::NOT_FOUND,
                "no such upload: start it again",
            ),
            Self::DigestInvalid => row(
                "DIGEST_INVALID",
                S::BAD_REQUEST,
                "the digest is not that of the content",
            ),
            Self::ManifestBlobUnknown => row(
                "MANIFEST_BLOB_UNKNOWN",
                S::BAD_REQUEST,
                "the manifest refers to a blob that is not here: push it first",
            ),
            Self::ManifestInvalid => row("MANIFEST_INVALID", S::BAD_REQUEST, "the manifest cannot be read"),
            Self::ManifestUnknown => row(
                "MANIFEST_UNKNOWN",
                S::NOT_FOUND,
                "this repository has no such manifest",
            ),
            Self::NameInvalid => row(
                "NAME_INVALID",
                S::BAD_REQUEST,
                "the name of the repository is malformed",
            ),
            Self::NameUnknown => row("NAME_UNKNOWN", S::NOT_FOUND, "no such repository"),
            Self::PaginationNumberInvalid => row(
                "PAGINATION_NUMBER_INVALID",
                S::BAD_REQUEST,
                "`n` must be a whole number of zero or more",
            ),
            Self::RangeInvalid => row(
                "RANGE_INVALID",
                S::RANGE_NOT_SATISFIABLE,
                "the range lies outside the content",
            ),
            Self::SizeInvalid => row(
                "SIZE_INVALID",
                S::BAD_REQUEST,
                "the content has not the promised length",
            ),
            Self::TagInvalid => row("TAG_INVALID", S::BAD_REQUEST, "the tag is malformed"),
            Self::Unauthorized => row("UNAUTHORIZED", S::UNAUTHORIZED, "authentication required"),
            Self::Denied => row(
                "DENIED",
                S::FORBIDDEN,
                "requested access to the resource is denied",
            ),
            Self::Unsupported => row(
                "UNSUPPORTED",
                S::METHOD_NOT_ALLOWED,
                "the operation is not supported",
            ),
            Self::TooManyRequests => row("TOOMANYREQUESTS", S::TOO_MANY_REQUESTS, "too many requests"),
            Self::Unavailable => row(
                "UNAVAILABLE",
                S::SERVICE_UNAVAILABLE,
                "the registry cannot answer now: try again",
            ),
            Self::Unknown => row(
                "UNKNOWN",
                S::INTERNAL_SERVER_ERROR,
                "the registry failed: its log has the reason",
            ),
        }
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The status that goes with it unless the case demands another.
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// The text that goes with it unless there is a better one.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// The code of a name; a foreign one is [`ErrorCode::Unknown`], its message tells the rest.
    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|code| code.name() == name)
            .unwrap_or(Self::Unknown)
    }

    /// The code that fits an answer which named none.
    pub fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Denied,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Self::Unsupported,
            StatusCode::RANGE_NOT_SATISFIABLE => Self::RangeInvalid,
            StatusCode::TOO_MANY_REQUESTS => Self::TooManyRequests,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                Self::Unavailable
            }
            _ => Self::Unknown,
        }
    }
}

/// An error of the protocol, on its way out or as it came in.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct RegistryError {
    /// What went wrong.
    pub code: ErrorCode,
    /// The status of the answer.
    pub status: StatusCode,
    /// What the client may read.
    pub message: String,
    /// Structured facts for the client.
    pub detail: Option<serde_json::Value>,
    /// Why, for our own log.
    #[source]
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Two are equal when a client could not tell them apart.
impl PartialEq for RegistryError {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
            && self.status == other.status
            && self.message == other.message
            && self.detail == other.detail
    }
}

impl RegistryError {
    /// As the table has it.
    pub fn new(code: ErrorCode) -> Self {
        Self {
            code,
            status: code.status(),
            message: code.text().to_owned(),
            detail: None,
            source: None,
        }
    }

    /// With a text that fits the case better.
    pub fn with_message(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::new(code)
        }
    }

    /// Something of ours failed; the client learns no more than that, or that the disk is full: then nothing is wrong with
    /// what it sent.
    pub fn internal(source: impl StdError + Send + Sync + 'static) -> Self {
        let error = if is_disk_full(&source) {
            Self::with_message(
                ErrorCode::Unknown,
                "no disk space is left for the registry: tell who runs it, and push again",
            )
            .with_status(StatusCode::INSUFFICIENT_STORAGE)
        } else {
            Self::new(ErrorCode::Unknown)
        };
        Self {
            source: Some(Box::new(source)),
            ..error
        }
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With structured facts.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The body of the answer.
    pub fn to_body(&self) -> ErrorBody {
        ErrorBody {
            errors: vec![ErrorEntry {
                code: self.code.name().to_owned(),
                message: self.message.clone(),
                detail: self.detail.clone(),
            }],
        }
    }

    /// From an answer of somebody's registry. What cannot be read still gives an error that fits the status.
    pub fn from_answer(status: StatusCode, body: &[u8]) -> Self {
        let fallback = ErrorCode::from_status(status);
        let parsed: Option<ErrorBody> = serde_json::from_slice(body).ok();
        let Some(entry) = parsed.and_then(|body| body.errors.into_iter().next()) else {
            let message = foreign_message(body).unwrap_or_else(|| match fallback {
                ErrorCode::Unknown => format!("the registry answered {status}"),
                code => code.text().to_owned(),
            });
            return Self::with_message(fallback, message).with_status(status);
        };
        let code = match ErrorCode::from_name(&entry.code) {
            ErrorCode::Unknown => fallback,
            code => code,
        };
        let message = if entry.message.is_empty() {
            code.text().to_owned()
        } else {
            shortened(entry.message)
        };
        Self {
            code,
            status,
            message,
            detail: entry.detail,
            source: None,
        }
    }
}

/// What a registry or a token endpoint says in a shape of its own: Docker Hub's `details`, OAuth2's `error_description`.
fn foreign_message(body: &[u8]) -> Option<String> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = ["details", "message", "error_description", "error"]
        .iter()
        .find_map(|key| value.get(key)?.as_str());
    text.filter(|text| !text.is_empty())
        .map(|text| shortened(text.to_owned()))
}

/// A foreign message is shown to people, on terminals and in logs: on one line, and not without a limit.
fn shortened(message: String) -> String {
    const LONGEST: usize = 2048;
    let mut message = message.replace(char::is_control, " ");
    if let Some((at, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(at);
    }
    message
}

/// The JSON body of an error answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong; usually one entry.
    pub errors: Vec<ErrorEntry>,
}

/// One error of a body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// The name of the code.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<serde_json::Value>,
}

#[cfg(test)]
mod tests;

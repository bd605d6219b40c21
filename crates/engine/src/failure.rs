//! A request that failed: the status and the one sentence the client prints.
//!
//! Apart because every handler ends in it. The CLI shows `message` only when the content type is exactly
//! `application/json`, and takes decisions by status alone: 404 makes `docker run` pull, 409 means a name is taken.
//! Messages that the CLI or scripts look for ("No such image", "No such container") are written here once.

use http::StatusCode;
use serde_json::json;
use shipway_container::{MAKE_ROOM, is_disk_full};
use shipway_oci::with_causes;

/// What went wrong, as the API says it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    pub(crate) fn not_implemented(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Failure {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// An error of a crate below, with its causes, as one sentence.
    pub(crate) fn from_error(status: StatusCode, error: &(dyn std::error::Error + 'static)) -> Failure {
        Self::new(status, told(error))
    }

    pub(crate) fn no_such_container(asked: &str) -> Failure {
        Self::not_found(format!("No such container: {asked}"))
    }

    pub(crate) fn no_such_image(asked: &str) -> Failure {
        Self::not_found(format!("No such image: {asked}"))
    }

    /// The same, but never a 404: to a create request the CLI takes that for a missing image and pulls.
    pub(crate) fn about_something_else_than_the_image(self) -> Failure {
        match self.status {
            StatusCode::NOT_FOUND => Failure {
                status: StatusCode::BAD_REQUEST,
                ..self
            },
            _ => self,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The body of the answer.
    pub(crate) fn json(&self) -> String {
        json!({ "message": self.message }).to_string()
    }
}

/// An error and its causes; for a full disk with what can be done about it.
pub(crate) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let text = with_causes(error);
    if is_disk_full(error) {
        return format!("{text}: {MAKE_ROOM}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot push")]
    struct Outer {
        #[source]
        cause: std::io::Error,
    }

    #[test]
    fn causes_follow_the_sentence() {
        let error = Outer {
            cause: std::io::Error::other("disk full"),
        };
        let failure = Failure::from_error(StatusCode::INTERNAL_SERVER_ERROR, &error);
        assert_eq!(failure.json(), r#"{"message":"cannot push: disk full"}"#);
        assert_eq!(failure.status(), 500);
    }
}

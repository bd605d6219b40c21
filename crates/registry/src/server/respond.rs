//! Answers.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;

use crate::transfer::FileBody;
use crate::wire::DOCKER_API_VERSION;

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// Nothing (more).
    Empty,
    /// Bytes in memory.
    ///   ## Whole => Empty
    Whole(Bytes),
    /// A part of a file.
    File(FileBody),
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::File(file) => Pin::new(file).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(_) => false,
            Self::File(file) => file.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::File(file) => file.size_hint(),
        }
    }
}

/// An answer with headers to be added.
pub(super) struct Answer {
    response: Response<ResponseBody>,
}

impl Answer {
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(ResponseBody::Empty);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(DOCKER_API_VERSION, HeaderValue::from_static("registry/2.0"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { response }
    }

    /// With a header. What we write are digests, paths and numbers, all of which can be headers; a value that
    /// cannot be one is left out.
    pub(super) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.response.headers_mut().append(name, value);
        }
        self
    }

    /// Without a body. The length is said unless the status forbids it.
    pub(super) fn empty(self) -> Response<ResponseBody> {
        if self.response.status() == StatusCode::NO_CONTENT {
            return self.response;
        }
        self.header(CONTENT_LENGTH, HeaderValue::from(0)).response
    }

    /// For HEAD: the length of what GET would send.
    pub(super) fn length_only(self, length: u64) -> Response<ResponseBody> {
        self.header(CONTENT_LENGTH, HeaderValue::from(length)).response
    }

    pub(super) fn body(self, body: ResponseBody) -> Response<ResponseBody> {
        let length = http_body::Body::size_hint(&body).lower();
        let mut response = self.header(CONTENT_LENGTH, HeaderValue::from(length)).response;
        *response.body_mut() = body;
        response
    }
}

/// A JSON answer.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<ResponseBody> {
    json_of_type(status, HeaderValue::from_static("application/json"), value)
}

/// A JSON answer of a special type.
pub(super) fn json_of_type(
    status: StatusCode,
    media_type: HeaderValue,
    value: &impl Serialize,
) -> Response<ResponseBody> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Answer::new(status)
            .header(CONTENT_TYPE, media_type)
            .body(ResponseBody::Whole(bytes.into())),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as JSON");
            Answer::new(StatusCode::INTERNAL_SERVER_ERROR).empty()
        }
    }
}

//! A request of another protocol over HTTP, under the same rules as images: the egress policy at each hop, the same roots.
//!
//! For git. A redirect to another origin takes no `Authorization` along.

use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, Method};
use reqwest::Url;

use super::error::ClientError;
use super::fetch::body;
use super::roots::Trust;
use super::transport::{Outgoing, Payload, Transport};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// GET, or POST with a body.
    pub method: Method,
    /// Where: `http:` or `https:`.
    pub url: String,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
}

/// What was answered, whatever its status.
pub struct Answer {
    /// The status.
    pub status: http::StatusCode,
    /// Where it was answered in the end, after redirects.
    pub url: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; it keeps a least pace.
    pub body: Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send + Unpin>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

pub(super) async fn exchange(transport: &Transport, asked: Exchange) -> Result<Answer, ClientError> {
    let url = web_address(&asked.url)?;
    let mut request = Outgoing::new(asked.method, url, Trust::Verified);
    request.headers = asked.headers;
    if !asked.body.is_empty() {
        request = request.payload(Payload::Bytes(asked.body));
    }
    let response = transport.send(request).await?;
    let host = response.url().host_str().unwrap_or_default().to_owned();
    Ok(Answer {
        status: response.status(),
        url: response.url().to_string(),
        headers: response.headers().clone(),
        body: Box::new(Box::pin(body(response, host, transport.timeouts()))),
    })
}

/// An address that is asked over HTTP.
pub(super) fn web_address(url: &str) -> Result<Url, ClientError> {
    let unusable = |problem: String| ClientError::Unreachable {
        host: url.to_owned(),
        source: problem.into(),
    };
    let parsed = Url::parse(url).map_err(|error| unusable(error.to_string()))?;
    match parsed.scheme() {
        "http" | "https" => Ok(parsed),
        other => Err(unusable(format!(
            "`{other}:` is not supported, only http and https"
        ))),
    }
}

//! A plain file by its URL, under the same rules as images: the egress policy at each hop, the same roots.

use bytes::Bytes;
use futures::{Stream, stream};
use http::Method;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use reqwest::Response;

use super::error::ClientError;
use super::exchange::web_address;
use super::options::Timeouts;
use super::roots::Trust;
use super::silence::next_chunk;
use super::transport::{Outgoing, Transport};

/// A file on its way.
pub struct Fetched {
    /// Where it was found in the end, after redirects.
    pub url: String,
    /// When it was changed last, as the server wrote it.
    pub last_modified: Option<String>,
    /// Which version it is, as the server wrote it.
    pub etag: Option<String>,
    /// The name it should have, as the server wrote it (the whole header).
    pub content_disposition: Option<String>,
    /// How long it is, if the server said so.
    pub length: Option<u64>,
    /// Its bytes.
    pub body: Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send + Unpin>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched")
            .field("url", &self.url)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

pub(super) async fn fetch(transport: &Transport, url: &str) -> Result<Fetched, ClientError> {
    let unusable = |problem: String| ClientError::Unreachable {
        host: url.to_owned(),
        source: problem.into(),
    };
    let parsed = web_address(url)?;
    let response = transport
        .send(Outgoing::new(Method::GET, parsed, Trust::Verified))
        .await?;
    if !response.status().is_success() {
        return Err(unusable(format!("the server answered {}", response.status())));
    }
    let header = |name: &http::HeaderName| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let host = response.url().host_str().unwrap_or_default().to_owned();
    Ok(Fetched {
        url: response.url().to_string(),
        last_modified: header(&LAST_MODIFIED),
        etag: header(&ETAG),
        content_disposition: header(&CONTENT_DISPOSITION),
        length: header(&CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        body: Box::new(Box::pin(body(response, host, transport.timeouts()))),
    })
}

pub(super) fn body(
    response: Response,
    host: String,
    timeouts: &Timeouts,
) -> impl Stream<Item = Result<Bytes, ClientError>> + Send + use<> {
    let (limit, pace) = (timeouts.idle, timeouts.pace());
    stream::try_unfold(
        (response, host, pace),
        move |(mut response, host, mut pace)| async move {
            let chunk = next_chunk(&mut response, &host, limit, &mut pace).await?;
            Ok(chunk.map(|chunk| (chunk, (response, host, pace))))
        },
    )
}

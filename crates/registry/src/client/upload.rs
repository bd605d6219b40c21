//! One blob from a store to a registry: there already, mounted, or sent in one piece.
//!
//! A connection that is cut means to begin that blob again: few registries keep what came, and those who do disagree
//! about how to ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Method, StatusCode};
use reqwest::{Response, Url};
use shipway_oci::{Descriptor, RepositoryName};
use shipway_store::Store;

use super::error::ClientError;
use super::ours::blocking;
use super::patience::{Patience, is_passing, retry_after};
use super::progress::{BlobProgress, PushProgress};
use super::session::Session;
use super::transport::{Payload, same_origin};
use crate::wire::Query;

/// How often a watcher hears of an upload.
const REPORT: Duration = Duration::from_millis(100);

/// Makes sure that a registry has a blob.
pub(super) async fn upload(
    session: &Session,
    repository: &RepositoryName,
    blob: &Descriptor,
    from: &Store,
    progress: &dyn PushProgress,
) -> Result<(), ClientError> {
    let sending = Sending {
        session,
        repository,
        blob,
    };
    if sending.is_there().await? {
        progress.blob(blob, BlobProgress::Present);
        return Ok(());
    }
    let (store, digest) = (from.clone(), blob.digest.clone());
    let file = blocking(move || {
        store
            .open_blob(&digest)
            .map_err(|_| ClientError::Missing { digest })
    })
    .await?;
    let file = Arc::new(file);
    let mut patience = Patience::new(&session.inner.options.timeouts);
    let mut place = match sending.mount().await? {
        Mounted::Done => {
            progress.blob(blob, BlobProgress::Present);
            return Ok(());
        }
        Mounted::Begun(place) => Some(place),
        Mounted::Not => None,
    };
    loop {
        let at = match place.take() {
            Some(at) => at,
            None => sending.begin().await?,
        };
        let sent = Arc::new(AtomicU64::new(0));
        let payload = Payload::File {
            file: Arc::clone(&file),
            length: blob.size,
            sent: Arc::clone(&sent),
        };
        match watched(sending.send(at, payload), blob, &sent, progress).await {
            Ok(response) if response.status().is_success() => {
                progress.blob(blob, BlobProgress::Done);
                return Ok(());
            }
            Ok(response) if is_passing(response.status()) || is_lost(response.status()) => {
                if !patience.again(retry_after(response.headers())).await {
                    return Err(sending.refused(response).await);
                }
            }
            Ok(response) => return Err(sending.refused(response).await),
            Err(error) => {
                if !patience.after(&error).await {
                    return Err(error);
                }
            }
        }
        progress.blob(blob, BlobProgress::Retrying);
    }
}

/// What came of asking for a mount.
enum Mounted {
    /// The registry has it now.
    Done,
    /// It began an upload instead.
    Begun(Url),
    /// Nothing to mount from.
    Not,
}

struct Sending<'a> {
    session: &'a Session,
    repository: &'a RepositoryName,
    blob: &'a Descriptor,
}

impl Sending<'_> {
    async fn is_there(&self) -> Result<bool, ClientError> {
        let path = format!("{}/blobs/{}", self.repository, self.blob.digest);
        let url = self.session.endpoint.url(&path, Query::default());
        let response = self
            .session
            .send(self.session.endpoint.request(Method::HEAD, url))
            .await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // The answer to HEAD has no body; what the registry has to say, it says to the upload.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(false),
            _ => Err(self.refused(response).await),
        }
    }

    /// Asks for a mount if the blob is known to have come from another repository of the same registry.
    async fn mount(&self) -> Result<Mounted, ClientError> {
        let endpoint = &self.session.endpoint;
        let origin = self.session.inner.origin(&endpoint.registry, &self.blob.digest);
        let Some(origin) = origin.filter(|origin| origin != self.repository) else {
            return Ok(Mounted::Not);
        };
        let mut query = Query::default();
        query.push("mount", self.blob.digest.as_str());
        query.push("from", origin.as_str());
        let url = endpoint.url(&format!("{}/blobs/uploads/", self.repository), query);
        let session = self.session.also(format!("repository:{origin}:pull"));
        // A mount saves time and is never needed: whatever goes wrong with it, the upload will tell.
        let Ok(response) = session.send(endpoint.request(Method::POST, url)).await else {
            return Ok(Mounted::Not);
        };
        match response.status() {
            StatusCode::CREATED => Ok(Mounted::Done),
            StatusCode::ACCEPTED => self.place(&response).map(Mounted::Begun),
            _ => Ok(Mounted::Not),
        }
    }

    async fn begin(&self) -> Result<Url, ClientError> {
        let endpoint = &self.session.endpoint;
        let url = endpoint.url(&format!("{}/blobs/uploads/", self.repository), Query::default());
        let response = self.session.send(endpoint.request(Method::POST, url)).await?;
        if response.status() != StatusCode::ACCEPTED {
            return Err(self.refused(response).await);
        }
        self.place(&response)
    }

    /// Where the upload goes on.
    fn place(&self, response: &Response) -> Result<Url, ClientError> {
        let endpoint = &self.session.endpoint;
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|location| location.to_str().ok());
        let joined = location.and_then(|location| response.url().join(location).ok());
        let mut place = joined.ok_or_else(|| {
            ClientError::protocol(&endpoint.registry, "it began an upload without saying where")
        })?;
        // A registry behind a proxy often does not know that it is reached over TLS.
        let mut secured = place.clone();
        if endpoint.base.scheme() == "https"
            && place.scheme() == "http"
            && secured.set_scheme("https").is_ok()
            && same_origin(&secured, &endpoint.base)
        {
            place = secured;
        }
        Ok(place)
    }

    async fn send(&self, mut at: Url, payload: Payload) -> Result<Response, ClientError> {
        at.query_pairs_mut()
            .append_pair("digest", self.blob.digest.as_str());
        let request = self
            .session
            .endpoint
            .request(Method::PUT, at)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .payload(payload);
        self.session.send_once(request).await
    }

    async fn refused(&self, response: Response) -> ClientError {
        self.session
            .refusal(&format!("the upload of {}", self.blob.digest), response)
            .await
    }
}

/// The upload is gone or stands elsewhere: it can be begun again.
fn is_lost(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::CONFLICT
    )
}

/// Waits for an upload and tells of it now and then.
async fn watched<T>(
    upload: impl Future<Output = T>,
    blob: &Descriptor,
    sent: &AtomicU64,
    progress: &dyn PushProgress,
) -> T {
    let mut upload = std::pin::pin!(upload);
    let mut ticks = tokio::time::interval(REPORT);
    loop {
        tokio::select! {
            outcome = &mut upload => return outcome,
            _ = ticks.tick() => progress.blob(blob, BlobProgress::Moving { done: sent.load(Ordering::Relaxed) }),
        }
    }
}

//! One blob from a store to a registry: there already, mounted, or sent in one piece.
//!
//! When a connection is cut, the registry is asked how much has come, and is sent the rest. Few registries keep what came, and some that
//! say so do not: where that leads to nothing, the blob is begun again.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
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
use crate::transfer::PROGRESS;
use crate::wire::{ContentRange, Query};

/// How often the rest of a blob may be refused before all of it is sent again. Once is nothing: when it was asked how much had come, more
/// may have been on its way.
const MOST_REFUSED_RESTS: u32 = 2;
/// How often a watcher hears of an upload.
const REPORT: Duration = Duration::from_millis(100);

/// Makes sure that a registry has a blob. Without being in the store it can still be mounted from where it is known to be.
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
    let mut place = match sending.mount().await? {
        Mounted::Done => {
            progress.blob(blob, BlobProgress::Present);
            return Ok(());
        }
        Mounted::Begun(at) => Some(Place { at, offset: 0 }),
        Mounted::Not => None,
    };
    // Only now: what can be mounted need not be here.
    let (store, digest) = (from.clone(), blob.digest.clone());
    let file = blocking(move || {
        store
            .open_blob(&digest)
            .map_err(|_| ClientError::Missing { digest })
    })
    .await?;
    let file = Arc::new(file);
    let mut patience = Patience::new(&session.inner.options.timeouts);
    let (mut furthest, mut refused_rests) = (0, 0);
    loop {
        let from = match place.take() {
            Some(place) => place,
            None => Place {
                at: sending.begin().await?,
                offset: 0,
            },
        };
        let sent = AtomicU64::new(0).into();
        match watched(sending.send(&from, &file, &sent), blob, &from, &sent, progress).await {
            Ok(response) if response.status().is_success() => {
                progress.blob(blob, BlobProgress::Done);
                return Ok(());
            }
            Ok(response)
                if is_passing(response.status()) || is_lost(response.status()) || from.offset > 0 =>
            {
                if !patience.again(retry_after(response.headers())).await {
                    return Err(sending.refused(response).await);
                }
                // A conflict says that whoever took the first part has not let go of it yet.
                let is_refused = !is_passing(response.status()) && response.status() != StatusCode::CONFLICT;
                if from.offset > 0 && is_refused {
                    refused_rests += 1;
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
        if refused_rests < MOST_REFUSED_RESTS {
            place = sending.whereabouts(&from.at).await;
        }
        match &place {
            // Further than ever, or a registry that forgets again and again would never be given up.
            Some(place) if place.offset >= furthest + PROGRESS => {
                furthest = place.offset;
                refused_rests = 0;
                patience.renew();
            }
            Some(_) => {}
            // Perhaps only the answer was lost.
            None if matches!(sending.is_there().await, Ok(true)) => {
                progress.blob(blob, BlobProgress::Done);
                return Ok(());
            }
            None => {}
        }
    }
}

/// Where an upload goes on.
struct Place {
    at: Url,
    /// How much of the blob is there already.
    offset: u64,
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

    /// Asks how much has come of an upload that was cut. Nothing if that is nothing, or not known: whatever goes wrong with this, a new
    /// upload will tell.
    async fn whereabouts(&self, at: &Url) -> Option<Place> {
        let request = self.session.endpoint.request(Method::GET, at.clone());
        let response = self.session.send_once(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let range = response.headers().get(RANGE)?.to_str().ok();
        let range = range.and_then(ContentRange::parse)?;
        // `0-0` says one byte, and nothing as well.
        let is_part = range.first == 0 && range.last > 0 && range.last < self.blob.size;
        is_part.then(|| Place {
            at: self.place(&response).unwrap_or_else(|_| at.clone()),
            offset: range.last + 1,
        })
    }

    async fn send(
        &self,
        from: &Place,
        file: &Arc<File>,
        sent: &Arc<AtomicU64>,
    ) -> Result<Response, ClientError> {
        let mut at = from.at.clone();
        at.query_pairs_mut()
            .append_pair("digest", self.blob.digest.as_str());
        let mut request = self
            .session
            .endpoint
            .request(Method::PUT, at)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .payload(Payload::File {
                file: Arc::clone(file),
                first: from.offset,
                length: self.blob.size - from.offset,
                sent: Arc::clone(sent),
            });
        let rest = (from.offset > 0 && from.offset < self.blob.size)
            .then(|| format!("{}-{}", from.offset, self.blob.size - 1));
        if let Some(rest) = rest.and_then(|rest| HeaderValue::try_from(rest).ok()) {
            request = request.header(CONTENT_RANGE, rest);
        }
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
    from: &Place,
    sent: &AtomicU64,
    progress: &dyn PushProgress,
) -> T {
    let mut upload = std::pin::pin!(upload);
    let mut ticks = tokio::time::interval(REPORT);
    loop {
        tokio::select! {
            outcome = &mut upload => return outcome,
            _ = ticks.tick() => {
                let done = from.offset + sent.load(Ordering::Relaxed);
                progress.blob(blob, BlobProgress::Moving { done });
            }
        }
    }
}

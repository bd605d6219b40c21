//! One blob from a registry into a store.
//!
//! A connection that is cut is resumed where it ended; what comes is hashed as it is written, so that bytes of two
//! connections are trusted no more than those of one.
//!
//! A blob that the store has already is not taken on its digest alone: whoever knows a digest could otherwise set up a
//! registry that names it and read a stranger's layer. The registry has to show that it has the bytes, by sending a few of
//! them from a place that we choose.

use std::fs::File;
use std::io::Write;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use reqwest::Response;
use shipway_oci::{Descriptor, Digest, RepositoryName, Verifier, VerifyError};
use shipway_store::{CommitError, Store};
use tokio::task::JoinHandle;

use super::error::ClientError;
use super::ours::blocking;
use super::patience::Patience;
use super::progress::{BlobProgress, PullProgress};
use super::session::Session;
use crate::transfer::{Chunks, Feed, PROGRESS, chunks, read_exactly};
use crate::wire::{ContentRange, Query};

/// A blob of up to this size is shown whole.
const SHOWN_WHOLE: u64 = 4096;
/// How much of a larger one is shown: too much to guess in anything that is compressed.
const SHOWN: u64 = 64;

/// Brings a blob into the store, or has the registry show that it has it.
pub(super) async fn download(
    session: &Session,
    repository: &RepositoryName,
    blob: &Descriptor,
    into: &Store,
    progress: &dyn PullProgress,
) -> Result<(), ClientError> {
    let (store, digest) = (into.clone(), blob.digest.clone());
    let known = blocking(move || {
        let info = store.blob(&digest).map_err(ClientError::store)?;
        let file = info.map(|info| Ok((info.size, store.open_blob(&digest).map_err(ClientError::store)?)));
        file.transpose()
    })
    .await?;
    let transfer = Transfer {
        session,
        repository,
        blob,
    };
    match known {
        Some((size, _)) if size != blob.size => Err(transfer.damaged(wrong_size(blob, size))),
        Some((_, file)) => {
            transfer.have_it_shown(file).await?;
            progress.blob(blob, BlobProgress::Present);
            Ok(())
        }
        None => {
            transfer.fetch(into, progress).await?;
            progress.blob(blob, BlobProgress::Done);
            Ok(())
        }
    }
}

struct Transfer<'a> {
    session: &'a Session,
    repository: &'a RepositoryName,
    blob: &'a Descriptor,
}

/// Where an answer's bytes belong.
struct Arriving {
    response: Response,
    /// How many of its bytes we have already.
    surplus: u64,
}

impl Transfer<'_> {
    async fn fetch(&self, into: &Store, progress: &dyn PullProgress) -> Result<(), ClientError> {
        // Each holds a blocking thread until its last byte; there must be some left for others.
        let _place = self
            .session
            .inner
            .downloads
            .acquire()
            .await
            .map_err(ClientError::store)?;
        let (feed, chunks) = chunks();
        let writing = write_down(into, &self.blob.digest, chunks);
        match self.feed(&feed, progress).await {
            Ok(()) => {
                feed.end().await;
                self.written(writing).await
            }
            Err(error) => {
                drop(feed);
                // The store's own failure, if there is one, is why the feed stopped.
                match self.written(writing).await {
                    Err(store @ ClientError::Store { .. }) if matches!(error, ClientError::Store { .. }) => {
                        Err(store)
                    }
                    _ => Err(error),
                }
            }
        }
    }

    async fn written(&self, writing: JoinHandle<Result<(), Written>>) -> Result<(), ClientError> {
        match writing.await.map_err(ClientError::store)? {
            Ok(()) => Ok(()),
            Err(Written::Mismatch { expected, actual }) => Err(self.damaged(VerifyError::WrongDigest {
                expected,
                found: actual,
            })),
            Err(Written::Failed(error)) => Err(ClientError::Store { source: error }),
        }
    }

    /// Feeds all bytes of the blob, over as many connections as it takes.
    async fn feed(&self, feed: &Feed, progress: &dyn PullProgress) -> Result<(), ClientError> {
        let mut patience = Patience::new(&self.session.inner.options.timeouts);
        let mut done = 0;
        loop {
            let before = done;
            let error = match self.open(done).await {
                Ok(arriving) => match self.pour(arriving, &mut done, feed, progress).await {
                    Ok(()) if done == self.blob.size => return Ok(()),
                    Ok(()) => self.session.ended_early(),
                    // Cut after the last byte: nothing is left to ask for, and the digest tells whether it is the blob.
                    Err(ClientError::Unreachable { .. }) if done == self.blob.size => return Ok(()),
                    Err(error @ ClientError::Unreachable { .. }) => error,
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            };
            if done - before >= PROGRESS {
                patience.renew();
            }
            progress.blob(self.blob, BlobProgress::Retrying);
            if !patience.after(&error).await {
                return Err(error);
            }
        }
    }

    async fn open(&self, done: u64) -> Result<Arriving, ClientError> {
        let range = (done > 0).then(|| format!("bytes={done}-"));
        let response = self.get(range).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(Arriving {
                response,
                surplus: done,
            });
        }
        match content_range(&response) {
            Some(range) if range.first <= done => Ok(Arriving {
                surplus: done - range.first,
                response,
            }),
            _ => Err(self.protocol("it answered another range than the one asked for")),
        }
    }

    async fn get(&self, range: Option<String>) -> Result<Response, ClientError> {
        let path = format!("{}/blobs/{}", self.repository, self.blob.digest);
        let url = self.session.endpoint.url(&path, Query::default());
        let mut request = self.session.endpoint.request(Method::GET, url);
        if let Some(range) = range.and_then(|range| HeaderValue::try_from(range).ok()) {
            request = request.header(RANGE, range);
        }
        let response = self.session.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self
            .session
            .refusal(&format!("the blob {}", self.blob.digest), response)
            .await)
    }

    async fn pour(
        &self,
        arriving: Arriving,
        done: &mut u64,
        feed: &Feed,
        progress: &dyn PullProgress,
    ) -> Result<(), ClientError> {
        let Arriving {
            mut response,
            mut surplus,
        } = arriving;
        let mut pace = self.session.pace();
        while let Some(mut chunk) = self.session.chunk(&mut response, &mut pace).await? {
            let known = usize::try_from(surplus).unwrap_or(usize::MAX).min(chunk.len());
            surplus -= chunk.split_to(known).len() as u64;
            if chunk.is_empty() {
                continue;
            }
            *done += chunk.len() as u64;
            if *done > self.blob.size {
                let (digest, expected) = (self.blob.digest.clone(), self.blob.size);
                return Err(self.damaged(VerifyError::TooLong { digest, expected }));
            }
            if !feed.send(chunk).await {
                return Err(ClientError::store("writing stopped"));
            }
            progress.blob(self.blob, BlobProgress::Moving { done: *done });
        }
        Ok(())
    }

    /// The registry shows that it has the bytes that we have.
    async fn have_it_shown(&self, file: File) -> Result<(), ClientError> {
        let size = self.blob.size;
        if size == 0 {
            return Ok(());
        }
        let (first, length) = if size <= SHOWN_WHOLE {
            (0, size)
        } else {
            (rand::random_range(0..=size - SHOWN), SHOWN)
        };
        let range = (length < size).then(|| format!("bytes={first}-{}", first + length - 1));
        let response = self.get(range).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return self.have_all_shown(response).await;
        }
        if content_range(&response).is_none_or(|range| range.first != first || range.length() != length) {
            return Err(self.protocol("it answered another range than the one asked for"));
        }
        let limit = usize::try_from(length).unwrap_or(usize::MAX);
        let shown = self.session.body(response, limit).await?;
        let ours = blocking(move || read_exactly(&file, first, length).map_err(ClientError::store)).await?;
        if shown == ours {
            return Ok(());
        }
        Err(self.protocol(format!(
            "it names the blob {} but does not have it",
            self.blob.digest
        )))
    }

    /// A registry without ranges: everything comes, and is looked at and not kept.
    async fn have_all_shown(&self, mut response: Response) -> Result<(), ClientError> {
        let mut verifier = Verifier::new(self.blob.digest.clone(), Some(self.blob.size));
        let mut pace = self.session.pace();
        while let Some(chunk) = self.session.chunk(&mut response, &mut pace).await? {
            verifier.update(&chunk).map_err(|error| self.damaged(error))?;
        }
        verifier.finish().map_err(|error| self.damaged(error))
    }

    fn damaged(&self, source: VerifyError) -> ClientError {
        ClientError::Damaged {
            registry: self.session.endpoint.registry.clone(),
            source,
        }
    }

    fn protocol(&self, problem: impl Into<String>) -> ClientError {
        ClientError::protocol(&self.session.endpoint.registry, problem)
    }
}

/// Why a blob was not written.
enum Written {
    Mismatch { expected: Digest, actual: Digest },
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

fn write_down(into: &Store, digest: &Digest, chunks: Chunks) -> JoinHandle<Result<(), Written>> {
    let (store, digest) = (into.clone(), digest.clone());
    tokio::task::spawn_blocking(move || {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Written::Failed(error);
        let mut writer = store
            .begin_blob_as(digest.algorithm())
            .map_err(|error| failed(error.into()))?;
        for chunk in chunks {
            let chunk: Bytes = chunk.map_err(|error| failed(error.into()))?;
            writer.write_all(&chunk).map_err(|error| failed(error.into()))?;
        }
        match writer.commit(Some(&digest)) {
            Ok(_) => Ok(()),
            Err(CommitError::DigestMismatch { expected, actual }) => {
                Err(Written::Mismatch { expected, actual })
            }
            Err(other) => Err(failed(other.into())),
        }
    })
}

fn content_range(response: &Response) -> Option<ContentRange> {
    ContentRange::parse(response.headers().get(CONTENT_RANGE)?.to_str().ok()?)
}

fn wrong_size(blob: &Descriptor, size: u64) -> VerifyError {
    if size > blob.size {
        VerifyError::TooLong {
            digest: blob.digest.clone(),
            expected: blob.size,
        }
    } else {
        VerifyError::TooShort {
            digest: blob.digest.clone(),
            expected: blob.size,
            found: size,
        }
    }
}

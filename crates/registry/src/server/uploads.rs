//! Uploads: in one piece, in chunks, by mount.
//!
//! A chunk must continue where the upload stands; another one is answered with 416 and the place where it stands, from
//! which a client can go on. Whatever arrives of a chunk that is cut short is kept.

use std::io::Write;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, LOCATION, RANGE};
use http::{Response, StatusCode};
use http_body::Body;
use shipway_access::Action;
use shipway_oci::{Algorithm, Digest, RepositoryName};
use shipway_store::{UploadId, UploadWriter};

use super::Call;
use super::caller::Refusal;
use super::request_body::{drain, with_chunks};
use super::respond::{Answer, ResponseBody};
use crate::transfer::Chunks;
use crate::wire::{ContentRange, DOCKER_CONTENT_DIGEST, DOCKER_UPLOAD_UUID, ErrorCode, RegistryError};

/// What became of bytes that were added to an upload.
enum Added<T> {
    /// All in.
    Done(T),
    /// The chunk belongs somewhere else.
    OutOfPlace {
        /// Where the upload stands.
        offset: u64,
    },
}

impl Call<'_> {
    pub(super) async fn begin_upload<B>(
        &self,
        name: &RepositoryName,
        body: B,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
    {
        if let Some(digest) = self.query.get("mount") {
            drain(body, &self.inner.options).await;
            let digest: Digest = digest.parse().map_err(|error| digest_invalid(&error))?;
            if self.mount(name, &digest).await? {
                return Ok(created_blob(name, &digest));
            }
        } else if let Some(digest) = self.query.get("digest") {
            return self.upload_at_once(name, digest, body).await;
        } else {
            drain(body, &self.inner.options).await;
        }
        let algorithm = match self.query.get("digest-algorithm") {
            Some(algorithm) => algorithm.parse().map_err(|error| digest_invalid(&error))?,
            None => Algorithm::Sha256,
        };
        let repository = name.clone();
        let id = self
            .blocking(move |authority, who| authority.begin_upload(who, &repository, algorithm))
            .await?;
        if let Some(token) = &self.caller.token {
            self.inner.sessions.begin(&id, token, &self.caller.principal);
        }
        Ok(accepted(StatusCode::ACCEPTED, name, &id, 0).empty())
    }

    async fn mount(&self, name: &RepositoryName, digest: &Digest) -> Result<bool, Refusal> {
        let from = match self.query.get("from").map(str::parse::<RepositoryName>) {
            // A source that cannot exist is one that does not: the client uploads.
            Some(Err(_)) => return Ok(false),
            Some(Ok(source)) => Some(source),
            None => None,
        };
        let limit = self.caller.limit();
        let (name, digest) = (name.clone(), digest.clone());
        let mounted = self.blocking(move |authority, who| {
            authority.mount(who, &name, &digest, from.as_ref(), &|source| {
                limit.admits(source, Action::Pull)
            })
        });
        Ok(mounted.await?.is_some())
    }

    async fn upload_at_once<B>(
        &self,
        name: &RepositoryName,
        digest: &str,
        body: B,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
    {
        let (authority, who) = (self.authority().clone(), self.caller.principal.clone());
        let repository = name.clone();
        let expected = digest.parse::<Digest>().map_err(|error| digest_invalid(&error));
        let put = with_chunks(body, self.inner, &self.caller.principal, move |chunks| {
            let expected = expected?;
            let id = authority.begin_upload(&who, &repository, expected.algorithm())?;
            let writer = authority.open_upload(&who, &repository, &id)?;
            // The client never learns the id, so it could not go on with what came.
            let added = append(writer, None, chunks).inspect_err(|_| {
                let _ = authority.cancel_upload(&who, &repository, &id);
            })?;
            match added {
                Added::Done(writer) => authority.finish_upload(&who, &repository, writer, &expected),
                Added::OutOfPlace { .. } => Err(RegistryError::new(ErrorCode::BlobUploadInvalid)),
            }
        });
        Ok(created_blob(name, &put.await?.digest))
    }

    pub(super) async fn upload_status(
        &self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (repository, upload) = (name.clone(), id.clone());
        let offset = self
            .blocking(move |authority, who| authority.upload_offset(who, &repository, &upload))
            .await?;
        Ok(accepted(StatusCode::NO_CONTENT, name, id, offset).empty())
    }

    pub(super) async fn append_upload<B>(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        body: B,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
    {
        let place = self.place(&body);
        let (authority, who) = (self.authority().clone(), self.caller.principal.clone());
        let (repository, upload) = (name.clone(), id.clone());
        let added = with_chunks(body, self.inner, &self.caller.principal, move |chunks| {
            let place = place?;
            let writer = authority.open_upload(&who, &repository, &upload)?;
            match append(writer, place, chunks)? {
                Added::Done(writer) => {
                    let offset = writer.offset();
                    writer.suspend().map_err(RegistryError::internal)?;
                    Ok(Added::Done(offset))
                }
                Added::OutOfPlace { offset } => Ok(Added::OutOfPlace { offset }),
            }
        });
        match added.await? {
            Added::Done(offset) => Ok(accepted(StatusCode::ACCEPTED, name, id, offset).empty()),
            Added::OutOfPlace { offset } => Err(out_of_place(name, id, offset)),
        }
    }

    pub(super) async fn finish_upload<B>(
        &self,
        name: &RepositoryName,
        id: &UploadId,
        body: B,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
    {
        let expected = match self.query.get("digest") {
            Some(digest) => digest.parse().map_err(|error| digest_invalid(&error)),
            None => {
                let message = "an upload ends with `?digest=` and the digest of its content";
                Err(RegistryError::with_message(ErrorCode::DigestInvalid, message))
            }
        };
        let place = self.place(&body);
        let (authority, who) = (self.authority().clone(), self.caller.principal.clone());
        let (repository, upload) = (name.clone(), id.clone());
        // What is wrong with the head is found inside, where the body is read to its end either way.
        let added = with_chunks(body, self.inner, &self.caller.principal, move |chunks| {
            let (expected, place): (Digest, _) = (expected?, place?);
            let writer = authority.open_upload(&who, &repository, &upload)?;
            match append(writer, place, chunks)? {
                Added::Done(writer) => authority
                    .finish_upload(&who, &repository, writer, &expected)
                    .map(Added::Done),
                Added::OutOfPlace { offset } => Ok(Added::OutOfPlace { offset }),
            }
        });
        match added.await? {
            Added::Done(blob) => {
                self.inner.sessions.end(id);
                Ok(created_blob(name, &blob.digest))
            }
            Added::OutOfPlace { offset } => Err(out_of_place(name, id, offset)),
        }
    }

    pub(super) async fn cancel_upload(
        &self,
        name: &RepositoryName,
        id: &UploadId,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (repository, upload) = (name.clone(), id.clone());
        self.blocking(move |authority, who| authority.cancel_upload(who, &repository, &upload))
            .await?;
        self.inner.sessions.end(id);
        Ok(Answer::new(StatusCode::NO_CONTENT).empty())
    }

    /// Where the client says its chunk belongs. A chunk whose two lengths differ is refused before a byte is taken.
    fn place(&self, body: &impl Body) -> Result<Option<ContentRange>, RegistryError> {
        let Some(header) = self.head.headers.get(CONTENT_RANGE) else {
            return Ok(None);
        };
        let range = header
            .to_str()
            .ok()
            .and_then(ContentRange::parse)
            .ok_or_else(|| {
                let message = "the Content-Range header cannot be read: use `first-last`";
                RegistryError::with_message(ErrorCode::BlobUploadInvalid, message)
            })?;
        let length = body.size_hint().exact();
        if length.is_some_and(|length| length != range.length()) {
            let message = "Content-Length and Content-Range do not agree";
            return Err(RegistryError::with_message(ErrorCode::SizeInvalid, message));
        }
        Ok(Some(range))
    }
}

/// Adds chunks to an upload, from where it stands on.
fn append(
    mut writer: UploadWriter,
    place: Option<ContentRange>,
    chunks: Chunks,
) -> Result<Added<UploadWriter>, RegistryError> {
    let start = writer.offset();
    if place.is_some_and(|place| place.first != start) {
        writer.suspend().map_err(RegistryError::internal)?;
        return Ok(Added::OutOfPlace { offset: start });
    }
    for chunk in chunks {
        let written = match chunk {
            Ok(chunk) => writer.write_all(&chunk).map_err(RegistryError::internal),
            Err(interrupted) => Err(cut_short(interrupted)),
        };
        if let Err(error) = written {
            writer.suspend().map_err(RegistryError::internal)?;
            return Err(error);
        }
    }
    let received = writer.offset() - start;
    if place.is_some_and(|place| place.length() != received) {
        writer.suspend().map_err(RegistryError::internal)?;
        let message = format!("the chunk has {received} bytes, Content-Range promised another number");
        return Err(RegistryError::with_message(ErrorCode::SizeInvalid, message));
    }
    Ok(Added::Done(writer))
}

fn cut_short(_: crate::transfer::Interrupted) -> RegistryError {
    RegistryError::with_message(
        ErrorCode::BlobUploadInvalid,
        "the connection ended before the content did: ask for the upload's range and go on from there",
    )
}

fn digest_invalid(error: &shipway_oci::DigestError) -> RegistryError {
    RegistryError::with_message(ErrorCode::DigestInvalid, error.to_string())
}

fn upload_path(name: &RepositoryName, id: &UploadId) -> String {
    format!("/v2/{name}/blobs/uploads/{id}")
}

/// `0-0` stands for nothing as well as for one byte: the protocol has no better word.
fn range_so_far(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn accepted(status: StatusCode, name: &RepositoryName, id: &UploadId, offset: u64) -> Answer {
    Answer::new(status)
        .header(LOCATION, upload_path(name, id))
        .header(RANGE, range_so_far(offset))
        .header(DOCKER_UPLOAD_UUID, id.to_string())
}

fn created_blob(name: &RepositoryName, digest: &Digest) -> Response<ResponseBody> {
    Answer::new(StatusCode::CREATED)
        .header(LOCATION, format!("/v2/{name}/blobs/{digest}"))
        .header(DOCKER_CONTENT_DIGEST, digest.as_str())
        .empty()
}

fn out_of_place(name: &RepositoryName, id: &UploadId, offset: u64) -> Refusal {
    let message = format!("the upload stands at byte {offset}: go on from there");
    let error = RegistryError::with_message(ErrorCode::BlobUploadInvalid, message)
        .with_status(StatusCode::RANGE_NOT_SATISFIABLE);
    Refusal::from(error)
        .with(LOCATION, upload_path(name, id))
        .with(RANGE, range_so_far(offset))
        .with(DOCKER_UPLOAD_UUID, id.to_string())
}

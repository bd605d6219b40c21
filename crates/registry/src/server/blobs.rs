//! Blobs, out and away.

use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, RANGE};
use http::{HeaderValue, Response, StatusCode};
use shipway_oci::{Digest, RepositoryName};

use super::Call;
use super::caller::Refusal;
use super::respond::{Answer, ResponseBody};
use crate::transfer::{FileBody, read_exactly};
use crate::wire::{DOCKER_CONTENT_DIGEST, ErrorCode, RangeRequest, RegistryError};

/// A blob of up to this size is read in the same visit to a blocking thread that finds it.
const SMALL: u64 = 128 * 1024;

impl Call<'_> {
    pub(super) async fn head_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (name, wanted) = (name.clone(), digest.clone());
        let info = self
            .blocking(move |authority, who| authority.blob(who, &name, &wanted))
            .await?;
        Ok(blob_headers(StatusCode::OK, digest).length_only(info.size))
    }

    pub(super) async fn get_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let range = self
            .head
            .headers
            .get(RANGE)
            .and_then(|range| range.to_str().ok())
            .map(str::to_owned);
        let (name, wanted) = (name.clone(), digest.clone());
        let (size, request, body) = self
            .blocking(move |authority, who| {
                let (info, file) = authority.open_blob(who, &name, &wanted)?;
                let request = RangeRequest::parse(range.as_deref(), info.size);
                let (first, length) = match request {
                    RangeRequest::Whole => (0, info.size),
                    RangeRequest::Part(range) => (range.first, range.length()),
                    RangeRequest::Unsatisfiable => (0, 0),
                };
                let body = if length <= SMALL {
                    let bytes = read_exactly(&file, first, length).map_err(RegistryError::internal)?;
                    ResponseBody::Whole(bytes)
                } else {
                    ResponseBody::File(FileBody::new(file, first, length))
                };
                Ok((info.size, request, body))
            })
            .await?;
        match request {
            RangeRequest::Whole => Ok(blob_headers(StatusCode::OK, digest).body(body)),
            RangeRequest::Part(range) => Ok(blob_headers(StatusCode::PARTIAL_CONTENT, digest)
                .header(
                    CONTENT_RANGE,
                    format!("bytes {}-{}/{size}", range.first, range.last),
                )
                .body(body)),
            RangeRequest::Unsatisfiable => Err(Refusal::from(RegistryError::new(ErrorCode::RangeInvalid))
                .with(CONTENT_RANGE, format!("bytes */{size}"))),
        }
    }

    pub(super) async fn delete_blob(
        &self,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (name, digest) = (name.clone(), digest.clone());
        self.blocking(move |authority, who| authority.delete_blob(who, &name, &digest))
            .await?;
        Ok(Answer::new(StatusCode::ACCEPTED).empty())
    }
}

fn blob_headers(status: StatusCode, digest: &Digest) -> Answer {
    Answer::new(status)
        .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
        .header(DOCKER_CONTENT_DIGEST, digest.as_str())
        .header(ETAG, format!("\"{digest}\""))
        .header(ACCEPT_RANGES, HeaderValue::from_static("bytes"))
        .header(
            CACHE_CONTROL,
            HeaderValue::from_static("private, max-age=31536000, immutable"),
        )
}

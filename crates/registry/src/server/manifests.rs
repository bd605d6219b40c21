//! Manifests over HTTP.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{Method, Response, StatusCode};
use http_body::Body;
use shipway_oci::{MAX_MANIFEST_BYTES, RepositoryName, Tag};

use super::caller::Refusal;
use super::request_body::collect;
use super::respond::{Answer, ResponseBody};
use super::{Call, manifest_path};
use crate::authority::PutManifestRequest;
use crate::wire::{DOCKER_CONTENT_DIGEST, ErrorCode, ManifestReference, OCI_SUBJECT, OCI_TAG, RegistryError};

/// How many tags one request may set.
const MOST_TAGS: usize = 100;

impl Call<'_> {
    /// The hot path of every pull: a short read, so it stays on the async thread.
    pub(super) fn get_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let manifest = self
            .authority()
            .manifest(&self.caller.principal, name, reference)?;
        let answer = Answer::new(StatusCode::OK)
            .header(CONTENT_TYPE, manifest.media_type.as_str())
            .header(DOCKER_CONTENT_DIGEST, manifest.digest.as_str())
            .header(ETAG, format!("\"{}\"", manifest.digest));
        if self.head.method == Method::HEAD {
            return Ok(answer.length_only(manifest.bytes.len() as u64));
        }
        Ok(answer.body(ResponseBody::Whole(manifest.bytes.into())))
    }

    pub(super) async fn put_manifest<B>(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
        body: B,
    ) -> Result<Response<ResponseBody>, Refusal>
    where
        B: Body<Data = Bytes> + Send,
    {
        let bytes = collect(body, MAX_MANIFEST_BYTES, &self.inner.options)
            .await
            .map_err(|error| {
                // The protocol has a code for a manifest that is too large, and it is this one.
                if error.status == StatusCode::PAYLOAD_TOO_LARGE {
                    RegistryError {
                        code: ErrorCode::ManifestInvalid,
                        ..error
                    }
                } else {
                    error
                }
            })?;
        let media_type = self
            .head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let tags = self.tags_asked_for()?;
        let request = PutManifestRequest {
            bytes,
            media_type: media_type.map(str::to_owned),
            reference: reference.clone(),
            tags: tags.clone(),
        };
        let repository = name.clone();
        let put = self
            .blocking(move |authority, who| authority.put_manifest(who, &repository, request))
            .await?;
        let mut answer = Answer::new(StatusCode::CREATED)
            .header(
                LOCATION,
                manifest_path(name, &ManifestReference::Digest(put.digest.clone())),
            )
            .header(DOCKER_CONTENT_DIGEST, put.digest.as_str());
        for tag in &tags {
            answer = answer.header(OCI_TAG, tag.as_str());
        }
        if let Some(subject) = &put.subject {
            answer = answer.header(OCI_SUBJECT, subject.as_str());
        }
        Ok(answer.empty())
    }

    pub(super) async fn delete_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let (name, reference) = (name.clone(), reference.clone());
        self.blocking(move |authority, who| authority.delete_manifest(who, &name, &reference))
            .await?;
        Ok(Answer::new(StatusCode::ACCEPTED).empty())
    }

    fn tags_asked_for(&self) -> Result<Vec<Tag>, RegistryError> {
        let tags: Result<Vec<Tag>, _> = self
            .query
            .all("tag")
            .take(MOST_TAGS + 1)
            .map(str::parse)
            .collect();
        let tags =
            tags.map_err(|error| RegistryError::with_message(ErrorCode::TagInvalid, error.to_string()))?;
        if tags.len() > MOST_TAGS {
            let message = format!("at most {MOST_TAGS} tags can be set at once");
            return Err(RegistryError::with_message(ErrorCode::TagInvalid, message)
                .with_status(StatusCode::URI_TOO_LONG));
        }
        Ok(tags)
    }
}

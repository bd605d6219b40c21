//! Lists over HTTP, page by page.

use std::str::FromStr;

use http::header::LINK;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use shipway_oci::{Digest, RepositoryName, Tag, media_type};
use shipway_store::ReferrersPage;

use super::Call;
use super::caller::Refusal;
use super::respond::{self, ResponseBody};
use crate::wire::{ErrorCode, OCI_FILTERS_APPLIED, Query, RegistryError};

/// The length of a page that nobody asked to be shorter.
const PAGE: usize = 1000;
/// The longest page.
const LONGEST_PAGE: usize = 10_000;

/// Which part of a list is wanted.
struct Page<T> {
    last: Option<T>,
    limit: usize,
}

impl<T: FromStr> Page<T>
where
    T::Err: std::fmt::Display,
{
    fn of(query: &Query, wrong: ErrorCode) -> Result<Self, RegistryError> {
        let limit = match query.get("n") {
            None => PAGE,
            Some(text) => text
                .parse::<usize>()
                .map_err(|_| RegistryError::new(ErrorCode::PaginationNumberInvalid))?
                .min(LONGEST_PAGE),
        };
        let last = query
            .get("last")
            .filter(|last| !last.is_empty())
            .map(str::parse)
            .transpose();
        let last = last.map_err(|error: T::Err| RegistryError::with_message(wrong, error.to_string()))?;
        Ok(Self { last, limit })
    }
}

impl Call<'_> {
    pub(super) async fn tags(&self, name: &RepositoryName) -> Result<Response<ResponseBody>, Refusal> {
        let Page { last, limit } = Page::<Tag>::of(self.query, ErrorCode::TagInvalid)?;
        let repository = name.clone();
        let mut tags = self
            .blocking(move |authority, who| authority.tags(who, &repository, last.as_ref(), limit + 1))
            .await?;
        let more = tags.len() > limit;
        tags.truncate(limit);
        let next = tags
            .last()
            .filter(|_| more)
            .map(|last| format!("/v2/{name}/tags/list?n={limit}&last={last}"));
        Ok(linked(
            respond::json(StatusCode::OK, &json!({ "name": name, "tags": tags })),
            next,
        ))
    }

    pub(super) async fn catalog(&self) -> Result<Response<ResponseBody>, Refusal> {
        let Page { last, limit } = Page::<RepositoryName>::of(self.query, ErrorCode::NameInvalid)?;
        let mut names = self
            .blocking(move |authority, who| authority.catalog(who, last.as_ref(), limit + 1))
            .await?;
        let more = names.len() > limit;
        names.truncate(limit);
        let next = names
            .last()
            .filter(|_| more)
            .map(|last| format!("/v2/_catalog?n={limit}&last={last}"));
        Ok(linked(
            respond::json(StatusCode::OK, &json!({ "repositories": names })),
            next,
        ))
    }

    pub(super) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Response<ResponseBody>, Refusal> {
        let Page { last, limit } = Page::<Digest>::of(self.query, ErrorCode::DigestInvalid)?;
        let filter = self.query.get("artifactType");
        let (repository, wanted, artifact_type) = (name.clone(), subject.clone(), filter.map(str::to_owned));
        let found = self
            .blocking(move |authority, who| {
                let page = ReferrersPage {
                    artifact_type: artifact_type.as_deref(),
                    last: last.as_ref(),
                    at_most: limit,
                };
                authority.referrers(who, &repository, &wanted, page)
            })
            .await?;
        let next = found.descriptors.last().filter(|_| found.has_more).map(|last| {
            let mut query = Query::default();
            if let Some(filter) = filter {
                query.push("artifactType", filter);
            }
            query.push("n", &limit.to_string());
            query.push("last", last.digest.as_str());
            format!("/v2/{name}/referrers/{subject}?{}", query.encode())
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::OCI_INDEX,
            "manifests": found.descriptors,
        });
        let index_type = HeaderValue::from_static(media_type::OCI_INDEX);
        let mut response = linked(respond::json_of_type(StatusCode::OK, index_type, &index), next);
        if filter.is_some() {
            response
                .headers_mut()
                .insert(OCI_FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
        }
        Ok(response)
    }
}

fn linked(mut response: Response<ResponseBody>, next: Option<String>) -> Response<ResponseBody> {
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok()) {
        response.headers_mut().insert(LINK, next);
    }
    response
}

//! The token endpoint: docker's GET with Basic, and OAuth2's POST with a form.
//!
//! To be granted less than one asked for is no error: the answer is the intersection, and the registry then refuses what
//! is missing. There are no refresh tokens, so `docker login` keeps the password, as it does with most registries.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body::Body;
use serde_json::json;
use shipway_access::{AccessScope, Credentials, Secret};

use super::caller::{Authorization, Refusal};
use super::request_body::{collect, drain};
use super::respond::{self, ResponseBody};
use super::{Inner, origin};
use crate::authority::Authority;
use crate::wire::{ErrorCode, Query, RegistryError};

const LONGEST_FORM: usize = 64 * 1024;
const MOST_SCOPES: usize = 100;

pub(super) async fn answer<B>(
    inner: &Arc<Inner>,
    head: &Parts,
    query: &Query,
    body: B,
) -> Result<Response<ResponseBody>, Refusal>
where
    B: Body<Data = Bytes> + Send,
{
    if origin::is_foreign(head) {
        drain(body, &inner.options).await;
        let message = "a page of another site may not ask for tokens here";
        return Err(RegistryError::with_message(ErrorCode::Denied, message).into());
    }
    let form = match head.method {
        Method::POST => {
            let bytes = collect(body, LONGEST_FORM, &inner.options).await?;
            Query::parse(&String::from_utf8_lossy(&bytes))
        }
        Method::GET => query.clone(),
        _ => {
            drain(body, &inner.options).await;
            return Err(RegistryError::new(ErrorCode::Unsupported).into());
        }
    };
    let credentials = credentials(head, &form)?;
    let principal = inner.authenticate(head, credentials).await.map_err(|refusal| {
        refusal.with(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"shipway\""),
        )
    })?;
    let scopes: Vec<AccessScope> = form
        .all("scope")
        .flat_map(AccessScope::parse_list)
        .take(MOST_SCOPES)
        .collect();
    let token = inner.authority.issue(&principal, &scopes)?;
    let body = json!({
        "token": token.token,
        "access_token": token.token,
        "token_type": "Bearer",
        "expires_in": token.expires_in,
        "issued_at": token.issued_at,
    });
    let mut response = respond::json(StatusCode::OK, &body);
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn credentials(head: &Parts, form: &Query) -> Result<Option<Credentials>, RegistryError> {
    match (Authorization::of(head), form.get("grant_type")) {
        (Authorization::Basic(credentials), _) => Ok(Some(credentials)),
        (_, Some("refresh_token")) => Err(Authority::refuse_identity_token()),
        (_, Some("password")) => Ok(Some(Credentials {
            username: form.get("username").unwrap_or_default().to_owned(),
            password: Secret::from(form.get("password").unwrap_or_default().to_owned()),
        })),
        (Authorization::None, _) => Ok(None),
        (Authorization::Bearer(_) | Authorization::Unreadable, _) => Err(RegistryError::with_message(
            ErrorCode::Unauthorized,
            "tokens are given for a user name and a password, sent as Basic or as a form",
        )),
    }
}

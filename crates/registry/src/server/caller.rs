//! Who calls, and how somebody is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use shipway_access::{AccessScope, Action, Credentials, Grant, Principal, Secret, VerifyTokenError};
use shipway_oci::{Digest, RepositoryName, with_causes};

use super::origin;
use super::respond::{self, ResponseBody};
use super::{Inner, Need};
use crate::wire::{Challenge, ErrorCode, RegistryError, Route, TOKEN_PATH};

/// A longer header holds no credentials of ours.
const LONGEST_AUTHORIZATION: usize = 16 * 1024;

/// Who a request comes from.
pub(super) struct Caller {
    pub(super) principal: Principal,
    /// What the token stands for, which may be less than the principal's rights. `None` with a password.
    grant: Option<Grant>,
    /// The digest of the token, to remember which one began an upload.
    pub(super) token: Option<Digest>,
}

impl Caller {
    /// How far the caller's token goes; the principal's rights are another question.
    pub(super) fn limit(&self) -> Limit {
        // A token of somebody unknown says nothing that its absence would not.
        Limit(
            self.grant
                .clone()
                .filter(|grant| grant.principal != Principal::Anonymous),
        )
    }
}

/// How far a token goes; a password goes as far as its owner's rights.
#[derive(Clone)]
pub(super) struct Limit(Option<Grant>);

impl Limit {
    pub(super) fn admits(&self, repository: &RepositoryName, action: Action) -> bool {
        self.0
            .as_ref()
            .is_none_or(|grant| grant.allows(repository, action))
    }

    fn lists(&self) -> bool {
        self.0.as_ref().is_none_or(Grant::lists)
    }
}

/// What an `Authorization` header holds.
pub(super) enum Authorization {
    None,
    Basic(Credentials),
    Bearer(String),
    Unreadable,
}

impl Authorization {
    pub(super) fn of(head: &Parts) -> Self {
        let Some(value) = head.headers.get(AUTHORIZATION) else {
            return Self::None;
        };
        let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
            return Self::Unreadable;
        };
        let rest = rest.trim();
        if rest.len() > LONGEST_AUTHORIZATION {
            return Self::Unreadable;
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(rest.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Unreadable;
        }
        let decoded = STANDARD
            .decode(rest)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            // `docker` sends an empty pair when it has a credential helper that knows nothing.
            Some(("", "")) => Self::None,
            Some((username, password)) => Self::Basic(Credentials {
                username: username.to_owned(),
                password: Secret::from(password.to_owned()),
            }),
            None => Self::Unreadable,
        }
    }
}

impl Inner {
    /// Who sent a request.
    pub(super) async fn caller(&self, head: &Parts, route: &Route) -> Result<Caller, Refusal> {
        match Authorization::of(head) {
            Authorization::None => Ok(Caller {
                principal: Principal::Anonymous,
                grant: None,
                token: None,
            }),
            Authorization::Basic(credentials) => {
                let principal = self.authenticate(head, Some(credentials)).await?;
                Ok(Caller {
                    principal,
                    grant: None,
                    token: None,
                })
            }
            Authorization::Bearer(token) => self.bearer(&token, route),
            Authorization::Unreadable => Err(RegistryError::with_message(
                ErrorCode::Unauthorized,
                "the Authorization header cannot be read: use Basic or Bearer",
            )
            .into()),
        }
    }

    fn bearer(&self, token: &str, route: &Route) -> Result<Caller, Refusal> {
        let digest = Digest::sha256(token.as_bytes());
        match self.authority.verify(token) {
            Ok(grant) => Ok(Caller {
                principal: grant.principal.clone(),
                grant: Some(grant),
                token: Some(digest),
            }),
            Err(failure @ VerifyTokenError::LookUp { .. }) => Err(RegistryError::internal(failure).into()),
            Err(error) => {
                if let (VerifyTokenError::Expired, Route::Upload(_, id)) = (&error, route)
                    && let Some(principal) = self.sessions.owner(id, &digest)
                {
                    return Ok(Caller {
                        principal,
                        grant: None,
                        token: Some(digest),
                    });
                }
                let refused = RegistryError::with_message(ErrorCode::Unauthorized, error.to_string());
                Err(Refusal::from(refused).because("invalid_token"))
            }
        }
    }

    /// Who has these credentials. A password that must be checked waits for its turn, and for nothing else.
    pub(super) async fn authenticate(
        &self,
        head: &Parts,
        credentials: Option<Credentials>,
    ) -> Result<Principal, Refusal> {
        let Some(credentials) = credentials else {
            return Ok(Principal::Anonymous);
        };
        if let Some(known) = self.authority.recognise(&credentials)? {
            return Ok(known);
        }
        let turn = self.logins.turn(origin::peer(head)).await?;
        let authority = self.authority.clone();
        let outcome = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            authority.authenticate(Some(&credentials))
        });
        Ok(outcome.await.map_err(RegistryError::internal)??)
    }

    /// Whether the caller may do what the request needs. A token that stands for too little while its owner may do
    /// more is answered like none, so that the client asks for a better one.
    pub(super) fn admit(&self, caller: &Caller, need: Option<&Need>) -> Result<(), Refusal> {
        let (is_covered, what) = match need {
            None => return Ok(()),
            Some(Need::Repository { repository, action }) => {
                self.authority.check(&caller.principal, repository, *action)?;
                let is_covered = caller.limit().admits(repository, *action);
                (is_covered, format!("this use of `{repository}`"))
            }
            Some(Need::Catalog) => {
                self.authority.check_listing(&caller.principal)?;
                (caller.limit().lists(), "the list of repositories".to_owned())
            }
        };
        if is_covered {
            return Ok(());
        }
        let message = format!("the token does not cover {what}");
        let refused = RegistryError::with_message(ErrorCode::Unauthorized, message);
        Err(Refusal::from(refused).because("insufficient_scope"))
    }
}

/// An error on its way to the client.
#[derive(Debug)]
pub(super) struct Refusal {
    error: Box<RegistryError>,
    because: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self {
            error: Box::new(error),
            because: None,
            headers: Vec::new(),
        }
    }
}

impl Refusal {
    /// With the reason that goes into the challenge.
    fn because(mut self, reason: &'static str) -> Self {
        self.because = Some(reason);
        self
    }

    /// With a header; a value that cannot be one is left out.
    pub(super) fn with(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.push((name, value));
        }
        self
    }

    /// With the word where tokens come from, if it is a 401.
    pub(super) fn challenged(self, head: &Parts, need: Option<&Need>) -> Self {
        if self.error.status != StatusCode::UNAUTHORIZED {
            return self;
        }
        let realm = format!("{}{TOKEN_PATH}", origin::base(head));
        let mut challenge = Challenge::new("Bearer")
            .with("realm", realm)
            .with("service", origin::host(head));
        let scope = need.map(|need| match need {
            Need::Repository { repository, action } => {
                let actions = match action {
                    Action::Pull => &[Action::Pull][..],
                    Action::Push => &[Action::Pull, Action::Push],
                    Action::Delete => &[Action::Delete],
                };
                AccessScope::new(repository.clone(), actions.iter().copied())
            }
            Need::Catalog => AccessScope::Catalog,
        });
        if let Some(scope) = scope {
            challenge = challenge.with("scope", scope.to_string());
        }
        if let Some(reason) = self.because {
            challenge = challenge.with("error", reason);
        }
        self.with(WWW_AUTHENTICATE, challenge.to_string())
    }

    pub(super) fn into_response(self, head: &Parts) -> Response<ResponseBody> {
        if let Some(source) = &self.error.source {
            let (method, path) = (&head.method, head.uri.path());
            tracing::error!(%method, path, error = %with_causes(source.as_ref()), "a request failed");
        }
        let mut response = respond::json(self.error.status, &self.error.to_body());
        response.headers_mut().extend(self.headers);
        let seconds = match self.error.status {
            StatusCode::SERVICE_UNAVAILABLE => Some("1"),
            StatusCode::TOO_MANY_REQUESTS => Some("10"),
            _ => None,
        };
        if let Some(seconds) = seconds {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        response
    }
}

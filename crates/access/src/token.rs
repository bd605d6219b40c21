//! Bearer tokens: JSON Web Tokens signed with HMAC-SHA-256 under a secret of the store.
//!
//! Only we read them, so there is one algorithm, and the header is compared, not obeyed: `alg` in a token chooses
//! nothing. The signature is checked, in constant time, before anything is parsed. A token
//! names its key, so that one of another installation is told apart from a forged one; it names a user but not
//! the user's rights, which are looked up when the token is used.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shipway_oci::{Digest, RepositoryName};
use shipway_store::StoreId;

use crate::access::{Access, AccessError};
use crate::hmac::hmac_sha256;
use crate::secret::same;
use crate::{AccessScope, Action, LookUpError, Principal};

/// Docker clients take anything below a minute for a minute.
const LIFETIME: Duration = Duration::from_secs(300);
/// A longer text is no token of ours.
const LONGEST: usize = 64 * 1024;

/// A token for a client.
#[derive(Debug, Clone)]
pub struct BearerToken {
    /// The token itself.
    pub token: String,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// When it was made, in RFC 3339.
    pub issued_at: String,
}

/// What a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who it was given to, with the rights of now.
    pub principal: Principal,
    /// What it was given for.
    pub scopes: Vec<AccessScope>,
}

impl Grant {
    /// Whether the token was given for this. That its owner may still do it is another question: [`Access::allows`].
    pub fn allows(&self, repository: &RepositoryName, action: Action) -> bool {
        self.scopes.iter().any(|scope| match scope {
            AccessScope::Repository {
                repository: granted,
                actions,
            } => granted == repository && actions.contains(&action),
            AccessScope::Catalog => false,
        })
    }

    /// Whether the token was given for the names of all repositories. That its owner may still see them is another question:
    /// [`Access::may_list`].
    pub fn lists(&self) -> bool {
        self.scopes.contains(&AccessScope::Catalog)
    }
}

/// Why a token is worth nothing.
#[derive(Debug, thiserror::Error)]
pub enum VerifyTokenError {
    /// It is no token, or not signed by us.
    #[error("the token is not valid: log in again")]
    Invalid,
    /// Another installation signed it, or this one before it got a new secret.
    #[error("the token was made by another installation: log in again")]
    ForeignKey,
    /// It has ended.
    #[error("the token has expired: ask for a new one")]
    Expired,
    /// Whoever it was given to is not known any more: the user was removed, the job has ended.
    #[error("the token's owner is gone: the user was removed, or the job has ended")]
    OwnerGone,
    /// It cannot be told whether the owner is gone.
    #[error("cannot look up the token's owner")]
    LookUp {
        /// Why not.
        #[from]
        source: LookUpError,
    },
}

/// Signs and checks.
pub(crate) struct Signer {
    key: [u8; 32],
    key_id: String,
    installation: String,
    /// The one header that our tokens have, encoded.
    header: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: Subject,
    aud: String,
    exp: u64,
    nbf: u64,
    iat: u64,
    jti: String,
    access: Vec<ClaimedAccess>,
}

#[derive(Serialize, Deserialize)]
struct ClaimedAccess {
    r#type: String,
    name: String,
    actions: Vec<String>,
}

/// Who a token is for, as one text.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[derive(Clone)]
enum Subject {
    Anonymous,
    User(crate::UserName),
    Job(u64, RepositoryName),
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Anonymous => "anonymous".to_owned(),
            Subject::User(name) => format!("user:{name}"),
            Subject::Job(job, project) => format!("job:{job}:{project}"),
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let subject = match text.split_once(':') {
            None if text == "anonymous" => Some(Self::Anonymous),
            Some(("user", name)) => name.parse().ok().map(Self::User),
            Some(("job", rest)) => rest
                .split_once(':')
                .and_then(|(job, project)| Some(Self::Job(job.parse().ok()?, project.parse().ok()?))),
            _ => None,
        };
        subject.ok_or_else(|| "no subject of ours".to_owned())
    }
}

impl Signer {
    pub(crate) fn new(key: [u8; 32], installation: &StoreId) -> Self {
        let key_id = Digest::sha256(&key).hex()[..16].to_owned();
        let header = format!(r#"{{"alg":"HS256","typ":"JWT","kid":"{key_id}"}}"#);
        Self {
            key,
            key_id,
            installation: installation.to_string(),
            header: URL_SAFE_NO_PAD.encode(header),
        }
    }

    fn sign(&self, claims: &Claims) -> Result<String, serde_json::Error> {
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(claims)?);
        let signed = format!("{}.{claims}", self.header);
        let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(&self.key, signed.as_bytes()));
        Ok(format!("{signed}.{signature}"))
    }

    fn open(&self, token: &str) -> Result<Claims, VerifyTokenError> {
        if token.len() > LONGEST {
            return Err(VerifyTokenError::Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(VerifyTokenError::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(VerifyTokenError::Invalid)?;
        if header != self.header {
            return Err(self.foreign(header));
        }
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| VerifyTokenError::Invalid)?;
        if !same(&signature, &hmac_sha256(&self.key, signed.as_bytes())) {
            return Err(VerifyTokenError::Invalid);
        }
        let claims = URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| VerifyTokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(&claims).map_err(|_| VerifyTokenError::Invalid)?;
        if claims.iss != self.installation || claims.aud != self.installation {
            return Err(VerifyTokenError::Invalid);
        }
        Ok(claims)
    }

    /// What to say of a header that is not ours.
    fn foreign(&self, header: &str) -> VerifyTokenError {
        let decoded = URL_SAFE_NO_PAD.decode(header).unwrap_or_default();
        match serde_json::from_slice::<Header>(&decoded) {
            Ok(header) if header.alg == "HS256" && header.kid != self.key_id => VerifyTokenError::ForeignKey,
            _ => VerifyTokenError::Invalid,
        }
    }
}

impl Access {
    /// A token for what somebody asks for, as far as they may have it.
    pub fn issue(&self, principal: &Principal, asked: &[AccessScope]) -> Result<BearerToken, AccessError> {
        self.issue_at(principal, asked, SystemTime::now())
    }

    fn issue_at(
        &self,
        principal: &Principal,
        asked: &[AccessScope],
        now: SystemTime,
    ) -> Result<BearerToken, AccessError> {
        let issued = unix(now);
        let access = asked.iter().filter_map(|scope| self.granted(principal, scope));
        let claims = Claims {
            iss: self.signer.installation.clone(),
            sub: match principal {
                Principal::Anonymous => Subject::Anonymous,
                Principal::User { name, .. } => Subject::User(name.clone()),
                Principal::Job { project, job } => Subject::Job(*job, project.clone()),
            },
            aud: self.signer.installation.clone(),
            exp: issued + LIFETIME.as_secs(),
            nbf: issued,
            iat: issued,
            jti: URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            access: access.collect(),
        };
        let token = self
            .signer
            .sign(&claims)
            .map_err(|source| AccessError::Encode { source })?;
        Ok(BearerToken {
            token,
            expires_in: LIFETIME.as_secs(),
            issued_at: rfc_3339(now),
        })
    }

    /// What of a scope somebody may have.
    fn granted(&self, principal: &Principal, scope: &AccessScope) -> Option<ClaimedAccess> {
        let (r#type, name, actions) = match scope {
            AccessScope::Repository { repository, actions } => {
                let may = |action: &&Action| self.allows(principal, repository, **action);
                let actions = actions.iter().filter(may).map(ToString::to_string);
                ("repository", repository.to_string(), actions.collect())
            }
            AccessScope::Catalog => {
                let actions = self.may_list(principal).then(|| "*".to_owned());
                ("registry", "catalog".to_owned(), Vec::from_iter(actions))
            }
        };
        (!actions.is_empty()).then(|| ClaimedAccess {
            r#type: r#type.to_owned(),
            name,
            actions,
        })
    }

    /// What a token stands for.
    pub fn verify(&self, token: &str) -> Result<Grant, VerifyTokenError> {
        self.verify_at(token, SystemTime::now())
    }

    fn verify_at(&self, token: &str, now: SystemTime) -> Result<Grant, VerifyTokenError> {
        let claims = self.signer.open(token)?;
        if unix(now) >= claims.exp {
            return Err(VerifyTokenError::Expired);
        }
        let claimed = match claims.sub {
            Subject::Anonymous => Principal::Anonymous,
            Subject::Job(job, project) => Principal::Job { project, job },
            Subject::User(name) => Principal::User {
                name,
                administrator: false,
            },
        };
        let principal = self.current(&claimed)?.ok_or(VerifyTokenError::OwnerGone)?;
        let scopes = claims.access.iter().filter_map(|access| {
            format!("{}:{}:{}", access.r#type, access.name, access.actions.join(","))
                .parse()
                .ok()
        });
        Ok(Grant {
            principal,
            scopes: scopes.collect(),
        })
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn rfc_3339(time: SystemTime) -> String {
    let time = time::OffsetDateTime::from(time)
        .replace_nanosecond(0)
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    time.format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;

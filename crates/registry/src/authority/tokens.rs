//! Who somebody is, and what they are handed to prove it again.

use shipway_access::{
    AccessScope, AuthenticateError, BearerToken, Credentials, Grant, Principal, VerifyTokenError,
};

use super::Authority;
use crate::wire::{ErrorCode, RegistryError};

impl Authority {
    /// Who has these credentials; nobody's are anonymous. Hashes a password: belongs on a blocking thread.
    pub fn authenticate(&self, credentials: Option<&Credentials>) -> Result<Principal, RegistryError> {
        let Some(credentials) = credentials else {
            return Ok(Principal::Anonymous);
        };
        self.access.authenticate(credentials).map_err(unknown)
    }

    /// Who has these credentials, if no password must be checked to know it: a short read.
    pub fn recognise(&self, credentials: &Credentials) -> Result<Option<Principal>, RegistryError> {
        self.access.recognise(credentials).map_err(unknown)
    }

    /// The answer to an identity (refresh) token: we never hand one out.
    pub fn refuse_identity_token() -> RegistryError {
        RegistryError::with_message(
            ErrorCode::Unauthorized,
            "identity tokens are not issued here: log in with a user name and a password or a job's token",
        )
    }

    /// A token for what is asked, as far as the principal may have it.
    pub fn issue(&self, principal: &Principal, scopes: &[AccessScope]) -> Result<BearerToken, RegistryError> {
        self.access
            .issue(principal, scopes)
            .map_err(RegistryError::internal)
    }

    /// Refuses somebody who was known when the request or the upload began and is not any more. A short read.
    pub fn still(&self, principal: &Principal) -> Result<Principal, RegistryError> {
        self.access
            .current(principal)
            .map_err(RegistryError::internal)?
            .ok_or_else(|| {
                RegistryError::with_message(ErrorCode::Unauthorized, VerifyTokenError::OwnerGone.to_string())
            })
    }

    /// What a token stands for. Short: one keyed hash.
    pub fn verify(&self, token: &str) -> Result<Grant, VerifyTokenError> {
        self.access.verify(token)
    }
}

fn unknown(error: AuthenticateError) -> RegistryError {
    match error {
        AuthenticateError::LookUp { .. } => RegistryError::internal(error),
        refused => RegistryError::with_message(ErrorCode::Unauthorized, refused.to_string()),
    }
}

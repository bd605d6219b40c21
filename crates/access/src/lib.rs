//! Who may do what, decided in one place for requests over HTTP and for calls inside the process alike.
//!
//! [`Access`] answers three questions:
//!
//! - *who is this?* [`Access::authenticate`] turns a user's password or a job's token into a [`Principal`];
//! - *what may they do?* [`Access::allows`] and [`Access::may_list`], from one short table (`rights.rs`);
//! - *what did we promise them?* [`Access::issue`] and [`Access::verify`]: signed tokens that carry a [`Principal`] and the part of
//!   what was asked for that it may do, as the registries' token protocol wants it.
//!
//! Whether the process of a job lives is not in the store: who knows it is a [`JobWitness`].
//!
//! A token only ever narrows: whoever serves a request asks [`Grant::allows`] *and* [`Access::allows`]. So a
//! right that is taken away is gone at once, whatever tokens say.
//!
//! Passwords are kept as Argon2id hashes, tokens of jobs as SHA-256 (they are random, nothing is to be stretched).
//! Neither appears in a message, a log or a debug print: [`Secret`] sees to that.

mod access;
mod accounts;
mod hmac;
mod identity;
mod login;
mod password;
mod principal;
mod rights;
mod scope;
mod secret;
mod token;
mod witness;

pub use access::{Access, AccessError};
pub use accounts::{Added, JOB_TOKEN_USER};
pub use identity::{IdentityChallenge, IdentityProof, InvalidIdentityText};
pub use login::{AuthenticateError, Credentials};
pub use principal::{Action, Principal, UserName, UserNameError};
pub use scope::{AccessScope, AccessScopeError};
pub use secret::Secret;
pub use token::{BearerToken, Grant, VerifyTokenError};
pub use witness::{JobWitness, LookUpError, NO_JOB};

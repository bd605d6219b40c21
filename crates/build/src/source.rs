//! Where the files of a build come from, before they are here.

use crate::context::Context;
use crate::git::{GitAddress, GitAddressError};

/// A build context as it is asked for.
#[derive(Debug, Clone)]
pub enum ContextSource {
    /// Files that are here.
    Here(Context),
    /// What is fetched when the build begins, as far as its steps may reach.
    Remote(RemoteContext),
}

impl ContextSource {
    /// The files, once they are here.
    pub(crate) fn here(&self) -> &Context {
        match self {
            Self::Here(context) => context,
            Self::Remote(_) => &Context::Empty,
        }
    }
}

impl From<Context> for ContextSource {
    fn from(context: Context) -> Self {
        Self::Here(context)
    }
}

impl From<RemoteContext> for ContextSource {
    fn from(remote: RemoteContext) -> Self {
        Self::Remote(remote)
    }
}

/// A build context that is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteContext {
    /// A repository.
    Git(GitAddress),
    /// A tar, plain or compressed, or a Dockerfile without files, told apart by what it begins with.
    Url(String),
}

impl RemoteContext {
    /// What a text stands for that is no path; `None` when it can be one only.
    ///
    /// # Errors
    /// When it is the address of a repository that contradicts itself.
    pub fn parse(text: &str) -> Option<Result<Self, GitAddressError>> {
        if let Some(address) = GitAddress::parse_context(text) {
            return Some(address.map(Self::Git));
        }
        let is_url = text.starts_with("http://") || text.starts_with("https://");
        is_url.then(|| Ok(Self::Url(text.to_owned())))
    }
}

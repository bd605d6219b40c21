//! Who acts, and what they do.

use std::fmt;
use std::str::FromStr;

use shipway_oci::RepositoryName;

/// A user's name. It is also the first part of the names of the user's own repositories, so it follows their rules.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Box<str>);

/// A text that cannot be a user's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a user's name has 1 to 64 of a-z and 0-9, with single `.`, `_`, `__` or any number of `-` between them, and is not \
     `gitlab-ci-token`"
)]
pub struct UserNameError;

impl UserName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        let is_right = text.len() <= 64
            && !text.contains('/')
            && text != crate::JOB_TOKEN_USER
            && text.parse::<RepositoryName>().is_ok();
        if is_right {
            Ok(Self(text.into()))
        } else {
            Err(UserNameError)
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserName({})", self.0)
    }
}

/// Somebody who acts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody known.
    Anonymous,
    /// A person.
    User {
        /// By this name.
        name: UserName,
        /// Who may do everything.
        administrator: bool,
    },
    /// A job of a pipeline.
    Job {
        /// Its project.
        project: RepositoryName,
        /// Its number.
        job: u64,
    },
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("nobody known"),
            Self::User { name, .. } => write!(f, "user {name}"),
            Self::Job { project, job } => write!(f, "job {job} of {project}"),
        }
    }
}

/// Something that is done to a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Reading.
    Pull,
    /// Adding, and pointing tags elsewhere.
    Push,
    /// Taking away.
    Delete,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// Its name in a scope.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        for good in ["a", "ann-marie", "a.b_c", &"x".repeat(64)] {
            assert!(good.parse::<UserName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "Ann",
            "a b",
            "ä",
            "-a",
            "gitlab-ci-token",
            &"x".repeat(65),
        ] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
    }
}

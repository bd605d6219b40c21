//! The parts of a reference: registry, repository and tag, each a type that can only hold a valid value.
//!
//! The grammar is that of `distribution/reference`, checked by hand and not by regular expression, so that a refusal
//! can say what is wrong. Sizes are limited before anything is looked at.

use std::fmt;
use std::str::FromStr;

use crate::digest::abridged;

/// Why a text is no name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is nothing.
    #[error("the {kind} is empty")]
    Empty {
        /// What was asked for.
        kind: &'static str,
    },
    /// There is too much.
    #[error("the {kind} is {length} bytes long, at most {limit} are allowed")]
    TooLong {
        /// What was asked for.
        kind: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        limit: usize,
    },
    /// A registry's host, address or port is not one.
    #[error(
        "`{text}` is no registry: expected a host name or address with an optional port, such as `registry.example.com:5000`"
    )]
    Registry {
        /// The text, shortened.
        text: String,
    },
    /// A repository's name is in upper case.
    #[error("the repository name `{text}` must be lower case")]
    UpperCase {
        /// The text, shortened.
        text: String,
    },
    /// A repository's name has a wrong character or a separator in a wrong place.
    #[error(
        "`{text}` is no repository name: its parts hold a-z and 0-9, between them single `.`, `_`, `__` or any number of `-`"
    )]
    Repository {
        /// The text, shortened.
        text: String,
    },
    /// A tag has a wrong character.
    #[error(
        "`{text}` is no tag: it holds letters, digits, `_`, `.` and `-`, and does not begin with `.` or `-`"
    )]
    Tag {
        /// The text, shortened.
        text: String,
    },
}

/// What all texts with rules have in common.
macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

/// The host of a registry, with its port if it is not the usual one: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`.
///
/// Host names do not depend on case, so it is kept in lower case; but a capital letter is all that tells `Host/image` from
/// a repository of Docker Hub, and is kept there. Docker Hub's old name `index.docker.io` is `docker.io`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegistryName(Box<str>);
text_type!(RegistryName);

impl RegistryName {
    const KIND: &'static str = "registry";
    const LIMIT: usize = 255 + ":65535".len();

    /// Docker Hub, the registry of references that name none.
    pub fn docker_hub() -> Self {
        Self(crate::reference::DEFAULT_REGISTRY.into())
    }

    /// Whether this is Docker Hub.
    pub fn is_docker_hub(&self) -> bool {
        &*self.0 == crate::reference::DEFAULT_REGISTRY
    }

    /// The host name or address without port; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        split_port(&self.0).0
    }

    /// The port, if one is named.
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// Whether the host is this machine by its name or address, where plain HTTP is nothing to worry about.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

impl FromStr for RegistryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(Self::KIND, text, Self::LIMIT)?;
        let wrong = || NameError::Registry { text: abridged(text) };
        let (host, port) = split_port(text);
        let host_is_right = match host.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok()),
            None => host.split('.').all(is_host_label),
        };
        if !host_is_right || port.is_some_and(|port| !is_port(port)) {
            return Err(wrong());
        }
        let lower = text.to_ascii_lowercase();
        if lower == "index.docker.io" {
            return Ok(Self::docker_hub());
        }
        let is_plain_word = lower != "localhost" && !lower.contains(['.', ':', '[']);
        Ok(Self(if is_plain_word { text.into() } else { lower.into() }))
    }
}

/// The path of a repository in its registry, without the host: `library/alpine`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Box<str>);
text_type!(RepositoryName);

impl RepositoryName {
    const KIND: &'static str = "repository name";
    const LIMIT: usize = 255;

    /// The parts between the slashes.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Whether this is `other` or lies below it: `a/b` and `a/b/c` are within `a/b`, `a/bc` is not.
    pub fn is_within(&self, other: &RepositoryName) -> bool {
        self.0
            .strip_prefix(&*other.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(Self::KIND, text, Self::LIMIT)?;
        if text.split('/').all(is_path_component) {
            return Ok(Self(text.into()));
        }
        if text.to_ascii_lowercase().split('/').all(is_path_component) {
            return Err(NameError::UpperCase { text: abridged(text) });
        }
        Err(NameError::Repository { text: abridged(text) })
    }
}

/// A tag: `latest`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);
text_type!(Tag);

impl Tag {
    const KIND: &'static str = "tag";
    const LIMIT: usize = 128;

    /// `latest`, the tag of references that name neither tag nor digest.
    pub fn latest() -> Self {
        Self("latest".into())
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check_length(Self::KIND, text, Self::LIMIT)?;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        if bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Tag { text: abridged(text) })
        }
    }
}

fn check_length(kind: &'static str, text: &str, limit: usize) -> Result<(), NameError> {
    if text.is_empty() {
        Err(NameError::Empty { kind })
    } else if text.len() > limit {
        Err(NameError::TooLong {
            kind,
            length: text.len(),
            limit,
        })
    } else {
        Ok(())
    }
}

/// Splits `host:port`, where the host may be an IPv6 address in brackets.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let after_address = text.rfind(']').map_or(0, |bracket| bracket + 1);
    match text[after_address..].find(':') {
        Some(colon) => (
            &text[..after_address + colon],
            Some(&text[after_address + colon + 1..]),
        ),
        None => (text, None),
    }
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Runs of letters and digits, between which stands one of `.`, `_`, `__`, or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    if !bytes.first().is_some_and(word) || !bytes.last().is_some_and(word) {
        return false;
    }
    bytes.split(word).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|&byte| byte == b'-')
    })
}

#[cfg(test)]
mod tests;

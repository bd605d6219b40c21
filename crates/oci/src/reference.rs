//! Image references as people write them, with docker's defaults, and as programs must mean them.
//!
//! `alpine` is `docker.io/library/alpine:latest`. The first component names a registry if it holds a dot, a colon or a
//! capital letter, or is `localhost`; without one, the registry is Docker Hub, where single names lie in `library/`.
//! `latest` is put in when neither tag nor digest is given. All this happens once, in [`Reference::parse`]: a
//! [`Reference`] has no undecided parts.

use std::fmt;
use std::str::FromStr;

use crate::digest::abridged;
use crate::{Digest, DigestError, NameError, RegistryName, RepositoryName, Tag};

/// The registry of references that name none.
pub(crate) const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// Longer than any valid reference: registry, path, tag, and a SHA-512 digest.
const MAX_REFERENCE_BYTES: usize = 1024;

/// The name of an image, complete.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Where it lives.
    pub registry: RegistryName,
    /// Its repository there.
    pub repository: RepositoryName,
    /// The tag, if any; after [`Reference::parse`] there is a tag or a digest, and maybe both.
    pub tag: Option<Tag>,
    /// The digest, if any; it decides where a tag is there too.
    pub digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error("the image reference is empty")]
    Empty,
    /// There is too much.
    #[error("the image reference is {length} bytes long, at most {MAX_REFERENCE_BYTES} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// Sixty-four hexadecimal digits are an image id and no name.
    #[error("`{text}` is an image id, not a name: names may not be 64 hexadecimal digits")]
    Identifier {
        /// The text.
        text: String,
    },
    /// A part does not follow its rules.
    #[error("invalid image reference `{text}`")]
    Part {
        /// The whole reference, shortened.
        text: String,
        /// What is wrong with which part.
        #[source]
        source: NameError,
    },
    /// What follows the `@` is no digest.
    #[error("invalid digest in the image reference `{text}`")]
    Digest {
        /// The whole reference, shortened.
        text: String,
        /// What is wrong.
        #[source]
        source: DigestError,
    },
}

impl Reference {
    /// Reads a reference as docker does, with all its defaults.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() > MAX_REFERENCE_BYTES {
            return Err(ReferenceError::TooLong { length: text.len() });
        }
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier {
                text: text.to_owned(),
            });
        }
        let part = |source| ReferenceError::Part {
            text: abridged(text),
            source,
        };

        let (named, digest) = match text.split_once('@') {
            None => (text, None),
            Some((named, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    text: abridged(text),
                    source,
                })?;
                (named, Some(digest))
            }
        };
        let (registry, path) = match named.split_once('/') {
            Some((first, path)) if names_a_registry(first) => (first.parse().map_err(part)?, path),
            _ => (RegistryName::docker_hub(), named),
        };
        let (path, tag) = match path.rsplit_once(':') {
            // A colon before the last slash belongs to no tag; the path's own rules refuse it.
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag.parse().map_err(part)?)),
            _ => (path, None),
        };
        let repository = if registry.is_docker_hub() && !path.contains('/') && !path.is_empty() {
            format!("{OFFICIAL}{path}").parse()
        } else {
            path.parse()
        }
        .map_err(part)?;
        let tag = if tag.is_none() && digest.is_none() {
            Some(Tag::latest())
        } else {
            tag
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// As people write it: without Docker Hub's name and without `library/`, where that is not ambiguous.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_selectors(&mut text);
        text
    }

    /// As [`Reference::familiar`], without tag and digest: the `REPOSITORY` column of `docker images`.
    pub fn familiar_name(&self) -> String {
        let path = self.repository.as_str();
        if !self.registry.is_docker_hub() {
            return format!("{}/{path}", self.registry);
        }
        let short = path
            .strip_prefix(OFFICIAL)
            .filter(|rest| !rest.contains('/'))
            .unwrap_or(path);
        match short.split_once('/') {
            // Without the registry these would be read as something else.
            Some((first, _)) if names_a_registry(first) => format!("{}/{path}", self.registry),
            None if !path.starts_with(OFFICIAL) => format!("{}/{path}", self.registry),
            _ => short.to_owned(),
        }
    }

    /// The same repository under a tag, with no digest.
    pub fn with_tag(&self, tag: Tag) -> Self {
        Self {
            tag: Some(tag),
            digest: None,
            ..self.clone()
        }
    }

    /// The same repository under a digest, with no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    fn push_selectors(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
    }
}

/// Docker's rule for the first component of a name.
fn names_a_registry(component: &str) -> bool {
    component == "localhost"
        || component.contains(['.', ':', '['])
        || component.bytes().any(|byte| byte.is_ascii_uppercase())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}/{}", self.registry, self.repository);
        self.push_selectors(&mut text);
        f.pad(&text)
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;

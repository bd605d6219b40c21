//! Named contexts: what a caller puts in the place of a name that a Dockerfile uses, as `docker build --build-context` does.
//!
//! A name is an image's, a stage's, or one that stands in `--from=` only; written with a platform behind `::` it counts for
//! stages of that platform alone. What stands behind it is text here and nothing more: it is looked at when a step first
//! needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use shipway_oci::{Digest, Platform, PlatformError, Reference, ReferenceError};

use crate::git::{GitAddress, GitAddressError, without_login};
use crate::oci_layout::OciLayoutAddress;
use crate::source::RemoteContext;

/// All named contexts of a build.
pub type NamedContexts = BTreeMap<ContextName, NamedContext>;

/// A name of a Dockerfile: `alpine`, `example.com/app:1`, `base::linux/arm64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContextName {
    /// As people write it: `docker.io/library/alpine:latest` is `alpine`.
    name: String,
    /// As [`Platform`] writes it; every platform without.
    platform: Option<String>,
}

/// A text is no name for a context.
#[derive(Debug, thiserror::Error)]
pub enum ContextNameError {
    /// Names of contexts are names as images have them.
    #[error("`{text}` is no name for a context: write lower-case letters, digits, `-`, `_`, `.` and `/`")]
    Name {
        /// As given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// What stands behind `::` is no platform.
    #[error("`{text}`: what stands behind `::` is no platform")]
    Platform {
        /// As given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
    /// These two mean the same in every build.
    #[error("`{name}` cannot be given another meaning")]
    Reserved {
        /// The name.
        name: String,
    },
}

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// `PATH`: a directory of this machine, less what its `.dockerignore` names.
    Directory(PathBuf),
    /// `docker-image://NAME`: an image.
    Image(Reference),
    /// `docker-image://scratch`: an image without files.
    Scratch,
    /// `oci-layout://PATH`: an image in a directory of this machine.
    OciLayout(OciLayoutAddress),
    /// A repository.
    Git(GitAddress),
    /// `http://` or `https://`: one file, which the context has under the name `context`.
    Url(String),
    /// `target:STAGE`: another stage of the same Dockerfile, by its name.
    Stage(String),
}

/// A text says of no context where it is.
#[derive(Debug, thiserror::Error)]
pub enum NamedContextError {
    /// The image's name is none.
    #[error("`{text}` names no image")]
    Image {
        /// As given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// The address of a repository contradicts itself.
    #[error("`{text}` cannot be used")]
    Git {
        /// As given, without what logs in.
        text: String,
        /// What is wrong with it.
        #[source]
        source: GitAddressError,
    },
    /// Nothing is named.
    #[error(
        "the context is empty: name a directory, an address, docker-image://NAME, oci-layout://DIRECTORY or target:STAGE"
    )]
    Empty,
}

impl ContextName {
    /// The name that a Dockerfile's text stands for; `None` for what no context can replace.
    pub(crate) fn written(text: &str) -> Option<Self> {
        if is_reserved(text) {
            return None;
        }
        let name = familiar(text).ok()?;
        Some(Self { name, platform: None })
    }

    /// The context that a build has under this name, one for the platform before one for all.
    pub(crate) fn find<'a>(
        self,
        platform: &Platform,
        among: &'a NamedContexts,
    ) -> Option<(&'a Self, &'a NamedContext)> {
        let own = Self {
            platform: Some(platform.to_string()),
            ..self.clone()
        };
        among.get_key_value(&own).or_else(|| among.get_key_value(&self))
    }
}

impl ContextName {
    /// The name of an image that has this digest, for whom it is told to.
    pub(crate) fn with_digest(&self, digest: &Digest) -> Option<Reference> {
        let mut reference = Reference::parse(&self.name).ok()?;
        reference.digest = Some(digest.clone());
        Some(reference)
    }
}

/// The name as people write it.
fn familiar(text: &str) -> Result<String, ReferenceError> {
    let familiar = Reference::parse(text)?.familiar();
    Ok(familiar.strip_suffix(":latest").unwrap_or(&familiar).to_owned())
}

fn is_reserved(name: &str) -> bool {
    ["scratch", "context"]
        .iter()
        .any(|reserved| name.eq_ignore_ascii_case(reserved))
}

impl FromStr for ContextName {
    type Err = ContextNameError;

    fn from_str(text: &str) -> Result<Self, ContextNameError> {
        let (name, platform) = match text.split_once("::") {
            Some((name, platform)) => (name, Some(platform)),
            None => (text, None),
        };
        if is_reserved(name) {
            return Err(ContextNameError::Reserved {
                name: name.to_owned(),
            });
        }
        let platform = platform
            .map(str::parse::<Platform>)
            .transpose()
            .map_err(|source| ContextNameError::Platform {
                text: text.to_owned(),
                source,
            })?;
        let name = familiar(name).map_err(|source| ContextNameError::Name {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self {
            name,
            platform: platform.map(|platform| platform.to_string()),
        })
    }
}

impl fmt::Display for ContextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match &self.platform {
            Some(platform) => write!(f, "::{platform}"),
            None => Ok(()),
        }
    }
}

impl FromStr for NamedContext {
    type Err = NamedContextError;

    fn from_str(text: &str) -> Result<Self, NamedContextError> {
        if let Some(image) = text.strip_prefix("docker-image://") {
            if image == "scratch" {
                return Ok(Self::Scratch);
            }
            return Reference::parse(image)
                .map(Self::Image)
                .map_err(|source| NamedContextError::Image {
                    text: text.to_owned(),
                    source,
                });
        }
        if let Some(address) = OciLayoutAddress::parse(text) {
            return match address.directory.as_os_str().is_empty() {
                true => Err(NamedContextError::Empty),
                false => Ok(Self::OciLayout(address)),
            };
        }
        if let Some(stage) = text.strip_prefix("target:") {
            return Ok(Self::Stage(stage.to_ascii_lowercase()));
        }
        match RemoteContext::parse(text) {
            Some(Ok(RemoteContext::Git(address))) => return Ok(Self::Git(address)),
            Some(Ok(RemoteContext::Url(url))) => return Ok(Self::Url(url)),
            Some(Err(source)) => {
                return Err(NamedContextError::Git {
                    text: without_login(text),
                    source,
                });
            }
            None => {}
        }
        match text {
            "" => Err(NamedContextError::Empty),
            path => Ok(Self::Directory(path.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_however_it_is_written_and_for_its_platform_first() {
        let mut among = NamedContexts::new();
        for (name, directory) in [
            ("docker.io/library/alpine:latest", "all"),
            ("alpine::linux/arm64/v8", "arm"),
            ("example.com/app:1", "app"),
        ] {
            let name = name.parse().expect("a name");
            among.insert(name, NamedContext::Directory(directory.into()));
        }
        let found = |text: &str, platform: &str| {
            let platform = platform.parse().expect("a platform");
            match ContextName::written(text)?.find(&platform, &among) {
                Some((_, NamedContext::Directory(path))) => Some(path.display().to_string()),
                _ => None,
            }
        };
        assert_eq!(found("alpine", "linux/amd64").as_deref(), Some("all"));
        assert_eq!(found("alpine:latest", "linux/amd64").as_deref(), Some("all"));
        assert_eq!(found("alpine", "linux/arm64").as_deref(), Some("arm"));
        assert_eq!(found("alpine:3", "linux/amd64"), None);
        assert_eq!(found("example.com/app:1", "linux/arm64").as_deref(), Some("app"));
        assert_eq!(found("scratch", "linux/amd64"), None);
    }

    #[test]
    fn names_and_values_that_mean_nothing_are_refused() {
        for (name, words) in [
            ("Scratch", "another meaning"),
            ("context", "another meaning"),
            ("No Name", "no name for a context"),
            ("app::not/a/plat/form", "no platform"),
        ] {
            let said = name.parse::<ContextName>().expect_err(name).to_string();
            assert!(said.contains(words), "{said}");
        }
        let value = |text: &str| text.parse::<NamedContext>();
        assert!(value("").is_err() && value("docker-image://A B").is_err());
        assert!(value("oci-layout://").is_err() && value("oci-layout://:v1").is_err());
        assert_eq!(
            value("docker-image://scratch").expect("a context"),
            NamedContext::Scratch
        );
        assert_eq!(
            value("target:Base").expect("a context"),
            NamedContext::Stage("base".to_owned())
        );
        assert_eq!(
            value("../lib").expect("a context"),
            NamedContext::Directory("../lib".into())
        );
    }
}

//! Annotations that a user asks for, and which of an image's documents they go to.
//!
//! `--annotation` and the attributes of `--output` write the same thing in two ways; both are those of BuildKit.

use std::collections::BTreeMap;

use shipway_oci::{Platform, PlatformError};

/// A document, or the entry of a document in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnnotationLevel {
    /// The manifest of an image.
    Manifest,
    /// What an index, or an archive's index, says of a manifest.
    ManifestDescriptor,
    /// The index of the images for several platforms.
    Index,
    /// What an archive's index says of that index.
    IndexDescriptor,
}

/// What a user's annotation cannot be used for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// It has no name or no value.
    #[error("the annotation `{text}` has no name or no value: write NAME=VALUE")]
    Value {
        /// As written.
        text: String,
    },
    /// Its level is none.
    #[error(
        "there is no annotation level `{level}`: use manifest, manifest-descriptor, index or index-descriptor"
    )]
    Level {
        /// As written.
        level: String,
    },
    /// Its platform is none.
    #[error("the platform of the annotation `{text}` cannot be used")]
    Platform {
        /// As written.
        text: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    level: AnnotationLevel,
    /// The image it is for; all of them without.
    platform: Option<Platform>,
    name: String,
    value: String,
}

/// The annotations of one output. Of one name at one place the last value stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations(Vec<Annotation>);

impl Annotations {
    /// Takes what `--annotation` says: `[LEVEL[[PLATFORM]],…:]NAME=VALUE`.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn add(&mut self, text: &str) -> Result<(), AnnotationError> {
        let (left, value) = text.split_once('=').ok_or_else(|| AnnotationError::Value {
            text: text.to_owned(),
        })?;
        let (levels, name) = left.split_once(':').unwrap_or(("manifest", left));
        for place in levels.split(',') {
            self.push(place, name, value, text)?;
        }
        Ok(())
    }

    /// Takes an attribute of an output, `annotation[-LEVEL][[PLATFORM]].NAME`; false when it is another attribute.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn add_attribute(&mut self, attribute: &str, value: &str) -> Result<bool, AnnotationError> {
        let Some(rest) = attribute.strip_prefix("annotation") else {
            return Ok(false);
        };
        // The name may hold dots, and so may nothing before it but a platform in its brackets.
        let end = rest.find(']').unwrap_or(0);
        let Some(dot) = rest[end..].find('.').map(|dot| end + dot) else {
            return Ok(false);
        };
        let (place, name) = (&rest[..dot], &rest[dot + 1..]);
        let place = match place.strip_prefix('-') {
            Some(place) => place.to_owned(),
            None => format!("manifest{place}"),
        };
        self.push(&place, name, value, attribute)?;
        Ok(true)
    }

    /// Adds those of another output's flags.
    pub fn extend(&mut self, others: &Self) {
        self.0.extend(others.0.iter().cloned());
    }

    fn push(&mut self, place: &str, name: &str, value: &str, text: &str) -> Result<(), AnnotationError> {
        let (level, platform) = match place.strip_suffix(']').and_then(|place| place.split_once('[')) {
            Some((level, platform)) => (level, Some(platform)),
            None => (place, None),
        };
        let level = match level {
            "manifest" => AnnotationLevel::Manifest,
            "manifest-descriptor" => AnnotationLevel::ManifestDescriptor,
            "index" => AnnotationLevel::Index,
            "index-descriptor" => AnnotationLevel::IndexDescriptor,
            other => {
                return Err(AnnotationError::Level {
                    level: other.to_owned(),
                });
            }
        };
        if name.is_empty() {
            return Err(AnnotationError::Value {
                text: text.to_owned(),
            });
        }
        let platform = platform
            .map(str::parse)
            .transpose()
            .map_err(|source| AnnotationError::Platform {
                text: text.to_owned(),
                source,
            })?;
        self.0.push(Annotation {
            level,
            platform,
            name: name.to_owned(),
            value: value.to_owned(),
        });
        Ok(())
    }

    /// What goes to one place, of the image for `platform` or of all.
    pub(crate) fn at(&self, level: AnnotationLevel, platform: Option<&Platform>) -> BTreeMap<String, String> {
        // What names a platform goes before what names none.
        let general = self.0.iter().filter(|annotation| annotation.platform.is_none());
        let special = self.0.iter().filter(|annotation| {
            let wanted = annotation.platform.as_ref();
            wanted.is_some_and(|wanted| platform.is_some_and(|platform| wanted.matches(platform)))
        });
        general
            .chain(special)
            .filter(|annotation| annotation.level == level)
            .map(|annotation| (annotation.name.clone(), annotation.value.clone()))
            .collect()
    }

    /// The first platform that an annotation names and that is not among these.
    pub(crate) fn stray_platform(&self, platforms: &[&Platform]) -> Option<&Platform> {
        let mut named = self
            .0
            .iter()
            .filter_map(|annotation| annotation.platform.as_ref());
        named.find(|named| !platforms.iter().any(|platform| named.matches(platform)))
    }

    /// Whether there is one beyond manifests.
    pub(crate) fn needs_oci(&self) -> bool {
        let mut levels = self.0.iter().map(|annotation| annotation.level);
        levels.any(|level| level != AnnotationLevel::Manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn both_ways_of_writing_reach_the_same_places() {
        let arm: Platform = "linux/arm64".parse().unwrap();
        let amd: Platform = "linux/amd64".parse().unwrap();
        let mut flags = Annotations::default();
        for text in [
            "a.b=1=2",
            "index,manifest-descriptor:c=d:e",
            "manifest[linux/arm64/v8]:a.b=arm",
        ] {
            flags.add(text).unwrap();
        }
        let mut attributes = Annotations::default();
        for (name, value) in [
            ("annotation.a.b", "1=2"),
            ("annotation-index.c", "d:e"),
            ("annotation-manifest-descriptor.c", "d:e"),
            ("annotation[linux/arm64].a.b", "arm"),
        ] {
            assert!(attributes.add_attribute(name, value).unwrap(), "{name}");
        }
        for annotations in [&flags, &attributes] {
            let at = |level, platform| annotations.at(level, Some(platform));
            assert_eq!(at(AnnotationLevel::Manifest, &amd), map(&[("a.b", "1=2")]));
            assert_eq!(at(AnnotationLevel::Manifest, &arm), map(&[("a.b", "arm")]));
            assert_eq!(annotations.at(AnnotationLevel::Index, None), map(&[("c", "d:e")]));
            assert_eq!(
                at(AnnotationLevel::ManifestDescriptor, &arm),
                map(&[("c", "d:e")])
            );
            assert!(annotations.stray_platform(&[&amd]).is_some());
            assert_eq!(annotations.stray_platform(&[&amd, &arm]), None);
        }
    }

    #[test]
    fn what_is_no_annotation_is_refused_by_name() {
        let mut annotations = Annotations::default();
        for (text, part) in [
            ("novalue", "NAME=VALUE"),
            ("=x", "NAME=VALUE"),
            ("layer:a=b", "level `layer`"),
            ("manifest[a/b/c/d]:a=b", "platform"),
        ] {
            let said = annotations.add(text).unwrap_err().to_string();
            assert!(said.contains(part), "{text}: {said}");
        }
        assert!(!annotations.add_attribute("push", "true").unwrap());
        assert!(annotations.add_attribute("annotation-layer.x", "y").is_err());
        assert_eq!(annotations, Annotations::default());
    }
}

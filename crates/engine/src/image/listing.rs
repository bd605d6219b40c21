//! `GET /images/json`: what `docker images` shows.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Value, json};
use shipway_container::ListedImage;
use shipway_oci::Reference;
use time::OffsetDateTime;

use super::names;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::failure::Failure;
use crate::filter::Filters;
use crate::reply::{self, Reply};
use crate::version::ApiVersion;

const FILTERS: &[&str] = &[
    "reference",
    "dangling",
    "label",
    "label!",
    "before",
    "since",
    "until",
];

impl Inner {
    pub(crate) async fn list_images(&self, call: &Call) -> Result<Reply, Failure> {
        let filters = Filters::from_query(&call.query, FILTERS)?;
        let before = self.moment_of(&filters, "before").await?;
        let since = self.moment_of(&filters, "since").await?;
        let mut shown = Vec::new();
        for mut listed in self.listed_images().await? {
            let patterns = filters.values("reference");
            if !patterns.is_empty() {
                listed
                    .references
                    .retain(|reference| patterns.iter().any(|pattern| fits(pattern, reference)));
                if listed.references.is_empty() {
                    continue;
                }
            }
            let dangling = listed.references.is_empty();
            if filters.truth("dangling").is_none_or(|wanted| wanted == dangling)
                && filters.admits_labels(&listed.image.config.config.labels)
                && filters.admits_moment(listed.created.into())
                && before.is_none_or(|before| listed.created < before)
                && since.is_none_or(|since| listed.created > since)
            {
                shown.push(summary(&listed, call.version));
            }
        }
        Ok(reply::json(StatusCode::OK, &shown))
    }

    async fn moment_of(&self, filters: &Filters, key: &str) -> Result<Option<SystemTime>, Failure> {
        match filters.values(key).first() {
            Some(asked) => Ok(Some(self.listed(asked).await?.created)),
            None => Ok(None),
        }
    }

    /// The summaries of all images, for `docker system df`.
    pub(crate) async fn image_summaries(&self) -> Result<Vec<Value>, Failure> {
        let listed = self.listed_images().await?;
        Ok(listed
            .iter()
            .map(|listed| summary(listed, ApiVersion::NEWEST))
            .collect())
    }
}

fn summary(listed: &ListedImage, version: ApiVersion) -> Value {
    let image = &listed.image;
    let size = image.compressed_size();
    let (mut tags, mut digests) = names(image, &listed.references);
    if version < ApiVersion::EMPTY_NAME_LISTS {
        if tags.is_empty() {
            tags.push("<none>:<none>".to_owned());
        }
        if digests.is_empty() {
            digests.push("<none>@<none>".to_owned());
        }
    }
    // When it came here and not what its configuration says: reproducible images say the same day for ever.
    let created = OffsetDateTime::from(listed.created);
    let mut shown = json!({
        "Id": image.id.to_string(),
        "ParentId": "",
        "RepoTags": tags,
        "RepoDigests": digests,
        "Created": created.unix_timestamp(),
        "Size": size,
        "SharedSize": -1,
        "Labels": image.config.config.labels,
        "Containers": -1,
    });
    if version < ApiVersion::WITHOUT_VIRTUAL_SIZE
        && let Some(object) = shown.as_object_mut()
    {
        object.insert("VirtualSize".to_owned(), json!(size));
    }
    shown
}

/// Whether a name fits a pattern with `*` and `?`, which stop at slashes. A pattern without a tag fits all tags.
fn fits(pattern: &str, reference: &Reference) -> bool {
    let (name, full) = (reference.familiar_name(), reference.familiar());
    let canonical = reference.to_string();
    let canonical_name = format!("{}/{}", reference.registry, reference.repository);
    [name, full, canonical, canonical_name]
        .iter()
        .any(|name| matches(pattern.as_bytes(), name.as_bytes()))
}

/// Linear in time: a star that fails is retried from its own last place only.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_text));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == text[at_text] || (*wanted == b'?' && text[at_text] != b'/') => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => match star {
                Some((star_pattern, star_text)) if text[star_text] != b'/' => {
                    star = Some((star_pattern, star_text + 1));
                    at_pattern = star_pattern + 1;
                    at_text = star_text + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stop_at_slashes() {
        let reference = |text: &str| Reference::parse(text).unwrap();
        assert!(fits("alpine", &reference("alpine:3")));
        assert!(fits("alpine:*", &reference("alpine:3")));
        assert!(fits("al?ine:3", &reference("alpine:3")));
        assert!(fits("*/app", &reference("team/app")));
        assert!(!fits("*", &reference("team/app")));
        assert!(!fits("alpine:2*", &reference("alpine:3")));
        assert!(fits("r.example/*:1*", &reference("r.example/app:10")));
    }

    #[test]
    fn a_hostile_pattern_is_answered_quickly() {
        let pattern = "*a".repeat(2000);
        assert!(!matches(pattern.as_bytes(), "a".repeat(1999).as_bytes()));
    }
}

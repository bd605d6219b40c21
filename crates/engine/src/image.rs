//! Images as clients know them: list, inspect, history, tag, remove, prune.
//!
//! An image's id is its configuration's digest. Sizes are those of the layers as stored: what unpacked ones take is
//! nobody's to know before they are unpacked.

mod known;
mod listing;
mod progress;
mod pull;
mod push;
mod removal;
mod transfer;

pub(crate) use known::Origin;
pub(crate) use progress::Progress;

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use shipway_container::{Image, ListedImage};
use shipway_oci::{Reference, RegistryName, RepositoryName};

use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::version::ApiVersion;

impl Inner {
    pub(crate) async fn image_count(&self) -> Result<usize, Failure> {
        Ok(self.listed_images().await?.len())
    }

    /// The image a client means and all names it has here.
    async fn listed(&self, asked: &str) -> Result<ListedImage, Failure> {
        let image = self.find_image(asked).await?;
        let listed = self.listed_images().await?;
        let found = listed.into_iter().find(|listed| listed.image.id == image.id);
        Ok(found.unwrap_or_else(|| ListedImage {
            references: image.reference.clone().into_iter().collect(),
            image,
            created: std::time::SystemTime::now(),
        }))
    }

    pub(crate) async fn inspect_image(&self, asked: &str, version: ApiVersion) -> Result<Reply, Failure> {
        let ListedImage {
            image,
            references,
            created,
        } = self.listed(asked).await?;
        let config = &image.config;
        let size = image.compressed_size();
        let (tags, digests) = names(&image, &references);
        let comment = config
            .history
            .last()
            .and_then(|step| step.comment.clone())
            .unwrap_or_default();
        let execution = execution_config(&image)?;
        let mut shown = json!({
            "Id": image.id.to_string(),
            "RepoTags": tags,
            "RepoDigests": digests,
            "Parent": "",
            "Comment": comment,
            "Created": config.created.clone().unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned()),
            "DockerVersion": "",
            "Author": config.author.clone().unwrap_or_default(),
            "Config": execution,
            "Architecture": config.architecture,
            "Os": config.os,
            "Size": size,
            "GraphDriver": { "Name": "overlay2", "Data": null },
            "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
            "Metadata": { "LastTagTime": crate::clock::rfc3339(Some(created.into())) },
        });
        if let Some(object) = shown.as_object_mut() {
            if let Some(variant) = &config.variant {
                object.insert("Variant".to_owned(), json!(variant));
            }
            if version < ApiVersion::WITHOUT_VIRTUAL_SIZE {
                object.insert("VirtualSize".to_owned(), json!(size));
            }
        }
        Ok(reply::json(StatusCode::OK, &shown))
    }

    pub(crate) async fn image_history(&self, asked: &str) -> Result<Reply, Failure> {
        let ListedImage {
            image, references, ..
        } = self.listed(asked).await?;
        let (tags, _) = names(&image, &references);
        let mut sizes = image.layers.iter().map(|layer| layer.size);
        let mut steps: Vec<Value> = image
            .config
            .history
            .iter()
            .map(|step| {
                let size = if step.empty_layer {
                    0
                } else {
                    sizes.next().unwrap_or_default()
                };
                let created = step.created.as_deref().and_then(crate::clock::parse_moment);
                json!({
                    "Id": "<missing>",
                    "Created": created.map_or(0, |created| created.unix_timestamp()),
                    "CreatedBy": step.created_by.clone().unwrap_or_default(),
                    "Tags": null,
                    "Size": size,
                    "Comment": step.comment.clone().unwrap_or_default(),
                })
            })
            .collect();
        // An image may have layers that its history does not tell of.
        steps.extend(sizes.map(|size| {
            json!({ "Id": "<missing>", "Created": 0, "CreatedBy": "", "Tags": null, "Size": size, "Comment": "" })
        }));
        steps.reverse();
        if let Some(newest) = steps.first_mut().and_then(Value::as_object_mut) {
            newest.insert("Id".to_owned(), json!(image.id.to_string()));
            newest.insert("Tags".to_owned(), json!(tags));
        }
        Ok(reply::json(StatusCode::OK, &steps))
    }

    pub(crate) async fn tag_image(&self, asked: &str, query: &Query) -> Result<Reply, Failure> {
        let repository = query
            .get("repo")
            .ok_or_else(|| Failure::bad_request("missing parameter: repo"))?;
        let reference = parse_reference(&with_tag(repository, query.get("tag")))?;
        if reference.digest.is_some() {
            return Err(Failure::bad_request(
                "refusing to create a tag with a digest reference",
            ));
        }
        let (image, origin) = self.find_with_origin(asked).await?;
        let failed = |error: &(dyn std::error::Error + 'static)| Failure::internal(told(error));
        match origin {
            Origin::Scope => {
                let tagged = self.images.tag(&self.scope, &image.root, &reference).await;
                tagged.map_err(|error| failed(&error))?;
            }
            Origin::Import => {
                let adopted = self.images.adopt(&self.scope, &reference, image.clone()).await;
                adopted.map_err(|error| failed(&error))?;
            }
        }
        self.events.tell(
            EventKind::Image,
            "tag",
            image.id.as_ref(),
            [("name", reference.familiar())],
        );
        Ok(reply::empty(StatusCode::CREATED))
    }

    /// The containers that stand on an image.
    fn users_of(&self, image: &Image) -> Vec<Arc<crate::container::Record>> {
        self.containers
            .all()
            .into_iter()
            .filter(|record| record.image.id == image.id)
            .collect()
    }
}

/// `repository`, `repository:tag` or `repository@digest`: clients send the part behind separately.
fn with_tag(name: &str, tag: Option<&str>) -> String {
    match tag {
        None => name.to_owned(),
        Some(tag) if tag.contains(':') => format!("{name}@{tag}"),
        Some(tag) => format!("{name}:{tag}"),
    }
}

fn parse_reference(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text).map_err(|error| Failure::bad_request(told(&error)))
}

/// `RepoTags` and `RepoDigests`.
fn names(image: &Image, references: &[Reference]) -> (Vec<String>, Vec<String>) {
    let tags = references
        .iter()
        .filter(|reference| reference.tag.is_some() && reference.digest.is_none());
    let mut repositories: Vec<(&RegistryName, &RepositoryName)> = Vec::new();
    let mut digests = Vec::new();
    for reference in references {
        if !repositories.contains(&(&reference.registry, &reference.repository)) {
            repositories.push((&reference.registry, &reference.repository));
            digests.push(format!("{}@{}", reference.familiar_name(), image.manifest));
        }
    }
    (tags.map(Reference::familiar).collect(), digests)
}

/// The configuration with the fields that clients expect even when they are empty.
fn execution_config(image: &Image) -> Result<Value, Failure> {
    let config = serde_json::to_value(&image.config.config)
        .map_err(|error| Failure::internal(format!("cannot show the image's configuration: {error}")))?;
    let mut shown: Map<String, Value> = [
        ("Hostname", json!("")),
        ("Domainname", json!("")),
        ("User", json!("")),
        ("AttachStdin", json!(false)),
        ("AttachStdout", json!(false)),
        ("AttachStderr", json!(false)),
        ("Tty", json!(false)),
        ("OpenStdin", json!(false)),
        ("StdinOnce", json!(false)),
        ("Env", Value::Null),
        ("Cmd", Value::Null),
        ("Image", json!("")),
        ("Volumes", Value::Null),
        ("WorkingDir", json!("")),
        ("Entrypoint", Value::Null),
        ("OnBuild", Value::Null),
        ("Labels", Value::Null),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    if let Value::Object(config) = config {
        shown.extend(config);
    }
    Ok(Value::Object(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_may_be_a_digest() {
        assert_eq!(with_tag("a", None), "a");
        assert_eq!(with_tag("r.example:5000/a", Some("1")), "r.example:5000/a:1");
        assert_eq!(with_tag("a", Some("sha256:00")), "a@sha256:00");
        assert_eq!(parse_reference("A:B:c").unwrap_err().status(), 400);
    }
}

//! `POST /images/{name}/push` and `GET /distribution/{name}/json`.
//!
//! A refusal by the registry is said in the stream, as Docker does: as a 401 it would make the CLI ask for a password.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use shipway_container::Image;
use shipway_oci::{Digest, ImageIndex, Manifest, Reference};
use shipway_registry::{ClientError, RegistryCredentials};

use super::progress::Progress;
use super::{parse_reference, with_tag};
use crate::credential::AuthConfig;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::reply::{self, JSON, Reply, StreamWriter};
use crate::system::{credentials, registry_failure};

impl Inner {
    pub(crate) async fn push_image(self: &Arc<Inner>, name: &str, call: Call) -> Result<Reply, Failure> {
        let credentials = AuthConfig::from_headers(call.request.headers()).map(credentials);
        let targets = self.push_targets(name, call.query.get("tag")).await?;
        let (writer, answer) = reply::channel(JSON);
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = engine.push_all(&targets, credentials.as_ref(), &writer) => {}
                () = writer.closed() => {}
            }
        });
        Ok(answer)
    }

    /// One name, or with `-a` all tags of a repository.
    async fn push_targets(&self, name: &str, tag: Option<&str>) -> Result<Vec<(Reference, Image)>, Failure> {
        let reference = parse_reference(&with_tag(name, tag))?;
        let listed = self.listed_images().await?;
        let names_one = tag.is_some() || name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let targets: Vec<(Reference, Image)> = listed
            .into_iter()
            .flat_map(|listed| {
                let image = listed.image;
                listed
                    .references
                    .into_iter()
                    .map(move |reference| (reference, image.clone()))
            })
            .filter(|(known, _)| {
                let repository =
                    (&known.registry, &known.repository) == (&reference.registry, &reference.repository);
                repository && known.tag.is_some() && (!names_one || known.tag == reference.tag)
            })
            .collect();
        if targets.is_empty() {
            let what = if names_one {
                reference.familiar()
            } else {
                reference.familiar_name()
            };
            return Err(Failure::not_found(format!(
                "An image does not exist locally with the tag: {what}"
            )));
        }
        Ok(targets)
    }

    async fn push_all(
        &self,
        targets: &[(Reference, Image)],
        credentials: Option<&RegistryCredentials>,
        writer: &StreamWriter,
    ) {
        if let Some((first, _)) = targets.first() {
            writer.status(&format!(
                "The push refers to repository [{}/{}]",
                first.registry, first.repository
            ));
        }
        for (reference, image) in targets {
            let manifest = self.pushable(image);
            let progress = Progress::push(writer.clone());
            let pushed = self
                .client
                .push(self.runtime.store(), manifest, reference, credentials, &progress)
                .await;
            match pushed {
                Ok(digest) => {
                    let tag = reference
                        .tag
                        .as_ref()
                        .map(ToString::to_string)
                        .unwrap_or_default();
                    let stored = self.runtime.store().image_manifest(manifest).ok().flatten();
                    let size = stored.map_or(0, |stored| stored.bytes.len());
                    writer.status(&format!("{tag}: digest: {digest} size: {size}"));
                    writer.result(&json!({
                        "progressDetail": {},
                        "aux": { "Tag": tag, "Digest": digest.to_string(), "Size": size },
                    }));
                    let name = reference.familiar();
                    self.events.tell(
                        EventKind::Image,
                        "push",
                        &name,
                        [("name", reference.familiar_name())],
                    );
                }
                Err(error) => {
                    writer.error(&push_sentence(&error), None);
                    return;
                }
            }
        }
    }

    /// What a name stands for here: an index if all that it lists is here, and else the image for this machine. Of a pulled
    /// image only the part for this machine is.
    fn pushable<'a>(&self, image: &'a Image) -> &'a Digest {
        let store = self.runtime.store();
        let found = |digest: &Digest| store.image_manifest(digest).ok().flatten();
        let index = found(&image.root).and_then(|stored| {
            match Manifest::parse(Some(&stored.media_type), &stored.bytes) {
                Ok(Manifest::Index(index)) => Some(index),
                _ => None,
            }
        });
        let is_whole =
            |index: &ImageIndex| index.manifests.iter().all(|entry| found(&entry.digest).is_some());
        match index {
            Some(index) if is_whole(&index) => &image.root,
            _ => &image.manifest,
        }
    }

    /// What a name stands for in its registry.
    pub(crate) async fn distribution(&self, name: &str, call: &Call) -> Result<Reply, Failure> {
        let reference = parse_reference(name)?;
        let credentials = AuthConfig::from_headers(call.request.headers()).map(credentials);
        let resolved = self.client.resolve(&reference, credentials.as_ref()).await;
        let resolved = resolved.map_err(|error| registry_failure(&error))?;
        let platforms = match Manifest::parse(Some(&resolved.media_type), &resolved.bytes) {
            Ok(Manifest::Index(index)) => index
                .manifests
                .iter()
                .filter_map(|entry| entry.platform.as_ref())
                .map(|platform| json!(platform))
                .collect(),
            _ => Vec::new(),
        };
        let shown = json!({
            "Descriptor": {
                "mediaType": resolved.media_type,
                "digest": resolved.digest.to_string(),
                "size": resolved.bytes.len(),
            },
            "Platforms": platforms,
        });
        Ok(reply::json(StatusCode::OK, &shown))
    }
}

/// With the word that scripts look for.
fn push_sentence(error: &ClientError) -> String {
    match error {
        ClientError::Denied { .. } => format!("denied: {}", told(error)),
        error => told(error),
    }
}

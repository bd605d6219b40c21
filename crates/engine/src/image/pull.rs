//! `POST /images/create`: pull, and import of a root file system.
//!
//! What fails before the name is resolved is an HTTP error, which makes the CLI say so and exit; what fails later can only
//! be said in the stream. A client that goes away ends its pull.

use std::sync::Arc;

use http::StatusCode;
use serde_json::json;
use shipway_container::{Change, ImportOptions, PullError, PullOptions, PullOutcome, PullPolicy, PullSource};
use shipway_oci::{Platform, Reference};
use shipway_registry::ClientError;

use super::progress::Progress;
use super::{parse_reference, with_tag};
use crate::credential::AuthConfig;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::intake::{self, MOST_UPLOAD};
use crate::query::Query;
use crate::reply::{self, JSON, Reply, StreamWriter};
use crate::system::{credentials, registry_failure};

impl Inner {
    pub(crate) async fn create_image(self: &Arc<Inner>, call: Call) -> Result<Reply, Failure> {
        match (call.query.get("fromImage"), call.query.get("fromSrc")) {
            (Some(name), _) => {
                let reference = parse_reference(&with_tag(name, call.query.get("tag")))?;
                self.pull_image(reference, call).await
            }
            (None, Some(source)) => {
                let source = source.to_owned();
                self.import_image(&source, call).await
            }
            (None, None) => Err(Failure::bad_request("missing parameter: fromImage or fromSrc")),
        }
    }

    async fn pull_image(self: &Arc<Inner>, reference: Reference, call: Call) -> Result<Reply, Failure> {
        let options = PullOptions {
            platform: platform(&call.query)?,
            credentials: AuthConfig::from_headers(call.request.headers()).map(credentials),
            policy: PullPolicy::Always,
            ..PullOptions::default()
        };
        // What cannot be used any more counts as not there: the pull brings a whole one.
        let before = self.find_by_name(&reference).await.ok().flatten();
        let before = before.map(|(image, _)| image.manifest);
        let (writer, answer) = reply::channel(JSON);
        let selector = reference.digest.as_ref().map(ToString::to_string);
        let selector = selector
            .or_else(|| reference.tag.as_ref().map(ToString::to_string))
            .unwrap_or_default();
        let repository = reference.repository.to_string();
        writer.object(&json!({ "status": format!("Pulling from {repository}"), "id": selector }));
        let progress = Arc::new(Progress::pull(writer.clone()));
        let (engine, told, asked) = (Arc::clone(self), Arc::clone(&progress), reference.clone());
        let mut pulling = tokio::spawn(async move {
            engine
                .images
                .pull(&engine.scope, &asked, options, told.as_ref())
                .await
        });
        let early = tokio::select! {
            outcome = &mut pulling => Some(outcome),
            () = progress.began.notified() => None,
        };
        drop(progress);
        match early {
            Some(outcome) => {
                let outcome = outcome.map_err(|_| Failure::internal("the pull ended early"))?;
                let outcome = outcome.map_err(|error| pull_failure(&reference, &error))?;
                self.tell_pulled(&writer, &reference, before.as_ref(), &outcome);
            }
            None => {
                let engine = Arc::clone(self);
                tokio::spawn(async move {
                    let outcome = tokio::select! {
                        outcome = &mut pulling => outcome,
                        () = writer.closed() => {
                            pulling.abort();
                            return;
                        }
                    };
                    match outcome {
                        Ok(Ok(outcome)) => engine.tell_pulled(&writer, &reference, before.as_ref(), &outcome),
                        Ok(Err(error)) => writer.error(pull_failure(&reference, &error).message(), None),
                        Err(_) => writer.error("the pull ended early", None),
                    }
                });
            }
        }
        Ok(answer)
    }

    fn tell_pulled(
        &self,
        writer: &StreamWriter,
        reference: &Reference,
        before: Option<&shipway_oci::Digest>,
        outcome: &PullOutcome,
    ) {
        if let PullSource::Imported { unreachable } = &outcome.source {
            // It was asked for: an earlier `docker rmi` no longer counts.
            self.removed_imports().remove(reference);
            let why = unreachable
                .as_ref()
                .map(|error| format!(": {}", told(error)))
                .unwrap_or_default();
            writer.status(&format!(
                "WARNING: the imported image is used because its registry cannot be reached{why}"
            ));
        }
        let image = &outcome.image;
        writer.status(&format!("Digest: {}", image.manifest));
        let familiar = reference.familiar();
        if before == Some(&image.manifest) {
            writer.status(&format!("Status: Image is up to date for {familiar}"));
        } else {
            writer.status(&format!("Status: Downloaded newer image for {familiar}"));
        }
        self.events.tell(
            EventKind::Image,
            "pull",
            &familiar,
            [("name", reference.familiar_name())],
        );
    }

    /// `docker import -`: a root file system becomes an image.
    async fn import_image(self: &Arc<Inner>, source: &str, call: Call) -> Result<Reply, Failure> {
        let options = match self.import_options(source, &call.query) {
            Ok(options) => options,
            Err(failure) => {
                intake::drain(call.request.into_body()).await;
                return Err(failure);
            }
        };
        let images = self.images.clone();
        let importing = intake::read_with(call.request.into_body(), MOST_UPLOAD, move |tar| {
            images.import(std::io::BufReader::new(tar), options)
        });
        let image = importing
            .await?
            .map_err(|error| Failure::bad_request(told(&error)))?;
        self.events
            .tell(EventKind::Image, "import", image.id.as_ref(), []);
        let line = json!({ "status": image.id.to_string() }).to_string();
        Ok(reply::bytes(StatusCode::OK, JSON, line + "\r\n"))
    }

    fn import_options(&self, source: &str, query: &Query) -> Result<ImportOptions, Failure> {
        if source != "-" {
            return Err(Failure::not_implemented(
                "docker import takes a file or standard input here, no URL: download it first",
            ));
        }
        let reference = query
            .get("repo")
            .map(|name| parse_reference(&with_tag(name, query.get("tag"))))
            .transpose()?;
        let changes = query
            .all("changes")
            .map(|change| {
                change
                    .parse::<Change>()
                    .map_err(|error| Failure::bad_request(told(&error)))
            })
            .collect::<Result<Vec<Change>, Failure>>()?;
        Ok(ImportOptions {
            platform: platform(query)?,
            changes,
            created: Some(crate::clock::rfc3339(Some(time::OffsetDateTime::now_utc()))),
            comment: query.get("message").map(str::to_owned),
            ..ImportOptions::new(self.scope.clone(), reference)
        })
    }
}

/// `--platform`, if the client gave one.
pub(super) fn platform(query: &Query) -> Result<Option<Platform>, Failure> {
    let parse = |text: &str| text.parse().map_err(|error| Failure::bad_request(told(&error)));
    query.get("platform").map(parse).transpose()
}

/// In Docker's words where scripts and people know them. A 401 would make the CLI ask for a password in the middle of a
/// job; Docker itself says 404 here.
fn pull_failure(reference: &Reference, error: &PullError) -> Failure {
    let source = match error {
        PullError::Registry { source, .. } => source,
        error => return Failure::internal(told(error)),
    };
    match source.as_ref() {
        denied @ ClientError::Denied { .. } => Failure::not_found(format!(
            "pull access denied for {}, repository does not exist or may require 'docker login': {}",
            reference.familiar_name(),
            told(denied)
        )),
        ClientError::NotFound { error, .. } => Failure::not_found(format!(
            "manifest for {} not found: {error}",
            reference.familiar()
        )),
        error => registry_failure(error),
    }
}

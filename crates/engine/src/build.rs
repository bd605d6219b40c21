//! `POST /build`: the classic builder's protocol, over `shipway_build`.
//!
//! The context is taken whole before anything is answered: a Go client stops sending when an answer begins and then tells
//! its user "broken pipe" instead of what was wrong with the Dockerfile. From the first line on the status is 200, and
//! errors are said in the stream with the exit code that the CLI is to have. A client that goes away ends its build.

mod credentials;
mod request;
mod surroundings;
mod transcript;

use std::sync::Arc;

use serde_json::json;
use shipway_build::{BuildError, BuildRequest, Built, Context, ContextSource, Entitlements};
use shipway_oci::Reference;

use crate::credential::AuthConfig;
use crate::dispatch::Call;
use crate::engine::Inner;
use crate::event::EventKind;
use crate::failure::{Failure, told};
use crate::intake::{self, MOST_UPLOAD};
use crate::reply::{self, JSON, Reply, StreamWriter};
use credentials::SentCredentials;
use request::Asked;
use transcript::Transcript;

/// The classic builder's clients have no way to permit anything. Its Dockerfiles may ask for the host's network, and get the
/// pod's, as they always did here.
const ENTITLEMENTS: Entitlements = Entitlements {
    network_host: true,
    security_insecure: false,
};

/// Stages of one build that are built at the same time.
const PARALLEL_STAGES: usize = 4;

impl Inner {
    pub(crate) async fn build(self: &Arc<Inner>, call: Call) -> Result<Reply, Failure> {
        let asked = match Asked::new(&call.query) {
            Ok(asked) => asked,
            Err(failure) => {
                intake::drain(call.request.into_body()).await;
                return Err(failure);
            }
        };
        let credentials = SentCredentials::new(AuthConfig::map_from_headers(call.request.headers()));
        let context = match &asked.remote {
            Some(remote) => {
                intake::drain(call.request.into_body()).await;
                remote.clone().into()
            }
            None => self.sent_context(call).await?,
        };
        let request = BuildRequest {
            scope: self.scope.clone(),
            cache_scope: self.cache_scope.clone(),
            credentials: Arc::new(credentials),
            pod: Some(self.pod.clone()),
            parallel_stages: PARALLEL_STAGES,
            entitlements: ENTITLEMENTS,
            ..asked.request(context)
        };
        let (writer, answer) = reply::channel(JSON);
        let engine = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = engine.run_build(&asked, request, &writer) => {}
                () = writer.closed() => tracing::debug!("the client of a build went away, and the build with it"),
                () = engine.closed.cancelled() => writer.error("the engine is being closed", None),
            }
        });
        Ok(answer)
    }

    async fn sent_context(&self, call: Call) -> Result<ContextSource, Failure> {
        let (spool, written) = (self.spool_directory(), self.pod.written().clone());
        let context = intake::read_with(call.request.into_body(), MOST_UPLOAD, move |tar| {
            Context::tar(tar, &spool, &written)
        })
        .await?;
        let context = context.map_err(|error| {
            Failure::bad_request(format!("cannot read the build context: {}", told(&error)))
        })?;
        Ok(context.into())
    }

    async fn run_build(&self, asked: &Asked, request: BuildRequest, writer: &StreamWriter) {
        // Never closed, so this always gives a turn.
        let _turn = self.builds.acquire().await;
        let transcript = Transcript::new(writer.clone(), asked.quiet, self.pod.id().as_str());
        for warning in &asked.warnings {
            transcript.warn(warning);
        }
        let tags = request.tags.clone();
        let outcome = self.builder.build(request, &transcript).await;
        transcript.end(outcome.as_ref().ok().map(|built| &built.id));
        match outcome {
            Ok(built) => self.tell_built(asked, &built, &tags, writer),
            Err(error) => writer.error(&sentence(&error), Some(error.exit_code().unwrap_or(1))),
        }
    }

    fn tell_built(&self, asked: &Asked, built: &Built, tags: &[Reference], writer: &StreamWriter) {
        let id = built.id.to_string();
        for tag in tags {
            self.events
                .tell(EventKind::Image, "tag", &id, [("name", tag.familiar())]);
        }
        if asked.quiet {
            writer.text(&format!("{id}\n"));
            return;
        }
        writer.result(&json!({ "aux": { "ID": id } }));
        writer.text(&format!("Successfully built {}\n", built.id.short()));
        for tag in tags {
            writer.text(&format!("Successfully tagged {}\n", tag.familiar()));
        }
    }
}

/// In Docker's words for what scripts look for.
fn sentence(error: &BuildError) -> String {
    match error {
        BuildError::Run {
            exit_code,
            command,
            file,
            line,
        } => {
            format!("The command '{command}' returned a non-zero code: {exit_code} ({file}:{line})")
        }
        error => told(error),
    }
}

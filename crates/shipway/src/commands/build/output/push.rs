//! Pushing what is built, begun while it is being built.

use shipway_oci::{Digest, Reference};
use shipway_registry::client::{ClientError, OpenPush};
use tokio::task::JoinHandle;

use crate::commands::build::progress::Activity;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;

/// A push that waits for its image.
pub(in crate::commands::build) struct Begun {
    name: Reference,
    open: JoinHandle<Result<OpenPush, Failure>>,
}

impl Begun {
    /// Finds the registry and logs in while the image is being built: checking a password takes as long as a small build.
    /// What goes wrong is told when there is something to push.
    pub(super) fn new(installation: &Installation, name: &Reference) -> Self {
        let (client, installation, reference) =
            (installation.client.clone(), installation.clone(), name.clone());
        let open = tokio::spawn(async move {
            let named = reference.clone();
            let credentials = tokio::task::spawn_blocking(move || installation.credentials(&named))
                .await
                .map_err(|_| interrupted(&reference))?;
            let begun = client.begin_push(&reference, Some(&credentials)).await;
            begun.map_err(|error| not_pushed(&reference, &error))
        });
        Self {
            name: name.clone(),
            open,
        }
    }

    /// Pushes the image, and gives its digest when the registry has it.
    pub(super) async fn finish(
        self,
        installation: &Installation,
        manifest: &Digest,
        watching: &Activity<'_>,
    ) -> Result<Digest, Failure> {
        let Self { name, open } = self;
        let begun = open.await.map_err(|_| interrupted(&name))??;
        begun
            .finish(&installation.store, manifest, watching)
            .await
            .map_err(|error| not_pushed(&name, &error))
    }
}

fn not_pushed(name: &Reference, error: &ClientError) -> Failure {
    Failure::caused(FailureKind::Work, &format!("pushing {}", name.familiar()), error)
}

fn interrupted(name: &Reference) -> Failure {
    let message = format!("pushing {} was interrupted", name.familiar());
    Failure::new(FailureKind::Internal, message)
}

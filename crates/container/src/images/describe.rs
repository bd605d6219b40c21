//! What an image is, without its layers: enough to check a Dockerfile that is based on it.

use shipway_oci::{Platform, Reference};
use shipway_store::Scope;

use super::{Images, ImagesError, PullError, PullOptions, PullPolicy};
use crate::image::Image;

impl Images {
    /// Finds an image as [`Images::pull`] would, but brings no layers and names nothing: what is given may not be there to
    /// be run.
    ///
    /// # Errors
    /// When there is no such image, or it cannot be had.
    pub async fn describe(
        &self,
        scope: &Scope,
        reference: &Reference,
        options: PullOptions,
    ) -> Result<Image, PullError> {
        let platform = options.platform.unwrap_or_else(Platform::host);
        if options.policy != PullPolicy::Always
            && let Some(image) = self.present(scope, reference, &platform).await?
        {
            return Ok(image);
        }
        let reference = reference.clone();
        let failed = |source| PullError::Registry {
            reference: Box::new(reference.clone()),
            source: Box::new(source),
        };
        let pulled = self
            .client
            .pull_configuration(&reference, &platform, options.credentials.as_ref(), &self.store)
            .await;
        let pulled = match pulled {
            Ok(pulled) => pulled,
            Err(error) if error.is_unreachable() => {
                let imported = self.imported(&reference, &platform).await?;
                return imported.ok_or_else(|| failed(error));
            }
            Err(error) => return Err(failed(error)),
        };
        self.blocking(move |images| {
            let digest = &pulled.manifest.digest;
            let image = Image::from_manifest(&images.store, Some(reference.clone()), digest, &pulled.image);
            image.map_err(|source| PullError::Use {
                reference: Box::new(reference),
                source: ImagesError::Load { source },
            })
        })
        .await
    }
}

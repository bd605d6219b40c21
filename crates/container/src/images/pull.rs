//! Images from registries, and what stands in for them when there is no way there.

use shipway_oci::{Platform, Reference};
use shipway_registry::{ClientError, PullProgress, RegistryCredentials};
use shipway_store::{ManifestWrite, PutManifestError, Scope, StoreError};

use super::{Images, ImagesError, Interrupted};
use crate::image::Image;

/// Whether a registry is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Always: a name may have moved.
    #[default]
    Always,
    /// When the scope has no image of that name.
    IfMissing,
    /// Never.
    Never,
}

/// How an image is pulled.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// For which platform; this machine's without.
    pub platform: Option<Platform>,
    /// Who asks.
    pub credentials: Option<RegistryCredentials>,
    /// Whether a registry is asked.
    pub policy: PullPolicy,
    /// A scope whose images count as here as well, before the scope's own; nothing is ever named in it.
    pub beside: Option<Scope>,
}

/// Where an image came from.
#[derive(Debug)]
pub enum PullSource {
    /// From its registry. What was there already was not moved again.
    Registry,
    /// The scope, or the one beside it, had it and the policy was content.
    Local,
    /// From the scope "imported", where alone it stays named, so that the registry is asked again the next time. The caller warns
    /// that the registry may have another one by now.
    Imported {
        /// Why the registry was not asked with success; nothing when the policy forbade to ask.
        unreachable: Option<ClientError>,
    },
}

/// An image that was pulled.
#[derive(Debug)]
pub struct PullOutcome {
    /// The image; where [`PullSource`] says, it is under the name asked for.
    pub image: Image,
    /// Where it came from.
    pub source: PullSource,
}

/// An image was not pulled.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The registry did not give it.
    #[error("cannot pull {reference}")]
    Registry {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: Box<ClientError>,
    },
    /// The policy is never to ask, and nothing is here.
    #[error("{reference} is not on this machine, and the pull policy is `never`: pull or import it first")]
    Absent {
        /// What was asked for.
        reference: Box<Reference>,
    },
    /// It came, but cannot be named.
    #[error("cannot keep {reference}")]
    Keep {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// It is here, but cannot be used.
    #[error("cannot use {reference}")]
    Use {
        /// What was asked for.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: ImagesError,
    },
    /// The thread that did it ended early.
    #[error("pulling the image was interrupted")]
    Interrupted,
}

impl From<Interrupted> for PullError {
    fn from(Interrupted: Interrupted) -> Self {
        Self::Interrupted
    }
}

impl Images {
    /// Brings an image into a scope, by the policy, or finds what stands in for it.
    ///
    /// Only a registry that cannot be reached is stood in for by an imported image: one that refuses or does not have
    /// the image has spoken. What stands in is not brought into the scope. A registry of this very installation is always reached.
    ///
    /// # Errors
    /// When there is no such image, or it cannot be had, kept or used.
    pub async fn pull(
        &self,
        scope: &Scope,
        reference: &Reference,
        options: PullOptions,
        progress: &dyn PullProgress,
    ) -> Result<PullOutcome, PullError> {
        let PullOptions {
            platform,
            credentials,
            policy,
            beside,
        } = options;
        let platform = platform.unwrap_or_else(Platform::host);
        if policy != PullPolicy::Always {
            for scope in beside.iter().chain([scope]) {
                if let Some(image) = self.present(scope, reference, &platform).await? {
                    return Ok(PullOutcome {
                        image,
                        source: PullSource::Local,
                    });
                }
            }
        }
        if policy == PullPolicy::Never {
            return match self.imported(reference, &platform).await? {
                Some(image) => Ok(PullOutcome {
                    image,
                    source: PullSource::Imported { unreachable: None },
                }),
                None => Err(PullError::Absent {
                    reference: Box::new(reference.clone()),
                }),
            };
        }
        let failed = |source: StoreError| PullError::Keep {
            reference: Box::new(reference.clone()),
            source: source.into(),
        };
        // What has come is nobody's until the manifest is kept.
        let _hold = self
            .blocking(|images| Ok::<_, PullError>(images.store.hold()))
            .await?
            .map_err(failed)?;
        match self
            .client
            .pull(reference, &platform, credentials.as_ref(), &self.store, progress)
            .await
        {
            Ok(pulled) => {
                let image = self.keep(scope, reference, pulled.manifest, &platform).await?;
                Ok(PullOutcome {
                    image,
                    source: PullSource::Registry,
                })
            }
            Err(error) if error.is_unreachable() => match self.imported(reference, &platform).await? {
                Some(image) => Ok(PullOutcome {
                    image,
                    source: PullSource::Imported {
                        unreachable: Some(error),
                    },
                }),
                None => Err(PullError::Registry {
                    reference: Box::new(reference.clone()),
                    source: Box::new(error),
                }),
            },
            Err(error) => Err(PullError::Registry {
                reference: Box::new(reference.clone()),
                source: Box::new(error),
            }),
        }
    }

    /// The scope's own image, unless it is for another platform.
    pub(super) async fn present(
        &self,
        scope: &Scope,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, PullError> {
        let found = self.find_for(scope, reference, platform).await;
        match found {
            Ok(found) => Ok(found.filter(|image| platform.matches(&image.platform()))),
            // An image that cannot be used is as good as none: the registry has a whole one.
            Err(ImagesError::Load { source }) => {
                tracing::debug!(%source, %reference, "an image is pulled again");
                Ok(None)
            }
            Err(source) => Err(PullError::Use {
                reference: Box::new(reference.clone()),
                source,
            }),
        }
    }

    /// What an administrator imported under this name. It gets no name in the scope that asks: under one it would pass for what the
    /// registry gave, and the registry would not be asked again.
    pub(super) async fn imported(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, PullError> {
        self.present(&Scope::imported(), reference, platform).await
    }

    /// Gives an imported image a name in another scope, which from then on holds it as its own.
    ///
    /// # Errors
    /// When the image was removed meanwhile, or the store fails.
    pub async fn adopt(
        &self,
        scope: &Scope,
        reference: &Reference,
        image: Image,
    ) -> Result<Image, PullError> {
        let (scope, reference) = (scope.clone(), reference.clone());
        self.blocking(move |images| {
            let failed = |source| PullError::Keep {
                reference: Box::new(reference.clone()),
                source,
            };
            let stored = images.store.image_manifest(&image.manifest);
            let stored = stored.map_err(|source| failed(source.into()))?.ok_or_else(|| {
                failed(PutManifestError::MissingManifest {
                    digest: image.manifest.clone(),
                })
            })?;
            let write = ManifestWrite::new(Some(&stored.media_type), stored.bytes).map_err(|source| {
                let manifest = image.manifest.clone();
                let source = ImagesError::Load {
                    source: crate::LoadImageError::Manifest { manifest, source },
                };
                PullError::Use {
                    reference: Box::new(reference.clone()),
                    source,
                }
            })?;
            let write = ManifestWrite {
                digest: stored.digest,
                ..write
            };
            images
                .store
                .put_image(&scope, &reference, &write)
                .map_err(failed)?;
            Ok(image)
        })
        .await
    }

    async fn keep(
        &self,
        scope: &Scope,
        reference: &Reference,
        write: ManifestWrite,
        platform: &Platform,
    ) -> Result<Image, PullError> {
        let (scope, reference, platform) = (scope.clone(), reference.clone(), platform.clone());
        self.blocking(move |images| {
            images
                .store
                .put_image(&scope, &reference, &write)
                .map_err(|source| PullError::Keep {
                    reference: Box::new(reference.clone()),
                    source,
                })?;
            images
                .image_at(Some(reference.clone()), &write.digest, &platform)
                .map_err(|source| PullError::Use {
                    reference: Box::new(reference.clone()),
                    source,
                })
        })
        .await
    }
}

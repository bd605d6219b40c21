//! The images of this machine by name, one set of names per scope.
//!
//! Bytes are shared underneath, names never: a job's engine, a project and the person at the keyboard each have their
//! own scope, and what one named the others do not see. The scope "imported" is what an administrator put there by
//! hand; it stands in for a registry that cannot be reached, and for nothing else.

mod describe;
mod import;
mod pull;

use std::collections::BTreeMap;

use shipway_oci::{Digest, Platform, Reference};
use shipway_registry::Client;
use shipway_store::{NamedImage, PutManifestError, Scope, Store, StoreError};

use crate::image::{Image, LoadImageError};

pub use import::{ImportError, ImportOptions};
pub use pull::{PullError, PullOptions, PullOutcome, PullPolicy, PullSource};

/// Names and images. Clones are the same.
#[derive(Clone)]
pub struct Images {
    pub(crate) store: Store,
    pub(crate) client: Client,
}

/// Images cannot be looked up or named.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// The store failed.
    #[error("cannot look up images in the store")]
    Store {
        /// Why.
        #[source]
        source: StoreError,
    },
    /// An image is there but cannot be used.
    #[error("the image cannot be used")]
    Load {
        /// Why.
        #[source]
        source: LoadImageError,
    },
    /// A name cannot be given.
    #[error("cannot name the image {reference}")]
    Name {
        /// The name.
        reference: Box<Reference>,
        /// Why.
        #[source]
        source: PutManifestError,
    },
    /// A short id stands for several images.
    #[error("`{prefix}` begins the ids of {count} images: write more of it")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many there are.
        count: usize,
    },
    /// The thread that did it ended early.
    #[error("the work on images was interrupted")]
    Interrupted,
}

/// An image of a scope with all the names that it has there.
#[derive(Debug, Clone)]
pub struct ListedImage {
    /// The image.
    pub image: Image,
    /// Its names, sorted; none when a newer image took the last of them.
    pub references: Vec<Reference>,
    /// When it got the latest of them.
    pub created: std::time::SystemTime,
}

/// A named image for other platforms than this machine's: nothing that could run here.
#[derive(Debug, Clone)]
pub struct ForeignImage {
    /// Its index.
    pub manifest: Digest,
    /// Its names, sorted; none when a newer image took the last of them.
    pub references: Vec<Reference>,
    /// What it is for, with commas between.
    pub platforms: String,
}

impl Images {
    /// The images in a store, pulled through a client.
    pub fn new(store: Store, client: Client) -> Self {
        Self { store, client }
    }

    /// The image with this name, for this machine's platform.
    ///
    /// # Errors
    /// When the store fails, or the image is damaged or for other platforms only.
    pub async fn find(&self, scope: &Scope, reference: &Reference) -> Result<Option<Image>, ImagesError> {
        self.find_for(scope, reference, &Platform::host()).await
    }

    /// The image with this name, for a platform.
    ///
    /// # Errors
    /// When the store fails, or the image is damaged or for other platforms only.
    pub async fn find_for(
        &self,
        scope: &Scope,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, ImagesError> {
        let (scope, reference, platform) = (scope.clone(), reference.clone(), platform.clone());
        self.blocking(move |images| images.find_blocking(&scope, &reference, &platform))
            .await
    }

    pub(crate) fn find_blocking(
        &self,
        scope: &Scope,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<Image>, ImagesError> {
        let manifest = self
            .store
            .image(scope, reference)
            .map_err(|source| ImagesError::Store { source })?;
        let manifest = match manifest {
            Some(manifest) => manifest,
            None => match self.by_digest(scope, reference)? {
                Some(manifest) => manifest,
                None => return Ok(None),
            },
        };
        self.image_at(Some(reference.clone()), &manifest, platform)
            .map(Some)
    }

    /// `name@digest` finds the image of that digest under any of the scope's names for that repository.
    fn by_digest(&self, scope: &Scope, reference: &Reference) -> Result<Option<Digest>, ImagesError> {
        let Some(digest) = &reference.digest else {
            return Ok(None);
        };
        let found = self.named(scope)?.into_iter().find(|named| {
            named.manifest == *digest
                && named.reference.as_ref().is_some_and(|other| {
                    (&other.registry, &other.repository) == (&reference.registry, &reference.repository)
                })
        });
        Ok(found.map(|named| named.manifest))
    }

    /// The image whose id or manifest digest begins so: `sha256:…`, or its hexadecimal digits alone.
    ///
    /// # Errors
    /// When the store fails, or several images begin so.
    pub async fn find_by_id(&self, scope: &Scope, prefix: &str) -> Result<Option<Image>, ImagesError> {
        let (scope, prefix) = (scope.clone(), prefix.to_owned());
        self.blocking(move |images| images.find_by_id_blocking(&scope, &prefix))
            .await
    }

    fn find_by_id_blocking(&self, scope: &Scope, prefix: &str) -> Result<Option<Image>, ImagesError> {
        let digits = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut found: BTreeMap<Digest, Image> = BTreeMap::new();
        for named in self.named(scope)? {
            let by_manifest = named.manifest.hex().starts_with(digits);
            match self.image_at(named.reference, &named.manifest, &Platform::host()) {
                Ok(image) if by_manifest || image.id.hex().starts_with(digits) => {
                    found.entry(image.id.clone()).or_insert(image);
                }
                Ok(_) => {}
                // One damaged image must not hide the others.
                Err(error) => tracing::debug!(%error, manifest = %named.manifest, "an image is passed over"),
            }
        }
        match found.len() {
            0 | 1 => Ok(found.into_values().next()),
            count => Err(ImagesError::Ambiguous {
                prefix: prefix.to_owned(),
                count,
            }),
        }
    }

    /// The image that somebody means by a text: a name, or (part of) an id, in docker's order.
    ///
    /// # Errors
    /// When the store fails, or the text could mean several images.
    pub async fn resolve(&self, scope: &Scope, text: &str) -> Result<Option<Image>, ImagesError> {
        if text.starts_with("sha256:") {
            return self.find_by_id(scope, text).await;
        }
        if let Ok(reference) = Reference::parse(text)
            && let Some(image) = self.find(scope, &reference).await?
        {
            return Ok(Some(image));
        }
        self.find_by_id(scope, text).await
    }

    /// All images of a scope, newest first; those for one other platform too. Damaged ones are left out, and an index that has nothing
    /// for this machine's platform is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, scope: &Scope) -> Result<Vec<ListedImage>, ImagesError> {
        let scope = scope.clone();
        self.blocking(move |images| images.list_blocking(&scope)).await
    }

    fn list_blocking(&self, scope: &Scope) -> Result<Vec<ListedImage>, ImagesError> {
        let mut listed: BTreeMap<Digest, ListedImage> = BTreeMap::new();
        for NamedImage {
            reference,
            manifest,
            created,
        } in self.named(scope)?
        {
            if let Some(known) = listed.get_mut(&manifest) {
                known.references.extend(reference);
                known.created = known.created.max(created);
                continue;
            }
            match self.image_at(reference.clone(), &manifest, &Platform::host()) {
                Ok(image) => {
                    let references = reference.into_iter().collect();
                    listed.insert(
                        manifest,
                        ListedImage {
                            image,
                            references,
                            created,
                        },
                    );
                }
                Err(error) => tracing::debug!(%error, %manifest, "an image is not listed"),
            }
        }
        let mut listed: Vec<_> = listed.into_values().collect();
        listed.sort_by_key(|entry| std::cmp::Reverse(entry.created));
        Ok(listed)
    }

    /// The images of a scope that [`list`](Self::list) leaves out because they have nothing for this machine's platform.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_foreign(&self, scope: &Scope) -> Result<Vec<ForeignImage>, ImagesError> {
        let scope = scope.clone();
        self.blocking(move |images| {
            let mut foreign: BTreeMap<Digest, ForeignImage> = BTreeMap::new();
            for NamedImage {
                reference, manifest, ..
            } in images.named(&scope)?
            {
                if let Some(known) = foreign.get_mut(&manifest) {
                    known.references.extend(reference);
                    continue;
                }
                let loaded = images.image_at(None, &manifest, &Platform::host());
                if let Err(ImagesError::Load {
                    source: LoadImageError::Platform { available, .. },
                }) = loaded
                {
                    let image = ForeignImage {
                        manifest: manifest.clone(),
                        references: reference.into_iter().collect(),
                        platforms: available,
                    };
                    foreign.insert(manifest, image);
                }
            }
            Ok(foreign.into_values().collect())
        })
        .await
    }

    /// Gives an image of a scope another name, which an older image loses.
    ///
    /// # Errors
    /// When the scope does not have the image.
    pub async fn tag(
        &self,
        scope: &Scope,
        manifest: &Digest,
        reference: &Reference,
    ) -> Result<(), ImagesError> {
        let (scope, manifest, reference) = (scope.clone(), manifest.clone(), reference.clone());
        self.blocking(move |images| {
            images
                .store
                .name_image(&scope, &reference, &manifest)
                .map_err(|source| ImagesError::Name {
                    reference: Box::new(reference.clone()),
                    source,
                })
        })
        .await
    }

    /// Takes a name away, and the image when that was its last; false when there was no such name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn untag(&self, scope: &Scope, reference: &Reference) -> Result<bool, ImagesError> {
        let (scope, reference) = (scope.clone(), reference.clone());
        self.blocking(move |images| {
            images
                .store
                .forget_image(&scope, &reference)
                .map_err(|source| ImagesError::Store { source })
        })
        .await
    }

    /// Takes an image with all its names away; false when there was none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, scope: &Scope, manifest: &Digest) -> Result<bool, ImagesError> {
        let (scope, manifest) = (scope.clone(), manifest.clone());
        self.blocking(move |images| {
            images
                .store
                .forget_manifest(&scope, &manifest)
                .map_err(|source| ImagesError::Store { source })
        })
        .await
    }

    fn named(&self, scope: &Scope) -> Result<Vec<NamedImage>, ImagesError> {
        self.store
            .images(scope)
            .map_err(|source| ImagesError::Store { source })
    }

    pub(crate) fn image_at(
        &self,
        reference: Option<Reference>,
        manifest: &Digest,
        platform: &Platform,
    ) -> Result<Image, ImagesError> {
        Image::load(&self.store, reference, manifest, platform).map_err(|source| ImagesError::Load { source })
    }

    pub(crate) async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Interrupted> + Send + 'static,
    {
        let images = self.clone();
        tokio::task::spawn_blocking(move || work(&images))
            .await
            .map_err(|_| Interrupted)?
    }
}

/// A blocking thread ended before its work was done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interrupted;

impl From<Interrupted> for ImagesError {
    fn from(Interrupted: Interrupted) -> Self {
        Self::Interrupted
    }
}

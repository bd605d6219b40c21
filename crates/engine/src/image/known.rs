//! Which images an engine has: those of its scope, and beside them what was imported on this machine.
//!
//! An import is for everybody: it is listed, found, run, tagged and pushed from the start. Only its registry can say whether there is
//! a newer one, and is asked by a pull and a build, as for every image; whoever runs the import without a pull is told. A name of the
//! scope goes before the same name of an import.
//!
//! A job takes no import away from others. When it removes one, this engine does not know it any more, and nothing else happens; the engine
//! that somebody runs for themselves removes it, as `shipway image rm` does.

use shipway_container::{Image, ImagesError, ListedImage};
use shipway_oci::Reference;
use shipway_store::Scope;

use crate::engine::{HostPaths, Inner};
use crate::failure::{Failure, told};

/// Whose name an image was found under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The engine's own.
    Scope,
    /// That of an import.
    Import,
}

impl Inner {
    /// An image by name or id; what is missing is a 404, which makes the CLI pull.
    pub(crate) async fn find_image(&self, asked: &str) -> Result<Image, Failure> {
        self.find_with_origin(asked).await.map(|(image, _)| image)
    }

    /// The same, and where it is from.
    pub(crate) async fn find_with_origin(&self, asked: &str) -> Result<(Image, Origin), Failure> {
        if !asked.starts_with("sha256:")
            && let Ok(reference) = Reference::parse(asked)
            && let Some(found) = self.find_by_name(&reference).await?
        {
            return Ok(found);
        }
        let own = self.images.find_by_id(&self.scope, asked).await;
        if let Some(image) = own.map_err(|error| lookup_failure(&error))? {
            return Ok((image, Origin::Scope));
        }
        let imported = self.images.find_by_id(&Scope::imported(), asked).await;
        if let Some(image) = imported.map_err(|error| lookup_failure(&error))?
            && self
                .imports()
                .await?
                .iter()
                .any(|import| import.image.id == image.id)
        {
            return Ok((image, Origin::Import));
        }
        Err(Failure::no_such_image(&Reference::parse(asked).map_or_else(
            |_| asked.to_owned(),
            |reference| reference.familiar(),
        )))
    }

    /// An image by its whole name.
    pub(super) async fn find_by_name(
        &self,
        reference: &Reference,
    ) -> Result<Option<(Image, Origin)>, Failure> {
        let own = self.images.find(&self.scope, reference).await;
        if let Some(image) = own.map_err(|error| lookup_failure(&error))? {
            return Ok(Some((image, Origin::Scope)));
        }
        if self.removed_imports().contains(reference) {
            return Ok(None);
        }
        let imported = self.images.find(&Scope::imported(), reference).await;
        let imported = imported.map_err(|error| lookup_failure(&error))?;
        Ok(imported.map(|image| (image, Origin::Import)))
    }

    /// The images of the engine's scope alone, newest first.
    pub(super) async fn own_images(&self) -> Result<Vec<ListedImage>, Failure> {
        let listed = self.images.list(&self.scope).await;
        listed.map_err(|error| lookup_failure(&error))
    }

    /// All images, newest first, each once with all its names.
    pub(crate) async fn listed_images(&self) -> Result<Vec<ListedImage>, Failure> {
        let mut listed = self.own_images().await?;
        let own: Vec<Reference> = listed.iter().flat_map(|own| own.references.clone()).collect();
        for mut import in self.imports().await? {
            import.references.retain(|reference| !own.contains(reference));
            let same = |own: &&mut ListedImage| own.image.manifest == import.image.manifest;
            if let Some(own) = listed.iter_mut().find(same) {
                own.references.append(&mut import.references);
                own.references.sort();
            } else if !import.references.is_empty() {
                listed.push(import);
            }
        }
        listed.sort_by_key(|entry| std::cmp::Reverse(entry.created));
        Ok(listed)
    }

    /// The imports that were not removed here, under the names that were not.
    async fn imports(&self) -> Result<Vec<ListedImage>, Failure> {
        let imported = self.images.list(&Scope::imported()).await;
        let mut imported = imported.map_err(|error| lookup_failure(&error))?;
        let removed = self.removed_imports();
        for import in &mut imported {
            import.references.retain(|reference| !removed.contains(reference));
        }
        imported.retain(|import| !import.references.is_empty());
        Ok(imported)
    }

    /// Takes a name from the scope and from what was imported, as far as it is there; false when it is nowhere.
    pub(super) async fn forget_name(&self, reference: &Reference) -> Result<bool, Failure> {
        let failed = |error: ImagesError| lookup_failure(&error);
        let own = self.images.untag(&self.scope, reference).await.map_err(failed)?;
        let imported = if matches!(self.view(), HostPaths::Machine) {
            let untagged = self.images.untag(&Scope::imported(), reference).await;
            untagged.map_err(failed)?
        } else {
            let found = self.images.find(&Scope::imported(), reference).await;
            found.map_err(failed)?.is_some() && self.removed_imports().insert(reference.clone())
        };
        Ok(own || imported)
    }
}

/// A lookup that failed: by what was asked, or by the store.
pub(super) fn lookup_failure(error: &ImagesError) -> Failure {
    match error {
        ImagesError::Ambiguous { .. } => Failure::bad_request(told(error)),
        error => Failure::internal(told(error)),
    }
}

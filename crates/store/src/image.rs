//! Local images: the names that an engine or the command line gives to manifests, one set per scope.

use std::time::SystemTime;

use shipway_oci::{Digest, Reference};

use crate::database::{change, parsed, row, rows, time};
use crate::manifest::{check_digest, held, hold, name, release};
use crate::space::{SCOPE, Scope, Space};
use crate::{ManifestWrite, PutManifestError, Result, Store};

/// An image of a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// Its name; none if the name moved on to a newer image, or it never had one.
    pub reference: Option<Reference>,
    /// Its manifest.
    pub manifest: Digest,
    /// When it got this name, or was put if it has none.
    pub created: SystemTime,
}

impl Store {
    /// Puts an image into a scope under a name. The blobs that its manifest names must be in the store.
    ///
    /// If the name pointed to another image, that one stays in the scope without it.
    pub fn put_image(
        &self,
        scope: &Scope,
        reference: &Reference,
        write: &ManifestWrite,
    ) -> Result<(), PutManifestError> {
        self.put(scope, Some(reference), write)
    }

    /// Puts an image into a scope without a name.
    pub fn put_unnamed_image(&self, scope: &Scope, write: &ManifestWrite) -> Result<(), PutManifestError> {
        self.put(scope, None, write)
    }

    fn put(
        &self,
        scope: &Scope,
        reference: Option<&Reference>,
        write: &ManifestWrite,
    ) -> Result<(), PutManifestError> {
        check_digest(write)?;
        self.database().write(|db| {
            let space = Space::from(scope).ensure(db)?;
            let manifest = hold(db, SCOPE, space, write)?;
            if let Some(reference) = reference {
                name(db, space, &reference.to_string(), manifest)?;
            }
            Ok(())
        })
    }

    /// Gives another name to an image that the scope has.
    pub fn name_image(
        &self,
        scope: &Scope,
        reference: &Reference,
        manifest: &Digest,
    ) -> Result<(), PutManifestError> {
        self.database().write(|db| {
            let missing = || PutManifestError::MissingManifest {
                digest: manifest.clone(),
            };
            let space = Space::from(scope).find(db)?.ok_or_else(missing)?;
            let row = held(db, space, manifest)?.ok_or_else(missing)?;
            Ok(name(db, space, &reference.to_string(), row)?)
        })
    }

    /// The manifest under a name.
    pub fn image(&self, scope: &Scope, reference: &Reference) -> Result<Option<Digest>> {
        let sql = "SELECT m.digest FROM spaces s JOIN names n ON n.space = s.id AND n.name = ?3
            JOIN manifests m ON m.id = n.manifest WHERE s.kind = ?1 AND s.name = ?2";
        let reference = reference.to_string();
        Ok(self
            .database()
            .read(|db| row(db, sql, (SCOPE, scope.as_str(), &reference), |row| parsed(row, 0)))?)
    }

    /// All images of a scope, sorted by name, those without one last. The members of an index that the scope has are not listed.
    pub fn images(&self, scope: &Scope) -> Result<Vec<NamedImage>> {
        let sql = "SELECT n.name, m.digest, n.changed FROM spaces s JOIN names n ON n.space = s.id
                JOIN manifests m ON m.id = n.manifest WHERE s.kind = ?1 AND s.name = ?2
            UNION ALL
            SELECT NULL, m.digest, h.held FROM spaces s JOIN held_manifests h ON h.space = s.id
                JOIN manifests m ON m.id = h.manifest WHERE s.kind = ?1 AND s.name = ?2
                AND NOT EXISTS (SELECT 1 FROM names n WHERE n.space = s.id AND n.manifest = m.id)
                AND NOT EXISTS (SELECT 1 FROM manifest_references r JOIN held_manifests p ON p.manifest = r.manifest
                    WHERE r.digest = m.digest AND r.kind = 1 AND p.space = s.id)
            ORDER BY 1 NULLS LAST, 3";
        self.database().read(|db| {
            rows(db, sql, (SCOPE, scope.as_str()), |row| {
                let named = row.get_ref(0)?.as_str_or_null()?.is_some();
                let reference = if named { Some(parsed(row, 0)?) } else { None };
                Ok(NamedImage {
                    reference,
                    manifest: parsed(row, 1)?,
                    created: time(row.get(2)?),
                })
            })
        })
    }

    /// The scopes in which jobs' images were pulled, sorted.
    pub fn pulled_scopes(&self) -> Result<Vec<Scope>> {
        let sql = "SELECT name FROM spaces WHERE kind = ?1 ORDER BY name";
        let scopes: Vec<Scope> = self
            .database()
            .read(|db| rows(db, sql, [SCOPE], |row| parsed(row, 0)))?;
        let pulled = scopes.into_iter().filter(|scope| scope.pulled_for().is_some());
        Ok(pulled.collect())
    }

    /// Takes away the images that jobs' pulls brought, unless this is only a question; gives how many names they had.
    pub fn forget_pulled(&self, only_ask: bool) -> Result<u64> {
        let mut names = 0;
        for scope in self.pulled_scopes()? {
            let images = self.images(&scope)?;
            names += images.iter().filter(|image| image.reference.is_some()).count() as u64;
            if !only_ask {
                self.forget_scope(&scope)?;
            }
        }
        Ok(names)
    }

    /// Takes a name away, and the image too if it has no other name in the scope.
    pub fn forget_image(&self, scope: &Scope, reference: &Reference) -> Result<bool> {
        self.database().write(|db| {
            let Some(space) = Space::from(scope).find(db)? else { return Ok(false) };
            let sql = "DELETE FROM names WHERE space = ?1 AND name = ?2
                RETURNING (SELECT digest FROM manifests m WHERE m.id = names.manifest)";
            let Some(manifest) = row(db, sql, (space, reference.to_string()), |row| parsed::<Digest>(row, 0))? else {
                return Ok(false);
            };
            let sql = "SELECT 1 FROM names n JOIN manifests m ON m.id = n.manifest WHERE n.space = ?1 AND m.digest = ?2";
            if !crate::database::exists(db, sql, (space, manifest.as_str()))? {
                release(db, Space::from(scope), &manifest)?;
            }
            Ok(true)
        })
    }

    /// Takes an image from a scope with all its names there.
    pub fn forget_manifest(&self, scope: &Scope, manifest: &Digest) -> Result<bool> {
        self.database()
            .write(|db| release(db, Space::from(scope), manifest))
    }

    /// Takes everything from a scope: images, names, build cache.
    pub fn forget_scope(&self, scope: &Scope) -> Result<()> {
        self.database().write(|db| {
            let Some(space) = Space::from(scope).find(db)? else {
                return Ok(());
            };
            change(db, "DELETE FROM names WHERE space = ?1", [space])?;
            // Only what it held may now be nobody's: the scopes of jobs end often, and manifests are many.
            let held: Vec<i64> = rows(
                db,
                "DELETE FROM held_manifests WHERE space = ?1 RETURNING manifest",
                [space],
                |row| row.get(0),
            )?;
            let unheld = "DELETE FROM manifests WHERE id = ?1
                AND NOT EXISTS (SELECT 1 FROM held_manifests h WHERE h.manifest = manifests.id)";
            for manifest in held {
                change(db, unheld, [manifest])?;
            }
            for sql in [
                "DELETE FROM cache_records WHERE space = ?1",
                "DELETE FROM linked_blobs WHERE space = ?1",
                "DELETE FROM spaces WHERE id = ?1",
            ] {
                change(db, sql, [space])?;
            }
            Ok(())
        })
    }
}

//! Nameless images: those of a scope whose last name went to a newer image, or that never had one.
//!
//! Nobody put them under their digest on purpose, as one does in a registry, so whoever frees space takes them away without being
//! asked to (see `unnamed` for what keeps one). The images of a job are no concern of this: they go with the job.

use std::time::{Duration, SystemTime};

use shipway_oci::Digest;

use crate::database::{change, exists, milliseconds, now, parsed, rows, time};
use crate::manifest::release;
use crate::space::{SCOPE, Scope, Space};
use crate::unnamed::{self, Unnamed};
use crate::{Result, Store};

/// An image without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamelessImage {
    /// Whose it is.
    pub scope: Scope,
    /// Its manifest.
    pub manifest: Digest,
    /// When it was put, or lost its last name.
    pub since: SystemTime,
}

impl Store {
    /// The scopes that outlive jobs and pods, sorted.
    pub fn lasting_scopes(&self) -> Result<Vec<Scope>> {
        let scopes = self.lasting()?.into_iter().map(|(_, scope)| scope);
        Ok(scopes.collect())
    }

    fn lasting(&self) -> Result<Vec<(i64, Scope)>> {
        let sql = "SELECT id, name FROM spaces WHERE kind = ?1 ORDER BY name";
        let mut scopes: Vec<(i64, Scope)> = self
            .database()
            .read(|db| rows(db, sql, [SCOPE], |row| Ok((row.get(0)?, parsed(row, 1)?))))?;
        scopes.retain(|(_, scope)| scope.is_lasting());
        Ok(scopes)
    }

    /// The nameless images of all lasting scopes, those of one scope together and the oldest first. Members of an index that the
    /// scope has, and what says something about an image of it, are none.
    pub fn nameless_images(&self) -> Result<Vec<NamelessImage>> {
        let sql = "SELECT m.digest, h.held FROM held_manifests h JOIN manifests m ON m.id = h.manifest WHERE h.space = ?1
            AND NOT EXISTS (SELECT 1 FROM names n WHERE n.space = h.space AND n.manifest = h.manifest)
            AND NOT EXISTS (SELECT 1 FROM manifest_references r JOIN held_manifests p ON p.manifest = r.manifest
                WHERE r.digest = m.digest AND r.kind = 1 AND p.space = h.space)
            AND NOT EXISTS (SELECT 1 FROM manifests t JOIN held_manifests p ON p.manifest = t.id
                WHERE t.digest = h.subject AND p.space = h.space)
            ORDER BY h.held, m.id";
        let mut found = Vec::new();
        for (space, scope) in self.lasting()? {
            let images: Vec<NamelessImage> = self.database().read(|db| {
                rows(db, sql, [space], |row| {
                    Ok(NamelessImage {
                        scope: scope.clone(),
                        manifest: parsed(row, 0)?,
                        since: time(row.get(1)?),
                    })
                })
            })?;
            found.extend(images);
        }
        Ok(found)
    }

    /// Finds the nameless images of all lasting scopes that were put or lost their last name before this time and that no pod
    /// has been lent, and takes them away unless this is only a question; gives their scopes and manifests, members of an index
    /// too.
    pub fn expire_nameless(&self, older_than: Duration, only_ask: bool) -> Result<Vec<(Scope, Digest)>> {
        let cutoff = now().saturating_sub(milliseconds(older_than));
        let mut found = Vec::new();
        for (space, scope) in self.lasting()? {
            let digests = unnamed::expire(self.database(), Unnamed { space, cutoff }, only_ask)?;
            found.extend(digests.into_iter().map(|digest| (scope.clone(), digest)));
        }
        Ok(found)
    }

    /// Keeps an image of a scope for another one, which is [`Scope::lent`], until that is forgotten; false when the scope does not
    /// have it. A lease: a power failure, which ends all pods, may undo it.
    pub fn lend_image(&self, scope: &Scope, manifest: &Digest, to: &Scope) -> Result<bool> {
        let sql = "INSERT INTO held_manifests (space, manifest, media_type, subject, artifact_type, annotations, held)
            SELECT ?2, h.manifest, h.media_type, h.subject, h.artifact_type, h.annotations, ?4
            FROM held_manifests h JOIN manifests m ON m.id = h.manifest WHERE h.space = ?1 AND m.digest = ?3
            ON CONFLICT (space, manifest) DO UPDATE SET held = excluded.held";
        self.database().write_quick(|db| {
            let Some(from) = Space::from(scope).find(db)? else {
                return Ok(false);
            };
            let to = Space::from(to).ensure(db)?;
            Ok(change(db, sql, (from, to, manifest.as_str(), now()))? == 1)
        })
    }

    /// Gives back what was lent; false when it was not. A lease as well.
    pub fn give_back_image(&self, manifest: &Digest, from: &Scope) -> Result<bool> {
        self.database()
            .write_quick(|db| release(db, Space::from(from), manifest))
    }

    /// Whether a pod has been lent an image of whatever scope.
    pub fn is_lent(&self, manifest: &Digest) -> Result<bool> {
        let sql = "SELECT 1 FROM manifests m JOIN held_manifests h ON h.manifest = m.id JOIN spaces s ON s.id = h.space
            WHERE m.digest = ?1 AND s.kind = ?2 AND s.name >= 'lent/' AND s.name < 'lent0'";
        Ok(self
            .database()
            .read(|db| exists(db, sql, (manifest.as_str(), SCOPE)))?)
    }
}

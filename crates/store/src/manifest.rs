//! Manifests: accepted in one transaction that sees all they point to, and served from rows.
//!
//! A manifest of a repository can only name blobs and manifests that this repository has: otherwise knowing a digest
//! would be enough to read a stranger's layer through a manifest of one's own.

use rusqlite::{Connection, Transaction};
use shipway_oci::{Digest, Manifest, ManifestError, References, RepositoryName, Tag};

use crate::database::{change, exists, now, parsed, row, rows};
use crate::space::{REPOSITORY, SCOPE, Space};
use crate::unnamed::name_leaves;
use crate::{Result, Store, StoreError};

const TO_BLOB: i64 = 0;
const TO_MANIFEST: i64 = 1;

/// A manifest to be put.
#[derive(Debug, Clone)]
pub struct ManifestWrite {
    /// Its bytes, which are kept as they are.
    pub bytes: Vec<u8>,
    /// The type under which it is served.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// What it points to.
    pub references: References,
    /// The tags that shall point to it. A scope's images have names instead.
    pub tags: Vec<Tag>,
}

impl ManifestWrite {
    /// Reads a manifest that came with a type or without one, to be put under its SHA-256 and no tag.
    pub fn new(media_type: Option<&str>, bytes: Vec<u8>) -> Result<Self, ManifestError> {
        let manifest = Manifest::parse(media_type, &bytes)?;
        let media_type = media_type
            .map(shipway_oci::media_type::essence)
            .filter(|media_type| !media_type.is_empty())
            .unwrap_or(manifest.media_type());
        Ok(Self {
            media_type: media_type.to_owned(),
            digest: Digest::sha256(&bytes),
            references: manifest.references(),
            tags: Vec::new(),
            bytes,
        })
    }
}

/// A manifest as it was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The type under which it is served.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How a manifest of a repository is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ManifestSelector {
    /// By a tag.
    Tag(Tag),
    /// By its digest.
    Digest(Digest),
}

/// Why a manifest was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutManifestError {
    /// It names a blob that is not there for it.
    #[error("the manifest names the blob {digest}, which is not there: push it first")]
    MissingBlob {
        /// The blob.
        digest: Digest,
    },
    /// It names a manifest that is not there for it.
    #[error("the manifest {digest} is not there: push it first")]
    MissingManifest {
        /// The manifest.
        digest: Digest,
    },
    /// Its bytes are not what the caller said.
    #[error("the manifest has the digest {actual}, not {expected}: it was damaged or exchanged on its way")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The disk or the database failed.
    #[error("cannot keep the manifest")]
    Store {
        /// Why not.
        #[from]
        source: StoreError,
    },
}

impl From<rusqlite::Error> for PutManifestError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Store {
            source: source.into(),
        }
    }
}

impl Store {
    /// Puts a manifest into a repository and points tags to it, all or nothing.
    pub fn put_manifest(
        &self,
        repository: &RepositoryName,
        write: &ManifestWrite,
    ) -> Result<(), PutManifestError> {
        check_digest(write)?;
        self.database().write(|db| {
            let space = Space::from(repository).ensure(db)?;
            let manifest = hold(db, REPOSITORY, space, write)?;
            for tag in &write.tags {
                name(db, space, tag.as_str(), manifest)?;
            }
            Ok(())
        })
    }

    /// A manifest of a repository: the query that every pull makes.
    pub fn manifest(
        &self,
        repository: &RepositoryName,
        selector: &ManifestSelector,
    ) -> Result<Option<StoredManifest>> {
        let by_tag = "SELECT m.digest, h.media_type, m.bytes FROM spaces s
            JOIN names n ON n.space = s.id AND n.name = ?3
            JOIN held_manifests h ON h.space = s.id AND h.manifest = n.manifest
            JOIN manifests m ON m.id = n.manifest
            WHERE s.kind = ?1 AND s.name = ?2";
        let by_digest = "SELECT m.digest, h.media_type, m.bytes FROM spaces s
            JOIN manifests m ON m.digest = ?3
            JOIN held_manifests h ON h.space = s.id AND h.manifest = m.id
            WHERE s.kind = ?1 AND s.name = ?2";
        let (sql, selector) = match selector {
            ManifestSelector::Tag(tag) => (by_tag, tag.as_str()),
            ManifestSelector::Digest(digest) => (by_digest, digest.as_str()),
        };
        Ok(self
            .database()
            .read(|db| row(db, sql, (REPOSITORY, repository.as_str(), selector), stored))?)
    }

    /// Takes a manifest from a repository, with all tags that point to it.
    pub fn delete_manifest(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool> {
        self.database()
            .write(|db| release(db, Space::from(repository), digest))
    }

    /// The tags of a repository that point to a manifest: what a deletion would take along.
    pub fn manifest_tags(&self, repository: &RepositoryName, digest: &Digest) -> Result<Vec<Tag>> {
        let sql = "SELECT n.name FROM spaces s JOIN manifests m ON m.digest = ?3
            JOIN names n ON n.space = s.id AND n.manifest = m.id
            WHERE s.kind = ?1 AND s.name = ?2 ORDER BY n.name";
        self.database().read(|db| {
            rows(
                db,
                sql,
                (REPOSITORY, repository.as_str(), digest.as_str()),
                |row| parsed(row, 0),
            )
        })
    }

    /// A manifest by digest alone, wherever it is held. For callers that have found the digest in a scope or repository of theirs.
    pub fn image_manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>> {
        let sql = "SELECT digest, media_type, bytes FROM manifests WHERE digest = ?1";
        Ok(self
            .database()
            .read(|db| row(db, sql, [digest.as_str()], stored))?)
    }
}

fn stored(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredManifest> {
    Ok(StoredManifest {
        digest: parsed(row, 0)?,
        media_type: row.get(1)?,
        bytes: row.get(2)?,
    })
}

/// Hashing four megabytes under the writer's lock would keep others waiting, so this comes before.
pub(crate) fn check_digest(write: &ManifestWrite) -> Result<(), PutManifestError> {
    let actual = Digest::of(write.digest.algorithm(), &write.bytes);
    if actual == write.digest {
        Ok(())
    } else {
        Err(PutManifestError::DigestMismatch {
            expected: write.digest.clone(),
            actual,
        })
    }
}

/// Makes a space hold a manifest after looking for all it needs; gives the manifest's row.
pub(crate) fn hold(
    db: &Transaction<'_>,
    kind: i64,
    space: i64,
    write: &ManifestWrite,
) -> Result<i64, PutManifestError> {
    let references = &write.references;
    for digest in &references.blobs {
        if !may_name_blob(db, kind, space, digest)? {
            return Err(PutManifestError::MissingBlob {
                digest: digest.clone(),
            });
        }
    }
    for digest in &references.manifests {
        if held(db, space, digest)?.is_none() {
            return Err(PutManifestError::MissingManifest {
                digest: digest.clone(),
            });
        }
    }

    let find = "SELECT id FROM manifests WHERE digest = ?1";
    let manifest = match row(db, find, [write.digest.as_str()], |row| row.get(0))? {
        Some(manifest) => manifest,
        None => {
            let sql = "INSERT INTO manifests (digest, media_type, bytes) VALUES (?1, ?2, ?3) RETURNING id";
            let parameters = (write.digest.as_str(), &write.media_type, &write.bytes);
            db.prepare_cached(sql)?.query_row(parameters, |row| row.get(0))?
        }
    };
    let refer =
        "INSERT INTO manifest_references (manifest, kind, digest) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
    for digest in &references.blobs {
        change(db, refer, (manifest, TO_BLOB, digest.as_str()))?;
    }
    for digest in &references.optional_blobs {
        // Whoever only knows a digest keeps nobody's bytes alive by it.
        if may_name_blob(db, kind, space, digest)? {
            change(db, refer, (manifest, TO_BLOB, digest.as_str()))?;
        }
    }
    for digest in references.manifests.iter().chain(&references.optional_manifests) {
        change(db, refer, (manifest, TO_MANIFEST, digest.as_str()))?;
    }

    let annotations = if references.annotations.is_empty() {
        None
    } else {
        let encoded = serde_json::to_string(&references.annotations);
        Some(encoded.map_err(|source| StoreError::Encode {
            what: "manifest's annotations",
            source,
        })?)
    };
    let sql =
        "INSERT INTO held_manifests (space, manifest, media_type, subject, artifact_type, annotations, held)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (space, manifest) DO UPDATE SET media_type = excluded.media_type, held = excluded.held";
    let parameters = (
        space,
        manifest,
        &write.media_type,
        references.subject.as_ref().map(Digest::as_str),
        references.artifact_type.as_deref(),
        annotations,
        // Since when nothing may name it; put again, that begins anew.
        now(),
    );
    change(db, sql, parameters)?;
    Ok(manifest)
}

/// A repository may name what it may read. A scope's owner had the bytes in hand, so the store having them is enough.
fn may_name_blob(db: &Connection, kind: i64, space: i64, digest: &Digest) -> rusqlite::Result<bool> {
    if kind == SCOPE {
        return exists(
            db,
            "SELECT 1 FROM blobs WHERE digest = ?1 AND doomed IS NULL",
            [digest.as_str()],
        );
    }
    let sql = "SELECT 1 FROM blobs b JOIN linked_blobs l ON l.space = ?1 AND l.blob = b.id
        WHERE b.digest = ?2 AND b.doomed IS NULL";
    exists(db, sql, (space, digest.as_str()))
}

/// The row of a manifest that a space holds.
pub(crate) fn held(db: &Connection, space: i64, digest: &Digest) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT m.id FROM manifests m JOIN held_manifests h ON h.space = ?1 AND h.manifest = m.id WHERE m.digest = ?2";
    row(db, sql, (space, digest.as_str()), |row| row.get(0))
}

/// Points a name to a manifest that the space holds.
pub(crate) fn name(db: &Connection, space: i64, name: &str, manifest: i64) -> rusqlite::Result<()> {
    name_leaves(db, space, name)?;
    let sql = "INSERT INTO names (space, name, manifest, changed) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT (space, name) DO UPDATE SET manifest = excluded.manifest, changed = excluded.changed";
    change(db, sql, (space, name, manifest, now()))?;
    Ok(())
}

/// Takes a manifest from a space, with all its names there, and drops its bytes if no other space holds them.
pub(crate) fn release(db: &Connection, space: Space<'_>, digest: &Digest) -> Result<bool> {
    let Some(space) = space.find(db)? else {
        return Ok(false);
    };
    let Some(manifest) = held(db, space, digest)? else {
        return Ok(false);
    };
    change(
        db,
        "DELETE FROM names WHERE space = ?1 AND manifest = ?2",
        (space, manifest),
    )?;
    change(
        db,
        "DELETE FROM held_manifests WHERE space = ?1 AND manifest = ?2",
        (space, manifest),
    )?;
    let sql = "DELETE FROM manifests WHERE id = ?1
        AND NOT EXISTS (SELECT 1 FROM held_manifests h WHERE h.manifest = manifests.id)";
    change(db, sql, [manifest])?;
    Ok(true)
}

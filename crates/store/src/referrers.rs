//! Referrers: the manifests of a repository that say something about another one, such as signatures.
//!
//! Whoever may push can make any number of them for one subject, each with megabytes of annotations. So a list comes in pages, and a page
//! ends where the next entry would make it larger than a manifest may be, which is what clients take. Pages are cut by digest:
//! one that was removed meanwhile is missed by nobody.

use rusqlite::{Connection, Row};
use shipway_oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, RepositoryName};

use crate::database::{parsed, row, rows, size};
use crate::space::REPOSITORY;
use crate::{Result, Store};

/// What a descriptor takes beside its annotations and types: its digest, its size and the names of the fields.
const FRAME: usize = 512;

/// Which part of a list of referrers is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReferrersPage<'a> {
    /// Only artifacts of this type.
    pub artifact_type: Option<&'a str>,
    /// Those after this one; it need not be there any more.
    pub last: Option<&'a Digest>,
    /// How many at most.
    pub at_most: usize,
}

/// A part of a list of referrers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Referrers {
    /// In the order of their digests; as JSON some 4 MiB at most, unless there is one alone.
    pub descriptors: Vec<Descriptor>,
    /// Whether there are more behind the last of these.
    pub has_more: bool,
}

impl Store {
    /// The manifests of a repository that have another one as their subject, which need not exist.
    pub fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        page: ReferrersPage<'_>,
    ) -> Result<Referrers> {
        // The annotations are left out, or sorting would read those of all pages.
        let sql = "SELECT h.space, h.manifest
            FROM spaces s JOIN held_manifests h INDEXED BY held_manifests_by_subject
            ON h.space = s.id AND h.subject = ?3 JOIN manifests m ON m.id = h.manifest
            WHERE s.kind = ?1 AND s.name = ?2 AND m.digest > ?4 AND (?5 IS NULL OR h.artifact_type = ?5)
            ORDER BY m.digest LIMIT ?6";
        let parameters = (
            REPOSITORY,
            repository.as_str(),
            subject.as_str(),
            page.last.map_or("", Digest::as_str),
            page.artifact_type,
            i64::try_from(page.at_most).unwrap_or(i64::MAX).saturating_add(1),
        );
        self.database().read(|db| {
            let held: Vec<(i64, i64)> = rows(db, sql, parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
            let mut referrers = Referrers::default();
            let mut room = MAX_MANIFEST_BYTES;
            for (space, manifest) in held {
                // One that is gone by now is no referrer any more.
                let Some((descriptor, length)) = referrer(db, space, manifest)? else {
                    continue;
                };
                let is_full = length > room && !referrers.descriptors.is_empty();
                if is_full || referrers.descriptors.len() == page.at_most {
                    referrers.has_more = true;
                    break;
                }
                room = room.saturating_sub(length);
                referrers.descriptors.push(descriptor);
            }
            Ok(referrers)
        })
    }
}

/// A referrer and how long it is as JSON, or a little less.
fn referrer(db: &Connection, space: i64, manifest: i64) -> rusqlite::Result<Option<(Descriptor, usize)>> {
    let sql = "SELECT h.media_type, m.digest, length(m.bytes), h.artifact_type, h.annotations
        FROM held_manifests h JOIN manifests m ON m.id = h.manifest WHERE h.space = ?1 AND h.manifest = ?2";
    row(db, sql, (space, manifest), described)
}

fn described(row: &Row<'_>) -> rusqlite::Result<(Descriptor, usize)> {
    let media_type = row.get_ref(0)?.as_str()?;
    let mut descriptor = Descriptor::new(media_type, parsed(row, 1)?, size(row, 2)?);
    descriptor.artifact_type = row.get(3)?;
    let annotations = row.get_ref(4)?.as_str_or_null()?.unwrap_or_default();
    if !annotations.is_empty() {
        descriptor.annotations = serde_json::from_str(annotations).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(4, rusqlite::types::Type::Text, Box::new(error))
        })?;
    }
    let types = descriptor.media_type.len() + descriptor.artifact_type.as_ref().map_or(0, String::len);
    Ok((descriptor, FRAME + types + annotations.len()))
}

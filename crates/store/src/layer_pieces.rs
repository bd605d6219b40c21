//! What pieces the layers that were built here are made of, so that later layers can take pieces from them.
//!
//! Only the builder understands it. It is found through the records of a scope's build cache: the layers of other scopes are not
//! looked into. It goes with the blob, and a power failure may lose it; then that layer's pieces are made anew once.

use shipway_oci::Digest;

use crate::database::{change, parsed, row, rows, size};
use crate::space::{SCOPE, Scope};
use crate::{Result, Store};

impl Store {
    /// Keeps what pieces a blob is made of. Of a blob that is not there nothing is kept.
    pub fn keep_layer_pieces(&self, blob: &Digest, pieces: &[u8]) -> Result<()> {
        let sql = "INSERT INTO layer_pieces (blob, pieces) SELECT id, ?2 FROM blobs WHERE digest = ?1
            ON CONFLICT DO UPDATE SET pieces = excluded.pieces";
        self.database()
            .write_quick(|db| change(db, sql, (blob.as_str(), pieces)))?;
        Ok(())
    }

    /// The pieces of the layers that a scope's build cache keeps, those of the record that was used last first, until they have so
    /// many bytes together.
    pub fn layer_pieces(&self, scope: &Scope, most_bytes: u64) -> Result<Vec<(Digest, Vec<u8>)>> {
        // The records are put in order before any pieces are looked at, so that sorting does not carry those.
        let layers = "SELECT b.digest, length(p.pieces) FROM (
                SELECT k.blob, max(c.touched) touched, max(c.id) record FROM spaces s JOIN cache_records c ON c.space = s.id
                JOIN cached_blobs k ON k.record = c.id WHERE s.kind = ?1 AND s.name = ?2 GROUP BY k.blob
            ) l JOIN layer_pieces p ON p.blob = l.blob JOIN blobs b ON b.id = l.blob ORDER BY l.touched DESC, l.record DESC";
        let pieces = "SELECT p.pieces FROM layer_pieces p JOIN blobs b ON b.id = p.blob WHERE b.digest = ?1";
        self.database().read(|db| {
            let layers: Vec<(Digest, u64)> = rows(db, layers, (SCOPE, scope.as_str()), |row| {
                Ok((parsed(row, 0)?, size(row, 1)?))
            })?;
            let (mut found, mut bytes) = (Vec::new(), 0_u64);
            for (layer, length) in layers {
                bytes = bytes.saturating_add(length);
                if bytes > most_bytes {
                    break;
                }
                // One that went between the two statements is none. By its digest: another may have its number by now.
                let pieces = row(db, pieces, [layer.as_str()], |row| row.get(0))?;
                found.extend(pieces.map(|pieces| (layer, pieces)));
            }
            Ok(found)
        })
    }
}

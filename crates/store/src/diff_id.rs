//! What blobs were seen to unpack to.
//!
//! An image's configuration only claims which diffID each of its layers has. Who unpacks or builds a layer sees whether it is so, and
//! keeps it here, so that nobody has to look again. It is a fact about bytes, and therefore of no space: it gives no right to read them.
//! It goes with the blob. A power failure may lose it; then it is looked at once more.

use shipway_oci::Digest;

use crate::database::{change, parsed, row};
use crate::{Result, Store};

impl Store {
    /// The diffID that a blob was seen to have; nothing when nobody has looked.
    pub fn diff_id(&self, blob: &Digest) -> Result<Option<Digest>> {
        let sql = "SELECT diff_id FROM blobs WHERE digest = ?1 AND diff_id IS NOT NULL";
        self.database()
            .read(|db| row(db, sql, [blob.as_str()], |row| parsed(row, 0)))
            .map_err(Into::into)
    }

    /// Keeps what a blob was seen to unpack to. The caller has hashed both. Of a blob that is not there nothing is kept.
    pub fn keep_diff_id(&self, blob: &Digest, diff_id: &Digest) -> Result<()> {
        let sql = "UPDATE blobs SET diff_id = ?2 WHERE digest = ?1";
        self.database()
            .write_quick(|db| change(db, sql, (blob.as_str(), diff_id.as_str())))?;
        Ok(())
    }
}

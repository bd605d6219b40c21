//! Owners that requests and archives name.

use rustix::fs::{Gid, Uid};

use crate::error::{KeeperError, Result};

/// The ids of an owner. The largest number is none: to the kernel it means that the owner stays who it is, which
/// here is root.
pub(crate) fn ids(of: &str, (uid, gid): (u32, u32)) -> Result<(Uid, Gid)> {
    for id in [uid, gid] {
        if id == u32::MAX {
            return Err(KeeperError::Id {
                user: format!("owner of {of}"),
                id: id.to_string(),
            });
        }
    }
    Ok((Uid::from_raw(uid), Gid::from_raw(gid)))
}

//! A full disk, recognized wherever it was met: here, in the store, or in a keeper.
//!
//! Apart because who tells people knows nothing of the many places where a write can fail, and there is one thing to do about all
//! of them.

use std::error::Error;

use rustix::io::Errno;
use shipway_sandbox::SystemError;

/// What people can do about a full disk.
pub const MAKE_ROOM: &str = "make room: `shipway prune` removes from the data directory what nothing needs, \
                             `shipway prune --all` also what can be made again";

/// Whether something failed because a disk, or its owner's share of it, is full.
pub fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
    shipway_store::is_disk_full(error)
        || std::iter::successors(Some(error), |&error| error.source())
            .filter_map(|error| error.downcast_ref::<SystemError>())
            .any(|error| full.contains(&error.errno()))
}

#[cfg(test)]
mod tests {
    use shipway_sandbox::KeeperError;

    use super::*;

    #[test]
    fn a_disk_that_a_keeper_found_full_is_recognized() {
        let failed = |errno: Errno| KeeperError::System {
            action: "write".into(),
            cause: errno.into(),
        };
        assert!(is_disk_full(&failed(Errno::NOSPC)));
        assert!(is_disk_full(&failed(Errno::DQUOT)));
        assert!(!is_disk_full(&failed(Errno::IO)));
        assert!(!is_disk_full(&KeeperError::Gone));
    }
}

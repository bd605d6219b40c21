//! Turns of a `resource_group`: one job of a project at a time, also between runs.
//!
//! Within a pipeline the schedule sees to it; here a lock on a file stands for the group, which the kernel lets go of when
//! its process dies, however it dies. Nobody queues: who comes first when the turn is free has it, as with GitLab's
//! default process mode, `unordered`. The other modes (`oldest_first`, `newest_first`, `newest_ready_first`) order jobs
//! by their pipelines; GitLab keeps them with the group, where its API sets them and no keyword of a configuration does.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use shipway_oci::Digest;

/// After which time to ask again for a turn that another run has.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// The turn of a group, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes the turn of a project's group; nothing when another run has it.
    pub(super) fn take(data: &Path, project: &str, group: &str) -> io::Result<Option<Self>> {
        let directory = data.join("resource-groups");
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        // A group's name may hold what no file's may, and a project's path ends where the group's name begins.
        let name = Digest::sha256(format!("{project}\0{group}").as_bytes());
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(name.to_string().replace(':', "-")))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _lock: lock })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Turn};

    #[test]
    fn a_group_has_one_turn_and_each_project_its_own() {
        let data = tempfile::tempdir().unwrap();
        let take = |project, group| Turn::take(data.path(), project, group).unwrap();
        let first = take("group/project", "production/eu west").unwrap();
        assert!(take("group/project", "production/eu west").is_none());
        assert!(take("group/project", "staging").is_some());
        assert!(take("group/other", "production/eu west").is_some());
        drop(first);
        // A program that another test is just starting has the lock's descriptor until it is executed.
        let freed = || take("group/project", "production/eu west").ok_or_else(|| "it is held".to_owned());
        shipway_testkit::wait_for(Duration::from_secs(30), freed).unwrap();
    }
}

//! Where a job's engine socket lies: in a directory of this process's own user, one for each pod, that no id of a job may enter.
//!
//! It is apart from the pod's own directories on purpose. Those belong to the job's ids, and a socket is bound and given its
//! mode by path: whoever could exchange a name there would have the mode of another file changed. Into the job goes the
//! socket alone, as a mount. A directory that a killed process left is removed by the next job.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use shipway_container::PodId;

const NAME: &str = "docker.sock";

/// The directory, removed with the value.
pub(super) struct SocketDirectory {
    path: PathBuf,
    opened: File,
}

impl SocketDirectory {
    /// A directory for the pod's socket below the data directory.
    pub(super) fn make(data: &Path, pod: &PodId) -> io::Result<Self> {
        let all = data.join("sockets");
        DirBuilder::new().recursive(true).mode(0o700).create(&all)?;
        sweep(&all, &data.join("locks"));
        let path = all.join(pod.as_str());
        DirBuilder::new().mode(0o700).create(&path)?;
        let opened = File::open(&path)?;
        Ok(Self { path, opened })
    }

    /// The socket's name for binding: by a descriptor, since a socket's path may have 107 bytes only.
    pub(super) fn to_bind(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{NAME}", self.opened.as_raw_fd()))
    }

    /// The socket's name for mounting.
    pub(super) fn socket(&self) -> PathBuf {
        self.path.join(NAME)
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        // What stays is empty, or swept by a later job.
        let _ = std::fs::remove_file(self.socket());
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// Removes the directories of pods that are gone: their locks are gone with them.
fn sweep(all: &Path, locks: &Path) {
    for entry in std::fs::read_dir(all).into_iter().flatten().flatten() {
        if !locks.join(entry.file_name()).exists() {
            // Two that sweep at once: one of them finds nothing.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn pod(name: &str) -> PodId {
        name.parse().unwrap()
    }

    #[test]
    fn a_directory_is_private_and_goes_with_its_value() {
        let data = tempfile::tempdir().unwrap();
        let (one, other) = ("0".repeat(32), "1".repeat(32));
        std::fs::create_dir(data.path().join("locks")).unwrap();
        for id in [&one, &other] {
            std::fs::write(data.path().join("locks").join(id), "").unwrap();
        }
        let kept = SocketDirectory::make(data.path(), &pod(&one)).unwrap();
        std::fs::write(kept.to_bind(), "").unwrap();
        assert!(kept.socket().exists());
        let mode = std::fs::metadata(&kept.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        drop(SocketDirectory::make(data.path(), &pod(&other)).unwrap());
        assert!(kept.socket().exists(), "the directory of a living pod stays");
        let path = kept.path.clone();
        drop(kept);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_pod_left_is_swept() {
        let data = tempfile::tempdir().unwrap();
        let left = data.path().join("sockets/gone");
        std::fs::create_dir_all(&left).unwrap();
        std::fs::write(left.join(NAME), "").unwrap();
        let _new = SocketDirectory::make(data.path(), &pod(&"0".repeat(32))).unwrap();
        assert!(!left.exists());
    }
}

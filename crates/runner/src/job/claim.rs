//! The mark of a job that runs, so that what a killed process left under the job's number is found and removed.
//!
//! The names of a job's images lie in a scope of the store, which the job removes at its end. A process that is killed
//! cannot; the scope would keep its blobs for ever, and its token for the registry would be good until it ends. So a job has
//! a file that is locked while its process lives, and whoever starts jobs or collects first removes the scopes and the
//! tokens of those whose lock is free.
//!
//! A mark that cannot be made or removed is reported: the job goes on, at worst its scope stays.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use shipway_container::LifeLock;
use shipway_store::{Scope, Store};

use super::on_machine;

/// Held while a job runs.
#[derive(Debug)]
pub(super) struct Claim(LifeLock);

impl Claim {
    /// Marks a job as running.
    pub(super) fn take(data: &Path, job: u64) -> io::Result<Self> {
        let directory = marks(data);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        LifeLock::create(&directory.join(job.to_string())).map(Self)
    }

    /// The job has ended and its scope is gone.
    pub(super) fn end(self) -> io::Result<()> {
        self.0.remove()
    }
}

/// Removes the images of jobs whose process died, and what they left in the data directory, and revokes their tokens. Blocks.
pub fn forget_dead_jobs(data: &Path, store: &Store) {
    on_machine::remove_leftovers(data);
    let entries = match std::fs::read_dir(marks(data)) {
        Ok(entries) => entries,
        // No job ever ran here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, path = %marks(data).display(), "cannot see which jobs have died");
            return;
        }
    };
    for entry in entries.flatten() {
        let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Err(error) = forget_if_dead(&entry.path(), job, store) {
            tracing::warn!(%error, job, "the image names and the token of a dead job stay");
        }
    }
}

fn forget_if_dead(path: &Path, job: u64, store: &Store) -> io::Result<()> {
    let Some(dead) = LifeLock::take_over(path)? else {
        return Ok(());
    };
    store.delete_tokens_of_job(job)?;
    store.forget_scope(&Scope::job(job))?;
    dead.remove()
}

fn marks(data: &Path) -> PathBuf {
    data.join("jobs")
}

#[cfg(test)]
mod tests {
    use shipway_oci::{Descriptor, ImageManifest, Manifest, media_type};
    use shipway_store::{JobTokenRecord, ManifestWrite};

    use super::*;

    fn put(store: &Store, job: u64) {
        store.put_blob(b"{}").unwrap();
        let config = Descriptor::of(media_type::OCI_CONFIG, b"{}");
        let manifest = Manifest::Image(ImageManifest::new(config, Vec::new()));
        let write = ManifestWrite::new(None, manifest.to_json().unwrap()).unwrap();
        store
            .put_image(&Scope::job(job), &"left:1".parse().unwrap(), &write)
            .unwrap();
        let token = JobTokenRecord {
            project: "a".to_owned(),
            job,
            expires_unix: u64::from(u32::MAX),
        };
        store
            .put_job_token(&[u8::try_from(job).unwrap(); 32], &token)
            .unwrap();
    }

    #[test]
    fn images_and_tokens_of_the_dead_go_and_those_of_the_living_stay() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&data.path().join("store")).unwrap();
        let alive = Claim::take(data.path(), 1).unwrap();
        put(&store, 1);
        drop(Claim::take(data.path(), 2).unwrap());
        put(&store, 2);

        forget_dead_jobs(data.path(), &store);

        assert_eq!(store.images(&Scope::job(1)).unwrap().len(), 1);
        assert!(store.images(&Scope::job(2)).unwrap().is_empty());
        assert!(store.job_has_token("a", 1).unwrap());
        assert!(!store.job_has_token("a", 2).unwrap());
        alive.end().unwrap();
        assert_eq!(std::fs::read_dir(marks(data.path())).unwrap().count(), 0);
    }
}

//! The mark of a job that runs, so that what a killed process left under the job's number is found and removed.
//!
//! The names of a job's images lie in a scope of the store, which the job removes at its end. A process that is killed
//! cannot; the scope would keep its blobs for ever, and its token for the registry would be good until it ends. So a job has
//! a file that is locked while its process lives, and whoever starts jobs or collects first removes the scopes and the
//! tokens of those whose lock is free. Who is shown such a token meanwhile asks [`JobMarks`].
//!
//! The mark is made before the token: a token without one is what no sweep finds, and one whose mark comes later is what a sweep
//! takes for a dead job's. [`crate::JobToken`] is issued for a claim for that reason.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use shipway_access::JobWitness;
use shipway_container::LifeLock;
use shipway_store::{Scope, Store};

use super::on_machine;

/// Held while a job runs, from before it has a token. Dropped without its end, it marks the job as dead.
#[derive(Debug)]
pub struct JobClaim {
    job: u64,
    mark: LifeLock,
}

impl JobClaim {
    /// Marks a job as running. Blocks.
    ///
    /// # Errors
    /// When the mark cannot be made in the data directory.
    pub fn take(data: &Path, job: u64) -> io::Result<Self> {
        let directory = marks(data);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mark = LifeLock::create(&directory.join(job.to_string()))?;
        Ok(Self { job, mark })
    }

    /// The job's number.
    pub fn job(&self) -> u64 {
        self.job
    }

    /// The job has ended: its tokens are worth nothing and its image names go; their bytes stay as long as anything else refers to
    /// them. What cannot go is left to the next run.
    pub(super) fn end(self, store: &Store) -> io::Result<()> {
        store.delete_tokens_of_job(self.job)?;
        store.forget_scope(&Scope::job(self.job))?;
        self.mark.remove()
    }
}

/// Tells by the marks which jobs live. Opens and locks a file for that, which takes microseconds.
#[derive(Debug, Clone)]
pub struct JobMarks {
    directory: PathBuf,
}

impl JobMarks {
    /// The marks in a data directory, in which no job need ever have run.
    pub fn of(data: &Path) -> Self {
        Self {
            directory: marks(data),
        }
    }
}

impl JobWitness for JobMarks {
    fn lives(&self, job: u64) -> io::Result<bool> {
        LifeLock::is_held(&self.directory.join(job.to_string()))
    }
}

/// Jobs whose process died and that can do no harm any more.
#[derive(Debug, Default)]
#[must_use = "their images are not forgotten yet"]
pub struct DeadJobs(Vec<JobClaim>);

impl DeadJobs {
    /// Removes their images. Blocks.
    pub fn forget(self, store: &Store) {
        for dead in self.0 {
            let job = dead.job;
            if let Err(error) = dead.end(store) {
                tracing::warn!(%error, job, "the image names of a dead job stay");
            }
        }
    }
}

/// Revokes the tokens of jobs whose process died and removes their directories, which hold their secrets. Blocks.
pub fn disarm_dead_jobs(data: &Path, store: &Store) -> DeadJobs {
    on_machine::remove_leftovers(data);
    let mut dead = Vec::new();
    let entries = match std::fs::read_dir(marks(data)) {
        Ok(entries) => entries,
        // No job ever ran here.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return DeadJobs(dead),
        Err(error) => {
            tracing::warn!(%error, path = %marks(data).display(), "cannot see which jobs have died");
            return DeadJobs(dead);
        }
    };
    for entry in entries.flatten() {
        let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match disarm_if_dead(&entry.path(), job, store) {
            Ok(claim) => dead.extend(claim),
            Err(error) => tracing::warn!(%error, job, "the image names and the token of a dead job stay"),
        }
    }
    DeadJobs(dead)
}

/// Removes the images of jobs whose process died, and what they left in the data directory, and revokes their tokens. Blocks.
pub fn forget_dead_jobs(data: &Path, store: &Store) {
    disarm_dead_jobs(data, store).forget(store);
}

fn disarm_if_dead(path: &Path, job: u64, store: &Store) -> io::Result<Option<JobClaim>> {
    let Some(mark) = LifeLock::take_over(path)? else {
        return Ok(None);
    };
    store.delete_tokens_of_job(job)?;
    Ok(Some(JobClaim { job, mark }))
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
        let alive = JobClaim::take(data.path(), 1).unwrap();
        put(&store, 1);
        drop(JobClaim::take(data.path(), 2).unwrap());
        put(&store, 2);
        let lives = |job| JobMarks::of(data.path()).lives(job).unwrap();
        assert!(lives(1) && !lives(2) && !lives(3));

        let dead = disarm_dead_jobs(data.path(), &store);
        assert!(store.job_has_token("a", 1).unwrap() && lives(1));
        assert!(
            !store.job_has_token("a", 2).unwrap(),
            "before anybody waits for the rest"
        );
        dead.forget(&store);

        assert_eq!(store.images(&Scope::job(1)).unwrap().len(), 1);
        assert!(store.images(&Scope::job(2)).unwrap().is_empty());
        alive.end(&store).unwrap();
        assert!(!lives(1));
        assert!(
            !store.job_has_token("a", 1).unwrap(),
            "a token without a mark would be nobody's to revoke"
        );
        assert_eq!(std::fs::read_dir(marks(data.path())).unwrap().count(), 0);
    }
}

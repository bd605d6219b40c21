//! Data directories of pipelines that ran, and what of them is left after a time.

use super::*;
use crate::artifacts::ArtifactStore as _;
use crate::cache::{CacheDirectory, CacheStore as _};
use std::fs::File;
use std::io::Write as _;

struct Place {
    data: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            data: tempfile::tempdir().unwrap(),
        }
    }

    fn of(reference: &str) -> PipelineOf {
        PipelineOf {
            project: "group/project".to_owned(),
            reference: reference.to_owned(),
        }
    }

    /// A pipeline with a trace and one job, of the pipeline's number, with artifacts.
    fn runs(&self, number: u64, reference: &str, expiry: Expiry) -> PipelineClaim {
        self.runs_jobs(number, reference, expiry, Extent::Whole, &[number])
    }

    /// The same with jobs of any numbers.
    fn runs_jobs(
        &self,
        number: u64,
        reference: &str,
        expiry: Expiry,
        extent: Extent,
        jobs: &[u64],
    ) -> PipelineClaim {
        let claim = PipelineClaim::take(self.data.path(), number, Self::of(reference), extent).unwrap();
        let traces = self.data.path().join("traces").join(number.to_string());
        fs::create_dir_all(&traces).unwrap();
        fs::write(traces.join("1-job.log"), "said").unwrap();
        let artifacts = ArtifactDirectory::open(self.directory(number)).unwrap();
        for job in jobs {
            artifacts.create(*job).unwrap().write_all(b"tar").unwrap();
            artifacts.keep(*job, expiry).unwrap();
        }
        claim
    }

    fn directory(&self, number: u64) -> PathBuf {
        self.data.path().join("artifacts").join(number.to_string())
    }

    fn expire(&self, retention: &Retention) -> Expired {
        let asked = expire(self.data.path(), retention, Caches::Unused, true);
        let done = expire(self.data.path(), retention, Caches::Unused, false);
        assert_eq!(asked, done, "the question and the deed differ");
        done
    }

    fn artifacts(&self) -> Vec<u64> {
        self.numbers("artifacts")
    }

    fn numbers(&self, place: &str) -> Vec<u64> {
        let mut numbers: Vec<u64> = entries(&self.data.path().join(place))
            .map(|path| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Which jobs left artifacts, as the driver of a pipeline tells it.
fn named<const N: usize>(jobs: [(u64, &str); N]) -> BTreeMap<u64, String> {
    jobs.map(|(number, name)| (number, name.to_owned())).into()
}

fn past() -> Expiry {
    Expiry::At(SystemTime::now() - Duration::from_secs(1))
}

fn future() -> Expiry {
    Expiry::At(SystemTime::now() + DAY)
}

#[test]
fn artifacts_go_when_their_job_says_but_those_of_the_latest_success_stay() {
    let place = Place::new();
    place
        .runs(1, "main", past())
        .succeeded(named([(1, "job")]))
        .unwrap();
    place
        .runs(2, "main", past())
        .succeeded(named([(2, "job")]))
        .unwrap();
    // A failure after it changes nothing, and another branch has its own.
    drop(place.runs(3, "main", past()));
    place
        .runs(4, "other", past())
        .succeeded(named([(4, "job")]))
        .unwrap();
    drop(place.runs(5, "main", future()));
    let running = place.runs(6, "main", past());
    let expired = place.expire(&Retention::default());
    assert_eq!(expired.artifacts, Freed { count: 2, bytes: 6 });
    assert_eq!(place.artifacts(), [2, 4, 5, 6]);
    assert!(!place.directory(1).with_file_name("1.expires").exists());
    assert_eq!(
        place.numbers("traces"),
        [1, 2, 3, 4, 5, 6],
        "traces are no artifacts"
    );

    running.succeeded(named([(6, "job")])).unwrap();
    drop(running);
    // A run of one job without artifacts is none to keep instead.
    let alone = PipelineClaim::take(place.data.path(), 7, Place::of("main"), Extent::NamedJobs).unwrap();
    alone.succeeded(BTreeMap::new()).unwrap();
    drop(alone);
    assert_eq!(place.expire(&Retention::default()).artifacts.count, 1);
    assert_eq!(place.artifacts(), [4, 5, 6]);
}

#[test]
fn a_run_of_named_jobs_takes_the_place_of_these_jobs_alone() {
    let place = Place::new();
    let runs = |number, extent, jobs: BTreeMap<u64, String>| {
        let numbers: Vec<u64> = jobs.keys().copied().collect();
        let claim = place.runs_jobs(number, "main", past(), extent, &numbers);
        claim.succeeded(jobs).unwrap();
    };
    let left = || -> Vec<u64> {
        place.expire(&Retention::default());
        let numbers = place.artifacts().into_iter();
        let archives = numbers.flat_map(|pipeline| entries(&place.directory(pipeline)).collect::<Vec<_>>());
        let mut jobs: Vec<u64> = archives
            .filter(|path| is_archive(path))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        jobs.sort_unstable();
        jobs
    };
    // Tried twice, a job has two archives.
    runs(
        1,
        Extent::Whole,
        named([(11, "a"), (12, "b"), (13, "c"), (14, "b")]),
    );
    runs(2, Extent::NamedJobs, named([(21, "a")]));
    assert_eq!(left(), [12, 13, 14, 21]);
    runs(3, Extent::NamedJobs, named([(31, "b"), (32, "a")]));
    assert_eq!(left(), [13, 31, 32]);
    // What did not succeed takes no place, whatever it left.
    drop(place.runs_jobs(4, "main", past(), Extent::NamedJobs, &[41]));
    assert_eq!(left(), [13, 31, 32]);
    // The job `c` is there no more.
    runs(5, Extent::Whole, named([(51, "a"), (52, "b")]));
    assert_eq!(left(), [51, 52]);

    // Of a version whose records name no jobs.
    place.runs(6, "main", past());
    let record = records(place.data.path()).join("6");
    let older = r#"{"project":"group/project","ref":"main","succeeded":true}"#;
    fs::write(record, older).unwrap();
    assert_eq!(left(), [6]);
    runs(7, Extent::NamedJobs, named([(71, "a")]));
    assert_eq!(left(), [6, 71]);
}

#[test]
fn of_old_pipelines_stays_only_what_was_asked_for() {
    let place = Place::new();
    for (number, expiry) in [
        (1, Expiry::Unsaid),
        (2, Expiry::Never),
        (3, future()),
        (4, Expiry::Unsaid),
    ] {
        drop(place.runs(number, "main", expiry));
    }
    let of_the_last_one = Retention {
        pipelines: 1,
        ..Retention::default()
    };
    let expired = place.expire(&of_the_last_one);
    assert_eq!((expired.artifacts.count, expired.traces.count), (1, 3));
    assert_eq!(place.artifacts(), [2, 3, 4]);
    assert_eq!(place.numbers("traces"), [4]);
    // Nothing tells of the first any more.
    assert_eq!(place.numbers("pipelines"), [2, 3, 4]);

    // What is young by number gets old.
    let at_once = Retention {
        age: Duration::ZERO,
        ..Retention::default()
    };
    let expired = place.expire(&at_once);
    assert_eq!((expired.artifacts.count, expired.traces.count), (1, 1));
    assert_eq!(place.artifacts(), [2, 3]);
}

#[test]
fn what_an_older_version_left_and_half_an_archive_go_as_well() {
    let place = Place::new();
    let store = ArtifactDirectory::open(place.directory(1)).unwrap();
    store.create(1).unwrap();
    store.keep(1, Expiry::Unsaid).unwrap();
    store.create(2).unwrap();
    fs::create_dir_all(place.data.path().join("traces/2")).unwrap();
    let last = Retention {
        pipelines: 1,
        ..Retention::default()
    };
    assert_eq!(place.expire(&last).artifacts.count, 1);
    assert_eq!(place.artifacts(), [] as [u64; 0]);
    assert_eq!(place.numbers("traces"), [2]);
}

#[test]
fn caches_that_are_used_stay() {
    let place = Place::new();
    let directory = place.data.path().join("caches");
    let caches = CacheDirectory::open(&directory).unwrap();
    let old = SystemTime::now() - 40 * DAY;
    for key in ["used", "unused"] {
        caches.create("group/project", key).unwrap().keep().unwrap();
    }
    let torn = directory.join(".torn");
    File::create(&torn).unwrap();
    for path in entries(&directory) {
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    assert!(caches.open("group/project", "used").unwrap().is_some());
    let expired = place.expire(&Retention::default());
    assert_eq!(expired.caches.count, 2);
    assert!(!torn.exists());
    assert!(caches.open("group/project", "used").unwrap().is_some());
    assert!(caches.open("group/project", "unused").unwrap().is_none());
    expire(place.data.path(), &Retention::default(), Caches::All, false);
    assert!(caches.open("group/project", "used").unwrap().is_none());
}

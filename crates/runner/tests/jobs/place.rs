//! An installation in a directory of its own, an image with busybox, and jobs to run in it.

use shipway_access::Access;
use shipway_build::Builder;
use shipway_container::{Egress, ImportOptions, Runtime, RuntimeOptions};
use shipway_engine::certificates::CertificateAuthority;
use shipway_oci::{Reference, RegistryName};
use shipway_pipeline::job::{JobArtifact, JobImage, JobInfo, JobPayload, RunnerInfo, Step};
use shipway_registry::{Authority, Client, ClientOptions, RegistryCredentials};
use shipway_runner::configuration::RunnerSettings;
use shipway_runner::{
    ArtifactDirectory, CacheDirectory, Cancellation, Containers, HostCredentials, ImageFreshness, JobClaim,
    JobOutcome, JobRun, RunnerContext, SourceError, SourceReport, Sources, Substitution, Trace, TraceEvent,
    TraceListener, run_job,
};
use shipway_sandbox::IdMap;
use shipway_store::{Scope, Store};
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The image of all these jobs.
pub(crate) const IMAGE: &str = "busybox.test/busybox:1";

/// Nobody's credentials.
struct Nobody;

impl HostCredentials for Nobody {
    fn find(&self, _: &RegistryName) -> Option<RegistryCredentials> {
        None
    }

    fn ask_helper(&self, _: &str, _: &RegistryName) -> Option<RegistryCredentials> {
        None
    }
}

/// Sources that are a list of files.
pub(crate) struct Files(pub(crate) Vec<(&'static str, &'static str)>);

impl Sources for Files {
    fn write(&self, into: &mut dyn Write) -> Result<SourceReport, SourceError> {
        let mut builder = tar::Builder::new(into);
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o666);
            header.set_size(content.len() as u64);
            builder
                .append_data(&mut header, name, content.as_bytes())
                .map_err(|source| SourceError::HandOver { source })?;
        }
        builder
            .finish()
            .map_err(|source| SourceError::HandOver { source })?;
        Ok(SourceReport {
            revision: "a commit".to_owned(),
            files: self.0.len() as u64,
            ..Default::default()
        })
    }
}

/// What a job said, and somebody who waits for a word.
#[derive(Default)]
pub(crate) struct Said {
    text: Mutex<String>,
    cancel_at: Mutex<Option<(&'static str, Cancellation)>>,
}

impl TraceListener for Said {
    fn event(&self, event: TraceEvent<'_>) {
        if let TraceEvent::Output(bytes) = event {
            let mut text = self.text.lock().unwrap();
            text.push_str(&String::from_utf8_lossy(bytes));
            if let Some((word, cancellation)) = &*self.cancel_at.lock().unwrap()
                && text.contains(word)
            {
                cancellation.cancel();
            }
        }
    }
}

/// An installation.
pub(crate) struct Place {
    pub(crate) context: RunnerContext,
    pub(crate) artifacts: ArtifactDirectory,
    pub(crate) caches: CacheDirectory,
    pub(crate) directory: tempfile::TempDir,
}

/// A job that ended, and what it said.
pub(crate) struct Ended {
    pub(crate) outcome: JobOutcome,
    pub(crate) trace: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let store = Store::open(&data.join("store")).unwrap();
        let access = Access::new(store.clone()).unwrap();
        let authority = Authority::new(store.clone(), access);
        let registry_name: RegistryName = "registry.shipway.internal".parse().unwrap();
        let egress = Egress::detect([]).unwrap();
        let client = Client::new(ClientOptions {
            authorities: vec![(registry_name.clone(), authority.clone())],
            egress: Arc::new(egress.clone()),
            ..ClientOptions::default()
        })
        .unwrap();
        let options = RuntimeOptions::new(&data, store.clone(), client.clone(), IdMap::detect().unwrap());
        let runtime = Runtime::open(options).await.unwrap();
        let context = RunnerContext {
            data: data.clone(),
            containers: Ok(Containers {
                builder: Builder::new(runtime.clone(), store.clone(), client.clone()),
                runtime,
            }),
            certificates: Arc::new(CertificateAuthority::load_or_create(&data.join("ca")).unwrap()),
            store,
            client,
            egress,
            authority,
            registry_name,
            credentials: Arc::new(Nobody),
            substitution: Substitution::Engine,
            freshness: ImageFreshness::IfNotPresent,
            default_image: IMAGE.to_owned(),
            settings: RunnerSettings::default(),
        };
        let artifacts = ArtifactDirectory::open(data.join("artifacts")).unwrap();
        let caches = CacheDirectory::open(data.join("caches")).unwrap();
        let place = Self {
            context,
            artifacts,
            caches,
            directory,
        };
        place.import(IMAGE, &["ENV PATH=/bin"]);
        place
    }

    /// Gives busybox another name with another configuration.
    pub(crate) fn import(&self, name: &str, changes: &[&str]) {
        self.import_into(Scope::imported(), name, changes);
    }

    pub(crate) fn import_into(&self, scope: Scope, name: &str, changes: &[&str]) {
        let mut options = ImportOptions::new(scope, Some(Reference::parse(name).unwrap()));
        options.changes = changes.iter().map(|change| change.parse().unwrap()).collect();
        let containers = self.context.containers.as_ref().unwrap();
        containers
            .runtime
            .images()
            .import(shipway_testkit::busybox_root().bytes().as_slice(), options)
            .unwrap();
    }

    pub(crate) async fn run(&self, payload: &JobPayload) -> Ended {
        self.run_with(payload, Files(Vec::new()), None).await
    }

    /// Runs a job; cancels it once it has said a word.
    pub(crate) async fn run_with(
        &self,
        payload: &JobPayload,
        sources: Files,
        cancel_at: Option<&'static str>,
    ) -> Ended {
        let cancellation = Cancellation::default();
        let said = Arc::new(Said::default());
        *said.cancel_at.lock().unwrap() = cancel_at.map(|word| (word, cancellation.clone()));
        let trace = Trace::new(std::io::sink(), vec![said.clone()]);
        let claim = JobClaim::take(&self.context.data, payload.id).unwrap();
        let run = JobRun {
            payload,
            claim,
            sources: Arc::new(sources),
            artifacts: &self.artifacts,
            caches: Some(&self.caches),
            trace: &trace,
            cancellation: &cancellation,
        };
        let outcome = run_job(&self.context, run).await;
        let trace = said.text.lock().unwrap().clone();
        Ended { outcome, trace }
    }

    /// The directories of pods that are still there.
    pub(crate) fn pods(&self) -> Vec<std::path::PathBuf> {
        let keeper = self.directory.path().join("data/keeper");
        let below = |path: &Path| -> Vec<std::path::PathBuf> {
            std::fs::read_dir(path)
                .into_iter()
                .flatten()
                .map(|entry| entry.unwrap().path())
                .collect()
        };
        below(&keeper)
            .iter()
            .flat_map(|class| below(&class.join("pods")))
            .collect()
    }
}

/// A job with a script.
pub(crate) fn job(id: u64, script: &[&str]) -> JobPayload {
    JobPayload {
        id,
        token: format!("token-of-job-{id}"),
        job_info: JobInfo {
            id,
            name: format!("job {id}"),
            project_full_path: "group/project".into(),
            ..Default::default()
        },
        runner_info: RunnerInfo { timeout: 60 },
        image: JobImage {
            name: IMAGE.into(),
            pull_policy: local(),
            ..Default::default()
        },
        steps: vec![step("script", script)],
        ..Default::default()
    }
}

/// The pull policy of a place without a network.
pub(crate) fn local() -> Vec<String> {
    vec!["never".to_owned()]
}

pub(crate) fn step(name: &str, lines: &[&str]) -> Step {
    let script = lines.iter().map(|line| (*line).to_owned()).collect();
    Step {
        name: name.to_owned(),
        script,
        ..Default::default()
    }
}

pub(crate) fn artifact(kind: &str, paths: &[&str]) -> JobArtifact {
    JobArtifact {
        artifact_type: kind.to_owned(),
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        ..Default::default()
    }
}

/// Runs a test's future.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

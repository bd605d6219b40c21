//! What every test needs: an installation with an image of busybox in it, a context, and a witness of the build.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use shipway_build::lint::Finding;
use shipway_build::{
    BuildError, BuildEvents, BuildRequest, Builder, Built, Context, DockerfileSource, Miss, RunNetwork, Step,
};
use shipway_container::{Image, ImportOptions, OutputStream, Runtime, RuntimeOptions};
use shipway_oci::{Digest, Platform, Reference, with_causes};
use shipway_registry::{Client, ClientOptions};
use shipway_sandbox::{Isolation, Place};
use shipway_store::{Scope, Store};
use shipway_testkit::busybox_root;

/// An installation.
pub(crate) struct House {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) builder: Builder,
}

impl House {
    /// One with the image `busybox`.
    pub(crate) async fn new() -> Self {
        Self::of(Isolation::Namespaces).await
    }

    /// The same by certain means.
    pub(crate) async fn of(isolation: Isolation) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let house = Self::open(directory, None, isolation).await;
        let reference = Some(Reference::parse("busybox").unwrap());
        let mut options = ImportOptions::new(Scope::user(), reference);
        options.changes = vec![
            "ENV FROM_IMAGE=yes".parse().unwrap(),
            "CMD [\"sh\"]".parse().unwrap(),
        ];
        let root = busybox_root()
            .file("etc/os-release", "ID=busybox\n")
            .directory("gone", 0o755, (0, 0))
            .file("gone/file", "to be removed");
        house
            .runtime
            .images()
            .import(root.bytes().as_slice(), options)
            .unwrap();
        house
    }

    async fn open(directory: tempfile::TempDir, keeper: Option<PathBuf>, isolation: Isolation) -> Self {
        let data = directory.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let store = Store::open(&data.join("store")).unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        let Place { isolation, id_map } = Place::detect(Some(isolation), &data.join("probe")).unwrap();
        let mut options = RuntimeOptions::new(&data, store.clone(), client.clone(), id_map);
        options.isolation = isolation;
        options.keeper = keeper;
        let runtime = Runtime::open(options).await.unwrap();
        let builder = Builder::new(runtime.clone(), store.clone(), client);
        Self {
            directory,
            store,
            runtime,
            builder,
        }
    }

    /// The same installation by other means.
    pub(crate) async fn by(self, isolation: Isolation) -> Self {
        Self::open(self.directory, None, isolation).await
    }

    /// The same installation in which no keeper can be started.
    pub(crate) async fn without_keepers(self) -> Self {
        Self::open(
            self.directory,
            Some("/nonexistent/keeper".into()),
            Isolation::Namespaces,
        )
        .await
    }

    pub(crate) async fn build(&self, request: BuildRequest) -> (Result<Built, BuildError>, Witness) {
        let witness = Witness::default();
        let built = self.builder.build(request, &witness).await;
        (built, witness)
    }

    /// Builds and expects it to work.
    pub(crate) async fn built(&self, request: BuildRequest) -> (Built, Witness) {
        let (built, witness) = self.build(request).await;
        match built {
            Ok(built) => (built, witness),
            Err(error) => panic!("{}\n{:?}", with_causes(&error), witness.log()),
        }
    }

    pub(crate) fn image(&self, built: &Built) -> Image {
        Image::load(&self.store, None, &built.manifest, &Platform::host()).unwrap()
    }

    /// The entries of a layer, one line each: mode, owner, size, name.
    pub(crate) fn layer(&self, digest: &Digest) -> Vec<String> {
        let file = self.store.open_blob(digest).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let kind = match header.entry_type() {
                tar::EntryType::Directory => 'd',
                tar::EntryType::Symlink => 'l',
                tar::EntryType::Link => 'h',
                tar::EntryType::Regular => '-',
                other => panic!("{other:?}"),
            };
            let mut line = format!(
                "{kind}{:04o} {}:{} {:>3} {}",
                header.mode().unwrap(),
                header.uid().unwrap(),
                header.gid().unwrap(),
                entry.size(),
                entry.path().unwrap().display()
            );
            if let Some(target) = entry.link_name().unwrap() {
                write!(line, " -> {}", target.display()).unwrap();
            }
            assert!(
                header.mtime().unwrap() <= 315_532_800,
                "{line} is later than 1980"
            );
            line
        });
        entries.collect()
    }

    /// A file as the topmost layer of an image that has it says.
    pub(crate) fn file(&self, image: &Image, path: &str) -> Option<Vec<u8>> {
        image
            .layers
            .iter()
            .rev()
            .filter(|layer| layer.media_type.ends_with("gzip"))
            .find_map(|layer| {
                let file = self.store.open_blob(&layer.digest).unwrap();
                let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
                archive.entries().unwrap().find_map(|entry| {
                    let mut entry = entry.unwrap();
                    (entry.path().unwrap() == Path::new(path)).then(|| {
                        let mut bytes = Vec::new();
                        entry.read_to_end(&mut bytes).unwrap();
                        bytes
                    })
                })
            })
    }
}

/// A context of files made on the spot.
pub(crate) fn context(files: &[(&str, &str)]) -> (tempfile::TempDir, Context) {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let context = Context::directory(directory.path());
    (directory, context)
}

/// A build of a Dockerfile given as text.
pub(crate) fn request(context: Context, dockerfile: &str) -> BuildRequest {
    let mut request = BuildRequest::new(context);
    request.dockerfile = DockerfileSource::Bytes {
        bytes: dockerfile.as_bytes().to_vec(),
        name: "Dockerfile".to_owned(),
        ignore: None,
    };
    // The pod's network has its own tests where it is made.
    request.network = RunNetwork::None;
    request
}

/// Remembers what a build told.
#[derive(Default)]
pub(crate) struct Witness {
    log: Mutex<Vec<String>>,
    output: Mutex<BTreeMap<u32, String>>,
    misses: Mutex<Vec<Miss>>,
}

impl Witness {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn cached(&self) -> usize {
        self.log()
            .iter()
            .filter(|line| line.starts_with("cached"))
            .count()
    }

    /// Why steps were not known.
    pub(crate) fn misses(&self) -> Vec<Miss> {
        self.misses.lock().unwrap().clone()
    }

    /// What the RUN of a line wrote.
    pub(crate) fn output(&self, line: u32) -> String {
        self.output
            .lock()
            .unwrap()
            .get(&line)
            .cloned()
            .unwrap_or_default()
    }
}

impl BuildEvents for Witness {
    fn step_started(&self, step: &Step<'_>) {
        self.log
            .lock()
            .unwrap()
            .push(format!("{}/{} {}", step.index, step.total, step.text));
    }

    fn cached(&self, step: &Step<'_>) {
        self.log.lock().unwrap().push(format!("cached {}", step.index));
    }

    fn missed(&self, _step: &Step<'_>, why: &Miss) {
        self.log.lock().unwrap().push(format!("missed {why}"));
        self.misses.lock().unwrap().push(why.clone());
    }

    fn output(&self, step: &Step<'_>, _stream: OutputStream, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.output
            .lock()
            .unwrap()
            .entry(step.line)
            .or_default()
            .push_str(&text);
    }

    fn findings(&self, dockerfile: &str, findings: &[Finding]) {
        let found = findings
            .iter()
            .map(|finding| format!(" {}:{}", finding.lines.first, finding.rule));
        let line = format!("findings in {dockerfile}:{}", found.collect::<String>());
        self.log.lock().unwrap().push(line);
    }

    fn note(&self, message: &str) {
        self.log.lock().unwrap().push(format!("note {message}"));
    }

    fn warning(&self, message: &str) {
        self.log.lock().unwrap().push(format!("warning {message}"));
    }
}

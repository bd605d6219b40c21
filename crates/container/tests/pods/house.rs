//! What every test needs: an installation in a directory of its own, and an image with busybox made on the spot.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::StreamExt;
use shipway_container::{
    AttachFrom, Container, ContainerOptions, Egress, ExcessSignal, Image, ImportOptions, Output,
    OutputStream, Pod, PodOptions, Runtime, RuntimeOptions,
};
use shipway_oci::Reference;
use shipway_registry::{Client, ClientOptions, Timeouts};
use shipway_sandbox::{ExitStatus, IdMap};
use shipway_store::{Meter, Scope, Store};

/// An installation.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) directory: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = open(&directory.path().join("data")).await;
        Self { runtime, directory }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The keepers' directory as the test sees it.
    pub(crate) fn keeper(&self) -> PathBuf {
        self.data().join("keeper").join(IdMap::detect().unwrap().class())
    }

    pub(crate) async fn pod(&self) -> Pod {
        self.pod_with(Egress::detect([]).unwrap()).await
    }

    pub(crate) async fn pod_with(&self, egress: Egress) -> Pod {
        self.runtime
            .start_pod(PodOptions {
                name: "pod".into(),
                egress,
                excess: ExcessSignal::default(),
                written: Meter::default(),
            })
            .await
            .unwrap()
    }

    /// Imports a tar under a name in the user's scope.
    pub(crate) fn import(&self, name: &str, tar: &[u8], changes: &[&str]) -> Image {
        let mut options = ImportOptions::new(Scope::user(), Some(Reference::parse(name).unwrap()));
        options.changes = changes.iter().map(|change| change.parse().unwrap()).collect();
        // Tests run side by side in one process without nextest, and a name server of theirs answers on these threads.
        tokio::task::block_in_place(|| self.runtime.images().import(tar, options)).unwrap()
    }

    pub(crate) fn busybox(&self) -> Image {
        self.import("busybox", &busybox_tar(), &["ENV FROM_IMAGE=yes", "CMD [\"sh\"]"])
    }
}

pub(crate) async fn open(data: &Path) -> Runtime {
    open_with(data, IdMap::detect().unwrap()).await
}

/// The same data directory for pods with other ids.
pub(crate) async fn open_with(data: &Path, ids: IdMap) -> Runtime {
    std::fs::create_dir_all(data).unwrap();
    let store = Store::open(&data.join("store")).unwrap();
    let timeouts = Timeouts {
        attempts: 1,
        connect: Duration::from_secs(5),
        ..Timeouts::default()
    };
    let client = Client::new(ClientOptions {
        timeouts,
        ..ClientOptions::default()
    })
    .unwrap();
    Runtime::open(RuntimeOptions::new(data, store, client, ids))
        .await
        .unwrap()
}

/// A root file system with busybox and two users.
pub(crate) fn busybox_tar() -> Vec<u8> {
    shipway_testkit::busybox_root().bytes()
}

/// Options to run a shell script.
pub(crate) fn script(image: &Image, script: &str) -> ContainerOptions {
    let mut options = ContainerOptions::new(image.clone());
    options.command = Some(["sh", "-c", script].map(str::to_owned).into());
    options.network = shipway_container::Network::None;
    options
}

/// Runs a container to its end and gives its status and output, standard error in the same text.
pub(crate) async fn run(pod: &Pod, options: ContainerOptions) -> (ExitStatus, String) {
    let container = pod.create(options).await.unwrap();
    let result = run_once(&container).await;
    container.remove(false).await.unwrap();
    result
}

pub(crate) async fn run_once(container: &Container) -> (ExitStatus, String) {
    let attachment = container.attach(AttachFrom::Now, false);
    container.start().await.unwrap();
    let output = text(attachment.output).await;
    (container.wait().await, output)
}

pub(crate) async fn text(output: Output) -> String {
    let bytes: Vec<u8> = output
        .flat_map(|chunk| futures::stream::iter(chunk.unwrap().bytes))
        .collect()
        .await;
    String::from_utf8(bytes).unwrap()
}

/// What came on one of the two streams.
pub(crate) async fn streams(output: Output) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let chunks: Vec<_> = output.map(Result::unwrap).collect().await;
    for chunk in chunks {
        match chunk.stream {
            OutputStream::Stdout => stdout.extend_from_slice(&chunk.bytes),
            OutputStream::Stderr => stderr.extend_from_slice(&chunk.bytes),
        }
    }
    (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Reads until the output has said so much.
pub(crate) async fn until(output: &mut Output, wanted: &str) -> String {
    let mut seen = String::new();
    let reading = async {
        while !seen.contains(wanted) {
            let chunk = output.chunk().await.unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("the output ended before {wanted:?}: {seen:?}"));
            seen.push_str(&String::from_utf8_lossy(&chunk.bytes));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), reading).await;
    assert!(seen.contains(wanted), "no {wanted:?} in {seen:?}");
    seen
}

/// Asks until it holds, with a bound; never waits for a time alone.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "not within 20 s: {what}"
        );
        tokio::task::yield_now().await;
    }
}

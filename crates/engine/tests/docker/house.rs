//! What every test needs: an installation with a registry of its own, an engine on a socket, an image with busybox made on
//! the spot, and a docker CLI with a configuration of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use shipway_access::{Access, Secret};
use shipway_build::{BuildRequest, Builder, Context, DockerfileSource};
use shipway_container::{
    Egress, EgressException, ExcessSignal, ImportOptions, Pod, PodOptions, Runtime, RuntimeOptions,
};
use shipway_engine::{Engine, EngineOptions, HostPaths};
use shipway_oci::{Digest, Reference};
use shipway_registry::{Authority, Client, ClientOptions, Timeouts};
use shipway_sandbox::IdMap;
use shipway_store::{Meter, Scope, Store};
use shipway_testkit::{Peer, busybox_root};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Longer than anything a test asks for, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const REGISTRY: &str = "registry.shipway.internal";
pub(crate) const PASSWORD: &str = "correct horse";

/// An installation, one job's engine in it, and a docker CLI.
pub(crate) struct House {
    pub(crate) docker: Peer,
    pub(crate) engine: Engine,
    pub(crate) pod: Pod,
    pub(crate) runtime: Runtime,
    client: Client,
    pub(crate) directory: tempfile::TempDir,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl House {
    pub(crate) async fn new(docker: Peer) -> House {
        House::with(docker, HostPaths::Unset, None).await
    }

    /// A house whose pod reaches servers of this machine.
    pub(crate) async fn reaching_this_machine(docker: Peer) -> House {
        let loopback = "127.0.0.1".parse().unwrap();
        House::with(docker, HostPaths::Unset, Some(loopback)).await
    }

    async fn with(docker: Peer, host_paths: HostPaths, allowed: Option<EgressException>) -> House {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir_all(&data).unwrap();
        let store = Store::open(&data.join("store")).unwrap();
        let access = Access::new(store.clone()).unwrap();
        access
            .add_user(&"ann".parse().unwrap(), &Secret::from(PASSWORD), true)
            .unwrap();
        let authority = Authority::new(store.clone(), access);
        let timeouts = Timeouts {
            attempts: 1,
            connect: Duration::from_secs(5),
            ..Timeouts::default()
        };
        let client = Client::new(ClientOptions {
            authorities: vec![(REGISTRY.parse().unwrap(), authority)],
            timeouts,
            ..ClientOptions::default()
        })
        .unwrap();
        let options = RuntimeOptions::new(&data, store.clone(), client.clone(), IdMap::detect().unwrap());
        let runtime = Runtime::open(options).await.unwrap();
        let egress = Egress::detect(allowed).unwrap();
        let pod = runtime
            .start_pod(PodOptions {
                name: "job".to_owned(),
                egress,
                excess: ExcessSignal::default(),
                written: Meter::default(),
            })
            .await
            .unwrap();
        let engine = engine(&runtime, &pod, &client, "job/1", host_paths);
        let house = House {
            docker,
            engine,
            pod,
            runtime,
            client,
            directory,
        };
        tokio::spawn(house.engine.serve_unix(&house.socket(), 0o600).unwrap());
        house
    }

    /// A house whose engine is somebody's own and has the image `busybox`.
    pub(crate) async fn of_machine_with_busybox(docker: Peer) -> House {
        let house = House::with(docker, HostPaths::Machine, None).await;
        house.import("job/1", "busybox");
        house
    }

    /// A house whose engine has the image `busybox`.
    pub(crate) async fn with_busybox(docker: Peer) -> House {
        let house = House::new(docker).await;
        house.import("job/1", "busybox");
        house
    }

    pub(crate) fn import(&self, scope: &str, name: &str) {
        let mut options = ImportOptions::new(scope.parse().unwrap(), Some(Reference::parse(name).unwrap()));
        options.changes = ["ENV FROM_IMAGE=yes", "CMD [\"sh\"]"]
            .iter()
            .map(|change| change.parse().unwrap())
            .collect();
        self.runtime
            .images()
            .import(busybox_root().bytes().as_slice(), options)
            .unwrap();
    }

    /// An image of one file for several platforms, under a name of the job; its index.
    pub(crate) async fn built_for(&self, platforms: &[&str], name: &str) -> Digest {
        let mut request = BuildRequest::new(Context::Empty);
        request.dockerfile = DockerfileSource::Bytes {
            bytes: b"FROM scratch\nCOPY <<a /a\ntext\na\n".to_vec(),
            name: "Dockerfile".to_owned(),
            ignore: None,
        };
        request.platforms = platforms
            .iter()
            .map(|platform| platform.parse().unwrap())
            .collect();
        request.tags = vec![Reference::parse(name).unwrap()];
        request.scope = "job/1".parse().unwrap();
        request.pod = Some(self.pod.clone());
        let store = self.runtime.store().clone();
        let builder = Builder::new(self.runtime.clone(), store, self.client.clone());
        builder.build(request, &()).await.unwrap().manifest
    }

    /// The engine of another job, in the same pod for want of more; where it is reached.
    pub(crate) fn another_engine(&self, scope: &str) -> PathBuf {
        let engine = engine(&self.runtime, &self.pod, &self.client, scope, HostPaths::Unset);
        let socket = self.path("another.sock");
        tokio::spawn(engine.serve_unix(&socket, 0o600).unwrap());
        socket
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.docker.path());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.path("config"))
            .env("DOCKER_BUILDKIT", "0")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `docker …` with nothing on standard input.
    pub(crate) async fn docker(&self, arguments: &[&str]) -> Said {
        let child = self.command(arguments).spawn().unwrap();
        finish(child, arguments).await
    }

    /// Runs `docker …` with this on standard input, and then its end.
    pub(crate) async fn docker_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeding = tokio::spawn(async move {
            // A program that had enough is no failure of the test.
            let _ = stdin.write_all(&input).await;
        });
        let said = finish(child, arguments).await;
        feeding.await.unwrap();
        said
    }

    /// Runs `docker …`, which must succeed, and gives its output without the last newline.
    pub(crate) async fn ok(&self, arguments: &[&str]) -> String {
        let said = self.docker(arguments).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout.trim_end().to_owned()
    }

    /// The same at another engine.
    pub(crate) async fn ok_at(&self, socket: &Path, arguments: &[&str]) -> String {
        let host = format!("unix://{}", socket.display());
        let child = self.command(arguments).env("DOCKER_HOST", host).spawn().unwrap();
        let said = finish(child, arguments).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout.trim_end().to_owned()
    }

    pub(crate) async fn close(self) {
        self.engine.close().await;
        self.pod.close().await;
    }
}

/// An engine with these names and paths.
fn engine(runtime: &Runtime, pod: &Pod, client: &Client, scope: &str, host_paths: HostPaths) -> Engine {
    let scope: Scope = scope.parse().unwrap();
    Engine::new(EngineOptions {
        runtime: runtime.clone(),
        pod: pod.clone(),
        client: client.clone(),
        builder: Builder::new(runtime.clone(), runtime.store().clone(), client.clone()),
        scope: scope.clone(),
        cache_scope: scope,
        host_paths,
        name: "job-1".to_owned(),
        address: None,
        observer: None,
    })
}

impl Said {
    /// Fails unless the command ended so and one of its outputs contains the words.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(
            self.stderr.contains(words) || self.stdout.contains(words),
            "no {words:?} in {self:?}"
        );
    }
}

pub(crate) async fn finish(child: tokio::process::Child, arguments: &[&str]) -> Said {
    let line = arguments.join(" ");
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("docker {line} does not end"))
        .unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A file with parents.
pub(crate) fn write(path: &Path, content: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

/// One exchange over the socket, until the engine closes it.
pub(crate) async fn exchange(house: &House, request: &str) -> String {
    let mut stream = tokio::net::UnixStream::connect(house.socket()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("an answer and its end")
        .unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

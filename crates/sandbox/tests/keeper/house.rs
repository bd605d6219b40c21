//! What every test needs: a keeper in a directory of its own and a root with busybox in it.

use std::fs::File;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use shipway_sandbox::{
    ContainerNetwork, ContainerSpec, ExitStatus, IdMap, Isolation, Keeper, LaunchOptions, ProcessLimit,
    ProcessSpec, RootSpec, Started, Stdio,
};

pub(crate) use shipway_testkit::harness::BlockingTest as Test;

/// A keeper with its directory.
pub(crate) struct House {
    pub(crate) keeper: Keeper,
    pub(crate) id_map: IdMap,
    pub(crate) directory: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        Self::limited(ProcessLimit::default())
    }

    /// Whose pod may have only so many processes.
    pub(crate) fn limited(processes: ProcessLimit) -> Self {
        Self::of(Isolation::Namespaces, processes)
    }

    /// One without namespaces; only root has such.
    pub(crate) fn in_trees() -> Option<Self> {
        Self::in_trees_limited(ProcessLimit::default())
    }

    pub(crate) fn in_trees_limited(processes: ProcessLimit) -> Option<Self> {
        rustix::process::geteuid()
            .is_root()
            .then(|| Self::of(Isolation::Chroot, processes).furnished())
    }

    /// One whose pod has one id.
    pub(crate) fn with_one_id() -> Self {
        Self::of(Isolation::OneId, ProcessLimit::default()).furnished()
    }

    /// One whose pod has one id and mounts nothing.
    pub(crate) fn without_mounts() -> Self {
        Self::of(Isolation::NoMounts, ProcessLimit::default()).furnished()
    }

    /// One that starts nothing and owns all files.
    pub(crate) fn bare() -> Self {
        Self::of(Isolation::Bare, ProcessLimit::default())
    }

    fn of(isolation: Isolation, processes: ProcessLimit) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("keeper");
        let mut options = match isolation {
            Isolation::Namespaces => LaunchOptions::new(IdMap::detect().unwrap(), place, "pod"),
            Isolation::OneId => LaunchOptions::one_id(place, "pod"),
            Isolation::Chroot => LaunchOptions::chroot(place, "pod"),
            Isolation::NoMounts => LaunchOptions::no_mounts(place, "pod"),
            Isolation::Bare => LaunchOptions::bare(place, "pod"),
        };
        options.processes = processes;
        let id_map = options.id_map.clone();
        let keeper = Keeper::launch(&options).unwrap();
        Self {
            keeper,
            id_map,
            directory,
        }
    }

    /// One more keeper of the same directory.
    pub(crate) fn another_keeper(&self) -> Keeper {
        launch(&self.id_map, self.directory.path())
    }

    /// A layer with busybox under every name that the tests use.
    pub(crate) fn with_busybox() -> Self {
        Self::new().furnished()
    }

    /// Adds the busybox layer.
    pub(crate) fn furnished(self) -> Self {
        let house = self;
        let keeper = &house.keeper;
        for path in ["base", "base/bin", "base/etc", "base/tmp", "base/root"] {
            keeper.make_directory(Path::new(path), 0o755, (0, 0)).unwrap();
        }
        let busybox = std::fs::read("/bin/busybox").expect("install the package busybox-static");
        keeper
            .write_file(Path::new("base/bin/busybox"), &busybox, 0o755, (0, 0))
            .unwrap();
        for applet in [
            "sh", "id", "cat", "ls", "sleep", "ip", "hostname", "mount", "nc", "stat",
        ] {
            let script = format!("#!/bin/busybox sh\nexec /bin/busybox {applet} \"$@\"\n");
            let script = if applet == "sh" {
                busybox.clone()
            } else {
                script.into_bytes()
            };
            keeper
                .write_file(&Path::new("base/bin").join(applet), &script, 0o755, (0, 0))
                .unwrap();
        }
        house.write(
            "base/etc/passwd",
            "root:x:0:0::/root:/bin/sh\nann:x:1000:1001::/home/ann:/bin/sh\n",
        );
        house.write("base/etc/group", "root:x:0:\nann:x:1001:\nvideo:x:44:ann\n");
        house
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        self.keeper
            .write_file(Path::new(path), text.as_bytes(), 0o644, (0, 0))
            .unwrap();
    }

    /// The root of a new container on the busybox layer.
    pub(crate) fn root(&self, name: &str) -> RootSpec {
        self.keeper
            .make_directory(Path::new(name), 0o700, (0, 0))
            .unwrap();
        RootSpec {
            layers: vec!["base".into()],
            upper: Some(name.into()),
        }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join("keeper").join(below)
    }

    /// Starts `spec` with its output in a pipe.
    pub(crate) fn start(&self, spec: ContainerSpec) -> (Started, File) {
        let (read, write) = self.keeper.pipe().unwrap();
        let stderr = write.try_clone().unwrap();
        let stdio = Stdio {
            stdin: None,
            stdout: Some(write),
            stderr: Some(stderr),
        };
        (self.keeper.start(spec, stdio).unwrap(), File::from(read))
    }

    /// Runs `spec` to its end.
    pub(crate) fn run(&self, spec: ContainerSpec) -> (ExitStatus, String) {
        let (started, mut output) = self.start(spec);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        (self.keeper.wait(started.process).unwrap(), text)
    }

    /// Runs a shell script in a new container.
    pub(crate) fn script(&self, name: &str, script: &str) -> (ExitStatus, String) {
        self.run(container(self.root(name), &["/bin/sh", "-c", script]))
    }
}

fn launch(id_map: &IdMap, directory: &Path) -> Keeper {
    Keeper::launch(&LaunchOptions::new(
        id_map.clone(),
        directory.join("keeper"),
        "pod",
    ))
    .unwrap()
}

/// A container without network.
pub(crate) fn container(root: RootSpec, argv: &[&str]) -> ContainerSpec {
    ContainerSpec {
        root,
        mounts: Vec::new(),
        hostname: "box".into(),
        network: ContainerNetwork::None,
        process: process(argv),
        files: Vec::new(),
    }
}

pub(crate) fn process(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        user: String::new(),
        terminal: false,
        limits: Vec::new(),
    }
}

/// The address of the pod's bridge.
pub(crate) const BRIDGE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

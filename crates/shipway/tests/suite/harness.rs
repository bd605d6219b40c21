//! A user at a keyboard: a home, the binary, the base images of the pipelines, and a registry to look into afterwards.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::{Account, Home, Peer, wait_for, workspace};

/// The docker CLI whose image the jobs of a pipeline run in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite(pub(crate) &'static str);

/// The CLIs of Debian 12 (20.10) and Debian 13 (26).
pub(crate) const SUITES: [Suite; 2] = [Suite("bookworm"), Suite("trixie")];

/// Those, and a static docker CLI that is on `PATH`.
pub(crate) fn suites() -> Vec<Suite> {
    let mut suites = SUITES.to_vec();
    if on_path("docker").is_some_and(|docker| is_static(&docker)) {
        suites.push(Suite("path"));
    }
    suites
}

/// Where a program is that this process would start.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Whether a program runs in any image: `file` knows, and says so of both kinds of static binaries.
fn is_static(program: &Path) -> bool {
    let output = Command::new("file")
        .arg("--brief")
        .arg("--dereference")
        .arg(program)
        .output();
    output.is_ok_and(|output| text(&output).contains("static"))
}

/// A user with Shipway.
pub(crate) struct User {
    pub(crate) home: Home,
    binary: PathBuf,
}

impl User {
    /// A user of the given account with nothing in the data directory.
    pub(crate) fn new(account: Account) -> Result<Self> {
        let home = Home::new(account)?;
        // The account of the test may not be allowed to enter the directory that the binary was built in. Another process
        // copies: a descriptor of ours, open for writing while another test forks, would make the binary `busy`.
        let binary = home.path().join("shipway");
        succeed(Command::new("cp").arg(env!("CARGO_BIN_EXE_shipway")).arg(&binary))?;
        Ok(Self { home, binary })
    }

    /// A user who has the base images of the pipelines, with the docker CLI of `suite` in them.
    pub(crate) fn with_base_images(account: Account, suite: Suite) -> Result<Self> {
        let user = Self::new(account)?;
        let images = shared_images(suite)?;
        for (names, tar, changes) in [
            (
                ["busybox:1.36", "busybox:latest"],
                &images.busybox,
                &[r#"CMD ["sh"]"#][..],
            ),
            (
                ["docker:24.0.5-cli", "docker:24.0.5"],
                &images.docker_cli,
                &[
                    r#"ENTRYPOINT ["docker-entrypoint.sh"]"#,
                    r#"CMD ["sh"]"#,
                    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "ENV DOCKER_TLS_CERTDIR=/certs",
                ],
            ),
        ] {
            for name in names {
                let mut command = user.shipway(&["image", "import", "--quiet"]);
                for change in changes {
                    command.args(["--change", change]);
                }
                succeed(command.arg(name).arg(tar))?;
            }
        }
        Ok(user)
    }

    /// The binary with arguments, in this user's home.
    pub(crate) fn shipway(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(&self.binary);
        command.args(arguments);
        command
    }

    /// Starts the registry over this user's data and logs a new administrator in.
    pub(crate) fn serve(&self) -> Result<Registry> {
        self.serve_with(&[])
    }

    /// As [`Self::serve`], with more arguments.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Result<Registry> {
        let mut add = self.shipway(&["user", "add", "tester", "--password-stdin"]);
        let mut process = add.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        process
            .stdin
            .take()
            .context("standard input")?
            .write_all(b"correct horse\n")?;
        ensure!(process.wait()?.success(), "`shipway user add` failed");

        let mut server = self
            .shipway(&["serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(server.stdout.take().context("standard output")?).lines();
        let address = loop {
            let line = lines
                .next()
                .context("`shipway serve` ended without an address")??;
            if let Some((_, address)) = line.split_once("://") {
                break address.trim().trim_end_matches('/').to_owned();
            }
        };
        Ok(Registry { server, address })
    }
}

/// A running `shipway serve`; it ends with the value.
pub(crate) struct Registry {
    server: Child,
    pub(crate) address: String,
}

impl Registry {
    /// Pulls an image with skopeo into a directory and says where it is.
    pub(crate) fn pull(&self, home: &Home, image: &str) -> Result<Option<PathBuf>> {
        let Some(skopeo) = Peer::find("skopeo") else {
            return Ok(None);
        };
        let directory = home
            .work()
            .join(format!("pulled-{}", image.replace(['/', ':'], "-")));
        succeed(
            home.command(skopeo.path())
                .args([
                    "--insecure-policy",
                    "copy",
                    "--src-tls-verify=false",
                    "--src-creds",
                    "tester:correct horse",
                ])
                .arg(format!("docker://{}/{image}", self.address))
                .arg(format!("dir:{}", directory.display())),
        )?;
        Ok(Some(directory))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The base images as tar files, put together once for all tests of a machine.
pub(crate) struct BaseImages {
    pub(crate) busybox: PathBuf,
    pub(crate) docker_cli: PathBuf,
}

/// Makes the base images where they are missing. Tests run as several processes: the first one works, the others wait.
pub(crate) fn shared_images(suite: Suite) -> Result<BaseImages> {
    let root = workspace();
    let directory = root.join("target/images");
    std::fs::create_dir_all(&directory)?;
    let lock = std::fs::File::create(directory.join("lock"))?;
    lock.lock()
        .context("waiting for another test to make the base images")?;
    let images = BaseImages {
        busybox: directory.join("busybox.tar"),
        docker_cli: directory.join(format!("docker-cli-{}.tar", suite.0)),
    };
    let cache = root.join("target/debian");
    if !images.busybox.is_file() {
        succeed(
            Command::new(root.join("scripts/images/busybox"))
                .arg(&cache)
                .arg(&images.busybox),
        )?;
    }
    if !images.docker_cli.is_file() {
        let mut script = Command::new(root.join("scripts/images/docker-cli"));
        succeed(script.arg(suite.0).arg(&cache).arg(&images.docker_cli))?;
    }
    Ok(images)
}

/// A minimal Debian 12 root file system with apt, put together once for all tests of a machine.
pub(crate) fn debian_image() -> Result<PathBuf> {
    let root = workspace();
    let directory = root.join("target/images");
    std::fs::create_dir_all(&directory)?;
    let lock = std::fs::File::create(directory.join("debian-lock"))?;
    lock.lock()
        .context("waiting for another test to make the Debian image")?;
    let tar = directory.join("debian-12.tar");
    if !tar.is_file() {
        succeed(
            Command::new(root.join("scripts/images/debian"))
                .arg("bookworm")
                .arg(&tar),
        )?;
    }
    Ok(tar)
}

/// The pipeline of this name among the real inputs, if they are beside the project.
pub(crate) fn shared_pipeline(name: &str) -> Option<PathBuf> {
    let path = workspace().parent()?.join("shared/pipelines").join(name);
    path.is_dir().then_some(path)
}

/// Runs a command to its end and insists on success; what it printed is in the error.
pub(crate) fn succeed(command: &mut Command) -> Result<Output> {
    let output = finish(command)?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}:\n{}",
        output.status,
        text(&output)
    );
    Ok(output)
}

/// Runs a command to its end, whatever that is, with nothing on its standard input.
pub(crate) fn finish(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {command:?}"))
}

/// Everything a command printed.
pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The processes whose command line names `needle`, for finding what a run left behind.
pub(crate) fn processes_naming(needle: &Path) -> Vec<String> {
    let needle = needle.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&needle))
        .collect()
}

/// Waits until nothing of a home runs any more and nothing of it is mounted.
pub(crate) fn assert_nothing_left(home: &Home) -> Result<()> {
    wait_for(Duration::from_secs(10), || {
        let processes = processes_naming(home.path());
        if processes.is_empty() {
            Ok(())
        } else {
            Err(format!("left behind: {processes:?}"))
        }
    })?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let home = home.path().to_string_lossy().into_owned();
    ensure!(!mounts.contains(&home), "mounts left behind in {home}");
    Ok(())
}

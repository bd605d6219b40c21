//! Debian's Docker engine, for tests of what its containers allow: the engine, the image in which they build, and the same build
//! outside to compare with.
//!
//! It has a data root, a socket and a bridge of the test's own, which go with it. Only root can start one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use shipway_testkit::{Peer, wait_for};

use crate::harness::{CREDENTIALS, Ending, Registry, User, debian_image, finish, succeed, text};

/// The image in which builds are done.
const IMAGE: &str = "FROM debian:12\nCOPY shipway /usr/local/bin/\nCOPY . /given/\n";
/// Networks of bridges: as many tests may have an engine at once.
const NETWORKS: u32 = 250;

/// Debian's engine, and the bridge of its containers.
pub(crate) struct Engine {
    daemon: Ending,
    socket: String,
    client: PathBuf,
    bridge: Bridge,
}

/// A bridge with a way out. Other rules of the machine do not concern it: of two that translate an address the first one counts.
struct Bridge {
    name: String,
    address: String,
}

impl Bridge {
    fn new() -> Result<Self> {
        let bridge = Self::claim()?;
        let Self { name, address } = &bridge;
        let rules = format!(
            "table ip {name} {{
               chain in {{ type nat hook prerouting priority -110; iifname {name} meta l4proto tcp dnat to ip daddr; }}
               chain out {{ type nat hook postrouting priority 90; ip saddr {address}/24 oifname != {name} masquerade; }}
             }}"
        );
        for command in [
            format!("ip address add {address}/24 dev {name}"),
            format!("ip link set {name} up"),
            "busybox sysctl -w net.ipv4.ip_forward=1".to_owned(),
        ] {
            succeed(Command::new("sh").args(["-c", &command]))?;
        }
        succeed(Command::new("nft").arg(rules))?;
        Ok(bridge)
    }

    /// Makes a bridge whose network no other test has: its name says which, and the kernel gives a name once.
    fn claim() -> Result<Self> {
        let first = std::process::id();
        for number in (0..NETWORKS).map(|offset| (first + offset) % NETWORKS + 1) {
            let name = format!("shipway-t{number}");
            let made = finish(Command::new("ip").args(["link", "add", &name, "type", "bridge"]))?;
            if made.status.success() {
                let address = format!("198.19.{number}.1");
                return Ok(Self { name, address });
            }
            if !text(&made).contains("File exists") {
                bail!("making the bridge {name}: {}", text(&made));
            }
        }
        bail!("{NETWORKS} bridges of other tests are there: remove those named shipway-t…")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // A test that failed on the way has not made all of it.
        let _ = Command::new("nft")
            .args(["delete", "table", "ip", &self.name])
            .output();
        let _ = Command::new("ip").args(["link", "delete", &self.name]).output();
    }
}

impl Engine {
    /// Starts one in this directory, if it is installed.
    pub(crate) fn start(place: &Path) -> Result<Option<Self>> {
        let (Some(daemon), Some(_)) = (Peer::find("engine/usr/sbin/dockerd"), Peer::find("nft")) else {
            return Ok(None);
        };
        let programs = daemon
            .path()
            .ancestors()
            .nth(2)
            .context("a folder of programs")?
            .to_owned();
        let path = std::env::var("PATH")?;
        let socket = format!("unix://{}/docker.sock", place.display());
        let bridge = Bridge::new()?;
        let at = |name: &str| place.join(name).display().to_string();
        let daemon = Command::new(daemon.path())
            .args([
                "--bridge",
                &bridge.name,
                "--iptables=false",
                "--ip6tables=false",
                "--ip-masq=false",
            ])
            .args([
                "--data-root",
                &at("data"),
                "--exec-root",
                &at("run"),
                "--pidfile",
                &at("pid"),
                "--host",
                &socket,
            ])
            .env("PATH", format!("{0}/bin:{0}/sbin:{path}", programs.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(place.join("log"))?)
            .spawn()?;
        let engine = Self {
            daemon: Ending::of(daemon),
            socket,
            client: programs.join("bin/docker"),
            bridge,
        };
        wait_for(Duration::from_secs(60), || {
            match finish(&mut engine.docker(&["version"])) {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(text(&output)),
                Err(error) => Err(error.to_string()),
            }
        })?;
        Ok(Some(engine))
    }

    /// A command of its client.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.client);
        command
            .args(["--host", &self.socket])
            .args(arguments)
            // The builder that the daemon has itself.
            .env("DOCKER_BUILDKIT", "0");
        command
    }

    /// Where its containers reach this machine.
    pub(crate) fn address(&self) -> &str {
        &self.bridge.address
    }

    /// Makes the image `place`: Debian with this build of Shipway, and in `/given` all that the directory has.
    pub(crate) fn make_place(&self, given: &Path) -> Result<()> {
        std::fs::copy(env!("CARGO_BIN_EXE_shipway"), given.join("shipway"))?;
        std::fs::write(given.join("Dockerfile"), IMAGE)?;
        succeed(self.docker(&["import"]).arg(debian_image()?).arg("debian:12"))?;
        succeed(self.docker(&["build", "--quiet", "--tag", "place"]).arg(given)).map(drop)
    }

    /// A registry of Shipway that its containers reach.
    pub(crate) fn registry(&self, user: &User) -> Result<Registry> {
        user.add_tester()?;
        let listen = format!("{}:0", self.address());
        Registry::start(&mut user.shipway(&["serve", "--listen", &listen]))
    }

    /// As service managers end it, so that it unmounts what it has mounted.
    pub(crate) fn stop(self) -> Result<()> {
        self.daemon.terminate().map(drop)
    }
}

/// Lines of a shell in a container: from here on `shipway` is logged in at the registry of this address, which has no certificate.
pub(crate) fn login(address: &str) -> Result<String> {
    let password = CREDENTIALS.split_once(':').context("a password")?.1;
    Ok(format!(
        "export HOME=$(mktemp -d) SHIPWAY_CONFIG=/tmp/shipway.toml\n\
         printf '[registry]\\ninsecure = [\"{address}\"]\\n' >$SHIPWAY_CONFIG\n\
         printf %s '{password}' | shipway login --insecure-registry {address} --username tester --password-stdin {address}\n"
    ))
}

/// What the steps of a directory are by namespaces and overlays: the id of `steps` over `context`, on an image of this name, command
/// and tar.
pub(crate) fn build_here(
    user: &User,
    given: &Path,
    (base, command): (&str, &str),
    tar: &Path,
) -> Result<String> {
    let import = ["image", "import", "--quiet", "--change", command, base];
    succeed(user.shipway(&import).arg(tar))?;
    let mut build = user.shipway(&["build", "--quiet", "--file"]);
    let output = succeed(build.arg(given.join("steps")).arg(given.join("context")))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

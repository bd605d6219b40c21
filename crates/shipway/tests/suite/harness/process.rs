//! The long-lived commands of a test, and the clients of other people's that look into them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use shipway_testkit::{Home, Peer, succeed, wait_for};

use super::User;

/// The user that [`User::serve`] makes, as clients take it.
pub(crate) const CREDENTIALS: &str = "tester:correct horse";

/// A child that ends with the value.
pub(crate) struct Ending(Child);

impl Ending {
    /// Starts a command and gives what follows `mark` in its first line on standard output that has it.
    pub(crate) fn start(command: &mut Command, mark: &str) -> Result<(Self, String)> {
        let mut process = Self(command.stdout(Stdio::piped()).spawn()?);
        let mut lines = BufReader::new(process.0.stdout.take().context("standard output")?).lines();
        loop {
            let line = lines
                .next()
                .with_context(|| format!("{command:?} ended without saying `{mark}`"))??;
            if let Some((_, rest)) = line.split_once(mark) {
                return Ok((process, rest.trim().to_owned()));
            }
        }
    }
}

impl Ending {
    pub(crate) fn of(process: Child) -> Self {
        Self(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not ended. A process that was just killed may still seem to live.
    pub(crate) fn is_alive(&mut self) -> Result<bool> {
        Ok(self.0.try_wait()?.is_none())
    }

    /// Ends it as service managers do, and says how it ended.
    pub(crate) fn terminate(mut self) -> Result<ExitStatus> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process")?, Signal::TERM)?;
        self.ended()
    }

    /// Waits for it to end by itself.
    pub(crate) fn ended(&mut self) -> Result<ExitStatus> {
        wait_for(Duration::from_secs(60), || match self.0.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(format!("process {} goes on", self.0.id())),
            Err(error) => Err(error.to_string()),
        })
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Gone already is as good as ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `shipway serve`; it ends with the value.
pub(crate) struct Registry {
    pub(crate) process: Ending,
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start(serve: &mut Command) -> Result<Self> {
        let (process, address) = Ending::start(serve, "://")?;
        Ok(Self {
            process,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    /// Ends it as service managers do, and says how it ended.
    pub(crate) fn end(self) -> Result<ExitStatus> {
        self.process.terminate()
    }

    /// Pulls an image with skopeo into a directory and says where it is.
    pub(crate) fn pull(&self, home: &Home, image: &str) -> Result<Option<PathBuf>> {
        let Some(skopeo) = Peer::find("skopeo") else {
            return Ok(None);
        };
        let directory = home
            .work()
            .join(format!("pulled-{}", image.replace(['/', ':'], "-")));
        skopeo_copy(
            home,
            &skopeo,
            &["--src-tls-verify=false", "--src-creds", CREDENTIALS],
            &format!("docker://{}/{image}", self.address),
            &format!("dir:{}", directory.display()),
        )?;
        Ok(Some(directory))
    }

    /// The tags of a repository as skopeo lists them, in their order.
    pub(crate) fn tags(&self, home: &Home, repository: &str) -> Result<Option<Vec<String>>> {
        #[derive(serde::Deserialize)]
        struct Listed {
            #[serde(rename = "Tags")]
            tags: Vec<String>,
        }
        let Some(skopeo) = Peer::find("skopeo") else {
            return Ok(None);
        };
        let mut command = home.command(skopeo.path());
        command.args(["list-tags", "--tls-verify=false", "--creds", CREDENTIALS]);
        let output = succeed(command.arg(format!("docker://{}/{repository}", self.address)))?;
        let listed: Listed = serde_json::from_slice(&output.stdout)?;
        Ok(Some(listed.tags))
    }
}

/// What curl was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Registry {
    /// Asks with curl and these arguments of its own for a path; nothing where there is no curl.
    pub(crate) fn curl(&self, home: &Home, arguments: &[&str], path: &str) -> Result<Option<Answer>> {
        let Some(curl) = Peer::find("curl") else {
            return Ok(None);
        };
        let mut command = home.command(curl.path());
        command.args(["--silent", "--show-error", "--write-out", "\n%{http_code}"]);
        let url = format!("http://{}{path}", self.address);
        let output = String::from_utf8(succeed(command.args(arguments).arg(url))?.stdout)?;
        let (body, status) = output.rsplit_once('\n').context("a status")?;
        Ok(Some(Answer {
            status: status.parse()?,
            body: body.to_owned(),
        }))
    }
}

/// A running `shipway engine`; it ends with the value.
pub(crate) struct RunningEngine {
    pub(crate) process: Ending,
    /// The value for `DOCKER_HOST`.
    pub(crate) host: String,
}

impl RunningEngine {
    pub(crate) fn start(user: &User) -> Result<Self> {
        let socket = user.home.path().join("run/engine.sock");
        let mut command = user.shipway(&["engine", "--socket"]);
        let (process, host) = Ending::start(command.arg(&socket), "export DOCKER_HOST=")?;
        Ok(Self { process, host })
    }

    /// Ends it as service managers do, and says how it ended.
    pub(crate) fn end(self) -> Result<ExitStatus> {
        self.process.terminate()
    }
}

/// Copies an image with skopeo, whatever signatures it has or not.
pub(crate) fn skopeo_copy(home: &Home, skopeo: &Peer, options: &[&str], from: &str, to: &str) -> Result<()> {
    let mut command = home.command(skopeo.path());
    command
        .args(["--insecure-policy", "copy"])
        .args(options)
        .args([from, to]);
    succeed(&mut command).map(drop)
}

/// A command of podman's or buildah's with an image storage in the home.
pub(crate) fn with_storage(home: &Home, program: &Path, arguments: &[&str]) -> Result<()> {
    let storage = home.path().join("storage");
    let mut command = home.command(program);
    command
        .arg("--root")
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"))
        .args(["--storage-driver", "vfs"])
        .args(arguments);
    succeed(&mut command).map(drop)
}

//! Ssh agents for a build: those that run already, and one of OpenSSH's own for keys that are files.
//!
//! Keys never enter this process for longer than it takes to hand them over: `ssh-add` reads them from a pipe, whatever the
//! modes of their files, since those of CI variables are open to all. The agent ends with the build, however that ends: the
//! shell beside it ends it when our end of its input is gone.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::files::read_small_file;
use crate::failure::{Failure, FailureKind};

/// The id of an agent that nobody named.
const DEFAULT: &str = "default";
/// No private key is as long.
const LARGEST_KEY: u64 = 100 << 10;
/// Runs beside the agent and ends it when its input ends.
const BESIDE: &str = "echo ready; cat >/dev/null; kill \"$SSH_AGENT_PID\"";

/// `--ssh` as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AskedAgent {
    id: String,
    /// One socket, or keys; none for the agent at `SSH_AUTH_SOCK`.
    paths: Vec<PathBuf>,
}

/// Reads `ID[=SOCKET|KEY[,KEY]]`.
pub(super) fn parse_agent(text: &str) -> Result<AskedAgent, Failure> {
    let (id, paths) = text.split_once('=').unwrap_or((text, ""));
    if paths.split(',').any(|path| path.starts_with("raw=")) {
        let message = format!("--ssh {text}: raw sockets are not passed on, only an agent's protocol is");
        return Err(Failure::new(FailureKind::Use, message));
    }
    Ok(AskedAgent {
        id: if id.is_empty() { DEFAULT } else { id }.to_owned(),
        paths: paths
            .split(',')
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
            .collect(),
    })
}

/// The agents of a build.
#[derive(Debug, Default)]
pub(super) struct Agents {
    sockets: BTreeMap<String, PathBuf>,
    /// Ended when this goes.
    _own: Vec<KeyAgent>,
}

impl Agents {
    /// Finds those that run and starts those that are to hold keys.
    pub(super) fn find(asked: Vec<AskedAgent>) -> Result<Self, Failure> {
        let mut agents = Self::default();
        for AskedAgent { id, paths } in asked {
            let refused = |problem: &str| Failure::new(FailureKind::Use, format!("--ssh {id}: {problem}"));
            let socket = match paths.as_slice() {
                [] => usual_socket().ok_or_else(|| {
                    refused("there is no ssh agent, SSH_AUTH_SOCK is not set").hint(
                        "start one with `eval $(ssh-agent)` and `ssh-add`, or name a key: --ssh default=KEY",
                    )
                })?,
                [path] if is_socket(path) => path.clone(),
                keys if keys.iter().any(|path| is_socket(path)) => {
                    return Err(refused("give one socket or keys, not both"));
                }
                keys => {
                    let agent = KeyAgent::start()?;
                    for key in keys {
                        agent.add(key)?;
                    }
                    let socket = agent.socket();
                    agents._own.push(agent);
                    socket
                }
            };
            if agents.sockets.insert(id.clone(), socket).is_some() {
                return Err(refused("it is given twice"));
            }
        }
        Ok(agents)
    }

    /// By their ids.
    pub(super) fn sockets(&self) -> BTreeMap<String, PathBuf> {
        self.sockets.clone()
    }
}

fn usual_socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// OpenSSH's agent with keys of ours.
#[derive(Debug)]
struct KeyAgent {
    process: Child,
    directory: TempDir,
}

impl KeyAgent {
    fn start() -> Result<Self, Failure> {
        let failed = |error: &std::io::Error| {
            Failure::caused(
                FailureKind::Place,
                "starting `ssh-agent` for the keys of --ssh",
                error,
            )
            .hint("install OpenSSH's client, or add the keys to an agent of your own and pass --ssh default")
        };
        let directory = tempfile::tempdir().map_err(|error| failed(&error))?;
        let mut process = Command::new("ssh-agent")
            .arg("-a")
            .arg(directory.path().join("agent"))
            .args(["sh", "-c", BESIDE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for us: the agent goes when we say so.
            .process_group(0)
            .spawn()
            .map_err(|error| failed(&error))?;
        // Said once the agent listens.
        let mut said = String::new();
        let listening = match process.stdout.as_mut() {
            Some(output) => BufReader::new(output).read_line(&mut said),
            None => Ok(0),
        };
        let agent = Self { process, directory };
        match listening {
            Ok(_) if said.trim() == "ready" => Ok(agent),
            Ok(_) => Err(failed(&std::io::Error::other("it ended at once"))),
            Err(error) => Err(failed(&error)),
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("agent")
    }

    fn add(&self, key: &Path) -> Result<(), Failure> {
        let what = format!("the ssh key `{}`", key.display());
        let failed = |error: &std::io::Error| Failure::caused(FailureKind::Use, &what, error);
        let mut bytes = read_small_file(key, LARGEST_KEY).map_err(|error| failed(&error))?;
        // Variables of CI lose the last one, and OpenSSH insists on it.
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let mut adding = Command::new("ssh-add")
            .args(["-q", "-"])
            .env("SSH_AUTH_SOCK", self.socket())
            // A key with a passphrase is refused: nobody may be there to type it.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "/bin/false")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(&error))?;
        // One that has ended already says why by its status.
        let _ = adding.stdin.take().map(|mut input| input.write_all(&bytes));
        let ended = adding.wait().map_err(|error| failed(&error))?;
        if ended.success() {
            return Ok(());
        }
        let message = format!("{what} cannot be used: it is no private key, or it has a passphrase");
        Err(Failure::new(FailureKind::Use, message)
            .hint("add it to an agent with `ssh-add`, and pass --ssh default"))
    }
}

impl Drop for KeyAgent {
    /// Waits for the shell, which has ended the agent by then.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: &str, paths: &[&str]) -> AskedAgent {
        AskedAgent {
            id: id.to_owned(),
            paths: paths.iter().map(PathBuf::from).collect(),
        }
    }

    #[test]
    fn an_agent_is_asked_for_by_id_and_paths() {
        for (text, expected) in [
            ("default", asked("default", &[])),
            ("", asked("default", &[])),
            ("=/key", asked("default", &["/key"])),
            ("git=/a,/b", asked("git", &["/a", "/b"])),
        ] {
            assert_eq!(parse_agent(text).unwrap(), expected, "{text}");
        }
        assert!(parse_agent("default=/socket,raw=true").is_err());
    }

    #[test]
    fn an_agent_for_a_key_ends_with_its_build() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "of the test", "-f"])
            .arg(&key)
            .status()
            .expect("install the package openssh-client");
        assert!(made.success());
        // As GitLab writes the file of a variable: readable to all, and without its last line's end.
        let text = std::fs::read_to_string(&key).unwrap();
        let open = folder.path().join("open");
        std::fs::write(&open, text.trim_end()).unwrap();
        let agents = Agents::find(vec![AskedAgent {
            id: "a".to_owned(),
            paths: vec![open],
        }])
        .unwrap();
        let socket = agents.sockets()["a"].clone();
        let listed = |socket: &Path| {
            Command::new("ssh-add")
                .arg("-l")
                .env("SSH_AUTH_SOCK", socket)
                .output()
                .unwrap()
        };
        let said = String::from_utf8(listed(&socket).stdout).unwrap();
        assert!(said.contains("of the test"), "{said}");
        drop(agents);
        assert!(!socket.exists());
        std::fs::write(&key, "no key").unwrap();
        let refused = Agents::find(vec![AskedAgent {
            id: "a".to_owned(),
            paths: vec![key],
        }]);
        assert!(format!("{:?}", refused.unwrap_err()).contains("no private key"));
    }
}

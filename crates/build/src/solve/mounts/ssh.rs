//! `type=ssh`: the caller's ssh agent as a socket in the step.
//!
//! The socket that the step sees is ours, and so is what may be said over it: [`Forwarding`] lets through that keys are listed
//! and that something is signed, and answers everything else with a failure. A step can use the keys while it runs; it can
//! neither add nor remove nor lock any.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use shipway_container::Pod;
use shipway_sandbox::{Mount, MountSource};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::{Mounts, failed};
use crate::dockerfile::RunMount;
use crate::error::StepError;
use crate::solve::site::blocking;
use crate::solve::stage::Stage;

/// Connections that a step may have at the same time.
const MOST_CONNECTIONS: usize = 64;
/// OpenSSH's own bound on one message.
const LONGEST_MESSAGE: usize = 256 * 1024;
/// `SSH_AGENTC_REQUEST_IDENTITIES` and `SSH_AGENTC_SIGN_REQUEST` of draft-ietf-sshm-ssh-agent.
const PERMITTED: [u8; 2] = [11, 13];
/// `SSH_AGENT_FAILURE` as a whole message.
const FAILURE: [u8; 5] = [0, 0, 0, 1, 5];

/// An agent's socket in a step.
pub(super) struct AgentMount {
    pub(super) target: String,
    mode: u32,
    owner: (u32, u32),
    /// The caller's.
    socket: PathBuf,
}

impl Stage<'_> {
    pub(super) fn ssh(&self, mount: RunMount, target: String, mounts: &mut Mounts) -> Result<(), StepError> {
        let id = mount.ssh_id().to_owned();
        self.build.recorder.ssh(&id, mount.required);
        let target = if mount.target.is_empty() {
            format!("/run/buildkit/ssh_agent.{}", mounts.agents_asked)
        } else {
            target
        };
        mounts.agents_asked += 1;
        let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let mode = mount.mode.unwrap_or(0o600);
        mounts
            .canonical
            .push(format!("{:?}", ("ssh", &target, &id, mode, owner)));
        match self.build.request.ssh.get(&id) {
            Some(socket) => mounts.agents.push(AgentMount {
                target,
                mode,
                owner,
                socket: socket.clone(),
            }),
            None if mount.required => return Err(StepError::NoAgent { id }),
            None => {}
        }
        Ok(())
    }
}

impl AgentMount {
    /// Listens at `place`, a path of the step's directory.
    pub(super) async fn make(self, pod: &Pod, place: &Path) -> Result<(Mount, Forwarding), StepError> {
        let (keeper, path) = (pod.keeper(), place.to_owned());
        let (mode, owner) = (self.mode, self.owner);
        let socket = blocking(move || keeper.listen_unix(&path, mode, owner).map_err(failed)).await?;
        let served = Forwarding::begin(socket, self.socket)?;
        let mount = Mount {
            target: self.target.into(),
            source: MountSource::Keeper(place.to_owned()),
            read_only: false,
        };
        Ok((mount, served))
    }
}

/// Serves a step's connections to the caller's agent until it is dropped, and with it all that are open.
pub(super) struct Forwarding(JoinHandle<()>);

impl Forwarding {
    fn begin(socket: OwnedFd, agent: PathBuf) -> io::Result<Self> {
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Self(tokio::spawn(accept(listener, agent))))
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: UnixListener, agent: PathBuf) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < MOST_CONNECTIONS => match accepted {
                Ok((step, _)) => {
                    let agent = agent.clone();
                    open.spawn(async move {
                        if let Err(error) = serve(step, &agent).await {
                            tracing::debug!(%error, "a connection of a step to the ssh agent ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the ssh agent is not forwarded to the step any more");
                    return;
                }
            },
            Some(_) = open.join_next() => {}
        }
    }
}

/// Answers one connection. The agent is connected to once something may be asked of it.
async fn serve(mut step: UnixStream, agent: &Path) -> io::Result<()> {
    let mut connected: Option<UnixStream> = None;
    while let Some(message) = receive(&mut step).await? {
        if !message.get(4).is_some_and(|kind| PERMITTED.contains(kind)) {
            step.write_all(&FAILURE).await?;
            continue;
        }
        let agent = match &mut connected {
            Some(agent) => agent,
            none => none.insert(UnixStream::connect(agent).await?),
        };
        agent.write_all(&message).await?;
        let answer = receive(agent).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        step.write_all(&answer).await?;
    }
    Ok(())
}

/// One message with its length in front; nothing at the end of the stream.
async fn receive(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if size == 0 || size > LONGEST_MESSAGE {
        let message = format!("a message of {size} bytes is none of an ssh agent's");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut message = length.to_vec();
    message.resize(4 + size, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that answers every message with its own kind.
    fn agent(at: &Path) -> JoinHandle<()> {
        let listener = UnixListener::bind(at).unwrap();
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                while let Ok(Some(message)) = receive(&mut connection).await {
                    connection.write_all(&[0, 0, 0, 2, 99, message[4]]).await.unwrap();
                }
            }
        })
    }

    async fn asked(connection: &mut UnixStream, message: &[u8]) -> Option<Vec<u8>> {
        connection.write_all(message).await.unwrap();
        receive(connection).await.ok().flatten()
    }

    #[tokio::test]
    async fn a_step_lists_and_signs_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let agent = agent(&folder.path().join("agent"));
        let listener = std::os::unix::net::UnixListener::bind(folder.path().join("step")).unwrap();
        let forwarding = Forwarding::begin(listener.into(), folder.path().join("agent")).unwrap();
        let mut step = UnixStream::connect(folder.path().join("step")).await.unwrap();
        for kind in 0..=255 {
            let expected = if kind == 11 || kind == 13 {
                vec![0, 0, 0, 2, 99, kind]
            } else {
                FAILURE.to_vec()
            };
            assert_eq!(
                asked(&mut step, &[0, 0, 0, 1, kind]).await,
                Some(expected),
                "{kind}"
            );
        }
        assert_eq!(
            asked(&mut step, &[0xff, 0, 0, 0]).await,
            None,
            "a message of 4 GB"
        );
        let mut open = UnixStream::connect(folder.path().join("step")).await.unwrap();
        assert!(asked(&mut open, &[0, 0, 0, 1, 11]).await.is_some());
        drop(forwarding);
        assert_eq!(open.read(&mut [0]).await.unwrap(), 0, "ended with the step");
        agent.abort();
    }
}

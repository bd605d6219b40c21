//! `volumes` of a runner: what a job's containers share with each other or with the machine.

use super::document::Placed;
use super::finding::{Finding, Findings, Severity};
use std::path::{Path, PathBuf};

/// Where a Docker daemon's socket lies on a machine.
const SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// One entry of `volumes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSetting {
    /// The machine's Docker socket. The job finds its own engine there, whose image names last from job to job.
    Socket {
        /// Where the job finds it.
        target: PathBuf,
    },
    /// The same socket in its usual place, where no configuration says whether jobs have it.
    AssumedSocket,
    /// A directory that the job shares with its services.
    Shared {
        /// Where they find it.
        target: PathBuf,
        /// Whether the next job of the project finds what is in it.
        kept: bool,
    },
    /// A file or directory of the machine.
    Bind {
        /// On the machine.
        source: PathBuf,
        /// In the containers.
        target: PathBuf,
        /// Whether they may not write to it.
        read_only: bool,
    },
}

impl VolumeSetting {
    /// Where a job finds the machine's Docker socket by this, if it does.
    pub(crate) fn socket(&self) -> Option<&Path> {
        match self {
            Self::Socket { target } => Some(target),
            Self::AssumedSocket => Some(Path::new(SOCKETS[0])),
            Self::Shared { .. } | Self::Bind { .. } => None,
        }
    }

    /// The usual socket in its usual place.
    pub fn usual_socket() -> Self {
        Self::Socket {
            target: PathBuf::from(SOCKETS[0]),
        }
    }

    /// `TARGET`, `SOURCE:TARGET` or `SOURCE:TARGET:MODE`; what can never be had is the error.
    pub(super) fn read(text: &Placed<String>, findings: &Findings) -> Result<Self, Finding> {
        let refuse = |message: String| Err(findings.make(Severity::Error, &text.span, message));
        let whole = text.value.as_str();
        if let Some(volume) = Self::of_pipe(text, findings) {
            return Ok(volume);
        }
        if is_pipe(whole) {
            return refuse(format!(
                "the volume `{whole}` is a Windows pipe, and there are none here"
            ));
        }
        let parts: Vec<&str> = whole.split(':').collect();
        let (source, target, mode) = match parts.as_slice() {
            [target] => (None, *target, ""),
            [source, target] => (Some(*source), *target, ""),
            [source, target, mode] => (Some(*source), *target, *mode),
            _ => {
                return refuse(format!(
                    "the volume `{whole}` is not TARGET, SOURCE:TARGET or SOURCE:TARGET:MODE"
                ));
            }
        };
        if !target.starts_with('/') {
            return refuse(format!(
                "the volume `{whole}` needs an absolute path in the container"
            ));
        }
        let target = PathBuf::from(target);
        let Some(source) = source else {
            return Ok(Self::Shared { target, kept: true });
        };
        let read_only = mode.split(',').any(|word| word == "ro");
        let strange: Vec<&str> = mode
            .split(',')
            .filter(|word| {
                !matches!(
                    *word,
                    "" | "ro" | "rw" | "z" | "Z" | "cached" | "delegated" | "consistent"
                )
            })
            .collect();
        if !strange.is_empty() {
            let message = format!("`{}` of the volume `{whole}` has no effect", strange.join(","));
            findings.add(Severity::Warning, &text.span, message);
        }
        if !source.starts_with('/') {
            // A named volume of the daemon: shared by what runs at once, as far as jobs here share anything.
            let message = format!(
                "the named volume `{source}` is one for each job: jobs share files by `cache` and `artifacts`"
            );
            findings.add(Severity::Warning, &text.span, message);
            return Ok(Self::Shared { target, kept: false });
        }
        Ok(Self::of_machine(PathBuf::from(source), target, read_only))
    }

    /// A path of the machine; its Docker socket is the job's own engine.
    pub(super) fn of_machine(source: PathBuf, target: PathBuf, read_only: bool) -> Self {
        if SOCKETS.iter().any(|socket| Path::new(socket) == source) {
            return Self::Socket { target };
        }
        Self::Bind {
            source,
            target,
            read_only,
        }
    }

    /// The pipe of Docker on Windows: the same to a job as the socket on Linux, and found where the socket is.
    pub(super) fn of_pipe(text: &Placed<String>, findings: &Findings) -> Option<Self> {
        if !(is_pipe(&text.value) && text.value.contains("docker_engine")) {
            return None;
        }
        let message = format!("the Windows pipe of Docker is the socket {} here", SOCKETS[0]);
        findings.add(Severity::Note, &text.span, message);
        Some(Self::usual_socket())
    }
}

fn is_pipe(text: &str) -> bool {
    text.contains("\\.\\pipe\\") || text.contains("//./pipe/")
}

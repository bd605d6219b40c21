//! What an engine has to look like to pass for the daemon that a job asks for. Pure.

use super::daemon_file::DaemonFile;
use super::recognition::DaemonFlags;
use super::registries::EngineRegistries;
use shipway_engine::Observation;
use std::path::{Path, PathBuf};

/// What the `docker` images set where nobody else does.
const DEFAULT_CERTIFICATES: &str = "/certs";
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// A way to reach the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    /// HTTP.
    Plain {
        /// On this port.
        port: u16,
    },
    /// HTTPS with certificates on both sides.
    Tls {
        /// On this port.
        port: u16,
        /// The job finds its certificates in `client` below.
        directory: PathBuf,
    },
    /// A Unix socket.
    Socket {
        /// Where the job finds it.
        path: PathBuf,
    },
}

/// An engine to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnginePlan {
    /// Names under which it is found.
    pub(crate) aliases: Vec<String>,
    /// Ways to reach it.
    pub(crate) faces: Vec<Face>,
    /// What it does about registries besides what this installation does.
    pub(crate) registries: EngineRegistries,
    /// What the reader of the trace should know.
    pub(crate) notes: Vec<String>,
    /// What that reader should know as soon as the job does this.
    pub(crate) notices: Vec<(Observation, String)>,
}

impl EnginePlan {
    /// The engine in place of a daemon service, which would see `environment`, `command` and `file`.
    pub(crate) fn for_service(
        aliases: Vec<String>,
        command: &[String],
        file: DaemonFile,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let flags = DaemonFlags::parse(command);
        let directory = environment("DOCKER_TLS_CERTDIR").unwrap_or_else(|| DEFAULT_CERTIFICATES.to_owned());
        let mut faces = vec![if directory.is_empty() || flags.plain {
            Face::Plain { port: PLAIN_PORT }
        } else {
            Face::Tls {
                port: TLS_PORT,
                directory: PathBuf::from(directory),
            }
        }];
        let asked = environment("DOCKER_HOST");
        let socket = flags
            .socket
            .or_else(|| Some(PathBuf::from(asked.as_deref()?.strip_prefix("unix://")?)));
        faces.extend(socket.map(|path| Face::Socket { path }));
        let mirrors = [flags.mirrors, file.mirrors].concat();
        let insecure = [flags.insecure, file.insecure].concat();
        let (registries, mut notes) = EngineRegistries::of_daemon(&mirrors, &insecure);
        let ignored = [("flag", flags.ignored), ("setting", file.ignored)];
        for (kind, names) in ignored {
            notes.extend(
                names
                    .iter()
                    .map(|name| format!("the {kind} {name} of the Docker service means nothing here")),
            );
        }
        if let (Some(Face::Tls { .. }), Some(host)) = (faces.first(), &asked)
            && host.ends_with(":2375")
        {
            notes.push(format!(
                "DOCKER_HOST is {host}, but with DOCKER_TLS_CERTDIR set the daemon listens on port {TLS_PORT} with TLS \
                 only: remove DOCKER_HOST, or set DOCKER_TLS_CERTDIR to \"\""
            ));
        }
        let notices = match faces.first() {
            Some(Face::Tls { directory, .. }) => {
                vec![(Observation::PlainToTls, wants_tls(directory, &aliases))]
            }
            _ => Vec::new(),
        };
        Self {
            aliases,
            faces,
            registries,
            notes,
            notices,
        }
    }

    /// The engine behind a socket, for jobs that expect the machine's own at these places.
    pub(crate) fn for_sockets(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            aliases: Vec::new(),
            faces: paths.into_iter().map(|path| Face::Socket { path }).collect(),
            registries: EngineRegistries::default(),
            notes: Vec::new(),
            notices: Vec::new(),
        }
    }

    /// Jobs that use the sockets work here, and elsewhere only if somebody thought of it.
    pub(crate) fn say_that_the_socket_is_assumed(&mut self) {
        let notice = format!(
            "this job uses Shipway's engine at {}, which jobs have here as long as no runner's configuration is given (-c): at \
             GitLab its runner has to bind that socket, or the job needs a docker:dind service",
            self.describe()
        );
        self.notices.push((Observation::SocketConnected, notice));
    }

    /// The names its certificate is good for, as the `docker` image would issue it.
    pub(crate) fn server_names(&self) -> Vec<String> {
        let mut names = self.aliases.clone();
        for usual in ["docker", "localhost"] {
            if !names.iter().any(|name| name == usual) {
                names.push(usual.to_owned());
            }
        }
        // An underscore is no letter of a host name, and certificates hold host names only.
        names.retain(|name| !name.contains('_'));
        names
    }

    /// Where the engine is, for the trace.
    pub(crate) fn describe(&self) -> String {
        let host = self.aliases.first().map_or("localhost", String::as_str);
        let faces = self.faces.iter().map(|face| match face {
            Face::Plain { port } => format!("tcp://{host}:{port}"),
            Face::Tls { port, .. } => format!("tcp://{host}:{port} (TLS)"),
            Face::Socket { path } => format!("unix://{}", path.display()),
        });
        faces.collect::<Vec<_>>().join(", ")
    }
}

/// What a docker CLI lacks that speaks plainly to a port that wants TLS.
fn wants_tls(directory: &Path, aliases: &[String]) -> String {
    let host = aliases.first().map_or("docker", String::as_str);
    format!(
        "a client spoke HTTP without TLS to {host}:{TLS_PORT}: set DOCKER_TLS_VERIFY to 1 and DOCKER_CERT_PATH to {}, as the \
         entrypoint of the docker images does where DOCKER_TLS_CERTDIR is set (an imported image may lack both), or do \
         without TLS: DOCKER_TLS_CERTDIR: \"\", DOCKER_HOST: tcp://{host}:{PLAIN_PORT}",
        directory.join("client").display()
    )
}

#[cfg(test)]
mod tests;

//! Which services are a Docker daemon, and what their flags ask for.
//!
//! A daemon is recognised by its image's name: the repository's last part is `docker` and the tag contains `dind`.
//! That is what Docker's own image, every mirror of it and every copy in a company registry look like.

use std::path::PathBuf;

/// Whether a service's image is a Docker daemon that ours takes the place of.
pub fn is_docker_daemon(image: &str) -> bool {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit('/').next().unwrap_or(image);
    matches!(last.split_once(':'), Some(("docker", tag)) if tag.contains("dind"))
}

/// Whether an image is the docker CLI, by the same rule: Docker's own or a copy of it.
pub(crate) fn is_docker_client(image: &str) -> bool {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next() == Some("docker") && !is_docker_daemon(image)
}

/// What a daemon's command line asks for, as far as it means something to ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DaemonFlags {
    /// `--registry-mirror`
    pub(super) mirrors: Vec<String>,
    /// `--insecure-registry`
    pub(super) insecure: Vec<String>,
    /// `--host=unix://…`
    pub(super) socket: Option<PathBuf>,
    /// `--tls=false` or `--host=tcp://…:2375` without TLS: the daemon is to speak plainly.
    pub(super) plain: bool,
    /// Flags without an effect here.
    pub(super) ignored: Vec<String>,
}

/// Flags that change nothing a job can see here: said about neither.
const WITHOUT_MEANING: [&str; 8] = [
    "--mtu",
    "--storage-driver",
    "-s",
    "--log-level",
    "-l",
    "--debug",
    "-D",
    "--max-concurrent-downloads",
];

/// Flags that take no value, so that the next word is not swallowed as one.
const SWITCHES: [&str; 12] = [
    "--debug",
    "-D",
    "--experimental",
    "--icc",
    "--init",
    "--ip-forward",
    "--ip-masq",
    "--iptables",
    "--ip6tables",
    "--ipv6",
    "--live-restore",
    "--tlsverify",
];

/// Whether a flag changes nothing that a job can see here.
pub(super) fn changes_nothing(flag: &str) -> bool {
    WITHOUT_MEANING.contains(&flag)
}

impl DaemonFlags {
    /// Reads a service's `command`.
    pub(super) fn parse(command: &[String]) -> Self {
        let mut flags = Self::default();
        let mut words = command.iter().peekable();
        while let Some(word) = words.next() {
            if word == "dockerd" {
                continue;
            }
            if !word.starts_with('-') {
                flags.ignored.push(word.clone());
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None if SWITCHES.contains(&word.as_str()) || word == "--tls" => (word.as_str(), None),
                None => (
                    word.as_str(),
                    words.next_if(|next| !next.starts_with('-')).cloned(),
                ),
            };
            flags.take(name, value);
        }
        flags
    }

    fn take(&mut self, name: &str, value: Option<String>) {
        match (name, value) {
            ("--registry-mirror", Some(value)) => self.mirrors.push(value),
            ("--insecure-registry", Some(value)) => self.insecure.push(value),
            ("--host" | "-H", Some(value)) => match value.strip_prefix("unix://") {
                Some(path) => self.socket = Some(PathBuf::from(path)),
                None if value.ends_with(":2375") => self.plain = true,
                None => {}
            },
            ("--tls" | "--tlsverify", Some(value)) if value == "false" => self.plain = true,
            ("--tls" | "--tlsverify", _) => {}
            (name, _) if changes_nothing(name) => {}
            (name, Some(value)) => self.ignored.push(format!("{name}={value}")),
            (name, None) => self.ignored.push(name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;

//! What steps get of the caller for the time that they run: secrets, ssh agents, and more than the usual rights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use shipway_build::{BuildRequest, Entitlements, SecretBytes, csv_fields};

use super::agents::{Agents, parse_agent};
use super::files::read_small_file;
use crate::failure::{Failure, FailureKind};
use crate::screen;

/// The largest secret, as BuildKit has it.
const LARGEST_SECRET: u64 = 500 << 10;

/// The arguments that lend something to steps.
#[derive(Debug, Args)]
pub(super) struct SecretArguments {
    /// Give RUN --mount=type=secret a secret: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`; may be given several times
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=VARIABLE]")]
    secret: Vec<String>,
    /// Give RUN --mount=type=ssh an ssh agent, the one at SSH_AUTH_SOCK or one with these keys; may be given several times
    #[arg(long, value_name = "default|ID[=SOCKET|KEY[,KEY]]")]
    ssh: Vec<String>,
    /// Permit what steps ask for: `network.host` or `security.insecure`; may be given several times
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
}

impl SecretArguments {
    /// The agents that were started for it live as long as what is returned.
    pub(super) fn apply(&self, request: &mut BuildRequest) -> Result<Lent, Failure> {
        let mut masked = Vec::new();
        for text in &self.secret {
            let (id, bytes) = secret(text)?;
            masked.extend(maskable(&bytes));
            request.secrets.insert(id, SecretBytes::new(bytes));
        }
        for name in &self.allow {
            allow(&mut request.entitlements, name)?;
        }
        let asked = self.ssh.iter().map(|text| parse_agent(text));
        let agents = Agents::find(asked.collect::<Result<Vec<_>, _>>()?)?;
        request.ssh = agents.sockets();
        Ok(Lent {
            _agents: agents,
            masked,
        })
    }
}

/// What is lent to a build, for as long as it runs.
pub(super) struct Lent {
    _agents: Agents,
    /// What must not be shown when a step prints it.
    pub(super) masked: Vec<Vec<u8>>,
}

/// The lines of a secret that say enough to be one: in anything shorter, ordinary words would be masked.
fn maskable(secret: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    const LEAST: usize = 8;
    secret
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() >= LEAST)
        .map(<[u8]>::to_vec)
}

fn allow(entitlements: &mut Entitlements, name: &str) -> Result<(), Failure> {
    match name {
        "network.host" => entitlements.network_host = true,
        "security.insecure" => entitlements.security_insecure = true,
        other => {
            let message = format!("there is no entitlement `{other}`");
            return Err(Failure::new(FailureKind::Use, message)
                .hint("steps may ask for `network.host` and `security.insecure`"));
        }
    }
    Ok(())
}

/// Where a secret is.
#[derive(Debug, PartialEq, Eq)]
enum SecretSource {
    File(PathBuf),
    Variable(String),
}

fn secret(text: &str) -> Result<(String, Vec<u8>), Failure> {
    let (id, source) = parse_secret(text, |name| std::env::var_os(name).is_some())
        .map_err(|problem| Failure::new(FailureKind::Use, format!("--secret {text}: {problem}")))?;
    let bytes = match source {
        SecretSource::File(path) => read_secret(&id, &path)?,
        SecretSource::Variable(name) => match std::env::var_os(&name) {
            Some(value) => value.into_encoded_bytes(),
            None => {
                screen::warning(&format!(
                    "the secret `{id}` is empty: the variable {name} is not set"
                ));
                Vec::new()
            }
        },
    };
    Ok((id, bytes))
}

fn read_secret(id: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    read_small_file(path, LARGEST_SECRET).map_err(|error| {
        let what = format!("the secret `{id}` in `{}`", path.display());
        Failure::caused(FailureKind::Use, &what, &error)
    })
}

/// A secret without a source is the variable of its name, or else the file.
fn parse_secret(text: &str, is_variable: impl Fn(&str) -> bool) -> Result<(String, SecretSource), String> {
    let mut fields = fields(text)?;
    let kind = fields.remove("type");
    let id = fields.remove("id").filter(|id| !id.is_empty());
    let source = fields.remove("src").or(fields.remove("source"));
    let variable = fields.remove("env");
    if let Some(key) = fields.into_keys().next() {
        return Err(format!("there is no `{key}`: write id, src, env or type"));
    }
    let id = id.ok_or("it needs an id: id=NAME")?;
    let (source, variable) = match (kind.as_deref(), source, variable) {
        (Some("env"), source, None) => (None, source),
        (None | Some("file" | "env"), source, variable) => (source, variable),
        (Some(other), ..) => return Err(format!("type={other}: it must be file or env")),
    };
    let source = match (source, variable) {
        // As BuildKit has it where both are given.
        (_, Some(name)) if !name.is_empty() => SecretSource::Variable(name),
        (Some(path), _) if !path.is_empty() => SecretSource::File(path.into()),
        _ if is_variable(&id) => SecretSource::Variable(id.clone()),
        _ => SecretSource::File(id.as_str().into()),
    };
    Ok((id, source))
}

/// `key=value,key=value`; a key counts once, as it was given last.
fn fields(text: &str) -> Result<BTreeMap<String, String>, String> {
    let fields = csv_fields(text).ok_or("a quote is not closed")?;
    fields
        .iter()
        .filter(|field| !field.is_empty())
        .map(|field| {
            let (key, value) = field
                .split_once('=')
                .ok_or_else(|| format!("`{field}` is no KEY=VALUE"))?;
            Ok((key.to_ascii_lowercase(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let file = |path: &str| SecretSource::File(path.into());
        let variable = |name: &str| SecretSource::Variable(name.to_owned());
        for (text, expected) in [
            ("id=a,src=/x/y", file("/x/y")),
            ("type=file,ID=a,source=./y", file("./y")),
            ("id=a,env=B", variable("B")),
            ("id=a,type=env", file("a")),
            ("id=a,type=env,src=B", variable("B")),
            ("id=TOKEN", variable("TOKEN")),
            ("id=file", file("file")),
            ("id=a,src=/x,env=B", variable("B")),
            ("id=a,\"src=/x,y\"", file("/x,y")),
        ] {
            let (id, source) = parse_secret(text, |name| name == "TOKEN").unwrap();
            assert_eq!(source, expected, "{text}");
            assert!(text.to_lowercase().contains(&format!("id={}", id.to_lowercase())));
        }
        for (text, expected) in [
            ("src=/x", "needs an id"),
            ("id=a,source", "no KEY=VALUE"),
            ("id=a,\"src=/x", "a quote is not closed"),
            ("id=a,type=tmp", "file or env"),
            ("id=a,target=/x", "there is no `target`"),
        ] {
            let said = parse_secret(text, |_| false).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn a_secret_has_a_largest_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, vec![b'x'; 500 << 10]).unwrap();
        assert_eq!(read_secret("a", &path).unwrap().len(), 500 << 10);
        std::fs::write(&path, vec![b'x'; (500 << 10) + 1]).unwrap();
        let said = format!("{:?}", read_secret("a", &path).unwrap_err());
        assert!(
            said.contains("larger than 500 KiB") && said.contains("`a`"),
            "{said}"
        );
    }

    #[test]
    fn a_secret_is_masked_line_by_line() {
        let lines: Vec<_> = maskable(b"-----BEGIN\r\nabc\n  swordfish\n").collect();
        assert_eq!(lines, [&b"-----BEGIN"[..], b"swordfish"]);
    }

    #[test]
    fn only_what_exists_can_be_allowed() {
        let mut entitlements = Entitlements::default();
        allow(&mut entitlements, "network.host").unwrap();
        assert!(entitlements.network_host && !entitlements.security_insecure);
        assert!(allow(&mut entitlements, "device").is_err());
    }
}

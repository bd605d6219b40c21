//! `RUN --mount=type=…,…`.
//!
//! Every value may hold variables, numbers and the type as well, so that what a mount is can be told only when the step is
//! reached. Which stage it takes from must be known before: `from` holds none.

use shipway_container::ByteSize;

/// A mount as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountText {
    text: String,
    /// `from=`: stage or image, for bind and cache.
    pub from: Option<String>,
}

impl MountText {
    /// Reads the value of `--mount`; the error is the message. What is wrong with values that hold no variable is said now.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("--mount needs a value: --mount=type=…".to_owned());
        }
        if !text.contains('$') {
            let RunMount { from, .. } = read(text, |value| Ok(value.to_owned()))?;
            return Ok(Self {
                text: text.to_owned(),
                from,
            });
        }
        let mut from = None;
        for (key, value) in fields(text) {
            if !KEYS.contains(&key.as_str()) {
                return Err(unknown(&key));
            }
            if let ("from", Some(value)) = (key.as_str(), value) {
                if value.contains('$') {
                    return Err(format!(
                        "--mount: from={value}: variables are not supported here, define a stage with FROM and name that"
                    ));
                }
                from = Some(value.to_owned());
            }
        }
        Ok(Self {
            text: text.to_owned(),
            from,
        })
    }

    /// The mount, each value expanded; the error is the message.
    pub(crate) fn expanded(
        &self,
        expand: impl Fn(&str) -> Result<String, String>,
    ) -> Result<RunMount, String> {
        read(&self.text, expand)
    }
}

/// A mount that one RUN asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// What kind.
    pub kind: MountKind,
    /// Where in the container; empty for the default of its kind: the working directory, for secrets a place of their own.
    pub target: String,
    /// `from=`: stage or image, for bind and cache.
    pub from: Option<String>,
    /// `source=`
    pub source: Option<String>,
    /// `id=`
    pub id: Option<String>,
    /// `ro` / `rw`, when given.
    pub read_only: Option<bool>,
    /// `required`
    pub required: bool,
    /// `mode=`
    pub mode: Option<u32>,
    /// `uid=`
    pub uid: u32,
    /// `gid=`
    pub gid: u32,
    /// `size=` of tmpfs.
    pub size: Option<u64>,
    /// `sharing=` of cache.
    pub sharing: Sharing,
    /// `env=` of secret.
    pub env: Option<String>,
}

/// The kinds of mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context, a stage or an image.
    Bind,
    /// A directory kept between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret as a file.
    Secret,
    /// An ssh agent socket.
    Ssh,
}

/// How builds share a cache mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sharing {
    /// At the same time.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// What a mount may say of itself.
const KEYS: [&str; 19] = [
    "type",
    "target",
    "dst",
    "destination",
    "from",
    "source",
    "src",
    "id",
    "ro",
    "readonly",
    "rw",
    "readwrite",
    "required",
    "mode",
    "uid",
    "gid",
    "size",
    "env",
    "sharing",
];

fn unknown(key: &str) -> String {
    format!("--mount: unknown key {key}")
}

fn fields(text: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    text.split(',')
        .filter(|field| !field.is_empty())
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        })
}

fn read(text: &str, expand: impl Fn(&str) -> Result<String, String>) -> Result<RunMount, String> {
    let mut mount = RunMount {
        kind: MountKind::Bind,
        target: String::new(),
        from: None,
        source: None,
        id: None,
        read_only: None,
        required: false,
        mode: None,
        uid: 0,
        gid: 0,
        size: None,
        sharing: Sharing::Shared,
        env: None,
    };
    for (key, value) in fields(text) {
        let value = value.map(&expand).transpose()?;
        let needed = || {
            value
                .clone()
                .ok_or_else(|| format!("--mount: {key} needs a value ({key}=…)"))
        };
        let flag = || match value.as_deref() {
            None | Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(other) => Err(format!("--mount: {key}={other} is neither true nor false")),
        };
        let number = |radix| -> Result<u32, String> {
            let text = needed()?;
            u32::from_str_radix(&text, radix).map_err(|_| format!("--mount: {key}={text} is not a number"))
        };
        match key.as_str() {
            "type" => mount.kind = parse_kind(&needed()?)?,
            "target" | "dst" | "destination" => mount.target = needed()?,
            "from" => mount.from = Some(needed()?),
            "source" | "src" => mount.source = Some(needed()?),
            "id" => mount.id = Some(needed()?),
            "ro" | "readonly" => mount.read_only = Some(flag()?),
            "rw" | "readwrite" => mount.read_only = Some(!flag()?),
            "required" => mount.required = flag()?,
            "mode" => mount.mode = Some(number(8)? & 0o7777),
            "uid" => mount.uid = number(10)?,
            "gid" => mount.gid = number(10)?,
            "size" => mount.size = Some(parse_size(&needed()?)?),
            "env" => mount.env = Some(needed()?),
            "sharing" => {
                mount.sharing = match needed()?.as_str() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    other => {
                        return Err(format!(
                            "--mount: sharing={other}: it must be shared, private or locked"
                        ));
                    }
                }
            }
            _ => return Err(unknown(&key)),
        }
    }
    Ok(mount)
}

fn parse_kind(text: &str) -> Result<MountKind, String> {
    Ok(match text {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        other => {
            return Err(format!(
                "--mount: type={other}: it must be bind, cache, tmpfs, secret or ssh"
            ));
        }
    })
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| format!("--mount: size={text} is not a size such as 64m"))?;
    Ok(size.get())
}

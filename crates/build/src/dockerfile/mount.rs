//! `RUN --mount=type=…,…`.

use shipway_container::ByteSize;

/// A mount that one RUN asks for, unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunMount {
    /// What kind.
    pub kind: MountKind,
    /// Where in the container; empty where the kind has a default.
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

/// Reads the value of `--mount`; the error is the message.
pub(crate) fn parse_mount(text: &str) -> Result<RunMount, String> {
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
    for field in text.split(',').filter(|field| !field.is_empty()) {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let needed = || {
            value
                .map(str::to_owned)
                .ok_or_else(|| format!("--mount: {key} needs a value ({key}=…)"))
        };
        let flag = || match value {
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
            _ => return Err(format!("--mount: unknown key {key}")),
        }
    }
    let target_optional = matches!(mount.kind, MountKind::Secret | MountKind::Ssh);
    if mount.target.is_empty() && !target_optional {
        return Err("--mount: target=… is missing".to_owned());
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

//! `RUN --mount=type=…,…`.
//!
//! Every value may hold variables, numbers and the type as well, so that what a mount is can be told only when the step is
//! reached. Which stage it takes from must be known before: `from` holds none.

use shipway_container::ByteSize;

use crate::csv::csv_fields;

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
        for (key, value) in fields(text)? {
            if !KEYS.contains(&key.as_str()) {
                return Err(unknown(&key));
            }
            if let ("from", Some(value)) = (key.as_str(), value) {
                if value.contains('$') {
                    return Err(format!(
                        "--mount: from={value}: variables are not supported here, define a stage with FROM and name that"
                    ));
                }
                from = Some(value);
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
    pub uid: Option<u32>,
    /// `gid=`
    pub gid: Option<u32>,
    /// `size=` of tmpfs.
    pub size: Option<u64>,
    /// `sharing=` of cache.
    pub sharing: Option<Sharing>,
    /// `env=` of secret: the variable that holds it; an empty one is named as the secret.
    pub env: Option<String>,
}

impl RunMount {
    /// Which secret is mounted: its source or its id, or else the last part of its target.
    pub(crate) fn secret_id(&self) -> &str {
        let named = self.source.as_deref().or(self.id.as_deref());
        named.unwrap_or_else(|| self.target.rsplit('/').next().unwrap_or_default())
    }

    /// Which agent is mounted.
    pub(crate) fn ssh_id(&self) -> &str {
        self.id.as_deref().unwrap_or("default")
    }
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

impl std::fmt::Display for MountKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bind => "bind",
            Self::Cache => "cache",
            Self::Tmpfs => "tmpfs",
            Self::Secret => "secret",
            Self::Ssh => "ssh",
        })
    }
}

/// How builds share a cache mount, from the laxest to the strictest way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sharing {
    /// At the same time.
    #[default]
    Shared,
    /// One at a time; another one meanwhile gets a second directory.
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

/// Keys in small letters, with their values.
fn fields(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let fields = csv_fields(text).ok_or_else(|| format!("--mount={text}: a quote is not closed"))?;
    let split = |field: String| match field.split_once('=') {
        Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
        None => (field.to_ascii_lowercase(), None),
    };
    Ok(fields
        .into_iter()
        .filter(|field| !field.is_empty())
        .map(split)
        .collect())
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
        uid: None,
        gid: None,
        size: None,
        sharing: None,
        env: None,
    };
    let mut requires = false;
    for (key, value) in fields(text)? {
        let value = value.as_deref().map(&expand).transpose()?;
        let needed = || {
            value
                .clone()
                .ok_or_else(|| format!("--mount: {key} needs a value ({key}=…)"))
        };
        let flag = || match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
            Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
            Some(other) => Err(format!("--mount: {key}={other} is neither true nor false")),
        };
        let number = |radix| -> Result<u32, String> {
            let text = needed()?;
            u32::from_str_radix(&text, radix).map_err(|_| format!("--mount: {key}={text} is not a number"))
        };
        match key.as_str() {
            "type" => mount.kind = parse_kind(&needed()?)?,
            "target" | "dst" | "destination" => mount.target = needed()?,
            "from" => mount.from = Some(needed()?).filter(|from| !from.is_empty()),
            "source" | "src" => mount.source = Some(needed()?).filter(|source| !source.is_empty()),
            "id" => mount.id = Some(needed()?).filter(|id| !id.is_empty()),
            "ro" | "readonly" => mount.read_only = Some(flag()?),
            "rw" | "readwrite" => mount.read_only = Some(!flag()?),
            "required" => {
                requires = true;
                mount.required = flag()?;
            }
            "mode" => mount.mode = Some(number(8)? & 0o7777),
            "uid" => mount.uid = Some(number(10)?),
            "gid" => mount.gid = Some(number(10)?),
            "size" => mount.size = Some(parse_size(&needed()?)?),
            "env" => mount.env = Some(needed()?),
            "sharing" => mount.sharing = Some(parse_sharing(&needed()?)?),
            _ => return Err(unknown(&key)),
        }
    }
    fitting(&mount, requires)?;
    Ok(mount)
}

/// Refuses what means nothing for a mount of its kind: who writes it expects something of it.
fn fitting(mount: &RunMount, requires: bool) -> Result<(), String> {
    use MountKind::{Bind, Cache, Secret, Ssh, Tmpfs};
    let owned = mount.mode.is_some() || mount.uid.is_some() || mount.gid.is_some();
    let kind = mount.kind;
    let wrong = match kind {
        Bind | Tmpfs if owned => Some("mode, uid and gid"),
        Bind | Cache | Tmpfs if requires => Some("required"),
        Bind | Cache | Secret | Ssh if mount.size.is_some() => Some("size"),
        Bind | Tmpfs | Secret | Ssh if mount.sharing.is_some() => Some("sharing"),
        Secret | Ssh if mount.from.is_some() => Some("from"),
        Ssh if mount.source.is_some() => Some("source"),
        _ => None,
    };
    if let Some(keys) = wrong {
        return Err(format!("--mount=type={kind}: {keys} cannot be given for it"));
    }
    if kind == Secret {
        if mount.source.is_some() && mount.id.is_some() {
            return Err("--mount=type=secret: give either id or source, not both".to_owned());
        }
        if mount.source.is_none() && mount.id.is_none() && mount.target.is_empty() {
            return Err("--mount=type=secret: it needs an id, a source or a target".to_owned());
        }
    }
    Ok(())
}

fn parse_kind(text: &str) -> Result<MountKind, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "cache" => MountKind::Cache,
        "tmpfs" => MountKind::Tmpfs,
        "secret" => MountKind::Secret,
        "ssh" => MountKind::Ssh,
        _ => {
            return Err(format!(
                "--mount: type={text}: it must be bind, cache, tmpfs, secret or ssh"
            ));
        }
    })
}

fn parse_sharing(text: &str) -> Result<Sharing, String> {
    match text.to_ascii_lowercase().as_str() {
        "shared" => Ok(Sharing::Shared),
        "private" => Ok(Sharing::Private),
        "locked" => Ok(Sharing::Locked),
        _ => Err(format!(
            "--mount: sharing={text}: it must be shared, private or locked"
        )),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let size: ByteSize = text
        .parse()
        .map_err(|_| format!("--mount: size={text} is not a size such as 64m"))?;
    Ok(size.get())
}

#[cfg(test)]
mod tests {
    use super::{MountKind, MountText, RunMount, Sharing, read};

    fn mount(text: &str) -> Result<RunMount, String> {
        read(text, |value| Ok(value.to_owned()))
    }

    #[test]
    fn fields_are_those_of_csv() {
        let found = mount("type=BIND,\"target=/a,b\",Source=x,rw").unwrap();
        assert_eq!((found.kind, found.target.as_str()), (MountKind::Bind, "/a,b"));
        assert_eq!(
            (found.source.as_deref(), found.read_only),
            (Some("x"), Some(false))
        );
        assert_eq!(
            mount("\"id=a\"\"b\",type=cache").unwrap().id.as_deref(),
            Some("a\"b")
        );
        let sharing = mount("type=cache,target=/c,sharing=Private").unwrap().sharing;
        assert_eq!(sharing, Some(Sharing::Private));
        assert!(mount("type=secret,id=x,required=True").unwrap().required);
        assert!(!mount("type=secret,id=x,required=F").unwrap().required);
    }

    #[test]
    fn what_means_nothing_for_a_kind_is_refused() {
        for (text, expected) in [
            ("typ=tmpfs", "unknown key typ"),
            ("type=tmp", "type=tmp: it must be"),
            ("target=/a,mode=0700", "type=bind: mode, uid and gid"),
            ("type=tmpfs,target=/a,uid=1", "type=tmpfs: mode, uid and gid"),
            ("target=/a,required", "type=bind: required"),
            ("type=cache,target=/a,size=1m", "type=cache: size"),
            ("type=secret,id=a,sharing=locked", "type=secret: sharing"),
            ("type=secret,id=a,from=b", "type=secret: from"),
            ("type=ssh,source=a", "type=ssh: source"),
            ("type=secret,id=a,source=b", "either id or source"),
            ("type=secret,required", "needs an id"),
            ("type=secret,id=a,required=maybe", "neither true nor false"),
            ("type=cache,target=/a,uid=x", "is not a number"),
            ("target", "needs a value"),
        ] {
            let said = mount(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    /// What is read with variables is what is read without.
    #[test]
    fn foreign_mounts() {
        let words = &[
            "type=",
            "bind",
            "cache",
            "tmpfs",
            "secret",
            "ssh",
            ",target=",
            ",source=",
            ",from=",
            ",id=",
            ",sharing=locked",
            ",size=1g",
            ",mode=0755",
            ",uid=1",
            ",required",
            ",rw",
            ",ro=false",
            ",env=A",
            "$A",
            "${A:-b}",
            "\"",
        ];
        let seeds = [
            "type=bind,source=a,target=/a,from=b,rw",
            "type=cache,id=a,target=/a,sharing=locked,mode=0700,uid=1,gid=2",
            "type=tmpfs,target=/a,size=10m",
            "type=secret,id=a,target=/a,required,env=B",
            "type=ssh,id=a,mode=0600",
        ];
        shipway_testkit::Foreign::near(seeds)
            .with_words(words)
            .up_to(4096)
            .check_text(|text| {
                let Ok(parsed) = MountText::parse(text) else {
                    return;
                };
                let same = parsed.expanded(|value| Ok(value.to_owned()));
                assert!(same.is_ok() || text.contains('$'), "{text}: {same:?}");
                if let Ok(mount) = same {
                    assert_eq!(mount.from, parsed.from, "{text}");
                }
            });
    }
}

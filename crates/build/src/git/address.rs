//! Addresses of git repositories as Dockerfiles and command lines have them: `https://example.com/app.git#main:sub`,
//! `git@example.com:app.git?ref=v1&subdir=docs`.
//!
//! What stands behind `#` or in the query says which commit and which folder; both forms may be mixed as long as they do not
//! contradict each other. Shapes and errors are those of BuildKit's Dockerfile frontend 1.26.

use std::fmt;

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitScheme {
    /// `http://`
    Http,
    /// `https://`
    Https,
    /// `git://`: neither encrypted nor authenticated.
    Git,
    /// `ssh://` and `user@host:path`.
    Ssh,
}

/// A repository, and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitAddress {
    /// How it is reached.
    pub scheme: GitScheme,
    /// The address for a git client: no query, no fragment. May hold what logs in; [`Self::shown`] does not.
    pub remote: String,
    /// A branch, a tag, a whole ref or a commit; the default branch without.
    pub reference: Option<String>,
    /// The commit that it must be: hexadecimal digits, the first ones at least.
    pub checksum: Option<String>,
    /// The folder that is taken, relative to the repository's root.
    pub folder: Option<String>,
    /// Whether `.git` comes along; what else says so decides without.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched; they are without.
    pub submodules: Option<bool>,
    /// Whether the checksum is fetched as it is, whatever the reference stands for on the server.
    pub fetch_by_commit: bool,
}

/// An address of a git repository that contradicts itself or asks for something unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitAddressError {
    /// A key that nobody knows.
    #[error(
        "unexpected query `{key}`: write ref, tag, branch, subdir, commit, keep-git-dir, submodules, mtime or fetch-by-commit"
    )]
    UnknownQuery {
        /// The key.
        key: String,
    },
    /// A key without or with more than one value.
    #[error("the query `{key}` needs exactly one value")]
    QueryValue {
        /// The key.
        key: String,
    },
    /// A value that the key does not take.
    #[error("invalid {key} value: `{value}`")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Two values for one thing.
    #[error("{what} conflicts: `{one}` and `{other}`")]
    Conflict {
        /// What.
        what: &'static str,
        /// One value.
        one: String,
        /// The other.
        other: String,
    },
    /// A reference that a git client would take for an option, or that holds what no reference may.
    #[error("`{reference}` is no name for a git reference")]
    Reference {
        /// The reference.
        reference: String,
    },
}

impl GitAddress {
    /// What ADD and contexts take for a git repository; `None` for everything else: `http(s)` only with a path that ends
    /// with `.git`.
    ///
    /// # Errors
    /// When it is a git repository, but what stands behind it makes no sense.
    pub fn parse(text: &str) -> Option<Result<Self, GitAddressError>> {
        let parts = split(text)?;
        Some(Self::of(parts))
    }

    /// As [`Self::parse`], and `github.com/owner/repository`, which cannot be told from a path: for contexts only.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_context(text: &str) -> Option<Result<Self, GitAddressError>> {
        if text.starts_with("github.com/") {
            let whole = format!("https://{text}");
            return split_url(GitScheme::Https, &whole).map(Self::of);
        }
        Self::parse(text)
    }

    fn of(parts: Parts<'_>) -> Result<Self, GitAddressError> {
        let mut address = Self {
            scheme: parts.scheme,
            remote: parts.remote.to_owned(),
            reference: None,
            checksum: None,
            folder: None,
            keep_git_dir: None,
            submodules: None,
            fetch_by_commit: false,
        };
        let (reference, folder) = parts.fragment.split_once(':').unwrap_or((parts.fragment, ""));
        address.reference = not_empty(reference);
        address.folder = not_empty(folder.trim_matches('/'));
        address.read_query(parts.query)?;
        if let Some(reference) = &address.reference {
            let forbidden = |byte: u8| byte <= b' ' || byte == 0x7f || b"~^:?*[\\".contains(&byte);
            if reference.starts_with('-') || reference.contains("..") || reference.bytes().any(forbidden) {
                let reference = reference.clone();
                return Err(GitAddressError::Reference { reference });
            }
        }
        if let Some(value) = &address.checksum
            && (value.len() > 64 || !value.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let (key, value) = ("commit".to_owned(), value.clone());
            return Err(GitAddressError::InvalidValue { key, value });
        }
        address.checksum = address.checksum.map(|text| text.to_ascii_lowercase());
        Ok(address)
    }

    fn read_query(&mut self, query: &str) -> Result<(), GitAddressError> {
        let mut seen: Vec<String> = Vec::new();
        let (mut tag, mut branch) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let switch = matches!(&*key, "submodules" | "keep-git-dir" | "fetch-by-commit");
            if seen.iter().any(|seen| *seen == *key) || (value.is_empty() && !switch) {
                return Err(GitAddressError::QueryValue {
                    key: key.into_owned(),
                });
            }
            seen.push(key.to_string());
            match &*key {
                "ref" => set("ref", &mut self.reference, &value)?,
                "tag" => tag = Some(value.into_owned()),
                "branch" => branch = Some(value.into_owned()),
                "subdir" => set("subdir", &mut self.folder, value.trim_matches('/'))?,
                "checksum" | "commit" => self.checksum = Some(value.into_owned()),
                "keep-git-dir" => self.keep_git_dir = Some(boolean(&key, &value)?),
                "submodules" => self.submodules = Some(boolean(&key, &value)?),
                "fetch-by-commit" => self.fetch_by_commit = boolean(&key, &value)?,
                // Files of an image are dated by the build, so that both mean the same here.
                "mtime" if matches!(&*value, "checkout" | "commit") => {}
                "mtime" => {
                    let (key, value) = (key.into_owned(), value.into_owned());
                    return Err(GitAddressError::InvalidValue { key, value });
                }
                _ => {
                    return Err(GitAddressError::UnknownQuery {
                        key: key.into_owned(),
                    });
                }
            }
        }
        if let (Some(tag), Some(branch)) = (&tag, &branch) {
            return Err(GitAddressError::Conflict {
                what: "branch",
                one: tag.clone(),
                other: branch.clone(),
            });
        }
        for (prefix, name) in [("refs/tags/", tag), ("refs/heads/", branch)] {
            if let Some(name) = name {
                let whole = match name.starts_with(prefix) {
                    true => name,
                    false => format!("{prefix}{name}"),
                };
                set("ref", &mut self.reference, &whole)?;
            }
        }
        Ok(())
    }

    /// The address without what logs in.
    pub fn shown(&self) -> String {
        without_login(&self.remote)
    }
}

impl fmt::Display for GitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())?;
        match (&self.reference, &self.folder) {
            (None, None) => Ok(()),
            (reference, None) => write!(f, "#{}", reference.as_deref().unwrap_or_default()),
            (reference, Some(folder)) => write!(f, "#{}:{folder}", reference.as_deref().unwrap_or_default()),
        }
    }
}

/// An address with `xxxxx` in the place of what logs in: of a web address the user, too, since servers take a token there.
pub(crate) fn without_login(remote: &str) -> String {
    let Some(Parted {
        scheme,
        user: Some(user),
        host,
        path,
    }) = Parted::of(remote)
    else {
        return remote.to_owned();
    };
    let is_web = ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web));
    let (name, password) = match user.split_once(':') {
        Some((name, _)) => (name, ":xxxxx"),
        None => (user, ""),
    };
    let name = if is_web { "xxxxx" } else { name };
    format!("{scheme}://{name}{password}@{host}{path}")
}

/// The parts of an address with a scheme.
#[derive(Clone, Copy)]
pub(super) struct Parted<'a> {
    pub(super) scheme: &'a str,
    /// Before the `@`, with a password if there is one.
    pub(super) user: Option<&'a str>,
    /// With its port, if it has one.
    pub(super) host: &'a str,
    /// With its slash in front.
    pub(super) path: &'a str,
}

impl<'a> Parted<'a> {
    pub(super) fn of(remote: &'a str) -> Option<Self> {
        let (scheme, rest) = remote.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        Some(Self {
            scheme,
            user,
            host,
            path,
        })
    }

    /// The address without a user.
    pub(super) fn without_user(self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.path)
    }

    /// Whether both are of one server, reached in one way.
    pub(super) fn is_beside(self, other: Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme) && self.host.eq_ignore_ascii_case(other.host)
    }
}

/// A bare address, as a submodule has it: how it is reached, and the address itself.
pub(super) fn plain(text: &str) -> Option<(GitScheme, String)> {
    let parts = match text.split_once("://") {
        Some((scheme, _)) => {
            let scheme = match scheme.to_ascii_lowercase().as_str() {
                "http" => GitScheme::Http,
                "https" => GitScheme::Https,
                "git" => GitScheme::Git,
                "ssh" => GitScheme::Ssh,
                _ => return None,
            };
            split_url(scheme, text)?
        }
        None => split_scp(text)?,
    };
    let whole = parts.query.is_empty() && parts.fragment.is_empty();
    whole.then(|| (parts.scheme, parts.remote.to_owned()))
}

struct Parts<'a> {
    scheme: GitScheme,
    remote: &'a str,
    query: &'a str,
    fragment: &'a str,
}

fn split(text: &str) -> Option<Parts<'_>> {
    let scheme = text
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("http") => split_url(GitScheme::Http, text).filter(|parts| parts.remote.ends_with(".git")),
        Some("https") => split_url(GitScheme::Https, text).filter(|parts| parts.remote.ends_with(".git")),
        Some("git") => split_url(GitScheme::Git, text),
        Some("ssh") => split_url(GitScheme::Ssh, text),
        Some(_) => None,
        None => split_scp(text),
    }
}

fn split_url(scheme: GitScheme, text: &str) -> Option<Parts<'_>> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (_, after) = remote.split_once("://")?;
    let (authority, path) = after.split_once('/')?;
    let plain = |text: &str| {
        text.bytes()
            .all(|byte| byte > b' ' && byte != 0x7f && byte != b'\\')
    };
    let usable = !authority.is_empty() && !authority.starts_with('-') && !path.is_empty() && plain(remote);
    usable.then_some(Parts {
        scheme,
        remote,
        query,
        fragment,
    })
}

/// `user@host:path`
fn split_scp(text: &str) -> Option<Parts<'_>> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, after) = remote.split_once('@')?;
    let (host, path) = after.split_once(':')?;
    let word = |text: &str, more: &[u8]| {
        !text.is_empty()
            && !text.starts_with('-')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let plain = !path.is_empty() && path.bytes().all(|byte| byte > b' ' && byte != 0x7f);
    (word(user, b"-_") && word(host, b"-.") && plain).then_some(Parts {
        scheme: GitScheme::Ssh,
        remote,
        query,
        fragment,
    })
}

fn not_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn set(what: &'static str, slot: &mut Option<String>, value: &str) -> Result<(), GitAddressError> {
    match slot {
        Some(there) if there != value => Err(GitAddressError::Conflict {
            what,
            one: there.clone(),
            other: value.to_owned(),
        }),
        _ => {
            *slot = not_empty(value);
            Ok(())
        }
    }
}

fn boolean(key: &str, value: &str) -> Result<bool, GitAddressError> {
    match value {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(GitAddressError::InvalidValue {
            key: key.to_owned(),
            value: value.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;

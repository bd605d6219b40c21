//! Where projects come from: a path that was first run from one origin is not run from another unasked.
//!
//! A project's path names its caches, its turns, its images and its right in the registry, and whoever writes a remote's
//! address chooses it. So the first run of a path remembers the host of the remote, or the directory of a repository
//! without one; from then on the path, everything below it and everything above it are for that origin, until the user says that
//! another one is the same project. The name is trusted on first use: there is nobody to ask.
//!
//! What was remembered lies in one file, which is replaced as a whole under a lock. A file that cannot be read is an
//! error and no empty one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};

/// Where a work tree comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    /// The host of its remote, whatever the protocol and the port.
    Host(String),
    /// The work tree itself, which has no remote.
    Directory(PathBuf),
}

impl Origin {
    /// The host in a server's URL.
    pub(super) fn of_server(url: &str) -> Self {
        let host = url.split_once("://").map_or(url, |(_, host)| host);
        Self::Host(host.trim_end_matches('.').to_ascii_lowercase())
    }

    fn is_gone(&self) -> bool {
        match self {
            Self::Host(_) => false,
            Self::Directory(path) => {
                matches!(path.symlink_metadata(), Err(error) if error.kind() == io::ErrorKind::NotFound)
            }
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "`{host}`"),
            Self::Directory(path) => write!(f, "the directory `{}`", path.display()),
        }
    }
}

/// Whether the user said that an origin is the same project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Nothing was said.
    Unsaid,
    /// It is the same project.
    Same,
}

/// The origins of every path. Paths are in lower case, as the registry has them.
type Known = BTreeMap<String, BTreeSet<Origin>>;

/// Remembers where a project comes from, or refuses it because it, or one above or below it, came from elsewhere.
pub(super) fn admit(data: &Path, project: &str, origin: &Origin, claim: Claim) -> Result<(), Failure> {
    let path = data.join("origins.json");
    let failed = |error: io::Error| {
        let doing = format!(
            "reading and writing the origins of projects in `{}`",
            path.display()
        );
        Failure::caused(FailureKind::Place, &doing, &error)
    };
    let lock = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // A link there was put by somebody who wants another file written.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(data.join("origins.lock"))
        .map_err(failed)?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    let mut known = read(&path).map_err(failed)?;
    let project = project.to_lowercase();
    if known
        .get(&project)
        .is_some_and(|origins| origins.contains(origin))
    {
        return Ok(());
    }
    if claim == Claim::Unsaid
        && let Some((other, first)) = stranger(&known, &project, origin)
    {
        return Err(refused(&project, origin, other, first));
    }
    let origins = known.entry(project).or_default();
    origins.retain(|origin| !origin.is_gone());
    origins.insert(origin.clone());
    write(data, &path, &known).map_err(failed)
}

/// A path that this one would share with another origin.
fn stranger<'a>(known: &'a Known, project: &str, origin: &Origin) -> Option<(&'a str, &'a Origin)> {
    let shared = known.iter().filter(|(path, origins)| {
        let related = *path == project || is_below(path, project) || is_below(project, path);
        related && !origins.contains(origin)
    });
    // A directory that is gone was moved or removed: nobody else is there to come from it.
    let moved = |first: &Origin| matches!(origin, Origin::Directory(_)) && first.is_gone();
    let mut strangers = shared.filter_map(|(path, origins)| {
        let first = origins.iter().find(|first| !moved(first))?;
        Some((path.as_str(), first))
    });
    strangers.next()
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn refused(project: &str, origin: &Origin, other: &str, first: &Origin) -> Failure {
    let message = if other == project {
        format!("the project `{project}` was first run from {first}, and this one is from {origin}")
    } else {
        format!(
            "the project `{project}` from {origin} would share the registry's names with `{other}`, which was first run from \
             {first}"
        )
    };
    Failure::new(FailureKind::Use, message).hint(
        "one may read and replace the caches and images of the other: if you trust both with that, \
         `shipway run --same-project` remembers this origin too",
    )
}

fn read(path: &Path) -> io::Result<Known> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Known::new()),
        Err(error) => Err(error),
    }
}

fn write(data: &Path, path: &Path, known: &Known) -> io::Result<()> {
    let new = data.join("origins.json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(&new)?;
    file.write_all(&serde_json::to_vec_pretty(known)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(data)?.sync_all()
}

#[cfg(test)]
mod tests;

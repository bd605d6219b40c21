//! Which ids of this machine a pod may use.
//!
//! Apart because it is the one piece of policy about identity: host id 0 is never mapped into a pod that has a user namespace,
//! whoever starts it. Root takes a range and writes the map itself; a user gets the range that `/etc/subuid` grants and needs the
//! set-uid helpers `newuidmap` and `newgidmap` to have it written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where root's range begins when `/etc/subuid` has no line for `shipway`: above what distributions give to people.
const DEFAULT_BASE: u32 = 1_000_000_000;
/// How many ids an image may expect.
const DEFAULT_LENGTH: u32 = 65_536;
/// Name of the line in `/etc/subuid` and `/etc/subgid` that root's range is taken from.
const RANGE_NAME: &str = "shipway";

/// Why no map could be found.
#[derive(Debug, thiserror::Error)]
pub enum IdMapError {
    /// The set-uid helper is not installed.
    #[error(
        "{helper} is not installed: install the package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora), or run as root"
    )]
    MissingHelper {
        /// The program that was looked for.
        helper: &'static str,
    },
    /// The user has no subordinate ids.
    #[error("{user} has no range in {file}: as root, run `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`", file = file.display())]
    NoRange {
        /// The user as named in the file.
        user: String,
        /// `/etc/subuid` or `/etc/subgid`.
        file: PathBuf,
    },
    /// Running as root in somebody's container that has no ids but root's.
    #[error("{file} gives this process no id besides root's, so none can be given to a pod: give the container this runs in a range of ids (65536 are best)", file = file.display())]
    NothingToGive {
        /// `/proc/self/uid_map` or `/proc/self/gid_map`.
        file: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {file}", file = file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// A run of ids: `inside..inside + length` are `outside..outside + length` of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// First id as the pod sees it.
    pub inside: u32,
    /// First id as this process sees it.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

/// The ids of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdMap {
    /// Users.
    pub uids: Vec<IdRange>,
    /// Groups.
    pub gids: Vec<IdRange>,
}

impl IdMap {
    /// The ids that this process has, as they are: for a pod without a user namespace of its own.
    pub fn own() -> Self {
        let all = IdRange {
            inside: 0,
            outside: 0,
            length: u32::MAX,
        };
        Self {
            uids: vec![all],
            gids: vec![all],
        }
    }

    /// One id: who runs this process is the pod's root.
    pub fn one() -> Self {
        let only = |outside| {
            vec![IdRange {
                inside: 0,
                outside,
                length: 1,
            }]
        };
        Self {
            uids: only(rustix::process::geteuid().as_raw()),
            gids: only(rustix::process::getegid().as_raw()),
        }
    }

    /// The map for who runs this process.
    pub fn detect() -> Result<Self, IdMapError> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        if uid == 0 {
            return Ok(Self {
                uids: vec![ranges_of_root("/etc/subuid", "/proc/self/uid_map")?],
                gids: vec![ranges_of_root("/etc/subgid", "/proc/self/gid_map")?],
            });
        }
        for helper in ["newuidmap", "newgidmap"] {
            find_helper(helper).ok_or(IdMapError::MissingHelper { helper })?;
        }
        let name = user_name(uid)?;
        let range_of = |file: &str, own: u32| -> Result<Vec<IdRange>, IdMapError> {
            let text = read_optional(Path::new(file))?;
            let (outside, length) =
                subordinate_range(&text, &[&name, &uid.to_string()]).ok_or_else(|| IdMapError::NoRange {
                    user: name.clone(),
                    file: file.into(),
                })?;
            Ok(vec![
                IdRange {
                    inside: 0,
                    outside: own,
                    length: 1,
                },
                IdRange {
                    inside: 1,
                    outside,
                    length,
                },
            ])
        };
        Ok(Self {
            uids: range_of("/etc/subuid", uid)?,
            gids: range_of("/etc/subgid", gid)?,
        })
    }

    /// The id of this machine that the pod knows as user `inside`.
    pub fn host_uid(&self, inside: u32) -> Option<u32> {
        outside(&self.uids, inside)
    }

    /// The id of this machine that the pod knows as group `inside`.
    pub fn host_gid(&self, inside: u32) -> Option<u32> {
        outside(&self.gids, inside)
    }

    /// A name for this map, fit for a directory: trees unpacked under one map are of no use under another.
    pub fn class(&self) -> String {
        let mut name = String::from("u");
        write_ranges(&mut name, &self.uids);
        if self.gids != self.uids {
            name.push_str("-g");
            write_ranges(&mut name, &self.gids);
        }
        name
    }
}

fn write_ranges(name: &mut String, ranges: &[IdRange]) {
    for (index, range) in ranges.iter().enumerate() {
        let separator = if index == 0 { "" } else { "_" };
        // Writing to a String does not fail.
        let _ = write!(
            name,
            "{separator}{}.{}.{}",
            range.inside, range.outside, range.length
        );
    }
}

fn outside(ranges: &[IdRange], inside: u32) -> Option<u32> {
    ranges.iter().find_map(|range| {
        let offset = inside.checked_sub(range.inside)?;
        (offset < range.length).then(|| range.outside.checked_add(offset))?
    })
}

fn ranges_of_root(subordinate: &str, own_map: &str) -> Result<IdRange, IdMapError> {
    let text = read_optional(Path::new(subordinate))?;
    if let Some((outside, length)) = subordinate_range(&text, &[RANGE_NAME]) {
        return Ok(IdRange {
            inside: 0,
            outside,
            length,
        });
    }
    let map = std::fs::read_to_string(own_map).map_err(|source| IdMapError::Read {
        file: own_map.into(),
        source,
    })?;
    root_range(&map).ok_or_else(|| IdMapError::NothingToGive { file: own_map.into() })
}

/// The range that root gives, within the ids that root itself has: in a container that may be few.
fn root_range(own_map: &str) -> Option<IdRange> {
    let extents: Vec<(u32, u32)> = own_map
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let first = fields.next()?.parse().ok()?;
            let length = fields.nth(1)?.parse().ok()?;
            Some((first, length))
        })
        .collect();
    let default_fits = extents.iter().any(|(first, length)| {
        *first <= DEFAULT_BASE
            && u64::from(*first) + u64::from(*length) >= u64::from(DEFAULT_BASE) + u64::from(DEFAULT_LENGTH)
    });
    if default_fits {
        return Some(IdRange {
            inside: 0,
            outside: DEFAULT_BASE,
            length: DEFAULT_LENGTH,
        });
    }
    extents
        .into_iter()
        .map(|(first, length)| {
            if first == 0 {
                (1, length.saturating_sub(1))
            } else {
                (first, length)
            }
        })
        .max_by_key(|(_, length)| *length)
        .filter(|(_, length)| *length > 0)
        .map(|(outside, length)| IdRange {
            inside: 0,
            outside,
            length: length.min(DEFAULT_LENGTH),
        })
}

/// The longest range that one of `names` has, host id 0 never among it.
fn subordinate_range(text: &str, names: &[&str]) -> Option<(u32, u32)> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let name = fields.next()?;
            let start: u32 = fields.next()?.parse().ok()?;
            let length: u32 = fields.next()?.parse().ok()?;
            let usable =
                names.contains(&name) && start > 0 && length > 0 && start.checked_add(length).is_some();
            usable.then_some((start, length))
        })
        .max_by_key(|(_, length)| *length)
}

fn read_optional(file: &Path) -> Result<String, IdMapError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(IdMapError::Read {
            file: file.into(),
            source,
        }),
    }
}

fn user_name(uid: u32) -> Result<String, IdMapError> {
    let text = read_optional(Path::new("/etc/passwd"))?;
    let known = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    });
    Ok(known.unwrap_or_else(|| uid.to_string()))
}

/// Where a set-uid helper lies: `PATH` first, then where distributions put it.
pub(crate) fn find_helper(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/bin", "/usr/local/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests;

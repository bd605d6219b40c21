//! Who a process runs as, by the container's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are Docker's: a name must exist, a number need not; an explicit group replaces all others; without one
//! the user's own group counts and those that list the user as a member. The files are a job's, so they are read
//! with a limit, without waiting for a pipe that poses as one, and not through links to files that this process has open.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, OFlags};

use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};

/// More than any real file of the kind has.
const LARGEST: u64 = 16 * 1024 * 1024;
/// What Docker allows. The largest number of all means "as it is" to the kernel: who asks for it would stay root.
const LARGEST_ID: u32 = i32::MAX.cast_unsigned();

/// Ids and home of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Finds the user that `wanted` means in the container with this root.
pub(crate) fn resolve(root: &OwnedFd, wanted: &str) -> Result<User> {
    resolve_in(&read(root, "/etc/passwd")?, &read(root, "/etc/group")?, wanted)
}

fn read(root: &OwnedFd, path: &str) -> Result<String> {
    let action = || format!("read the container's {path}");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match beneath::open_inside(root, Path::new(path), flags) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(errno).doing(action),
    };
    let status = rustix::fs::fstat(file.as_fd()).doing(action)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file)
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .doing(action)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid, gid, home })
    })
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

fn resolve_in(passwd: &str, group: &str, wanted: &str) -> Result<User> {
    let (user, explicit) = match wanted.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (wanted, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let refused = |id: &dyn std::fmt::Display| KeeperError::Id {
        user: wanted.into(),
        id: id.to_string(),
    };
    // A number that no account has as its name is an id, however large.
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let number = user.parse::<u32>().ok();
    let account =
        accounts(passwd).find(|account| account.name == user || number.is_some_and(|uid| account.uid == uid));
    let (uid, own_gid, name, home) = match (account, number) {
        (Some(account), _) => (account.uid, account.gid, Some(account.name), account.home),
        (None, Some(uid)) => (uid, 0, None, ""),
        (None, None) if is_number(user) => return Err(refused(&user)),
        (None, None) => return Err(KeeperError::UnknownUser { user: user.into() }),
    };
    let possible = |id: u32| {
        if id > LARGEST_ID {
            Err(refused(&id))
        } else {
            Ok(id)
        }
    };
    let (uid, own_gid) = (possible(uid)?, possible(own_gid)?);
    let home = if home.is_empty() { "/" } else { home }.to_owned();
    let Some(explicit) = explicit else {
        let member_of = groups(group)
            .filter(|group| name.is_some_and(|name| group.members.split(',').any(|member| member == name)))
            .map(|group| possible(group.gid))
            .collect::<Result<_>>()?;
        return Ok(User {
            uid,
            gid: own_gid,
            groups: member_of,
            home,
        });
    };
    let by_name = groups(group)
        .find(|candidate| candidate.name == explicit)
        .map(|candidate| candidate.gid);
    let gid = by_name.or_else(|| explicit.parse().ok()).ok_or_else(|| {
        if is_number(explicit) {
            return refused(&explicit);
        }
        KeeperError::UnknownGroup {
            group: explicit.into(),
        }
    })?;
    let gid = possible(gid)?;
    Ok(User {
        uid,
        gid,
        groups: Vec::new(),
        home,
    })
}

#[cfg(test)]
mod tests;

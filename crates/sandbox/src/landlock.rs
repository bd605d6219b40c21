//! What a process may reach, by Landlock: rules that it lays over itself and all that it starts, and that nobody takes off.
//!
//! Needs no namespace and no capability but `no_new_privs`. By version: files since 2 (version 1 refuses every rename from one
//! directory to another, which no package manager survives, and is not used), devices since 5, signals and abstract sockets of
//! processes outside since 6. That a process traces none outside its own rules comes with any.
//!
//! Failure: where there is none (an older kernel, one without it, a container engine that forbids the calls), nothing is laid, and the
//! caller is told so; that is for `doctor` and for the rest of the means to make up for.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Doing as _, Result};
use crate::sys;

/// The version from which on files are confined.
const FILES_SINCE: i64 = 2;
/// The version from which on signals and abstract sockets are.
const SCOPES_SINCE: i64 = 6;

const ABSTRACT_SOCKETS: u64 = 1;
const SIGNALS: u64 = 2;
/// To rename or link from one directory to another.
const REFER: u64 = 1 << 13;

/// What Landlock can do here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Landlock {
    /// Nothing.
    Missing,
    /// Files, and tracing.
    Files(i64),
    /// Signals and abstract sockets as well.
    Scopes(i64),
}

impl Landlock {
    /// Asks the kernel.
    pub(crate) fn here() -> Self {
        match sys::landlock_version() {
            Ok(version) if version >= SCOPES_SINCE => Self::Scopes(version),
            Ok(version) if version >= FILES_SINCE => Self::Files(version),
            Ok(_) | Err(_) => Self::Missing,
        }
    }

    /// All rights on files that a version knows.
    fn file_rights(version: i64) -> u64 {
        // In the order of `linux/landlock.h`: execute, write, read, list, remove (2), make (7); then refer, truncate, ioctl.
        let bits = match version {
            i64::MIN..=1 => 13,
            2 => 14,
            3 | 4 => 15,
            5.. => 16,
        };
        (1 << bits) - 1
    }

    /// From now on this process and what it starts reach no file but those at and below `root`, trace nobody outside and, where that
    /// is known here, send nobody outside a signal nor connect to an abstract socket of theirs. Needs `no_new_privs`.
    pub(crate) fn confine(self, root: impl AsFd) -> Result<()> {
        let (version, scopes) = match self {
            Self::Missing => return Ok(()),
            Self::Files(version) => (version, 0),
            Self::Scopes(version) => (version, ABSTRACT_SOCKETS | SIGNALS),
        };
        let files = Self::file_rights(version);
        lay(root, files, scopes).doing(|| "lay Landlock's rules over the process".into())
    }
}

impl Landlock {
    /// From now on this process and what it starts send nobody else a signal, where that is known here.
    pub(crate) fn keep_signals_inside(self) -> Result<()> {
        let Self::Scopes(_) = self else { return Ok(()) };
        // Rules about nothing but signals would forbid renames from one directory to another: the one right that every set of
        // rules denies unless it grants it.
        rustix::fs::open(
            "/",
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .and_then(|all| lay(all, REFER, SIGNALS))
        .doing(|| "keep signals inside of a container".into())
    }
}

fn lay(root: impl AsFd, files: u64, scopes: u64) -> std::result::Result<(), Errno> {
    let ruleset = sys::landlock_ruleset([files, 0, scopes])?;
    sys::landlock_allow(&ruleset, root, files)?;
    sys::landlock_restrict(&ruleset)
}

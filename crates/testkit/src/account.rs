//! Who runs a program in a test: the caller, or an ordinary user with a range of subordinate ids.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The user that scripts/install-peers makes for the tests.
const ORDINARY_USER: &str = "shipway-test";

/// The account of a test's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// Whoever runs the tests.
    Caller,
    /// An ordinary user; only root can become one.
    Ordinary {
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
}

impl Account {
    /// Every account that this run of the tests can take: the caller, and for root also the ordinary user.
    ///
    /// # Panics
    /// Under CI when root finds no such user: there a skip is a failure.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut accounts = vec![Self::Caller];
        if rustix::process::geteuid().is_root() {
            match ordinary_user() {
                Some(account) => accounts.push(account),
                None => assert!(
                    std::env::var_os("CI").is_none(),
                    "no user `{ORDINARY_USER}`; scripts/install-peers makes it"
                ),
            }
        }
        accounts
    }

    /// A word for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Caller if rustix::process::geteuid().is_root() => "root",
            Self::Caller => "caller",
            Self::Ordinary { .. } => "user",
        }
    }

    /// Makes a command run under this account, with none of root's groups or capabilities.
    pub fn apply(self, command: &mut Command) {
        if let Self::Ordinary { uid, gid } = self {
            // The standard library drops supplementary groups itself when root sets a user id.
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a directory to this account.
    ///
    /// # Errors
    /// When the owner cannot be changed.
    pub fn own(self, path: &Path) -> anyhow::Result<()> {
        if let Self::Ordinary { uid, gid } = self {
            chown(path, Some(uid), Some(gid))?;
        }
        Ok(())
    }
}

fn ordinary_user() -> Option<Account> {
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts
        .lines()
        .find(|line| line.split(':').next() == Some(ORDINARY_USER))?;
    let mut fields = line.split(':').skip(2);
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account::Ordinary { uid, gid })
}

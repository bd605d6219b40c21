//! A hermetic home: programs of a test see its directories and nothing of the machine's user.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::Account;

/// A fresh home directory with its own data, configuration and docker credentials, for one account.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    account: Account,
}

impl Home {
    /// An empty home that belongs to the account.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(account: Account) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("shipway-home-")
            .tempdir()
            .context("a home for a test")?;
        for name in ["", "data", "run", "work"] {
            let path = directory.path().join(name);
            std::fs::create_dir_all(&path)?;
            account.own(&path)?;
        }
        Ok(Self { directory, account })
    }

    /// Whose home this is.
    #[must_use]
    pub fn account(&self) -> Account {
        self.account
    }

    /// The home directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Shipway's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// A place for repositories and contexts.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// A command of this home's user, with an environment of its own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env("SHIPWAY_DATA", self.data())
            .env("LC_ALL", "C.UTF-8")
            .current_dir(self.path());
        self.account.apply(&mut command);
        command
    }
}

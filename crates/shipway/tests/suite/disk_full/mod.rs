//! A full disk: whoever meets it says so, nothing stays half done, the store holds every image that was acknowledged, and work goes
//! on once there is room.
//!
//! [`ladder`] says how every phase of a command meets it.

mod clients;
mod commands;
mod disk;
mod ladder;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use shipway_testkit::Account;

use crate::harness::{Ledger, User, succeed};
use disk::SmallDisk;
use ladder::Ladder;

/// Runs a test on a small disk as every account; each meets other pages of four.
fn everywhere(test: impl Fn(&Ladder<'_>, &mut Ledger) -> Result<()>) -> Result<()> {
    // Mounting needs root outside of any namespace.
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    for (first, account) in (0..).step_by(2).zip(Account::all()) {
        let (user, disk) = SmallDisk::user(account)?;
        let ladder = Ladder {
            disk: &disk,
            user: &user,
            first,
            step: 4,
        };
        let mut ledger = Ledger::default();
        test(&ladder, &mut ledger)
            .and_then(|()| ledger.compare(&user))
            .with_context(|| format!("as {}", account.name()))?;
    }
    Ok(())
}

/// The lines of a Dockerfile that has a base with a shell.
fn with_base(user: &User, lines: &str) -> Result<String> {
    let tar = user.home.work().join("base.tar");
    std::fs::write(&tar, shipway_testkit::busybox_root().bytes())?;
    succeed(user.shipway(&["image", "import", "--quiet", "base:1"]).arg(&tar))?;
    Ok(format!("FROM base:1\n{lines}"))
}

/// A context whose steps change with its file `name`, and whose base is unpacked.
fn context_that_was_built(user: &User) -> Result<PathBuf> {
    let context = user.home.work().join("context");
    std::fs::create_dir(&context)?;
    let lines = "COPY name /\nRUN cat /name > /made && mkdir /more && cp /made /more\n";
    std::fs::write(context.join("Dockerfile"), with_base(user, lines)?)?;
    std::fs::write(context.join("name"), "with room")?;
    succeed(user.shipway(&["build", "--quiet"]).arg(&context))?;
    Ok(context)
}

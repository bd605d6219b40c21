//! The same thing is tried with a little more room each time, until there is enough: the disk fills up in each of its phases.
//!
//! Each attempt makes something new, so that none begins where the one before it ended. On a tmpfs room is counted in pages:
//! with steps of one page nothing that is written, whatever its size, is passed over.

use std::process::Output;

use anyhow::{Context as _, Result, ensure};

use super::disk::SmallDisk;
use crate::harness::{Ledger, User, succeed, text};

/// More than anything here needs.
const MOST_RUNGS: u64 = 80;

/// Where somebody climbs.
pub(super) struct Ladder<'a> {
    pub(super) disk: &'a SmallDisk,
    pub(super) user: &'a User,
    /// How many pages there are at first, and how many more each time.
    pub(super) first: u64,
    pub(super) step: u64,
}

/// What comes before an attempt of that name, while there is room.
pub(super) type Prepare<'a> = &'a dyn Fn(&str) -> Result<()>;
/// What somebody does under that name, and how it ended.
pub(super) type Attempt<'a> = &'a mut dyn FnMut(&str) -> Result<Output>;

impl Ladder<'_> {
    /// Tries until it succeeds. Every failure says what is the matter and what to do, leaves nothing half done, and a store that is
    /// whole; the last one that failed succeeds once there is room. Gives the names of what was done.
    pub(super) fn climb(
        &self,
        what: &str,
        prepare: Prepare<'_>,
        attempt: Attempt<'_>,
    ) -> Result<Vec<String>> {
        self.climb_beside(what, prepare, attempt, &|| self.disk.is_tidy(self.user))
    }

    /// As [`Self::climb`], with another look at what is left: somebody lives who has something.
    pub(super) fn climb_beside(
        &self,
        what: &str,
        prepare: Prepare<'_>,
        attempt: Attempt<'_>,
        is_tidy: &dyn Fn() -> Result<()>,
    ) -> Result<Vec<String>> {
        let mut failed = Vec::new();
        let done = loop {
            let rung = failed.len() as u64;
            ensure!(rung < MOST_RUNGS, "{what} never had room enough");
            let pages = self.first + rung * self.step;
            let name = format!("{what}-{pages}-pages");
            let place = || format!("{name} as {}", self.user.home.account().name());
            prepare(&name).with_context(place)?;
            self.disk.leave(pages).with_context(place)?;
            let output = attempt(&name).with_context(place)?;
            self.disk.make_room()?;
            if output.status.success() {
                break name;
            }
            is_told(&output).with_context(place)?;
            is_tidy().with_context(place)?;
            succeed(&mut self.user.shipway(&["fsck"])).with_context(place)?;
            failed.push(name);
        };
        let again = failed.pop().with_context(|| format!("{what} needs no room"))?;
        prepare(&again)?;
        let output = attempt(&again)?;
        ensure!(output.status.success(), "{again} with room: {}", text(&output));
        Ok(vec![done, again])
    }
}

/// Whether a command that failed for want of room says so, and what to do; of what a container itself wrote nobody else can say
/// more than that.
fn is_told(output: &Output) -> Result<()> {
    let said = text(output);
    ensure!(
        output.status.code() == Some(1),
        "it ended with {}: {said}",
        output.status
    );
    let advises = said.contains("shipway prune");
    let is_of_a_container = said.contains("exit code") || said.contains("non-zero code");
    // Of an answer that no client expects skopeo shows the status alone.
    let is_of_a_registry = said.contains("507 Insufficient Storage");
    ensure!(
        is_of_a_registry
            || said.contains("No space left on device") && (advises || is_of_a_container)
            || said.contains("the file of a variable: is there space left?"),
        "{said}"
    );
    Ok(())
}

/// Insists that each of the registry's names is there.
pub(super) fn pushed(ledger: &mut Ledger, repository: &str, tags: Vec<String>) {
    for tag in tags {
        ledger.holds(&format!("{repository}:{tag}"), "sha256:");
    }
}

//! The rounds of one role at one point: something is done, the process ends in it, and everything is looked at.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use shipway_testkit::Account;

use super::killer::{Calls, Moment, Moments, Strace};
use super::{accounts, kills};
use crate::harness::{Ledger, User, after_collection};

/// What a round works with.
pub(super) struct Stage<'a> {
    pub(super) user: &'a User,
    pub(super) ledger: &'a mut Ledger,
    /// When the process shall end.
    pub(super) moment: Moment,
    /// A word that no other round has.
    pub(super) name: String,
    pub(super) strace: &'a Strace,
}

/// How a round went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The process ended at its moment.
    Killed,
    /// All was done before the moment came.
    Passed,
}

/// Kills as often as it should be at moments of `calls`; each round says what is done and whom it met.
///
/// Of the accounts one takes turns with the other, each with a home that lives through all its rounds: what a crash left is in the
/// way of the next one, if it is in anybody's way.
pub(super) fn play(
    point: &str,
    calls: &[Calls],
    new_user: impl Fn(Account) -> Result<User>,
    mut round: impl FnMut(&mut Stage<'_>) -> Result<Outcome>,
) -> Result<()> {
    let Some((accounts, strace)) = accounts() else {
        return Ok(());
    };
    let mut homes = Vec::new();
    for account in accounts {
        homes.push((new_user(account)?, Ledger::default()));
    }
    let mut moments = Moments::of(point, calls);
    let mut killed = 0;
    let mut tally = BTreeMap::<(&str, &str), usize>::new();
    let mut played = 0;
    // However few kinds of calls are made, each account is met.
    while let Some(moment) = moments.next(if killed < homes.len() { usize::MAX } else { kills() }) {
        // Each account is met at each call as often as the other, and is in the way of what its own crashes left.
        let turn = (0..homes.len())
            .min_by_key(|&turn| {
                let name = homes[turn].0.home.account().name();
                let all: usize = tally
                    .range((name, "")..)
                    .take_while(|((of, _), _)| *of == name)
                    .map(|(_, kills)| kills)
                    .sum();
                (tally.get(&(name, moment.call)).copied(), all)
            })
            .unwrap_or_default();
        let (user, ledger) = &mut homes[turn];
        let place = format!("{point} at {moment:?} as {}", user.home.account().name());
        let mut stage = Stage {
            user,
            ledger,
            moment,
            // No name is the beginning of another one.
            name: format!("{point}-{played}-round"),
            strace: &strace,
        };
        match round(&mut stage).with_context(|| place.clone())? {
            Outcome::Killed => {
                killed += 1;
                *tally
                    .entry((user.home.account().name(), moment.call))
                    .or_default() += 1;
                moments.killed();
                ledger.inspect(user).with_context(|| place.clone())?;
            }
            Outcome::Passed => moments.passed(),
        }
        played += 1;
    }
    ensure!(
        killed >= homes.len(),
        "{point}: of these calls {killed} were made"
    );
    report(&format!("{point}: {killed} kills in {played} rounds: {tally:?}"));
    for (user, ledger) in &homes {
        after_collection(user).with_context(|| point.to_owned())?;
        ledger.compare(user).with_context(|| point.to_owned())?;
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "how often each role was ended is for whoever runs the tests"
)]
fn report(line: &str) {
    eprintln!("{line}");
}

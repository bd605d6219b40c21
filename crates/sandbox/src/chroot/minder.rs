//! The process that stands over a container: puts the tree in order, starts the program, ends what it leaves behind, and reads off
//! what it changed.
//!
//! It adopts every orphan below it, so that whatever a program starts, daemons too, is found when the program has ended. It is the
//! process that the keeper knows: it ends when all that is done, and the keeper is told beforehand how the program ended and what became
//! of the tree. Told to end early, by [`END`], it ends the program and puts the tree in order, but reads nothing off.
//!
//! Failure: the reason is left beside the upper directory, for who asks for the changes.

use std::collections::HashSet;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};

use super::changes;
use super::confine::{Network, confine};
use super::fittings::{Fittings, Restored};
use super::outcome::Outcome;
use super::tree::Tree;
use crate::beneath;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::{Workplace, exit_status};
use crate::landlock::Landlock;
use crate::overlay;
use crate::owners::Owners;
use crate::spec::{ContainerSpec, ExitStatus};
use crate::stack::Stack;
use crate::start::{StreamFds, Word, hear, run_program, say};
use crate::strays;
use crate::supervisor::{self, Opens};
use crate::sys::{self, Fork};
use crate::tree::remove;
use crate::wire;

/// The signal that tells a minder to end early.
pub(crate) const END: i32 = libc::SIGTERM;

/// What an upper directory becomes while it is written.
const UNFINISHED: &str = "fs.unfinished";

/// What a minder works with.
pub(super) struct Minder<'m> {
    pub(super) spec: &'m ContainerSpec,
    pub(super) tree: &'m Tree,
    pub(super) below: &'m Stack,
    pub(super) upper: &'m Path,
    pub(super) network: Network,
    /// Of who answers the container's system calls, if somebody does.
    pub(super) supervisor: Option<supervisor::End>,
}

/// How the program's part ended.
enum Ended {
    /// By itself.
    Program(ExitStatus),
    /// Because the minder was told to.
    Told,
}

/// Becomes the minder of a container.
pub(super) fn mind(place: &Workplace<'_>, minder: Minder<'_>, streams: StreamFds, worker: OwnedFd) -> ! {
    let own = rustix::process::getpid();
    let (status, outcome) = match minder.run(place, streams, worker) {
        Ok((status, outcome)) => (status, outcome),
        Err(error) => {
            minder.leave_word(place.directory, &error);
            (ExitStatus::Signal(libc::SIGKILL), Outcome::Broken)
        }
    };
    // A keeper that no longer listens needs to know nothing.
    let _ = place.settled(own, outcome, Some(status));
    sys::exit(0)
}

impl Minder<'_> {
    fn run(
        &self,
        place: &Workplace<'_>,
        streams: StreamFds,
        worker: OwnedFd,
    ) -> Result<(ExitStatus, Outcome)> {
        rustix::process::setsid().doing(|| "begin a session".into())?;
        place.let_go_of_the_socket()?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .doing(|| "adopt orphans".into())?;
        Landlock::here().keep_signals_inside()?;
        let signals = sys::caught(&[libc::SIGCHLD, END]).doing(|| "watch children".into())?;
        hear(&worker)?;
        let mut fittings = Fittings::new(place, self.tree)?;
        let placed = fittings.place_all(self.spec);
        let started = placed.and_then(|()| {
            let made = Vec::new();
            wire::send(&worker, &Word::Built { made }, &[])?;
            hear(&worker)?;
            self.start(streams, &worker)
        });
        let program = match started {
            Ok(program) => program,
            Err(error) => {
                let undone = fittings.take_out();
                // The worker tells it to who asked; the tree is given up either way.
                let _ = wire::send(&worker, &Word::Failed(error), &[]);
                return undone.map(|_| (ExitStatus::Code(126), Outcome::Broken));
            }
        };
        // Its end without a word is the worker's sign that the program runs.
        drop(worker);
        let ended = wait(&signals, program)?;
        let left = strays::end_all(&HashSet::new(), |_| {}).and_then(|()| match &self.supervisor {
            // It makes files too, the last of them maybe for somebody who has just ended.
            Some(supervisor) => supervisor.wait(),
            None => Ok(()),
        });
        // Also where somebody is left: the tree is given up then, and what belongs to the pod must not go with it.
        let restored = fittings.take_out();
        left?;
        let restored = restored?;
        match ended {
            Ended::Program(status) => Ok((status, self.read_off(place, &restored)?)),
            Ended::Told => Ok((ExitStatus::Signal(libc::SIGKILL), Outcome::Broken)),
        }
    }

    fn start(&self, mut streams: StreamFds, worker: &OwnedFd) -> Result<Pid> {
        let opens = self.supervisor.is_some().then_some(Opens::All);
        if opens.is_some() {
            // What stands for it in the tree is nothing until somebody answers for it.
            streams.fill().doing(|| "open /dev/null".into())?;
        }
        match sys::fork().doing(|| "fork the container's first process".into())? {
            Fork::Parent(pid) => Ok(pid),
            Fork::Child => {
                let error = match self.enter() {
                    Ok(()) => run_program(&self.spec.process, streams, worker, opens),
                    Err(error) => error,
                };
                say(worker, error)
            }
        }
    }

    fn enter(&self) -> Result<()> {
        overlay::enter_directory(&self.tree.root)?;
        let root = beneath::own_root().doing(|| "open the container's root".into())?;
        confine(root, self.network)
    }

    /// Writes the changes into the upper directory, which is there when all of them are.
    fn read_off(&self, place: &Workplace<'_>, restored: &Restored) -> Result<Outcome> {
        let tree = self.tree.read_again(place.ownership)?;
        collect(place, self.upper, &tree, self.below, restored)
    }

    /// Leaves the reason why there are no changes where they would have been.
    fn leave_word(&self, directory: &OwnedFd, error: &KeeperError) {
        let text = serde_json::to_vec(error).unwrap_or_default();
        let written = beneath::open_with(directory, self.upper, OFlags::RDONLY | OFlags::DIRECTORY)
            .ok()
            .and_then(|upper| {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(upper, REASON, flags, Mode::from_raw_mode(0o600)).ok()
            });
        if let Some(file) = written {
            // Without the reason the changes are missing all the same.
            let _ = std::io::Write::write_all(&mut std::fs::File::from(file), &text);
        }
    }
}

/// Beside an upper directory: why it is missing.
const REASON: &str = "reason";

/// Why an upper directory is missing, if somebody left word of it.
pub(crate) fn reason(directory: &OwnedFd, upper: &Path) -> Option<KeeperError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
    let file = beneath::open_with(directory, &upper.join(REASON), flags).ok()?;
    serde_json::from_reader(std::fs::File::from(file)).ok()
}

/// The changes of a tree as an upper directory, which is there when all of them are in it.
pub(super) fn collect(
    place: &Workplace<'_>,
    upper: &Path,
    tree: &Tree,
    below: &Stack,
    restored: &Restored,
) -> Result<Outcome> {
    let action = || format!("make {}/fs", upper.display());
    let home = beneath::open_with(place.directory, upper, OFlags::RDONLY | OFlags::DIRECTORY)?;
    remove(&home, Path::new(UNFINISHED))?;
    rustix::fs::mkdirat(&home, UNFINISHED, Mode::from_raw_mode(0o755)).doing(action)?;
    let into = beneath::open_with(&home, Path::new(UNFINISHED), OFlags::RDONLY | OFlags::DIRECTORY)?;
    let owners = Owners::writing(place.ownership, place.directory, &[], &into)?;
    let outcome = changes::collect(tree, below, restored, (&into, &owners))?;
    // What an earlier part of the step has changed is in the new one as well.
    remove(&home, Path::new("fs"))?;
    rustix::fs::renameat(&home, UNFINISHED, &home, "fs").doing(action)?;
    Ok(outcome)
}

/// Waits for the end of the program, or for the word to end.
fn wait(signals: &OwnedFd, program: Pid) -> Result<Ended> {
    loop {
        let mut received = [0; size_of::<libc::signalfd_siginfo>()];
        let mut ready = [rustix::event::PollFd::new(signals, rustix::event::PollFlags::IN)];
        match rustix::event::poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).doing(|| "wait for a container".into()),
        }
        while rustix::io::read(signals.as_fd(), &mut received).is_ok_and(|length| length == received.len()) {
            // The number comes first.
            let [one, two, three, four, ..] = received;
            if u32::from_ne_bytes([one, two, three, four]) == END.unsigned_abs() {
                return Ok(Ended::Told);
            }
        }
        let mut ended = None;
        while let Some((pid, status)) = next_ended()? {
            if pid == program {
                ended = Some(exit_status(status));
            }
        }
        if let Some(status) = ended {
            return Ok(Ended::Program(status));
        }
    }
}

fn next_ended() -> Result<Option<(Pid, WaitStatus)>> {
    match rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)) {
        Ok(ended) => Ok(ended),
        Err(Errno::CHILD) => Ok(None),
        Err(errno) => Err(errno).doing(|| "reap a child".into()),
    }
}

//! The connection to a keeper: requests go out, answers are handed to who waits for them, and the launcher is reaped.
//!
//! ## Serving => Ending when the socket ends, on whichever side
//! ## Ending => Ended when the launcher is reaped, killed first if it does not end in time

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{KeeperError, Result};
use crate::ids::ProcessId;
use crate::protocol::{Answer, Envelope, Reply, Request};
use crate::wire;

/// How long a keeper that was told to end may take before its launcher is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a launcher may take after its keeper, which it only has to reap, before it is killed.
const LAUNCHER_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    /// The launcher's process id.
    pub(super) launcher: u32,
    next: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug)]
pub(super) enum State {
    /// Requests go out, answers come back.
    Serving {
        waiting: HashMap<u64, SyncSender<Delivery>>,
        terminals: HashMap<ProcessId, OwnedFd>,
    },
    /// The connection is over, the launcher not yet reaped.
    Ending,
    /// Nothing is left.
    Ended,
}

type Delivery = (Result<Answer>, Vec<OwnedFd>);

impl Connection {
    pub(super) fn new(socket: OwnedFd, launcher: u32) -> Self {
        Self {
            socket,
            launcher,
            next: AtomicU64::new(1),
            state: Mutex::new(State::Serving {
                waiting: HashMap::new(),
                terminals: HashMap::new(),
            }),
            ended: Condvar::new(),
        }
    }

    /// Sends a request with its descriptors and waits for the answer with those that it brings.
    pub(super) fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(Answer, Vec<OwnedFd>)> {
        let receiver = self.send(request, fds)?;
        let (body, fds) = receiver.recv().map_err(|_| KeeperError::Gone)?;
        Ok((body?, fds))
    }

    /// Sends a request; its answer, or nothing if the connection ends first, comes out of what is returned.
    fn send(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Receiver<Delivery>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        match &mut *self.lock() {
            State::Serving { waiting, .. } => waiting.insert(id, sender),
            State::Ending | State::Ended => return Err(KeeperError::Gone),
        };
        if let Err(error) = wire::send(&self.socket, &Envelope { id, body: request }, fds) {
            if let State::Serving { waiting, .. } = &mut *self.lock() {
                waiting.remove(&id);
            }
            return Err(error);
        }
        Ok(receiver)
    }

    /// Asks again and again whether the keeper is there, until the connection ends; ends it, and with it the keeper, when it does
    /// not answer within `patience`.
    pub(super) fn insist(&self, patience: Duration) {
        while self.answers(patience) {
            let state = self.lock();
            let goes_on = |state: &mut State| !matches!(state, State::Ended);
            let waited = self.ended.wait_timeout_while(state, patience, goes_on);
            if matches!(*waited.unwrap_or_else(PoisonError::into_inner).0, State::Ended) {
                return;
            }
        }
        self.shut();
    }

    fn answers(&self, patience: Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, poll};
        // Whoever does not read either has its requests pile up until nothing more can be sent.
        let mut ready = [PollFd::new(&self.socket, PollFlags::OUT)];
        let writable = rustix::io::retry_on_intr(|| poll(&mut ready, Some(&timespec(patience))));
        if !writable.is_ok_and(|count| count > 0) {
            return false;
        }
        self.send(Request::Ping, &[])
            .is_ok_and(|answer| answer.recv_timeout(patience).is_ok())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn shut(&self) {
        // Fails only if the other side is already gone.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    /// Waits until the connection has ended and the launcher is reaped.
    pub(super) fn wait_for_end(&self) {
        let mut state = self.lock();
        while !matches!(*state, State::Ended) {
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands out answers until the connection ends, then reaps the launcher.
    pub(super) fn read(&self, mut launcher: Child, keeper: &OwnedFd) {
        while let Ok(Some((reply, fds))) = wire::receive::<Reply>(&self.socket) {
            let waiting = match &mut *self.lock() {
                State::Serving { waiting, .. } => waiting.remove(&reply.id),
                State::Ending | State::Ended => None,
            };
            if let Some(waiting) = waiting {
                // Who asked always waits, but a thread may have been torn down.
                let _ = waiting.send((reply.body, fds));
            }
        }
        self.shut();
        // Dropping the senders wakes everybody who waits.
        *self.lock() = State::Ending;
        reap(&mut launcher, keeper);
        *self.lock() = State::Ended;
        self.ended.notify_all();
    }
}

/// Waits for the keeper, then for its launcher. If the one or the other takes too long, the launcher is killed, which works on one
/// that was stopped as well, and the kernel kills its keeper with it.
fn reap(launcher: &mut Child, keeper: &OwnedFd) {
    // Not reaped yet, so the id is still its own. Without a descriptor (none is left) it is not waited for, but killed.
    let pidfd = pidfd_open(Pid::from_child(launcher), PidfdFlags::empty());
    let all_ended =
        ends_within(PATIENCE, keeper) && pidfd.is_ok_and(|pidfd| ends_within(LAUNCHER_PATIENCE, &pidfd));
    if !all_ended {
        // Fails only if it ended in the meantime.
        let _ = launcher.kill();
        ends_within(PATIENCE, keeper);
    }
    // Fails only if somebody else reaped it, which is as good.
    let _ = launcher.wait();
}

/// Whether a process has ended when `time` is over.
fn ends_within(time: Duration, pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut ready = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ready, Some(&timespec(time)))).is_ok_and(|count| count > 0)
}

fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    }
}

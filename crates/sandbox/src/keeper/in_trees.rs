//! The keeper's part where roots are trees: who gets which, and what becomes of those given back.
//!
//! Here is also what a pid namespace does elsewhere: the processes of all containers are counted, and ended with the keeper.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::Pid;

use super::Server;
use super::processes::Waiter;
use super::worker::Rooms;
use crate::chroot::{self, Lease, Outcome, Trees};
use crate::error::{KeeperError, Result};
use crate::ids::ProcessId;
use crate::isolation::Isolation;
use crate::limits::ProcessLimit;
use crate::owners::Ownership;
use crate::place;
use crate::protocol::{LaunchPlan, Request};
use crate::requests::{ApplyPlan, ArchiveRoot};
use crate::spec::{ExitStatus, RootSpec};
use crate::strays;
use crate::sys;

/// Between two counts of processes, while there are containers.
const BETWEEN_COUNTS: Duration = Duration::from_millis(100);
/// How long minders may take to put their trees in order when the keeper ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a keeper without namespaces keeps in mind.
pub(super) struct Grove {
    trees: Trees,
    isolation: Isolation,
    limit: ProcessLimit,
    /// Trees in which a program runs.
    planted: HashMap<ProcessId, Lease>,
    /// What was said of trees whose users have not ended yet.
    settled: HashMap<Pid, (Outcome, Option<ExitStatus>)>,
}

impl Grove {
    pub(super) fn new(trees: Trees, plan: &LaunchPlan) -> Self {
        Self {
            trees,
            isolation: plan.isolation,
            limit: plan.processes,
            planted: HashMap::new(),
            settled: HashMap::new(),
        }
    }

    /// How long the keeper may wait for something to happen.
    pub(super) fn pause(&self) -> Option<Timespec> {
        (!self.planted.is_empty()).then_some(Timespec {
            tv_sec: 0,
            tv_nsec: BETWEEN_COUNTS.subsec_nanos().into(),
        })
    }
}

/// What a request needs a tree for.
pub(super) enum Wanted {
    Look(Vec<PathBuf>),
    Change(Vec<PathBuf>, PathBuf),
}

impl Wanted {
    /// The tree that a request needs, if it means one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let looked_at = |root: &RootSpec| {
            let mut layers = root.layers.clone();
            layers.extend(root.upper.as_ref().map(|upper| upper.join("fs")));
            Self::Look(layers)
        };
        match request {
            Request::Start { spec, .. } => {
                let upper = spec.root.upper.clone()?;
                Some(Self::Change(spec.root.layers.clone(), upper))
            }
            // With nothing below, what is extracted is the upper directory.
            Request::Apply(ApplyPlan {
                root: ArchiveRoot::Root(root),
                ..
            }) => {
                let upper = root.upper.clone()?;
                (!root.layers.is_empty()).then(|| Self::Change(root.layers.clone(), upper))
            }
            Request::Archive(plan) => match &plan.root {
                ArchiveRoot::Root(root) => Some(looked_at(root)),
                ArchiveRoot::Directory(_) | ArchiveRoot::Container(_) => None,
            },
            Request::Stat {
                root: ArchiveRoot::Root(root),
                ..
            }
            | Request::Glob { root, .. }
            | Request::ResolveUser { root, .. } => Some(looked_at(root)),
            _ => None,
        }
    }
}

impl Server<'_> {
    /// What only namespaces give is refused by name.
    pub(super) fn refuse_what_needs_namespaces(&self, request: &Request) -> Result<()> {
        if self.workshop.ownership() == Ownership::Recorded && matches!(request, Request::Exec { .. }) {
            return Err(KeeperError::Message {
                reason:
                    "another process in a running container is not to be had with one id (tiers B and B')"
                        .into(),
            });
        }
        let Some(grove) = &self.grove else { return Ok(()) };
        let what = match request {
            Request::Start { .. } if grove.isolation == Isolation::Bare => {
                return Err(KeeperError::NoPrograms {
                    remedy: place::what_lets_programs_run(),
                });
            }
            Request::ConfigureNetwork(_)
            | Request::AddAddress(_)
            | Request::ListenTcp(_)
            | Request::BindUdp(_)
            | Request::ConnectTcp(_) => "a network of a pod",
            Request::RegisterInterpreter(_) => "an interpreter for programs of another processor",
            Request::Exec { .. } => "another process in a running container",
            Request::Apply(ApplyPlan {
                root: ArchiveRoot::Container(_),
                ..
            })
            | Request::Stat {
                root: ArchiveRoot::Container(_),
                ..
            } => "a look into a running container",
            _ => return Ok(()),
        };
        Err(match grove.isolation {
            Isolation::Bare => KeeperError::Message {
                reason: format!("{what} is not to be had where nothing is allowed (tier D)"),
            },
            _ => chroot::missing(what),
        })
    }

    /// The tree for a request's worker, and the claim on it.
    pub(super) fn room_for(&mut self, wanted: Option<Wanted>) -> (Rooms, Option<Lease>) {
        let Some(grove) = &mut self.grove else {
            return (Rooms::Mounts, None);
        };
        let (tree, lease) = match wanted {
            None => return (Rooms::Trees(None), None),
            Some(Wanted::Look(layers)) => grove.trees.lend_to_look(layers),
            Some(Wanted::Change(layers, upper)) => grove.trees.lend_to_change(layers, upper),
        };
        (Rooms::Trees(Some(tree)), Some(lease))
    }

    /// Somebody says what became of a tree. A worker is done with it then, although it is still to end.
    pub(super) fn settled(&mut self, pid: Pid, outcome: Outcome, status: Option<ExitStatus>) {
        let workers = self.workers.get_mut(&pid);
        if let Some(lease) = workers.and_then(|worker| worker.lease.take()) {
            self.take_back(lease, outcome);
        } else if let Some(grove) = &mut self.grove {
            grove.settled.insert(pid, (outcome, status));
        }
    }

    /// A worker has ended that said nothing of its tree. One that has started a program leaves it to the program.
    pub(super) fn worker_left_tree(&mut self, lease: Lease, process: Option<ProcessId>, code: Option<i32>) {
        let Some(grove) = &mut self.grove else { return };
        if let (Some(process), Some(0)) = (process, code) {
            grove.planted.insert(process, lease);
            return;
        }
        // Its minder has ended and was reaped by the worker: what it said is nobody's, and its number may be another's next.
        if let Some(Ok(Some(minder))) = process.map(|process| self.processes.pid(process)) {
            grove.settled.remove(&minder);
        }
        self.take_back(lease, Outcome::Broken);
    }

    /// How a process of a container ended, that is how what it stood over did, by what it said before.
    pub(super) fn true_end(
        &mut self,
        pid: Pid,
        process: Option<ProcessId>,
        status: ExitStatus,
    ) -> ExitStatus {
        let Some(grove) = &mut self.grove else {
            return status;
        };
        let said = grove.settled.remove(&pid);
        let Some(lease) = process.and_then(|process| grove.planted.remove(&process)) else {
            return status;
        };
        let (outcome, told) = said.unwrap_or((Outcome::Broken, None));
        self.take_back(lease, outcome);
        if said.is_none() {
            self.end_strays();
        }
        told.unwrap_or(ExitStatus::Signal(libc::SIGKILL))
    }

    fn take_back(&mut self, lease: Lease, outcome: Outcome) {
        let Some(grove) = &mut self.grove else { return };
        let unneeded = grove.trees.give_back(lease, outcome);
        self.remove_trees(&unneeded);
    }

    fn remove_trees(&self, paths: &[PathBuf]) {
        if !paths.is_empty() {
            // What cannot be removed now goes with the keeper.
            let _ = self.workshop.remove(&self.directory, paths);
        }
    }

    /// Directories that trees are made of have changed their names or are gone.
    pub(super) fn follow_directories(&mut self, request: &Directories) {
        let Some(grove) = &mut self.grove else { return };
        match request {
            Directories::Renamed { from, to } => grove.trees.renamed(from, to),
            Directories::Removed(path) => {
                let unneeded = grove.trees.removed(path);
                self.remove_trees(&unneeded);
            }
        }
    }

    /// Ends all containers when they have too many processes.
    pub(super) fn count_processes(&self) {
        let Some(grove) = &self.grove else { return };
        if grove.planted.is_empty()
            || strays::count() <= usize::try_from(grove.limit.get()).unwrap_or(usize::MAX)
        {
            return;
        }
        self.end_containers();
    }

    fn end_containers(&self) {
        let Some(grove) = &self.grove else { return };
        for process in grove.planted.keys() {
            if let Ok(Some(pid)) = self.processes.pid(*process) {
                // It may have ended by itself.
                let _ = sys::kill(pid, chroot::END);
            }
        }
    }

    /// Ends what a minder that was killed has left to this process.
    fn end_strays(&self) {
        let Some(grove) = &self.grove else { return };
        let minders = grove
            .planted
            .keys()
            .filter_map(|process| self.processes.pid(*process).ok().flatten());
        let others = self.workers.keys().chain(self.supervisors.keys());
        let apart: HashSet<Pid> = minders.chain(others.copied()).collect();
        // What is left is ended with the keeper.
        let _ = strays::end_all(&apart, |_| {});
    }

    /// Ends everything that the keeper has started, and removes its trees.
    pub(super) fn end(mut self) -> Result<()> {
        if self.grove.is_none() {
            return Ok(());
        }
        self.end_containers();
        let deadline = Instant::now() + PATIENCE;
        while self.grove.as_ref().is_some_and(|grove| !grove.planted.is_empty()) && Instant::now() < deadline
        {
            // Nobody is there to be told.
            self.reap_quietly()?;
            std::thread::park_timeout(Duration::from_millis(2));
        }
        strays::end_all(&HashSet::new(), |_| {})?;
        let grove = self.grove.take();
        grove.map_or(Ok(()), |grove| grove.trees.remove(&self.directory))
    }

    fn reap_quietly(&mut self) -> Result<()> {
        self.hear_notes()?;
        while let Ok(Some((pid, status))) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            self.hear_notes()?;
            let process = self.processes.process_of(pid);
            let status = self.true_end(pid, process, super::exit_status(status));
            let _: Vec<Waiter> = self.processes.ended(pid, status);
        }
        Ok(())
    }
}

/// What happens to directories of the keepers' directory.
pub(super) enum Directories {
    Renamed { from: PathBuf, to: PathBuf },
    Removed(PathBuf),
}

impl Directories {
    /// Of a request that means one.
    pub(super) fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Rename { from, to } => Some(Self::Renamed {
                from: from.clone(),
                to: to.clone(),
            }),
            Request::RemoveTree { path } => Some(Self::Removed(path.clone())),
            _ => None,
        }
    }
}

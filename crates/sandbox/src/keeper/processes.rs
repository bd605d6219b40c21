//! Which processes of containers there are, and who waits for them.

use std::collections::{BTreeMap, HashMap};

use rustix::process::Pid;

use crate::error::{KeeperError, Result};
use crate::ids::{ContainerId, ProcessId};
use crate::spec::ExitStatus;

/// As many ended processes are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 65_536;

/// Who is to be told, and what.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waiter {
    Exit {
        request: u64,
        process: ProcessId,
        status: ExitStatus,
    },
    Stop {
        request: u64,
    },
}

#[derive(Debug, Default)]
struct Waiting {
    exit: Vec<u64>,
    stop: Vec<u64>,
}

impl Waiting {
    fn told(self, process: ProcessId, status: ExitStatus) -> Vec<Waiter> {
        let exits = self.exit.into_iter().map(|request| Waiter::Exit {
            request,
            process,
            status,
        });
        exits
            .chain(self.stop.into_iter().map(|request| Waiter::Stop { request }))
            .collect()
    }
}

/// ## Starting => Running
/// The worker registered its pid.
/// ## Running => Ended
/// It was reaped.
/// ## Starting, Running => (gone)
/// Its worker failed: nobody has its name.
#[derive(Debug)]
enum Process {
    Starting(Waiting),
    Running(Pid, Waiting),
    Ended(ExitStatus),
}

#[derive(Debug, Default)]
pub(super) struct Processes {
    known: BTreeMap<ProcessId, Process>,
    by_pid: HashMap<Pid, ProcessId>,
    containers: BTreeMap<ContainerId, ProcessId>,
}

impl Processes {
    pub(super) fn start(&mut self, process: ProcessId) {
        self.known.insert(process, Process::Starting(Waiting::default()));
    }

    pub(super) fn start_container(&mut self, container: ContainerId, init: ProcessId) {
        self.start(init);
        self.containers.insert(container, init);
    }

    pub(super) fn running(&mut self, process: ProcessId, pid: Pid) {
        if let Some(entry) = self.known.get_mut(&process) {
            let waiting = match entry {
                Process::Starting(waiting) | Process::Running(_, waiting) => std::mem::take(waiting),
                Process::Ended(_) => return,
            };
            *entry = Process::Running(pid, waiting);
            self.by_pid.insert(pid, process);
        }
    }

    /// Which process a child is.
    pub(super) fn process_of(&self, pid: Pid) -> Option<ProcessId> {
        self.by_pid.get(&pid).copied()
    }

    /// A child that is no worker was reaped; orphans of workers are nobody's.
    pub(super) fn ended(&mut self, pid: Pid, status: ExitStatus) -> Vec<Waiter> {
        let Some(process) = self.by_pid.remove(&pid) else {
            return Vec::new();
        };
        let told = match self.known.insert(process, Process::Ended(status)) {
            Some(Process::Starting(waiting) | Process::Running(_, waiting)) => waiting.told(process, status),
            Some(Process::Ended(_)) | None => Vec::new(),
        };
        while self.known.len() > REMEMBERED {
            let oldest = self
                .known
                .iter()
                .find(|(_, process)| matches!(process, Process::Ended(_)))
                .map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.known.remove(&oldest);
        }
        told
    }

    /// Forgets a process whose worker failed.
    pub(super) fn abandon(&mut self, process: ProcessId) -> Vec<Waiter> {
        match self.known.remove(&process) {
            Some(Process::Running(pid, waiting)) => {
                self.by_pid.remove(&pid);
                waiting.told(process, ExitStatus::Signal(libc::SIGKILL))
            }
            Some(Process::Starting(waiting)) => waiting.told(process, ExitStatus::Signal(libc::SIGKILL)),
            Some(Process::Ended(_)) | None => Vec::new(),
        }
    }

    /// The status if it has ended; otherwise `request` is told later.
    pub(super) fn wait(&mut self, process: ProcessId, request: u64) -> Result<Option<ExitStatus>> {
        match self.known.get_mut(&process) {
            Some(Process::Ended(status)) => Ok(Some(*status)),
            Some(Process::Starting(waiting) | Process::Running(_, waiting)) => {
                waiting.exit.push(request);
                Ok(None)
            }
            None => Err(KeeperError::UnknownProcess { process }),
        }
    }

    /// Tells `request` when the process has ended.
    pub(super) fn stop(&mut self, process: ProcessId, request: u64) {
        if let Some(Process::Starting(waiting) | Process::Running(_, waiting)) = self.known.get_mut(&process)
        {
            waiting.stop.push(request);
        }
    }

    /// The pid of a process that has not ended.
    pub(super) fn pid(&self, process: ProcessId) -> Result<Option<Pid>> {
        match self.known.get(&process) {
            Some(Process::Running(pid, _)) => Ok(Some(*pid)),
            Some(Process::Starting(_) | Process::Ended(_)) => Ok(None),
            None => Err(KeeperError::UnknownProcess { process }),
        }
    }

    pub(super) fn init(&self, container: ContainerId) -> Result<ProcessId> {
        self.containers
            .get(&container)
            .copied()
            .ok_or(KeeperError::UnknownContainer { container })
    }

    pub(super) fn remove_container(&mut self, container: ContainerId) {
        self.containers.remove(&container);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_followed_from_start_to_end() {
        let mut processes = Processes::default();
        let (container, init, pid) = (ContainerId(1), ProcessId(2), Pid::from_raw(77).unwrap());
        processes.start_container(container, init);
        assert_eq!(processes.wait(init, 10), Ok(None));
        processes.running(init, pid);
        assert_eq!(processes.init(container), Ok(init));
        assert_eq!(processes.pid(init), Ok(Some(pid)));
        processes.stop(init, 11);
        let status = ExitStatus::Code(3);
        assert_eq!(
            processes.ended(pid, status),
            [
                Waiter::Exit {
                    request: 10,
                    process: init,
                    status
                },
                Waiter::Stop { request: 11 }
            ]
        );
        assert_eq!(
            processes.wait(init, 12),
            Ok(Some(status)),
            "the end is remembered"
        );
        assert_eq!(
            processes.ended(pid, status),
            [],
            "a pid that comes back is somebody else's"
        );
        assert_eq!(processes.pid(init), Ok(None));
    }
}

//! Who a process of a step is, as it is told.
//!
//! The kernel has one id for all of them. Which of the sets of ids below a process has, it carries with itself: as the soft limit of
//! file locks, which Linux does not enforce. So a child has its parent's, a program that of who executed it, at the very moment that
//! the kernel makes it, and no process has to be followed. A process that changes the limit itself has chosen to be somebody else,
//! which gives it nothing: to the kernel it stays who it is.

use std::collections::HashMap;

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Limits from here on mean a set.
const FIRST: u64 = 0x5348_4950_0000_0000;
/// More different sets than any step has. The bound keeps a step from filling the supervisor's memory.
const MOST: usize = 65_536;
/// As many supplementary groups as the kernel takes.
pub(crate) const MOST_GROUPS: usize = 65_536;
/// The groups of all sets together.
const MOST_GROUPS_TOGETHER: usize = 1_000_000;

/// Ids of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) real: u32,
    pub(crate) effective: u32,
    pub(crate) saved: u32,
    /// For files.
    pub(crate) files: u32,
}

impl Ids {
    fn all(id: u32) -> Self {
        Self {
            real: id,
            effective: id,
            saved: id,
            files: id,
        }
    }

    fn has(&self, id: u32) -> bool {
        [self.real, self.effective, self.saved].contains(&id)
    }

    /// `setuid`, `setgid`.
    fn set(&mut self, id: u32, is_root: bool) -> Result<(), Errno> {
        if id == u32::MAX {
            return Err(Errno::INVAL);
        }
        if is_root {
            *self = Self::all(id);
            return Ok(());
        }
        if id != self.real && id != self.saved {
            return Err(Errno::PERM);
        }
        (self.effective, self.files) = (id, id);
        Ok(())
    }

    /// `setresuid`, `setresgid`; the largest number leaves an id.
    fn set_three(&mut self, [real, effective, saved]: [u32; 3], is_root: bool) -> Result<(), Errno> {
        let may = |id: u32| id == u32::MAX || is_root || self.has(id);
        if ![real, effective, saved].into_iter().all(may) {
            return Err(Errno::PERM);
        }
        let or = |id: u32, old: u32| if id == u32::MAX { old } else { id };
        *self = Self {
            real: or(real, self.real),
            effective: or(effective, self.effective),
            saved: or(saved, self.saved),
            files: or(effective, self.effective),
        };
        Ok(())
    }

    /// `setreuid`, `setregid`.
    fn set_two(&mut self, real: u32, effective: u32, is_root: bool) -> Result<(), Errno> {
        let real_may = [u32::MAX, self.real, self.effective].contains(&real);
        let effective_may = effective == u32::MAX || self.has(effective);
        let may = is_root || (real_may && effective_may);
        if !may {
            return Err(Errno::PERM);
        }
        let before = self.real;
        self.set_three([real, effective, u32::MAX], true)?;
        if real != u32::MAX || (effective != u32::MAX && effective != before) {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// `setfsuid`, `setfsgid`: gives the old one, whatever becomes of it.
    fn set_files(&mut self, id: u32, is_root: bool) -> u32 {
        let before = self.files;
        if id != u32::MAX && (is_root || self.has(id) || id == self.files) {
            self.files = id;
        }
        before
    }
}

/// A user with groups.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) users: Ids,
    pub(crate) groups: Ids,
    pub(crate) further: Vec<u32>,
}

/// A change that a process asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    User(u32),
    Group(u32),
    Users(u32, u32),
    Groups(u32, u32),
    AllUsers([u32; 3]),
    AllGroups([u32; 3]),
    FilesUser(u32),
    FilesGroup(u32),
    Further(Vec<u32>),
}

impl Credentials {
    pub(crate) fn of(uid: u32, gid: u32, further: Vec<u32>) -> Self {
        Self {
            users: Ids::all(uid),
            groups: Ids::all(gid),
            further,
        }
    }

    fn is_root(&self) -> bool {
        self.users.effective == 0
    }

    /// Carries out a change, and gives what the call gives.
    pub(crate) fn change(&mut self, change: Change) -> Result<i64, Errno> {
        let is_root = self.is_root();
        let done = match change {
            Change::User(id) => self.users.set(id, is_root),
            Change::Group(id) => self.groups.set(id, is_root),
            Change::Users(real, effective) => self.users.set_two(real, effective, is_root),
            Change::Groups(real, effective) => self.groups.set_two(real, effective, is_root),
            Change::AllUsers(ids) => self.users.set_three(ids, is_root),
            Change::AllGroups(ids) => self.groups.set_three(ids, is_root),
            Change::FilesUser(id) => return Ok(self.users.set_files(id, is_root).into()),
            Change::FilesGroup(id) => return Ok(self.groups.set_files(id, is_root).into()),
            Change::Further(_) if !is_root => Err(Errno::PERM),
            Change::Further(mut groups) => {
                groups.sort_unstable();
                self.further = groups;
                Ok(())
            }
        };
        done.map(|()| 0)
    }

    /// Whether it may give a file away that has this owner.
    pub(crate) fn may_give(&self, (uid, gid): (u32, u32), to: (u32, u32)) -> bool {
        let own_group = to.1 == gid || to.1 == self.groups.files || self.further.contains(&to.1);
        self.users.files == 0 || (self.users.files == uid && to.0 == uid && own_group)
    }
}

/// The sets that a step's processes have.
#[derive(Debug)]
pub(crate) struct Known {
    sets: Vec<Credentials>,
    numbers: HashMap<Credentials, usize>,
    groups: usize,
}

impl Known {
    /// Of a step whose first process has the second set, see [`take_first`].
    pub(crate) fn new(first: Credentials) -> Self {
        let mut known = Self {
            sets: vec![Credentials::default(), first.clone()],
            numbers: HashMap::from([(Credentials::default(), 0)]),
            groups: 0,
        };
        known.numbers.entry(first).or_insert(1);
        known
    }

    /// Those of a process. Root's, of one that has none of the sets.
    pub(crate) fn of(&self, process: Pid) -> Result<&Credentials, Errno> {
        let limit = limit_of(process)?;
        let number = limit
            .current
            .and_then(|limit| limit.checked_sub(FIRST))
            .unwrap_or(0);
        let set = usize::try_from(number)
            .ok()
            .and_then(|number| self.sets.get(number));
        Ok(set.unwrap_or(&self.sets[0]))
    }

    /// From now on a process has these.
    pub(crate) fn give(&mut self, process: Pid, credentials: Credentials) -> Result<(), Errno> {
        let number = match self.numbers.get(&credentials) {
            Some(number) => *number,
            None => {
                self.groups += credentials.further.len();
                if self.sets.len() >= MOST || self.groups > MOST_GROUPS_TOGETHER {
                    return Err(Errno::AGAIN);
                }
                self.sets.push(credentials.clone());
                self.numbers.insert(credentials, self.sets.len() - 1);
                self.sets.len() - 1
            }
        };
        let maximum = limit_of(process)?.maximum;
        let current = Some(FIRST + number as u64);
        prlimit(Some(process), Resource::Locks, Rlimit { current, maximum }).map(drop)
    }
}

fn limit_of(process: Pid) -> Result<Rlimit, Errno> {
    crate::sys::notification::lock_limit(process)
}

/// Gives this process the set that a step begins with.
pub(crate) fn take_first() -> Result<(), Errno> {
    let maximum = getrlimit(Resource::Locks).maximum;
    let current = Some(FIRST + 1);
    setrlimit(Resource::Locks, Rlimit { current, maximum })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(ids: Ids) -> [u32; 3] {
        [ids.real, ids.effective, ids.saved]
    }

    #[test]
    fn root_becomes_somebody_for_good() {
        let mut somebody = Credentials::default();
        assert_eq!(somebody.change(Change::Further(vec![44, 42])), Ok(0));
        assert_eq!(somebody.change(Change::Group(7)), Ok(0));
        assert_eq!(somebody.change(Change::User(100)), Ok(0));
        assert_eq!(
            (three(somebody.users), three(somebody.groups)),
            ([100; 3], [7; 3])
        );
        assert_eq!(somebody.further, [42, 44]);
        for change in [
            Change::User(0),
            Change::Users(0, u32::MAX),
            Change::AllUsers([u32::MAX, 0, u32::MAX]),
            Change::Group(0),
            Change::Further(Vec::new()),
        ] {
            assert_eq!(somebody.change(change.clone()), Err(Errno::PERM), "{change:?}");
        }
        assert_eq!(somebody.change(Change::User(100)), Ok(0));
    }

    #[test]
    fn who_keeps_a_saved_id_comes_back() {
        let mut apt = Credentials::default();
        apt.change(Change::AllUsers([u32::MAX, 42, 0])).unwrap();
        assert_eq!((three(apt.users), apt.users.files), ([0, 42, 0], 42));
        apt.change(Change::User(0)).unwrap();
        assert_eq!(three(apt.users), [0, 0, 0]);
        let mut swapped = Credentials::default();
        swapped.change(Change::Users(5, 6)).unwrap();
        assert_eq!(three(swapped.users), [5, 6, 6]);
        swapped.change(Change::Users(6, 5)).unwrap();
        assert_eq!(three(swapped.users), [6, 5, 5]);
    }

    #[test]
    fn ids_for_files_are_set_alone() {
        let mut server = Credentials::default();
        assert_eq!(server.change(Change::FilesUser(33)), Ok(0));
        assert_eq!(server.change(Change::FilesUser(u32::MAX)), Ok(33));
        assert_eq!((server.users.effective, server.users.files), (0, 33));
        assert!(!server.may_give((33, 33), (0, 33)));
    }

    #[test]
    fn only_root_gives_files_away() {
        let root = Credentials::default();
        assert!(root.may_give((5, 5), (6, 6)));
        let ann = Credentials::of(1000, 1000, vec![44]);
        assert!(ann.may_give((1000, 1000), (1000, 44)) && ann.may_give((1000, 1000), (1000, 1000)));
        assert!(!ann.may_give((1000, 1000), (1001, 1000)));
        assert!(!ann.may_give((1000, 1000), (1000, 45)));
        assert!(!ann.may_give((0, 0), (0, 0)));
    }

    #[test]
    fn processes_carry_their_set_with_them() {
        let this = rustix::process::getpid();
        let before = getrlimit(Resource::Locks);
        let mut known = Known::new(Credentials::of(7, 7, Vec::new()));
        assert_eq!(known.of(this), Ok(&Credentials::default()));
        take_first().unwrap();
        assert_eq!(known.of(this).unwrap().users.real, 7);
        known.give(this, Credentials::of(8, 9, vec![1])).unwrap();
        assert_eq!(known.of(this), Ok(&Credentials::of(8, 9, vec![1])));
        let other = setrlimit(
            Resource::Locks,
            Rlimit {
                current: Some(12),
                ..before
            },
        );
        assert_eq!((other, known.of(this)), (Ok(()), Ok(&Credentials::default())));
        setrlimit(Resource::Locks, before).unwrap();
    }
}

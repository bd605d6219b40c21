//! Which containers there are, and which one a client means.
//!
//! A client names a container by its whole id, its name (with or without the slash that inspection shows), or a
//! beginning of the id that fits only one. Names are reserved before anything is made, so that of two requests for one
//! name one is told "conflict" and no half-made container is left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::Record;
use crate::failure::Failure;
use crate::name::ResourceName;

/// Containers of one engine, running or not.
const MOST_CONTAINERS: usize = 512;
/// Bytes of JSON that are kept of them all: labels, environment, commands, their images' configurations. Each list repeats
/// them.
const MOST_KEPT: usize = 16 << 20;

/// The containers of one engine.
pub(crate) struct Roster {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: BTreeMap<String, Arc<Record>>,
    /// The id is not known while the container is being made.
    names: BTreeMap<ResourceName, Option<String>>,
    /// Bytes kept of all, of those in the making too.
    kept: usize,
}

/// A name that is kept free for a container in the making; let go when dropped.
pub(crate) struct Reservation<'a> {
    roster: &'a Roster,
    name: Option<ResourceName>,
    size: usize,
}

impl Roster {
    pub(crate) fn new() -> Roster {
        Roster {
            inner: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a name, or a new one when none is asked for, for a container of which `size` bytes will be kept.
    pub(crate) fn reserve(
        &self,
        asked: Option<ResourceName>,
        size: usize,
    ) -> Result<Reservation<'_>, Failure> {
        let mut inner = self.lock();
        if inner.kept.saturating_add(size) > MOST_KEPT {
            return Err(Failure::conflict(format!(
                "the labels, environments and commands of all containers come to more than {} MiB: give less of \
                 them, or remove some containers with docker container prune",
                MOST_KEPT >> 20
            )));
        }
        if inner.names.len() >= MOST_CONTAINERS {
            return Err(Failure::conflict(format!(
                "there are {MOST_CONTAINERS} containers already: remove some with docker container prune"
            )));
        }
        let name = match asked {
            Some(name) => {
                inner.refuse_taken(&name)?;
                name
            }
            None => ResourceName::generate(|name| inner.names.contains_key(name)),
        };
        inner.names.insert(name.clone(), None);
        inner.kept += size;
        Ok(Reservation {
            roster: self,
            name: Some(name),
            size,
        })
    }

    pub(crate) fn find(&self, asked: &str) -> Result<Arc<Record>, Failure> {
        let inner = self.lock();
        if let Some(record) = inner.by_id.get(asked) {
            return Ok(Arc::clone(record));
        }
        let name = asked.strip_prefix('/').unwrap_or(asked);
        let named = name
            .parse::<ResourceName>()
            .ok()
            .and_then(|name| inner.names.get(&name))
            .and_then(Option::as_ref);
        if let Some(record) = named.and_then(|id| inner.by_id.get(id)) {
            return Ok(Arc::clone(record));
        }
        let mut found = inner
            .by_id
            .values()
            .filter(|record| !asked.is_empty() && record.id.starts_with(asked));
        match (found.next(), found.next()) {
            (Some(record), None) => Ok(Arc::clone(record)),
            (Some(_), Some(_)) => Err(Failure::bad_request(format!(
                "container id {asked} is ambiguous: give more of it"
            ))),
            (None, _) => Err(Failure::no_such_container(asked)),
        }
    }

    /// The newest first, as `docker ps` lists them.
    pub(crate) fn all(&self) -> Vec<Arc<Record>> {
        let mut all: Vec<_> = self.lock().by_id.values().cloned().collect();
        all.sort_by(|one, other| {
            other
                .created
                .cmp(&one.created)
                .then_with(|| one.id.cmp(&other.id))
        });
        all
    }

    pub(crate) fn running(&self) -> usize {
        self.lock()
            .by_id
            .values()
            .filter(|record| record.life.is_running())
            .count()
    }

    pub(crate) fn rename(&self, record: &Record, name: ResourceName) -> Result<ResourceName, Failure> {
        let mut inner = self.lock();
        inner.refuse_taken(&name)?;
        if !inner.by_id.contains_key(&record.id) {
            return Err(Failure::no_such_container(&record.id));
        }
        let old = record.name();
        inner.names.remove(&old);
        inner.names.insert(name.clone(), Some(record.id.clone()));
        record.set_name(name);
        Ok(old)
    }

    /// Forgets a container; false when somebody else did before.
    pub(crate) fn remove(&self, record: &Record) -> bool {
        let mut inner = self.lock();
        let removed = inner.by_id.remove(&record.id).is_some();
        if removed {
            inner.names.remove(&record.name());
            inner.kept = inner.kept.saturating_sub(record.size);
        }
        removed
    }
}

impl Inner {
    fn refuse_taken(&self, name: &ResourceName) -> Result<(), Failure> {
        match self.names.get(name) {
            None => Ok(()),
            Some(holder) => Err(Failure::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
                holder.as_deref().unwrap_or("that is being created")
            ))),
        }
    }
}

impl Reservation<'_> {
    pub(crate) fn name(&self) -> Option<&ResourceName> {
        self.name.as_ref()
    }

    /// The container is there: the name is its own from now on.
    pub(crate) fn fill(mut self, record: Arc<Record>) {
        let mut inner = self.roster.lock();
        if let Some(name) = self.name.take() {
            inner.names.insert(name, Some(record.id.clone()));
        }
        inner.by_id.insert(record.id.clone(), record);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let mut inner = self.roster.lock();
            inner.names.remove(&name);
            inner.kept = inner.kept.saturating_sub(self.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_KEPT, Roster};

    #[test]
    fn what_is_kept_of_all_containers_is_bounded() {
        let roster = Roster::new();
        let first = roster.reserve(None, MOST_KEPT - 10).unwrap();
        assert!(roster.reserve(None, 11).is_err());
        let second = roster.reserve(None, 10).unwrap();
        assert!(roster.reserve(None, 1).is_err());
        drop((first, second));
        assert!(roster.reserve(None, MOST_KEPT).is_ok());
        assert!(roster.reserve(None, usize::MAX).is_err());
    }
}

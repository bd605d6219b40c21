//! The names of a pod: containers, services and what runs in our own process, each with one address.
//!
//! A name belongs to its first claimant. Docker would answer with every holder in turn; two engines called `docker`
//! would then take turns too, and TLS to them fail every other time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, PoisonError, RwLock};

/// The table behind a pod's name server. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameTable {
    names: Arc<RwLock<BTreeMap<String, Ipv4Addr>>>,
}

impl NameTable {
    /// Claims a name. False when another address already holds it.
    pub(crate) fn add(&self, name: &str, address: Ipv4Addr) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        *names.entry(normal(name)).or_insert(address) == address
    }

    /// Lets go of a name; false when nobody held it.
    pub(crate) fn remove(&self, name: &str) -> bool {
        self.names
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&normal(name))
            .is_some()
    }

    /// Lets go of every name of an address.
    pub(crate) fn remove_address(&self, address: Ipv4Addr) {
        self.names
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, holder| *holder != address);
    }

    pub(crate) fn address(&self, name: &str) -> Option<Ipv4Addr> {
        self.names
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&normal(name))
            .copied()
    }

    /// A name of this address, for reverse lookups.
    pub(crate) fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names
            .iter()
            .find(|(_, holder)| **holder == address)
            .map(|(name, _)| name.clone())
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
    const B: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);

    #[test]
    fn the_first_claimant_keeps_a_name() {
        let table = NameTable::default();
        assert!(table.add("docker", A));
        assert!(table.add("Docker.", A), "the holder may claim again");
        assert!(!table.add("docker", B));
        assert_eq!(table.address("DOCKER"), Some(A));
        assert!(table.remove("docker"));
        assert!(!table.remove("docker"));
        assert!(table.add("docker", B));
        assert_eq!(table.address("docker."), Some(B));
    }

    #[test]
    fn an_address_takes_all_its_names_with_it() {
        let table = NameTable::default();
        for (name, address) in [("db", A), ("postgres", A), ("web", B)] {
            assert!(table.add(name, address));
        }
        assert_eq!(table.name_of(A).as_deref(), Some("db"));
        table.remove_address(A);
        assert_eq!(
            (
                table.address("db"),
                table.address("postgres"),
                table.address("web")
            ),
            (None, None, Some(B))
        );
    }
}

//! The addresses of a pod: one fixed subnet, and who holds which address in it.
//!
//! Every pod has its own network namespace, so all of them use the same range (198.18.0.0/16, set aside for
//! benchmarks and never routed): nothing has to be agreed between pods, and a job sees the same addresses in each run.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Mutex, PoisonError};

/// An IPv4 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subnet {
    network: u32,
    prefix: u8,
}

impl Subnet {
    /// The range of every pod.
    pub(crate) const POD: Self = Self {
        network: u32::from_be_bytes([198, 18, 0, 0]),
        prefix: 16,
    };
    /// The bridge of a pod: the gateway of its containers and their name server.
    pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

    pub(crate) const fn prefix(self) -> u8 {
        self.prefix
    }

    pub(crate) const fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() >> (32 - self.prefix) == self.network >> (32 - self.prefix)
    }

    const fn broadcast(self) -> u32 {
        self.network | (u32::MAX >> self.prefix)
    }
}

/// Every address of the subnet is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod has no free address left: more than 65000 containers hold one")]
pub struct AddressesExhausted;

/// Hands out the addresses of one pod, each to one holder.
#[derive(Debug)]
pub(crate) struct AddressPool {
    taken: Mutex<Taken>,
}

#[derive(Debug)]
struct Taken {
    next: u32,
    addresses: BTreeSet<u32>,
}

impl AddressPool {
    pub(crate) fn new() -> Self {
        let gateway = Subnet::GATEWAY.to_bits();
        Self {
            taken: Mutex::new(Taken {
                next: gateway + 1,
                addresses: BTreeSet::from([gateway]),
            }),
        }
    }

    /// An address nobody holds. Freed ones come last, so that a late packet finds nobody rather than a stranger.
    pub(crate) fn reserve(&self) -> Result<Ipv4Addr, AddressesExhausted> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Subnet::GATEWAY.to_bits() + 1;
        let last = Subnet::POD.broadcast() - 1;
        let start = taken.next;
        let candidates = (start..=last).chain(first..start);
        let free = candidates
            .into_iter()
            .find(|candidate| !taken.addresses.contains(candidate));
        let address = free.ok_or(AddressesExhausted)?;
        taken.addresses.insert(address);
        taken.next = if address == last { first } else { address + 1 };
        Ok(Ipv4Addr::from_bits(address))
    }

    /// Gives an address back.
    pub(crate) fn release(&self, address: Ipv4Addr) {
        if address != Subnet::GATEWAY {
            self.taken
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .addresses
                .remove(&address.to_bits());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hands_out_each_address_once_and_freed_ones_last() {
        let pool = AddressPool::new();
        let first = pool.reserve().unwrap();
        let second = pool.reserve().unwrap();
        assert_eq!(
            (first, second),
            (Ipv4Addr::new(198, 18, 0, 2), Ipv4Addr::new(198, 18, 0, 3))
        );
        pool.release(first);
        assert_eq!(pool.reserve().unwrap(), Ipv4Addr::new(198, 18, 0, 4));
        let rest: BTreeSet<_> = std::iter::from_fn(|| pool.reserve().ok()).collect();
        assert!(rest.contains(&first), "a freed address is used again");
        assert!(rest.iter().all(|address| Subnet::POD.contains(*address)));
        assert!(!rest.contains(&Subnet::GATEWAY) && !rest.contains(&Ipv4Addr::new(198, 18, 255, 255)));
        assert_eq!(rest.len(), 65_536 - 3 - 2);
        pool.release(second);
        assert_eq!(pool.reserve().unwrap(), second);
    }

    #[test]
    fn the_gateway_is_never_given_away() {
        let pool = AddressPool::new();
        pool.release(Subnet::GATEWAY);
        assert!(std::iter::from_fn(|| pool.reserve().ok()).all(|address| address != Subnet::GATEWAY));
    }
}

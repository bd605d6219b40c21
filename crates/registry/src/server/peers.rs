//! Connections by the address that they come from.
//!
//! One address may hold a share of all places, so that nobody shuts the others out. Loopback is an address like any
//! other; so is a proxy in front, which needs a share that is as large as its clients together. Of IPv6 a network of 64 bits
//! counts as one address: that is what one machine gets.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Who is connected.
#[derive(Clone)]
pub(super) struct Peers {
    share: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One of an address's places, given back when it is dropped.
pub(super) struct PeerPlace {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl Peers {
    /// At most so many connections from one address, and at least one.
    pub(super) fn new(share: usize) -> Self {
        Self {
            share: share.max(1),
            counts: Arc::default(),
        }
    }

    /// A place for one more connection; `None` when the address has its share.
    pub(super) fn place(&self, peer: IpAddr) -> Option<PeerPlace> {
        let peer = network(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(PeerPlace {
            counts: Arc::clone(&self.counts),
            peer,
        })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let peers = Peers::new(2);
        let place = |address: &str| peers.place(address.parse().unwrap());
        let first = place("127.0.0.1");
        let second = place("::ffff:127.0.0.1");
        assert!(first.is_some() && second.is_some());
        assert!(place("127.0.0.1").is_none());
        let other = place("127.0.0.2");
        assert!(other.is_some());
        drop(first);
        let again = place("127.0.0.1");
        assert!(again.is_some() && place("127.0.0.1").is_none());
        drop((second, other, again));
        assert!(peers.counts.lock().unwrap().is_empty());
    }

    #[test]
    fn a_network_of_64_bits_is_one_address() {
        let peers = Peers::new(1);
        let place = |address: &str| peers.place(address.parse().unwrap());
        let _first = place("2001:db8:1:2::1").unwrap();
        assert!(place("2001:db8:1:2:ffff::9").is_none());
        assert!(place("2001:db8:1:3::1").is_some());
    }
}

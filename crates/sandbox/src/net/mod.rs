//! The network of a pod: a bridge, a pair of devices per container, one rule.
//!
//! Everything goes over netlink: running `ip` and `nft` would cost more than starting a container, and neither is in
//! a static binary.

mod links;
mod message;
mod redirect;

use std::net::Ipv4Addr;

use crate::error::Result;
use crate::spec::NetworkPlan;

pub(crate) use self::links::{Links, loopback_up};

/// Makes the bridge and the redirect of the pod that this process is in.
pub(crate) fn configure(plan: &NetworkPlan) -> Result<()> {
    loopback_up()?;
    Links::open()?.make_bridge(plan.address, plan.prefix)?;
    match plan.redirect_tcp {
        Some(port) => redirect::to_port(plan.address, plan.prefix, port),
        None => Ok(()),
    }
}

/// Gives the bridge another address.
pub(crate) fn add_address(address: Ipv4Addr) -> Result<()> {
    Links::open()?.add_bridge_address(address)
}

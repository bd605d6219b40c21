//! The network of a pod: a bridge, a pair of devices per container, one rule.
//!
//! Everything goes over netlink: running `ip` and `nft` would cost more than starting a container, and neither is in
//! a static binary.

mod links;
mod message;
mod redirect;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::error::{Doing as _, Result};
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

/// Connects from the network that this process is in, within a second.
pub(crate) fn connect(address: SocketAddrV4) -> Result<OwnedFd> {
    let action = || format!("connect to {address} in the pod's network");
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).doing(action)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            let second = rustix::time::Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let mut ready = [PollFd::new(&socket, PollFlags::OUT)];
            if rustix::io::retry_on_intr(|| poll(&mut ready, Some(&second))).doing(action)? == 0 {
                return Err(Errno::TIMEDOUT).doing(action);
            }
            rustix::net::sockopt::socket_error(&socket)
                .doing(action)?
                .doing(action)?;
        }
        Err(errno) => return Err(errno).doing(action),
    }
    rustix::fs::fcntl_setfl(&socket, rustix::fs::OFlags::empty()).doing(action)?;
    Ok(socket)
}

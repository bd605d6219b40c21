//! Starting a container in a tree; the worker's part.

use std::os::fd::OwnedFd;

use super::confine::Network;
use super::minder::{self, Minder};
use super::tree::Assigned;
use crate::error::{Doing as _, KeeperError, Result};
use crate::keeper::Workplace;
use crate::protocol::Answer;
use crate::spec::ContainerNetwork;
use crate::start::{Go, Order, StreamFds, conclude, follow, nobody};
use crate::supervisor::{Ground, Supervisor};
use crate::sys::{self, Fork};
use crate::wire;

/// Starts a container.
pub(crate) fn container(
    place: &Workplace<'_>,
    tree: &Assigned,
    order: Order,
    fds: Vec<OwnedFd>,
) -> Result<(Answer, Vec<OwnedFd>)> {
    let Order {
        container,
        process,
        spec,
        streams,
        ..
    } = order;
    let network = match spec.network {
        ContainerNetwork::Pod => Network::Shared,
        ContainerNetwork::None => Network::None,
        ContainerNetwork::Bridge(_) => return Err(missing("a network of its own")),
    };
    if spec.process.terminal {
        return Err(missing("a terminal"));
    }
    let upper = spec
        .root
        .upper
        .clone()
        .ok_or_else(|| missing("a root that only is looked at"))?;
    let streams = StreamFds::take(streams, &mut fds.into_iter());
    let opened = tree.open(place)?;
    let below = tree.stack(place)?;
    let supervisor = match opened.owners.descriptor() {
        Some(marks) => {
            let root = &opened.root;
            Some(Supervisor::hire(place, process, &Ground::Tree { root, marks })?)
        }
        None => None,
    };
    let end = supervisor.as_ref().map(Supervisor::end).transpose()?;
    let (near, far) = wire::pair()?;
    match sys::fork().doing(|| "fork the minder of a container".into())? {
        Fork::Child => {
            drop((near, supervisor));
            minder::mind(
                place,
                Minder {
                    spec: &spec,
                    tree: &opened,
                    below: &below,
                    upper: &upper,
                    network,
                    supervisor: end,
                },
                streams,
                far,
            )
        }
        Fork::Parent(pid) => {
            drop((far, streams));
            place.register(process, pid)?;
            let started = wire::send(&near, &Go::Registered, &[]).and_then(|()| {
                follow(&near, true, |first, listener, mounts| match &supervisor {
                    Some(supervisor) => supervisor.charge(first, listener, mounts),
                    None => nobody(first, listener, mounts),
                })
            });
            // Without a charge it ends with this, and the minder when it has.
            drop(supervisor);
            conclude(started, (pid, minder::END), container, process)
        }
    }
}

/// What cannot be had here.
pub(crate) fn missing(what: &str) -> KeeperError {
    KeeperError::Message {
        reason: format!("{what} is not to be had where nothing can be mounted (tier C or B')"),
    }
}

//! Devices, addresses and routes.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, netdevice};

use super::message::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, Socket, Writer};
use crate::error::{Doing as _, Result};
use crate::ids::ContainerId;
use crate::spec::NetworkPlan;

/// Name of the pod's bridge.
const BRIDGE: &str = "pod0";
/// Name of a container's device.
const DEVICE: &str = "eth0";

/// NETLINK_ROUTE is 0, which a socket call takes as the default.
const ROUTING: Option<Protocol> = None;

const RTM_NEWLINK: u16 = 16;
const IFF_UP: u32 = 1;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const MAKE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;

/// The devices of one network namespace: the one that this process was in when it opened them.
pub(crate) struct Links {
    netlink: Socket,
    /// For asking the kernel about names; as bound to the namespace as the other.
    names: std::os::fd::OwnedFd,
}

impl Links {
    pub(crate) fn open() -> Result<Self> {
        let action = || "open a netlink socket".to_owned();
        let names =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .doing(action)?;
        Ok(Self {
            netlink: Socket::open(ROUTING).doing(action)?,
            names,
        })
    }

    fn index(&self, name: &str) -> Result<u32> {
        netdevice::name_to_index(&self.names, name).doing(|| format!("find the network device {name}"))
    }

    fn address(&self, index: u32, address: Ipv4Addr, prefix: u8) -> std::result::Result<(), Errno> {
        let mut writer = Writer::default();
        writer.message(RTM_NEWADDR, MAKE, &address_header(prefix, index), |message| {
            message.attribute(IFA_LOCAL, &address.octets());
            message.attribute(IFA_ADDRESS, &address.octets());
        });
        self.netlink.send(&writer)
    }

    /// Makes the pod's bridge.
    pub(crate) fn make_bridge(&self, address: Ipv4Addr, prefix: u8) -> Result<()> {
        let mut writer = Writer::default();
        writer.message(RTM_NEWLINK, MAKE, &link_header(0, IFF_UP), |message| {
            message.text(IFLA_IFNAME, BRIDGE);
            // Else the bridge takes the lowest one of its ports, and changes it when that container ends: who remembers
            // the old one talks to nobody for seconds.
            message.attribute(IFLA_ADDRESS, &hardware_address(address));
            message.nested(IFLA_LINKINFO, &[], |info| info.text(IFLA_INFO_KIND, "bridge"));
        });
        self.netlink
            .send(&writer)
            .doing(|| "make the pod's bridge (is the module `bridge` loaded?)".into())?;
        let index = self.index(BRIDGE)?;
        self.address(index, address, prefix)
            .doing(|| format!("give the pod's bridge the address {address}"))
    }

    /// Gives the bridge one more address.
    pub(crate) fn add_bridge_address(&self, address: Ipv4Addr) -> Result<()> {
        let index = self.index(BRIDGE)?;
        match self.address(index, address, 32) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno).doing(|| format!("give the pod's bridge the address {address}")),
        }
    }

    /// Connects the network namespace that this process is in now with the bridge of this one.
    pub(crate) fn connect(&self, container: ContainerId, address: Ipv4Addr, pod: &NetworkPlan) -> Result<()> {
        let action = || format!("connect container {container} with the pod's bridge");
        let here = rustix::fs::open(
            "/proc/self/ns/net",
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(|| "open this process's network namespace".into())?;
        let bridge = self.index(BRIDGE)?;
        let mut writer = Writer::default();
        writer.message(RTM_NEWLINK, MAKE, &link_header(0, IFF_UP), |message| {
            message.text(IFLA_IFNAME, &format!("c{container}"));
            message.attribute(IFLA_MASTER, &bridge.to_ne_bytes());
            message.nested(IFLA_LINKINFO, &[], |info| {
                info.text(IFLA_INFO_KIND, "veth");
                info.nested(IFLA_INFO_DATA, &[], |data| {
                    // Not up yet: the kernel refuses that until the other end exists.
                    data.nested(VETH_INFO_PEER, &link_header(0, 0), |peer| {
                        peer.text(IFLA_IFNAME, DEVICE);
                        // An address that a later container gets again is found where it was.
                        peer.attribute(IFLA_ADDRESS, &hardware_address(address));
                        peer.attribute(IFLA_NET_NS_FD, &here.as_raw_fd().to_ne_bytes());
                    });
                });
            });
        });
        self.netlink.send(&writer).doing(action)?;
        loopback_up()?;
        let inside = Self::open()?;
        let device = inside.index(DEVICE)?;
        inside.address(device, address, pod.prefix).doing(action)?;
        let mut writer = Writer::default();
        writer.message(RTM_NEWLINK, NLM_F_ACK, &link_header(device, IFF_UP), |_| {});
        inside.netlink.send(&writer).doing(action)?;
        inside.default_route(device, pod.address).doing(action)
    }

    fn default_route(&self, device: u32, gateway: Ipv4Addr) -> std::result::Result<(), Errno> {
        let mut writer = Writer::default();
        // IPv4, the main table, set by an administrator, anywhere, a plain route.
        let header = [libc::AF_INET as u8, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        writer.message(RTM_NEWROUTE, MAKE, &header, |message| {
            message.attribute(RTA_GATEWAY, &gateway.octets());
            message.attribute(RTA_OIF, &device.to_ne_bytes());
        });
        self.netlink.send(&writer)
    }
}

/// Brings up the loopback device of the network namespace that this process is in.
pub(crate) fn loopback_up() -> Result<()> {
    let action = || "bring the loopback device up".to_owned();
    let mut writer = Writer::default();
    writer.message(RTM_NEWLINK, NLM_F_ACK, &link_header(1, IFF_UP), |_| {});
    Socket::open(ROUTING).doing(action)?.send(&writer).doing(action)
}

/// The locally administered address that goes with an IPv4 address, as Docker forms it.
fn hardware_address(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// `struct ifinfomsg`: any family, any type; flags and which of them count.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// `struct ifaddrmsg`.
fn address_header(prefix: u8, index: u32) -> [u8; 8] {
    let mut header = [libc::AF_INET as u8, prefix, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header
}

//! The one egress policy: which addresses may be dialled on behalf of a job.
//!
//! It is apart because four callers must give one answer: the relay of a pod, image pulls, `ADD` and git contexts. A
//! fetcher that asked another policy would be a deputy that reaches what the job itself cannot.
//!
//! Denied are the places where a name or an address stands for *this machine* or for the credentials of the cloud that
//! it runs in: loopback, link-local, metadata services, the pods' own range, and every address of the host's
//! interfaces. Private ranges are allowed, since mirrors and registries live there. The decision is made on the
//! address that is about to be dialled, after name resolution, so that no name can be rebound between check and use.
//!
//! Assumption, not enforced: the host gains no interface while we run. [`Egress::detect`] reads them once.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use shipway_registry::EgressPolicy;

use crate::subnet::Subnet;

/// Metadata services outside of the link-local ranges: reading one often yields the machine's cloud credentials.
const METADATA: &[(IpAddr, &str)] = &[
    (IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)), "Alibaba Cloud"),
    (IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), "Azure wire server"),
    (IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)), "Oracle Cloud"),
    (
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        "AWS",
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
        "Google Cloud",
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
        "Scaleway",
    ),
    (
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
        "Oracle Cloud",
    ),
];

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// 127.0.0.0/8 or ::1.
    #[error("it is the loopback of the host")]
    Loopback,
    /// 169.254.0.0/16 or fe80::/10.
    #[error("it is a link-local address, where metadata services live")]
    LinkLocal,
    /// A well-known metadata service.
    #[error("it is the metadata service of {provider}")]
    Metadata {
        /// Whose it is.
        provider: &'static str,
    },
    /// The range of the pods.
    #[error("it is in the range of the pods")]
    PodRange,
    /// An address of one of the host's interfaces.
    #[error("it is an address of this host")]
    HostAddress,
    /// An address that means no single peer.
    #[error("it is no address of a single peer")]
    NotUnicast,
}

/// A network, and if wanted one port in it, that is allowed whatever else holds: `10.0.0.5`, `127.0.0.1:5000`,
/// `192.168.0.0/16`, `[::1]:5000`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EgressException {
    address: IpAddr,
    prefix: u8,
    port: Option<u16>,
}

/// A text is no exception to the egress policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no address that egress could be allowed to: write `ADDRESS`, `ADDRESS:PORT` or `ADDRESS/PREFIX`, \
     for example `127.0.0.1:5000` or `10.0.0.0/8`"
)]
pub struct EgressExceptionError {
    text: String,
}

impl FromStr for EgressException {
    type Err = EgressExceptionError;

    fn from_str(text: &str) -> Result<Self, EgressExceptionError> {
        let wrong = || EgressExceptionError {
            text: text.chars().take(80).collect(),
        };
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(socket.into());
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| wrong())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => width(address),
        };
        if prefix > width(address) {
            return Err(wrong());
        }
        Ok(Self {
            address,
            prefix,
            port: None,
        })
    }
}

impl From<SocketAddr> for EgressException {
    fn from(socket: SocketAddr) -> Self {
        let address = socket.ip();
        Self {
            address,
            prefix: width(address),
            port: Some(socket.port()),
        }
    }
}

impl fmt::Display for EgressException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None if self.prefix == width(self.address) => write!(f, "{}", self.address),
            None => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

impl EgressException {
    fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && within(address, self.address, self.prefix)
    }
}

/// The policy. Cheap to clone; every fetcher of one installation holds the same one.
#[derive(Debug, Clone)]
pub struct Egress {
    rules: Arc<Rules>,
}

#[derive(Debug)]
struct Rules {
    host: Vec<IpAddr>,
    exceptions: Vec<EgressException>,
}

impl Egress {
    /// The policy for this host: its interface addresses are read now.
    ///
    /// # Errors
    /// When the kernel does not list the interfaces: a policy that does not know what to deny is none.
    pub fn detect(exceptions: impl IntoIterator<Item = EgressException>) -> Result<Self, EgressError> {
        let interfaces = nix::ifaddrs::getifaddrs().map_err(|errno| EgressError::Interfaces {
            source: std::io::Error::from(errno),
        })?;
        let addresses = interfaces.filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        Ok(Self::new(addresses, exceptions))
    }

    /// The policy of a host with these interface addresses.
    pub fn new(
        host: impl IntoIterator<Item = IpAddr>,
        exceptions: impl IntoIterator<Item = EgressException>,
    ) -> Self {
        let rules = Rules {
            host: host.into_iter().collect(),
            exceptions: exceptions.into_iter().collect(),
        };
        Self {
            rules: Arc::new(rules),
        }
    }

    /// Whether an address may be dialled, and if not, why.
    ///
    /// # Errors
    /// The reason of the denial.
    pub fn check(&self, peer: SocketAddr) -> Result<(), Denial> {
        let address = peer.ip().to_canonical();
        // The unspecified address reaches the loopback on Linux; no exception can be meant by it.
        if address.is_unspecified() {
            return Err(Denial::NotUnicast);
        }
        if self
            .rules
            .exceptions
            .iter()
            .any(|exception| exception.covers(address, peer.port()))
        {
            return Ok(());
        }
        self.judge(address)?;
        match embedded(address) {
            Some(inner) => self.judge(IpAddr::V4(inner)),
            None => Ok(()),
        }
    }

    fn judge(&self, address: IpAddr) -> Result<(), Denial> {
        if address.is_loopback() {
            return Err(Denial::Loopback);
        }
        if self.rules.host.contains(&address) {
            return Err(Denial::HostAddress);
        }
        if let Some((_, provider)) = METADATA.iter().find(|(metadata, _)| *metadata == address) {
            return Err(Denial::Metadata { provider });
        }
        match address {
            IpAddr::V4(v4) if v4.is_link_local() => Err(Denial::LinkLocal),
            IpAddr::V4(v4) if v4.octets()[0] == 0 || v4.is_broadcast() || v4.is_multicast() => {
                Err(Denial::NotUnicast)
            }
            IpAddr::V4(v4) if Subnet::POD.contains(v4) => Err(Denial::PodRange),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Denial::LinkLocal),
            IpAddr::V6(v6) if v6.is_multicast() || v6.is_unspecified() => Err(Denial::NotUnicast),
            _ => Ok(()),
        }
    }
}

impl EgressPolicy for Egress {
    fn permits(&self, addr: SocketAddr) -> bool {
        self.check(addr).is_ok()
    }
}

/// The policy cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The host's interfaces are unknown.
    #[error("cannot list the addresses of this host's interfaces, which jobs must not reach")]
    Interfaces {
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (a, b) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()) << 96, u128::from(b.to_bits()) << 96),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits()),
        _ => return false,
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    a & mask == b & mask
}

/// The IPv4 address that a translator would reach for this IPv6 address (NAT64, 6to4, IPv4-compatible).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return None };
    let bits = v6.to_bits();
    let tail = || Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32);
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] | [0, 0, 0, 0, 0, 0, ..] => Some(tail()),
        [0x2002, ..] => Some(Ipv4Addr::from_bits(((bits >> 80) & 0xffff_ffff) as u32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

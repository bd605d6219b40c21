//! The network of a pod: made when something first needs it, since many pods never do.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use shipway_sandbox::{Keeper, KeeperError, NetworkPlan};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::Pod;
use crate::dns::DnsServer;
use crate::relay;
use crate::subnet::{AddressesExhausted, Subnet};

/// Where the kernel hands us connections to the outside.
const RELAY_PORT: u16 = 15_001;
const DNS_PORT: u16 = 53;

/// The pod's network failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// It cannot be made.
    #[error("cannot set up the network of the pod")]
    SetUp {
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// A socket in it cannot be had.
    #[error("cannot open {address} in the network of the pod")]
    Socket {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: KeeperError,
    },
    /// A socket cannot be used here.
    #[error("cannot use the socket of {address} in the network of the pod")]
    Adopt {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No address is left.
    #[error(transparent)]
    Addresses(#[from] AddressesExhausted),
    /// The thread that did it ended early.
    #[error("setting up the network of the pod was interrupted")]
    Interrupted,
}

/// The sockets of the gateway.
struct Gateway {
    relay: OwnedFd,
    dns_udp: OwnedFd,
    dns_tcp: OwnedFd,
}

impl Pod {
    /// The gateway of the pod: where in-process services may listen, and where its name server is.
    pub const GATEWAY: Ipv4Addr = Subnet::GATEWAY;

    /// Sees to it that the pod has its network: bridge, name server and relay.
    ///
    /// # Errors
    /// When the kernel does not give it.
    pub async fn ensure_network(&self) -> Result<(), NetworkError> {
        let mut network = self.inner.network.lock().await;
        if network.is_none() {
            *network = Some(self.make_network().await?);
        }
        Ok(())
    }

    /// Gives what ends its name server and its relay, which end with the pod at the latest.
    pub(super) async fn make_network(&self) -> Result<CancellationToken, NetworkError> {
        let gateway = self.blocking_network(make_gateway).await?;
        let relay = tcp(gateway.relay, SocketAddrV4::new(Subnet::GATEWAY, RELAY_PORT))?;
        let dns = SocketAddrV4::new(Subnet::GATEWAY, DNS_PORT);
        let (dns_udp, dns_tcp) = (udp(gateway.dns_udp, dns)?, tcp(gateway.dns_tcp, dns)?);
        let upstream = self.inner.runtime.upstream().await.clone();
        let server = DnsServer {
            names: self.inner.names.clone(),
            upstream,
        };
        let end = self.inner.closing.child_token();
        server.spawn(dns_udp, dns_tcp, &end);
        relay::spawn(relay, self.inner.egress.clone(), &end);
        Ok(end)
    }

    /// An address in the pod that nobody else gets, for a container or a service of this process.
    ///
    /// # Errors
    /// When all are taken.
    pub fn reserve_address(&self) -> Result<Ipv4Addr, AddressesExhausted> {
        self.inner.addresses.reserve()
    }

    /// Gives an address back, with all names that it has.
    pub fn release_address(&self, address: Ipv4Addr) {
        self.inner.names.remove_address(address);
        self.inner.addresses.release(address);
    }

    /// Lets the pod's name server answer a name. False when another address has it already: the first one keeps it.
    pub fn add_name(&self, name: &str, address: Ipv4Addr) -> bool {
        self.inner.names.add(name, address)
    }

    /// Takes a name away; false when nobody had it.
    pub fn remove_name(&self, name: &str) -> bool {
        self.inner.names.remove(name)
    }

    /// The address that the pod's name server gives for a name of the pod.
    pub fn address_of(&self, name: &str) -> Option<Ipv4Addr> {
        self.inner.names.address(name)
    }

    /// Listens in the pod's network, for a service of this process. The address is the gateway's or a reserved one.
    ///
    /// # Errors
    /// When there is no network, or the address cannot be listened on.
    pub async fn listen(&self, address: SocketAddrV4) -> Result<TcpListener, NetworkError> {
        self.ensure_network().await?;
        let ip = *address.ip();
        let mut bound = self.inner.bound.lock().await;
        let fresh = ip != Subnet::GATEWAY && !bound.contains(&ip);
        let socket = self
            .blocking_network(move |keeper| {
                let failed = |source| NetworkError::Socket {
                    address: address.into(),
                    source,
                };
                if fresh {
                    keeper.add_address(ip).map_err(failed)?;
                }
                keeper.listen_tcp(address).map_err(failed)
            })
            .await?;
        if fresh {
            bound.push(ip);
        }
        drop(bound);
        tcp(socket, address)
    }

    /// Connects to a container of the pod, as a neighbour of it would.
    ///
    /// # Errors
    /// When there is no network, or nobody listens there.
    pub async fn connect(&self, address: SocketAddrV4) -> Result<TcpStream, NetworkError> {
        self.ensure_network().await?;
        let failed = move |source| NetworkError::Socket {
            address: address.into(),
            source,
        };
        let socket = self
            .blocking_network(move |keeper| keeper.connect_tcp(address).map_err(failed))
            .await?;
        let socket = std::net::TcpStream::from(socket);
        let adopted = socket
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(socket));
        adopted.map_err(|source| NetworkError::Adopt {
            address: address.into(),
            source,
        })
    }

    async fn blocking_network<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Keeper) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let keeper = self.inner.keeper();
        tokio::task::spawn_blocking(move || work(&keeper))
            .await
            .map_err(|_| NetworkError::Interrupted)?
    }
}

fn make_gateway(keeper: &Keeper) -> Result<Gateway, NetworkError> {
    let plan = NetworkPlan {
        address: Subnet::GATEWAY,
        prefix: Subnet::POD.prefix(),
        redirect_tcp: Some(RELAY_PORT),
    };
    keeper
        .configure_network(&plan)
        .map_err(|source| NetworkError::SetUp { source })?;
    let at = |port| SocketAddrV4::new(Subnet::GATEWAY, port);
    let socket = |address: SocketAddrV4| {
        move |source| NetworkError::Socket {
            address: address.into(),
            source,
        }
    };
    Ok(Gateway {
        relay: keeper
            .listen_tcp(at(RELAY_PORT))
            .map_err(socket(at(RELAY_PORT)))?,
        dns_udp: keeper.bind_udp(at(DNS_PORT)).map_err(socket(at(DNS_PORT)))?,
        dns_tcp: keeper.listen_tcp(at(DNS_PORT)).map_err(socket(at(DNS_PORT)))?,
    })
}

fn tcp(socket: OwnedFd, address: SocketAddrV4) -> Result<TcpListener, NetworkError> {
    let socket = std::net::TcpListener::from(socket);
    let adopted = socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket));
    adopted.map_err(|source| NetworkError::Adopt {
        address: address.into(),
        source,
    })
}

fn udp(socket: OwnedFd, address: SocketAddrV4) -> Result<UdpSocket, NetworkError> {
    let socket = std::net::UdpSocket::from(socket);
    let adopted = socket
        .set_nonblocking(true)
        .and_then(|()| UdpSocket::from_std(socket));
    adopted.map_err(|source| NetworkError::Adopt {
        address: address.into(),
        source,
    })
}

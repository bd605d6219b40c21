//! The sockets of the name server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Upstream;
use super::answer::{Transport, answer};
use crate::names::NameTable;

/// Questions in flight per pod. One more is dropped: the client asks again, and by then one of these is done.
const IN_FLIGHT: usize = 256;
/// Connections per pod, and how long one may be silent.
const CONNECTIONS: usize = 32;
const IDLE: Duration = Duration::from_secs(10);

/// Everything an answer needs.
#[derive(Clone)]
pub(crate) struct DnsServer {
    pub(crate) names: NameTable,
    pub(crate) upstream: Upstream,
}

impl DnsServer {
    /// Serves until the token is cancelled.
    pub(crate) fn spawn(&self, udp: UdpSocket, tcp: TcpListener, closing: &CancellationToken) {
        let (server, token) = (self.clone(), closing.clone());
        tokio::spawn(async move { token.run_until_cancelled(server.datagrams(udp)).await });
        let (server, token) = (self.clone(), closing.clone());
        tokio::spawn(async move {
            token
                .clone()
                .run_until_cancelled(server.connections(tcp, token))
                .await
        });
    }

    async fn datagrams(self, socket: UdpSocket) {
        let socket = Arc::new(socket);
        let slots = Arc::new(Semaphore::new(IN_FLIGHT));
        let mut buffer = vec![0; 4096];
        loop {
            let (length, peer) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // An ICMP error of an earlier answer arrives here; the socket itself is well.
                    tracing::debug!(%error, "receiving a name query");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                continue;
            };
            let (server, socket, request) = (self.clone(), Arc::clone(&socket), buffer[..length].to_vec());
            tokio::spawn(async move {
                server.datagram(&socket, &request, peer).await;
                drop(slot);
            });
        }
    }

    async fn datagram(&self, socket: &UdpSocket, request: &[u8], peer: SocketAddr) {
        if let Some(reply) = answer(request, Transport::Udp, &self.names, &self.upstream).await
            && let Err(error) = socket.send_to(&reply, peer).await
        {
            tracing::debug!(%error, %peer, "a name answer was not delivered");
        }
    }

    async fn connections(self, listener: TcpListener, closing: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (server, closing) = (self.clone(), closing.clone());
                    tokio::spawn(async move {
                        // How a client ends its connection is its own business.
                        let _ = closing.run_until_cancelled(server.connection(stream)).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "accepting a name query");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = timeout(IDLE, stream.read_u16()).await??;
            let mut request = vec![0; usize::from(length)];
            timeout(IDLE, stream.read_exact(&mut request)).await??;
            let Some(reply) = answer(&request, Transport::Tcp, &self.names, &self.upstream).await else {
                return Ok(());
            };
            let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
            let framed = [length.to_be_bytes().as_slice(), &reply].concat();
            timeout(IDLE, stream.write_all(&framed)).await??;
        }
    }
}

#[cfg(test)]
mod tests;

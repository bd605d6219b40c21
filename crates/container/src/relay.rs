//! The way out of a pod: TCP, one connection at a time, dialled by this process.
//!
//! A pod has no route to anywhere. The kernel turns each connection that a container opens to the outside to a
//! listener of ours in the pod, which learns from it where the container wanted to go, asks the egress policy, dials
//! and moves bytes. No privilege, no device and no address of the host's network is needed for that.
//!
//! Known limit: the container's `connect` succeeds before ours is tried. When ours fails or is denied the container's
//! connection is reset at once, which programs report as a broken connection and not as a refused one.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::OriginalDst};
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::egress::Egress;

/// Connections of one pod at a time; further ones wait in the listener's queue.
const CONNECTIONS: usize = 4096;
/// How long a peer may take to answer the dial. Beyond it, clients have usually given up.
const DIAL: Duration = Duration::from_secs(30);
const BUFFER: usize = 64 * 1024;

/// Serves until the token is cancelled; open connections are then reset.
pub(crate) fn spawn(listener: TcpListener, egress: Egress, closing: &CancellationToken) {
    let token = closing.clone();
    tokio::spawn(async move {
        token
            .clone()
            .run_until_cancelled(accept(listener, egress, token))
            .await
    });
}

async fn accept(listener: TcpListener, egress: Egress, closing: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((client, _)) => {
                let (egress, closing) = (egress.clone(), closing.clone());
                tokio::spawn(async move {
                    relay(client, &egress, &closing).await;
                    drop(slot);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: some come back when connections end.
                tracing::warn!(%error, "accepting a connection of a container");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn relay(client: TcpStream, egress: &Egress, closing: &CancellationToken) {
    let moved = match original_destination(&client) {
        Ok(peer) => closing.run_until_cancelled(carry(&client, peer, egress)).await,
        Err(error) => Some(Err(RelayError::Destination { source: error })),
    };
    match moved {
        Some(Ok(server)) => transfer(client, server, closing).await,
        Some(Err(error)) => {
            tracing::debug!(%error, "a connection of a container is reset");
            reset(client);
        }
        None => reset(client),
    }
}

/// Why a connection is reset instead of carried.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error("the kernel does not say where the connection was meant to go")]
    Destination {
        #[source]
        source: io::Error,
    },
    #[error("{peer} may not be reached from a container: {reason}")]
    Denied {
        peer: SocketAddr,
        reason: crate::egress::Denial,
    },
    #[error("{peer} does not answer")]
    Dial {
        peer: SocketAddr,
        #[source]
        source: io::Error,
    },
}

async fn carry(client: &TcpStream, peer: SocketAddr, egress: &Egress) -> Result<TcpStream, RelayError> {
    egress
        .check(peer)
        .map_err(|reason| RelayError::Denied { peer, reason })?;
    let dialled = timeout(DIAL, TcpStream::connect(peer))
        .await
        .map_err(io::Error::from)
        .and_then(|dialled| dialled);
    let server = dialled.map_err(|source| RelayError::Dial { peer, source })?;
    for stream in [client, &server] {
        // Only speed depends on it.
        let _ = stream.set_nodelay(true);
    }
    Ok(server)
}

/// Both directions, each closed when its source is, until both are.
async fn transfer(mut client: TcpStream, mut server: TcpStream, closing: &CancellationToken) {
    let copy = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER);
    match closing.run_until_cancelled(copy).await {
        Some(Ok(_)) => {}
        // One side broke: the other must not mistake that for an orderly end.
        Some(Err(_)) | None => {
            reset(client);
            reset(server);
        }
    }
}

fn reset(stream: TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection is closed where it should be reset");
    }
}

fn original_destination(client: &TcpStream) -> io::Result<SocketAddr> {
    let address = getsockopt(client, OriginalDst)?;
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok(SocketAddr::V4(SocketAddrV4::new(
        ip,
        u16::from_be(address.sin_port),
    )))
}

#[cfg(test)]
mod tests;

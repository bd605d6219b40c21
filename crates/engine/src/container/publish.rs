//! Published ports: listeners on the engine's address in the pod, or on this machine for an engine that somebody runs for
//! themselves, each leading into a container.
//!
//! The forwarding is done here, connection by connection, because a pod has no address translation of its own. A
//! listener ends with its container's run; connections that are open then end with the container's side of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use shipway_container::Pod;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::failure::{Failure, told};
use crate::plan::PortPlan;

/// Connections at once through one published port.
const MOST_CONNECTIONS: usize = 512;

/// Where ports are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// On this address in the pod, whatever the client says.
    Pod(Ipv4Addr),
    /// On the machine: where the client says, else for this machine alone.
    Machine,
}

/// A port that leads into a container, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) container: u16,
    pub(crate) published: u16,
    pub(crate) address: IpAddr,
    listening: DropGuard,
    forwarding: JoinHandle<()>,
}

/// Ends the listeners; their ports are free when this returns.
pub(crate) async fn close(ports: Vec<Published>) {
    for port in ports {
        drop(port.listening);
        if let Err(error) = port.forwarding.await {
            tracing::warn!(%error, "a published port ended badly");
        }
    }
}

/// Opens all ports of a container, or none.
pub(crate) async fn publish(
    pod: &Pod,
    outside: Outside,
    container: Ipv4Addr,
    ports: &[PortPlan],
) -> Result<Vec<Published>, Failure> {
    let mut published = Vec::new();
    for port in ports {
        let number = port.published.unwrap_or(0);
        let wanted = match outside {
            Outside::Pod(address) => SocketAddr::from((address, number)),
            Outside::Machine => SocketAddr::new(port.address.unwrap_or(Ipv4Addr::LOCALHOST.into()), number),
        };
        let failed = |why: String| {
            Failure::internal(format!(
                "driver failed programming external connectivity: cannot publish {wanted}: {why}"
            ))
        };
        let listener = match wanted {
            SocketAddr::V4(inside) if matches!(outside, Outside::Pod(_)) => {
                pod.listen(inside).await.map_err(|error| failed(told(&error)))?
            }
            wanted => TcpListener::bind(wanted)
                .await
                .map_err(|error| failed(machine_refusal(&error)))?,
        };
        let local = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let end = CancellationToken::new();
        let forwarding = tokio::spawn(forward(
            pod.clone(),
            listener,
            SocketAddrV4::new(container, port.container),
            end.clone(),
        ));
        published.push(Published {
            container: port.container,
            published: local.port(),
            address: local.ip(),
            listening: end.drop_guard(),
            forwarding,
        });
    }
    Ok(published)
}

fn machine_refusal(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "port is already allocated: something on this machine listens there, choose another".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "the system keeps this port for root, choose a higher one".to_owned()
        }
        _ => error.to_string(),
    }
}

async fn forward(pod: Pod, listener: TcpListener, target: SocketAddrV4, end: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let next = async {
            // Never closed, so that there always is a permit in the end.
            let permit = Arc::clone(&connections).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = end.cancelled() => return,
            next = next => next,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection to a published port");
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                continue;
            }
        };
        let pod = pod.clone();
        tokio::spawn(async move {
            let _permit = permit;
            carry(&pod, client, target).await;
        });
    }
}

async fn carry(pod: &Pod, mut client: TcpStream, target: SocketAddrV4) {
    match pod.connect(target).await {
        Ok(mut container) => {
            // Either side's end is the other's business; an error ends both.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut container).await;
        }
        Err(error) => {
            tracing::debug!(error = told(&error), %target, "a published port leads nowhere yet");
            // A reset, as a closed port would answer.
            let _ = client.set_zero_linger();
        }
    }
}

//! Published ports: listeners on the engine's address in the pod, each leading into a container.
//!
//! The forwarding is done here, connection by connection, because a pod has no address translation of its own. A
//! listener ends with its container's run; connections that are open then end with the container's side of them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use shipway_container::Pod;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::failure::{Failure, chain};
use crate::plan::PortPlan;

/// Connections at once through one published port.
const MOST_CONNECTIONS: usize = 512;

/// A port that leads into a container, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) container: u16,
    pub(crate) published: u16,
    pub(crate) address: Ipv4Addr,
    _listening: DropGuard,
}

/// Opens all ports of a container, or none.
pub(crate) async fn publish(
    pod: &Pod,
    address: Ipv4Addr,
    container: Ipv4Addr,
    ports: &[PortPlan],
) -> Result<Vec<Published>, Failure> {
    let mut published = Vec::new();
    for port in ports {
        let wanted = SocketAddrV4::new(address, port.published.unwrap_or(0));
        let failed = |why: String| {
            Failure::internal(format!(
                "driver failed programming external connectivity: cannot publish {wanted}: {why}"
            ))
        };
        let listener = pod.listen(wanted).await.map_err(|error| failed(chain(&error)))?;
        let local = listener.local_addr().map_err(|error| failed(error.to_string()))?;
        let end = CancellationToken::new();
        tokio::spawn(forward(
            pod.clone(),
            listener,
            SocketAddrV4::new(container, port.container),
            end.clone(),
        ));
        published.push(Published {
            container: port.container,
            published: local.port(),
            address,
            _listening: end.drop_guard(),
        });
    }
    Ok(published)
}

async fn forward(pod: Pod, listener: TcpListener, target: SocketAddrV4, end: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = listener.accept() => accepted,
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
            tracing::debug!(error = chain(&error), %target, "a published port leads nowhere yet");
            // A reset, as a closed port would answer.
            let _ = client.set_zero_linger();
        }
    }
}

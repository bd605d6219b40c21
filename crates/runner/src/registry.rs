//! The registry as a job sees it: one stable name, TLS, an address of the pod's own.
//!
//! 127.0.0.1 would be the job's own loopback, and Buildah and Skopeo refuse plain HTTP even there. So every pod gets
//! an address for the registry, answered by its DNS, and a certificate of the installation's authority whose root
//! lies where the tools look for it.

use crate::RunnerContext;
use crate::outcome::{Doing, JobError};
use shipway_container::Pod;
use shipway_registry::{Server, ServerOptions};
use std::net::{IpAddr, SocketAddrV4};
use tokio::task::JoinHandle;

const HTTPS: u16 = 443;

/// A registry that listens in a pod; it ends when this is dropped.
pub(crate) struct RegistryEndpoint {
    task: JoinHandle<()>,
}

impl RegistryEndpoint {
    /// Opens the registry's address in a pod.
    pub(crate) async fn open(context: &RunnerContext, pod: &Pod) -> Result<Self, JobError> {
        const DOING: &str = "opening the registry in the job's network";
        let (host, port) = host_and_port(context.registry_name.as_ref());
        let address = pod.reserve_address().doing(DOING)?;
        pod.add_name(&host, address);
        let identity = context
            .certificates
            .issue_server(&[host], &[IpAddr::V4(address)])
            .doing(DOING)?;
        let tls = identity.server_tls().doing(DOING)?;
        let listener = pod.listen(SocketAddrV4::new(address, port)).await.doing(DOING)?;
        let server = Server::new(context.authority.clone(), ServerOptions::default());
        let task = tokio::spawn(async move {
            if let Err(error) = server
                .serve(listener, Some(tls), std::future::pending::<()>())
                .await
            {
                tracing::warn!(error = %error, "the registry inside a job ended");
            }
        });
        Ok(Self { task })
    }
}

impl Drop for RegistryEndpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A registry's name without its port, and the port that clients connect to.
fn host_and_port(name: &str) -> (String, u16) {
    match name.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) => (host.to_owned(), port),
        _ => (name.to_owned(), HTTPS),
    }
}

/// Where tools look for the root of a registry's certificate: a directory per registry and family of tools.
pub(crate) fn trust_directories(context: &RunnerContext) -> [String; 2] {
    let name = &context.registry_name;
    [
        format!("/etc/docker/certs.d/{name}"),
        format!("/etc/containers/certs.d/{name}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_name_may_bring_its_port() {
        assert_eq!(
            host_and_port("registry.shipway.internal"),
            ("registry.shipway.internal".to_owned(), 443)
        );
        assert_eq!(
            host_and_port("registry.local:5000"),
            ("registry.local".to_owned(), 5000)
        );
    }
}

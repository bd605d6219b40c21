//! `shipway serve`: the registry over HTTP, on the data that `run` and `build` write.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use rustix::process::{Resource, getrlimit};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shipway_registry::server::Server;
use tokio::net::TcpListener;

use crate::arguments::listen_address;
use crate::failure::{Failure, FailureKind};
use crate::installation::Installation;
use crate::screen;

/// Serve the registry: docker, podman, skopeo and curl reach it
///
/// Prints the address once it accepts connections, and ends on Ctrl-C or SIGTERM after the requests under way.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen [default: registry.listen of the configuration, else 127.0.0.1:5000]
    #[arg(long, value_name = "ADDRESS:PORT", env = "SHIPWAY_LISTEN", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// The certificate chain, PEM; serves TLS together with --tls-key
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// Let anybody pull without logging in
    #[arg(long)]
    anonymous_pull: bool,
}

pub(crate) async fn execute(
    arguments: ServeArguments,
    installation: Installation,
) -> Result<ExitCode, Failure> {
    let address = arguments.listen.unwrap_or(installation.settings.registry.listen);
    let tls = match (&arguments.tls_certificate, &arguments.tls_key) {
        (Some(certificate), Some(key)) => Some(tls_configuration(certificate, key)?),
        _ => None,
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::caused(FailureKind::Place, &format!("listening on {address}"), &error)
            .hint("name another address with --listen")
    })?;
    let bound = listener
        .local_addr()
        .map_err(|error| Failure::caused(FailureKind::Place, "the address that was bound", &error))?;
    if !bound.ip().is_loopback() && tls.is_none() {
        screen::warning(
            "passwords cross the network unencrypted: serve TLS with --tls-certificate and --tls-key",
        );
    }
    if installation.store.users().is_ok_and(|users| users.is_empty()) {
        screen::warning("nobody can log in yet: add the first user with `shipway user add NAME`");
    }
    let mut authority = installation.authority.clone();
    if arguments.anonymous_pull || installation.settings.registry.anonymous_pull {
        authority = authority.with_anonymous_pull();
    }
    let limits = &installation.settings.registry.limits;
    if let Some(warning) = limits.connections.and_then(too_few_descriptors) {
        screen::warning(&warning);
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    screen::line(&format!("registry: {scheme}://{bound}"));
    Server::new(authority, limits.server())
        .serve(listener, tls, stop_signal())
        .await
        .map_err(|error| Failure::caused(FailureKind::Place, "serving the registry", &error))?;
    Ok(ExitCode::SUCCESS)
}

/// A connection takes a descriptor, and one more while a blob is sent or comes in.
fn too_few_descriptors(connections: NonZeroU32) -> Option<String> {
    let allowed = getrlimit(Resource::Nofile).current?;
    let needed = 2 * u64::from(connections.get());
    (allowed < needed).then(|| {
        format!(
            "`registry.limits.connections` is {connections}, for which up to {needed} files are open; this place allows \
             {allowed}: raise `ulimit -n`, or `LimitNOFILE` of the service"
        )
    })
}

/// Resolves at the first Ctrl-C or SIGTERM.
pub(crate) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            // Without a handler the default action ends the process, which is what was asked for.
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

fn tls_configuration(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, Failure> {
    let unreadable = |path: &Path, error: &(dyn std::error::Error + 'static)| {
        Failure::caused(FailureKind::Use, &format!("reading `{}`", path.display()), error)
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, &error))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut configuration = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key_der))
        .map_err(|error| Failure::caused(FailureKind::Use, "the certificate and its key", &error))?;
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(configuration))
}

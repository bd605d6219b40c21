//! Listening: connections, TLS, timeouts, the end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::paced_writes::{PacedWrites, in_small_steps};
use super::peers::Peers;
use super::{Origin, Scheme, Server, ServerOptions};

/// How long to wait when no connection can be accepted, for want of descriptors mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a server ended that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener has no address: it is no listener any more.
    #[error("the listener of the registry is not usable")]
    Listener {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Server {
    /// Serves a listener, with TLS if there is a configuration, until `shutdown` is ready; then lets requests under way
    /// come to their end, within a limit.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        shutdown: impl Future,
    ) -> Result<(), ServeError> {
        listener
            .local_addr()
            .map_err(|source| ServeError::Listener { source })?;
        let acceptor = tls.map(TlsAcceptor::from);
        let places = Arc::new(Semaphore::new(self.inner.options.max_connections));
        let peers = Peers::new(self.inner.options.max_connections_each);
        let graceful = GracefulShutdown::new();
        let closing = CancellationToken::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                _ = &mut shutdown => break,
                accepted = accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    let Some(of_peer) = peers.place(peer.ip()) else {
                        tracing::debug!(%peer, "an address has its share of all connections");
                        continue;
                    };
                    let (server, acceptor, watcher) = (self.clone(), acceptor.clone(), graceful.watcher());
                    let closing = closing.clone();
                    tokio::spawn(async move {
                        // Who has not asked for anything when the end comes is not waited for.
                        let opened = closing
                            .run_until_cancelled_owned(server.open(stream, acceptor))
                            .await;
                        if let Some(Some(opened)) = opened {
                            server.speak(opened, peer, watcher).await;
                        }
                        drop((place, of_peer));
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        closing.cancel();
        if timeout(self.inner.options.shutdown_timeout, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("requests were still under way when the registry stopped");
        }
        Ok(())
    }

    /// From a connection to one on which requests may come.
    async fn open(&self, stream: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<Opened> {
        let options = &self.inner.options;
        // Answers are small; waiting to fill a packet would cost more than it saves.
        let _ = stream.set_nodelay(true);
        in_small_steps(&stream);
        // A connection that never says a word must not hold its place: hyper's own limit starts with the first byte.
        timeout(options.header_timeout, stream.readable())
            .await
            .ok()?
            .ok()?;
        let Some(acceptor) = acceptor else {
            return Some(Opened::Plain(stream));
        };
        match timeout(options.handshake_timeout, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => return Some(Opened::Tls(Box::new(stream))),
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
        None
    }

    async fn speak(&self, opened: Opened, peer: SocketAddr, watcher: Watcher) {
        let from = |scheme| Origin {
            scheme,
            peer: Some(peer.ip()),
        };
        match opened {
            Opened::Plain(stream) => self.speak_over(stream, from(Scheme::Http), watcher).await,
            Opened::Tls(stream) => self.speak_over(stream, from(Scheme::Https), watcher).await,
        }
    }

    async fn speak_over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        origin: Origin,
        watcher: Watcher,
    ) {
        let server = self.clone();
        let options = &self.inner.options;
        let asked = Arc::new(AtomicBool::new(false));
        let asking = Arc::clone(&asked);
        let service = service_fn(move |mut request: Request<Incoming>| {
            asking.store(true, Ordering::Relaxed);
            let server = server.clone();
            request.extensions_mut().insert(origin);
            async move { Ok::<_, std::convert::Infallible>(server.handle(request).await) }
        });
        let builder = protocol(options);
        let stream = TokioIo::new(PacedWrites::new(stream, options));
        let connection = builder.serve_connection_with_upgrades(stream, service);
        let mut connection = pin!(watcher.watch(connection.into_owned()));
        // hyper's own limit begins when it knows the protocol: a first byte that may begin either would hold the place.
        let ended = match timeout(options.header_timeout, &mut connection).await {
            Ok(ended) => ended,
            Err(_) if asked.load(Ordering::Relaxed) => connection.await,
            Err(_) => return tracing::debug!("a connection asked for nothing in time"),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// A connection on which requests may come.
enum Opened {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A place first: with none free, the kernel's queue is where clients wait.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

fn protocol(options: &ServerOptions) -> Builder<TokioExecutor> {
    /// Enough for the layers of an image at once.
    const STREAMS: u32 = 128;
    /// A stream that uploads a layer over a long line needs room.
    const WINDOW: u32 = 2 * 1024 * 1024;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .keep_alive_interval(Some(options.header_timeout))
        .keep_alive_timeout(options.handshake_timeout);
    builder
}

//! Where clients come in: a Unix socket, plain TCP inside a pod, TLS with client certificates.
//!
//! Apart from what is answered: nothing here knows an endpoint. Binding is done before the future is returned, so that who
//! starts a job knows that its socket is there. A listener ends when the engine is closed; exchanges that were taken over
//! (attach, exec) end with their containers. A broken connection is nobody's error but its own.

mod socket;

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::certificates::TlsIdentity;
use crate::reply::Reply;
use socket::LONGEST_SOCKET_PATH;
pub(crate) use socket::{BoundSocket, bind_unix};

/// Connections at once over one listener; `docker` keeps a handful, a test suite some dozens.
const MOST_CONNECTIONS: usize = 256;
/// A client has this long to shake hands.
const PATIENCE: Duration = Duration::from_secs(30);
/// How every TLS connection begins: with a record that is a handshake.
const TLS_HANDSHAKE: u8 = 22;
/// What a daemon written in Go says to plain HTTP where it wants TLS. The docker CLI shows the last line.
const WANTS_TLS: &str = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
                         Client sent an HTTP request to an HTTPS server.\n";
/// How much of a request that is refused is read, so that the client gets to read why.
const MOST_OF_A_REFUSED_REQUEST: u64 = 1 << 20;

/// Why a listener could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The path does not fit in a socket address.
    #[error("the socket path {} is longer than {LONGEST_SOCKET_PATH} bytes: choose a shorter one", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody has that socket.
    #[error("an engine already answers on the socket {}", path.display())]
    Answered {
        /// The path.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is there and no socket: move it away", path.display())]
    InTheWay {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {action} the socket {}", path.display())]
    Socket {
        /// What was tried.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// What answers requests.
pub(crate) trait Answer: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;

    /// Something was seen of a client that is no request.
    fn observe(&self, observation: Observation);
}

/// What a listener sees of its clients, for whoever runs the engine. Told each time, from the task that serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Somebody connected to a Unix socket.
    SocketConnected,
    /// A client spoke HTTP without TLS to a port that wants TLS. It was told so.
    PlainToTls,
}

/// A listener of one of the kinds.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
    Tls(TcpListener, TlsAcceptor),
}

/// A connection that somebody made.
enum Accepted {
    Plain(Box<dyn Connection>),
    Tls(TcpStream, TlsAcceptor),
}

/// A connection of either kind.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

impl Listener {
    async fn accept(&self, answer: &impl Answer) -> io::Result<Accepted> {
        match self {
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                answer.observe(Observation::SocketConnected);
                Ok(Accepted::Plain(Box::new(stream)))
            }
            Listener::Tcp(listener) => Ok(Accepted::Plain(Box::new(accept_tcp(listener).await?))),
            Listener::Tls(listener, acceptor) => {
                Ok(Accepted::Tls(accept_tcp(listener).await?, acceptor.clone()))
            }
        }
    }
}

async fn accept_tcp(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    // Frames of a terminal are small and must not wait for each other.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

pub(crate) async fn bound(socket: BoundSocket, answer: impl Answer, closed: CancellationToken) {
    let BoundSocket { listener, claim } = socket;
    unix(listener, answer, closed).await;
    drop(claim);
}

pub(crate) async fn unix(listener: UnixListener, answer: impl Answer, closed: CancellationToken) {
    accept_loop(Listener::Unix(listener), answer, closed).await;
}

pub(crate) async fn tcp(listener: TcpListener, answer: impl Answer, closed: CancellationToken) {
    accept_loop(Listener::Tcp(listener), answer, closed).await;
}

pub(crate) async fn tls(
    listener: TcpListener,
    identity: TlsIdentity,
    answer: impl Answer,
    closed: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(identity.config());
    accept_loop(Listener::Tls(listener, acceptor), answer, closed).await;
}

async fn accept_loop(listener: Listener, answer: impl Answer, closed: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let accepted = tokio::select! {
            () = closed.cancelled() => return,
            accepted = listener.accept(&answer) => accepted,
        };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: they come back when connections end, and spinning helps nobody.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (answer, closed) = (answer.clone(), closed.clone());
        let place = Place {
            closed: closed.clone(),
            _permit: Arc::new(permit),
        };
        tokio::spawn(async move {
            let conversation = async {
                match accepted {
                    Accepted::Plain(stream) => converse(stream, answer, place).await,
                    Accepted::Tls(stream, acceptor) => {
                        match tokio::time::timeout(PATIENCE, secured(stream, acceptor, &answer)).await {
                            Ok(Ok(Some(stream))) => converse(stream, answer, place).await,
                            Ok(Ok(None)) => {}
                            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                            Err(_) => tracing::debug!("a TLS handshake took too long"),
                        }
                    }
                }
            };
            tokio::select! {
                () = closed.cancelled() => {}
                () = conversation => {}
            }
        });
    }
}

/// A connection after its handshake; none when the client speaks HTTP without TLS, which is said to both sides.
async fn secured(
    mut stream: TcpStream,
    acceptor: TlsAcceptor,
    answer: &impl Answer,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    if seen == 0 || first == [TLS_HANDSHAKE] {
        return acceptor.accept(stream).await.map(Some);
    }
    // Probes of ports send lines of their own; methods of HTTP are letters.
    if first[0].is_ascii_uppercase() {
        answer.observe(Observation::PlainToTls);
        stream.write_all(WANTS_TLS.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with bytes unread, the connection would be reset, and the client might never see the answer.
        let mut request = stream.take(MOST_OF_A_REFUSED_REQUEST);
        tokio::io::copy(&mut request, &mut tokio::io::sink()).await?;
    }
    Ok(None)
}

/// A connection's place among those that may be open, and the word to end. A connection that is taken over keeps its place: it
/// costs as much as before, and ends with the engine as well.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) closed: CancellationToken,
    _permit: Arc<OwnedSemaphorePermit>,
}

async fn converse<S>(stream: S, answer: impl Answer, place: Place)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        let answer = answer.clone();
        request.extensions_mut().insert(place.clone());
        async move { Ok::<_, Infallible>(answer.answer(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(None);
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection ended early");
    }
}

//! What one fetch may do, and the streams over which it does it.
//!
//! The library reports every failure of a stream as one of its own; the first of ours is kept beside it, so that a reader of
//! the error hears what happened and not where.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use shipway_registry::Client;
use tokio::runtime::Handle;

use super::error::GitError;
use super::limits;

/// A stream that says nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(60);

/// One fetch with all its submodules. Clones are the same fetch.
#[derive(Clone)]
pub(super) struct Passage {
    pub(super) client: Client,
    pub(super) runtime: Handle,
    watch: Arc<Watch>,
}

struct Watch {
    dropped: Arc<AtomicBool>,
    deadline: Instant,
    /// Bytes that may still be read before the next allowance.
    left: AtomicU64,
    failure: Mutex<Option<GitError>>,
}

/// Who asks, and of which server.
#[derive(Clone)]
pub(super) struct Login {
    /// The value of `Authorization`.
    pub(super) header: HeaderValue,
    /// What an address begins with for it to be sent there.
    pub(super) scope: String,
}

impl Passage {
    pub(super) fn new(client: Client, runtime: Handle, dropped: Arc<AtomicBool>) -> Self {
        Self {
            client,
            runtime,
            watch: Arc::new(Watch {
                dropped,
                deadline: Instant::now() + limits::TIME,
                left: AtomicU64::new(limits::TALK_BYTES),
                failure: Mutex::new(None),
            }),
        }
    }

    /// So many bytes may be read from now on.
    pub(super) fn allow(&self, bytes: u64) {
        self.watch.left.store(bytes, Ordering::Relaxed);
    }

    /// Takes note of bytes that were read.
    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        if self.watch.dropped.load(Ordering::Relaxed) {
            return Err(self.fail(GitError::Interrupted));
        }
        if Instant::now() > self.watch.deadline {
            return Err(self.fail(GitError::TooSlow));
        }
        let left = &self.watch.left;
        let subtract = |left: u64| left.checked_sub(bytes as u64);
        if left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract)
            .is_err()
        {
            return Err(self.fail(GitError::TooMuch {
                what: "bytes",
                most: limits::PACK_BYTES,
            }));
        }
        Ok(())
    }

    /// Keeps a failure, and gives what stands for it in a stream.
    pub(super) fn fail(&self, failure: GitError) -> io::Error {
        let message = failure.to_string();
        let mut slot = self.watch.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(failure);
        io::Error::other(message)
    }

    /// The failure behind one of the library's, or that one in its own words.
    pub(super) fn failure(&self, error: &(dyn std::error::Error + 'static)) -> GitError {
        let mut slot = self.watch.failure.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take().unwrap_or_else(|| GitError::Protocol {
            problem: shipway_oci::with_causes(error),
        })
    }

    /// A connection to a host under the egress policy.
    pub(super) fn connect(&self, host: &str, port: u16) -> Result<TcpStream, GitError> {
        let addresses = self
            .runtime
            .block_on(self.client.addresses(host, port))
            .map_err(|source| GitError::Connect {
                source: Box::new(source),
            })?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, SILENCE / 4) {
                Ok(stream) => {
                    let set = stream
                        .set_read_timeout(Some(SILENCE))
                        .and_then(|()| stream.set_write_timeout(Some(SILENCE)));
                    return match set {
                        Ok(()) => Ok(stream),
                        Err(source) => Err(GitError::Stream {
                            host: host.to_owned(),
                            source,
                        }),
                    };
                }
                Err(error) => last = error,
            }
        }
        Err(GitError::Stream {
            host: host.to_owned(),
            source: last,
        })
    }
}

/// A stream whose bytes are counted.
pub(super) struct Counted<S> {
    pub(super) stream: S,
    pub(super) passage: Passage,
}

impl<S: Read> Read for Counted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.passage.count(read)?;
        Ok(read)
    }
}

impl<S: Write> Write for Counted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

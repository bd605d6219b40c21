//! Writing at the pace that a client must keep.
//!
//! An answer waits in memory for as long as its client does not read it. So over each window in which a connection could
//! not be written to, a least number of bytes per second leaves; a connection that is slower ends with an error. Time in
//! which there is nothing to write, or in which we fetch it, is not counted.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::ServerOptions;

/// A connection and the pace at which it takes what is written.
pub(super) struct PacedWrites<S> {
    stream: S,
    least: u64,
    window: Duration,
    /// What left since the window began; none is open while the client keeps up.
    open: Option<Window>,
}

struct Window {
    end: Pin<Box<Sleep>>,
    left: u64,
}

impl<S> PacedWrites<S> {
    pub(super) fn new(stream: S, options: &ServerOptions) -> Self {
        Self {
            stream,
            least: options.least_bytes_per_second,
            window: options.body_timeout,
            open: None,
        }
    }

    /// Counts what a write came to. A window begins when the client must be waited for; one that ends with too little is an
    /// error.
    fn note(&mut self, written: Poll<u64>, cx: &mut Context<'_>) -> io::Result<()> {
        let length = self.window;
        if self.open.is_none() && written.is_ready() {
            return Ok(());
        }
        let fresh = || Window {
            end: Box::pin(sleep_until(Instant::now() + length)),
            left: 0,
        };
        let window = self.open.get_or_insert_with(fresh);
        if let Poll::Ready(bytes) = written {
            window.left += bytes;
        }
        let millis = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
        let least = (self.least.saturating_mul(millis) / 1000).max(1);
        // Who waits is woken by the end of the next window, too.
        while window.end.as_mut().poll(cx).is_ready() {
            if window.left < least {
                let problem = "the client takes the answer too slowly";
                return Err(io::Error::new(io::ErrorKind::TimedOut, problem));
            }
            *window = fresh();
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> PacedWrites<S> {
    fn paced(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(Pin::new(&mut self.stream), cx);
        match written {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(bytes)) => {
                self.note(Poll::Ready(bytes as u64), cx)?;
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => {
                self.note(Poll::Pending, cx)?;
                Poll::Pending
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for PacedWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PacedWrites<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.paced(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.paced(cx, |stream, cx| stream.poll_write_vectored(cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.paced(cx, |stream, cx| stream.poll_flush(cx).map_ok(|()| 0)));
        if flushed.is_ok() {
            // All has left: what comes next begins anew.
            self.open = None;
        }
        Poll::Ready(flushed.map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

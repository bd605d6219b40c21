//! Writing at the pace that a client must keep.
//!
//! An answer waits in memory for as long as its client does not read it. So over each window in which a connection could
//! not be written to, a least number of bytes per second leaves; a connection that is slower ends with an error. Time in
//! which there is nothing to write, or in which we fetch it, is not counted.
//!
//! What leaves is seen only when the kernel takes more. A TCP connection's buffer grows to megabytes and takes more when a third
//! of it is gone: a client twenty times as fast as it must be would let whole windows pass. [`in_small_steps`] bounds what
//! waits there unsent, and says nothing about what is on its way. A step may still come to some 100 kB, so that who is only
//! just fast enough may be taken for slow; who is three times as fast is not, with the windows that [`ServerOptions`] has.

mod pace;

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::ServerOptions;
use pace::Pace;

/// What may wait unsent in the kernel. It is asked to take more when half of it is sent.
const UNSENT: u32 = 32 << 10;

/// Has the kernel take more as soon as a little was sent. Where it cannot be asked to, slow clients are judged more harshly.
pub(super) fn in_small_steps(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_notsent_lowat(UNSENT) {
        tracing::debug!(%error, "what waits unsent in a connection is not bounded");
    }
}

/// A connection and the pace at which it takes what is written.
pub(super) struct PacedWrites<S> {
    stream: S,
    pace: Pace,
    /// Wakes who waits at the end of a window.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> PacedWrites<S> {
    pub(super) fn new(stream: S, options: &ServerOptions) -> Self {
        Self {
            stream,
            pace: Pace::new(options.least_bytes_per_second, options.body_timeout),
            alarm: None,
        }
    }

    /// Counts what a write came to.
    fn note(&mut self, mut written: Poll<u64>, cx: &mut Context<'_>) -> io::Result<()> {
        loop {
            let end = self
                .pace
                .note(written, Instant::now())
                .map_err(|slow| io::Error::new(io::ErrorKind::TimedOut, slow))?;
            let Some(end) = end else { return Ok(()) };
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(end)));
            if alarm.deadline() != end {
                alarm.as_mut().reset(end);
            }
            // Who waits is woken by the end of the next window, too.
            if alarm.as_mut().poll(cx).is_pending() {
                return Ok(());
            }
            written = Poll::Pending;
        }
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
            self.pace.rest();
        }
        Poll::Ready(flushed.map(drop))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;

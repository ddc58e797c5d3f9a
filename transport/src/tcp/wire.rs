//! [`Wire`]: what reader and writer need of a stream, plain or sealed by TLS.

use bytes::BufMut;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

/// The bytes that come in, read from one task.
pub(super) trait Source {
    /// Appends what is there to `space`; 0 at the end of the stream.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>>;
}

/// The bytes that go out, written from one task (the one that reads under TLS, where both
/// directions share a state).
pub(super) trait Wire {
    /// Takes a part of the slices.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// Gives the kernel what was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Ends the outgoing direction, after everything taken.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A socket, shared by the task that reads and the one that writes.
pub(super) struct Plain<'a>(pub(super) &'a TcpStream);

impl Source for Plain<'_> {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut space: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_read_buf(&mut space) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => ready!(self.0.poll_read_ready(cx))?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

/// The reading half of a socket that has its tasks. Unlike the socket itself it knows that a read
/// that did not fill its space has emptied the socket, and asks the kernel once per message.
impl Source for OwnedReadHalf {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut space: &mut dyn BufMut,
    ) -> Poll<io::Result<usize>> {
        pin!(self.read_buf(&mut space)).poll(cx)
    }
}

impl Wire for Plain<'_> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write_vectored(slices) {
                Err(e) if e.kind() == ErrorKind::WouldBlock => ready!(self.0.poll_write_ready(cx))?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        super::socket::shutdown(self.0, std::net::Shutdown::Write);
        Poll::Ready(())
    }
}

/// Gives up the rest of a turn: the executor looks at its sockets before this task goes on. Merely
/// waking the task would keep it among the ready ones, which tokio runs dozens of before it looks.
pub(super) fn yield_turn(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// Writes all of it, and flushes.
pub(super) async fn write_all(wire: &mut impl Wire, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = std::future::poll_fn(|cx| wire.poll_write(cx, &[IoSlice::new(rest)])).await?;
        if n == 0 {
            return Err(ErrorKind::WriteZero.into());
        }
        rest = &rest[n..];
    }
    std::future::poll_fn(|cx| wire.poll_flush(cx)).await
}

//! [`RecvStream`]: the receiving end of a byte stream.

use super::StreamError;
use crate::endpoint::{Core, PeerEntry};
use crate::mux::{RESET_ABANDONED, RESET_APPLICATION};
use crate::{Peer, StreamId};
use bytes::Bytes;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Receives one byte stream. Dropped before [`accept`](Self::accept), it tells the sender
/// `Abandoned`.
///
/// # Shape
/// Chunks of up to 64 KiB in order; `None` only after every byte came and total length and CRC-32
/// were verified. At most one window (1 MiB by default) waits here; taking chunks gives credit
/// back.
///
/// # Examples
/// ```
/// use quorate_transport::{RecvStream, StreamError};
///
/// async fn receive(mut stream: RecvStream) -> Result<Vec<u8>, StreamError> {
///     let mut all = Vec::new();
///     while let Some(chunk) = stream.chunk().await? {
///         all.extend_from_slice(&chunk);
///     }
///     stream.accept()?; // only now the sender's `finish` succeeds
///     Ok(all)
/// }
/// # let _ = receive;
/// ```
#[must_use = "dropping it tells the sender Abandoned"]
pub struct RecvStream {
    core: Arc<Core>,
    peer: Arc<PeerEntry>,
    from: Peer,
    id: StreamId,
    head: Bytes,
    over: bool,
}

impl RecvStream {
    pub(crate) const fn new(
        core: Arc<Core>,
        peer: Arc<PeerEntry>,
        from: Peer,
        id: StreamId,
        head: Bytes,
    ) -> Self {
        Self { core, peer, from, id, head, over: false }
    }

    /// What the sender said at the beginning.
    #[must_use]
    pub const fn head(&self) -> &Bytes {
        &self.head
    }

    /// Who sends.
    #[must_use]
    pub const fn from(&self) -> Peer {
        self.from
    }

    /// The next bytes; `None` once all came and were verified.
    ///
    /// # Errors
    /// [`StreamError`]: what came so far is not the whole stream.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, StreamError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// The next bytes, or `Pending` and the task is woken when some come.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk).
    pub fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamError>> {
        self.core.with(&self.peer, |mux| mux.poll_stream_chunk(self.id, cx.waker()))
    }

    /// Tells the sender that the stream was taken whole: its `finish` succeeds.
    ///
    /// # Errors
    /// [`StreamError::Unfinished`] before `chunk` gave `None`; else why the stream failed. After
    /// `Ok` the sender may still read `MaybeReceived`, if the session ends before it hears.
    pub fn accept(mut self) -> Result<(), StreamError> {
        self.over = true;
        self.core.with(&self.peer, |mux| mux.accept_stream(self.id))
    }

    /// Refuses the rest with a code of the application's own.
    pub fn reset(mut self, code: u16) {
        self.drop_with(RESET_APPLICATION + u32::from(code));
    }

    fn drop_with(&mut self, aux: u32) {
        if !std::mem::replace(&mut self.over, true) {
            self.core.with(&self.peer, |mux| mux.drop_stream(self.id, aux));
        }
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        self.drop_with(RESET_ABANDONED);
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream")
            .field("from", &self.from)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

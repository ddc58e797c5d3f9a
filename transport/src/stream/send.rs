//! [`SendStream`]: the sending end of a byte stream.

use super::{CHUNK_MAX, StreamError, StreamOptions};
use crate::endpoint::{Core, PeerEntry};
use crate::mux::{RESET_ABANDONED, RESET_APPLICATION};
use crate::{ChannelId, Frame, Kind, Lane, SendError, StreamId};
use bytes::Bytes;
use quorate_clocks::{Monotonic, Timer};
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

/// How soon a lane that is full for one channel only is asked again.
const CROWDED_PAUSE: Duration = Duration::from_millis(1);

/// Bytes of one turn, so that neighbours on the executor are not starved by a receiver that keeps
/// up. // H26
const TURN_BYTES: usize = 256 * 1024;
/// What a frame counts at least: tiny chunks cost a turn, too.
const FRAME_COST: usize = 1024;

/// Sends one byte stream on the Bulk lane. Dropped unfinished, it tells the receiver `Abandoned`.
///
/// # Shape
/// Chunks of any size, cut into frames of up to 64 KiB without a copy. At most the receiver's
/// window (1 MiB by default) is on its way or unread there.
///
/// # Cost
/// No copy; per frame two uncontended locks, one CRC over its bytes for the frame and one for the
/// whole stream. After 256 KiB or 256 frames without a pause, `send` yields once.
///
/// # Examples
/// ```
/// # #[cfg(feature = "tokio")] {
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use quorate_transport::*;
///
/// let network = MemoryNetwork::new();
/// let start = |n| {
///     let id = Identity::new(ClusterId::new(7), NodeId::new(n), Incarnation::new(1));
///     Endpoint::start(network.node(id), EndpointConfig::default())
/// };
/// let (a, b) = (start(1)?, start(2)?);
/// let id = ChannelId::new(16);
/// let (client, mut server) =
///     (a.channel(id, ChannelOptions::new())?, b.channel(id, ChannelOptions::new())?);
///
/// let mut out = client.open_stream(NodeId::new(2), "snapshot 7".into(), StreamOptions::new())?;
/// let receiver = async {
///     let Some(Inbound::Stream { mut stream, .. }) = server.recv().await else { panic!() };
///     assert_eq!(&stream.head()[..], b"snapshot 7");
///     let mut bytes = 0;
///     while let Some(chunk) = stream.chunk().await? {
///         bytes += chunk.len();
///     }
///     stream.accept()?;
///     Ok::<_, StreamError>(bytes)
/// };
/// let sender = async {
///     out.send(vec![7; 3 << 20].into()).await?;
///     out.finish().await
/// };
/// let (sent, received) = tokio::join!(sender, receiver);
/// sent?;
/// assert_eq!(received?, 3 << 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap() }
/// ```
#[must_use = "dropping it resets the stream"]
pub struct SendStream {
    core: Arc<Core>,
    peer: Arc<PeerEntry>,
    channel: ChannelId,
    id: StreamId,
    payload_checked: bool,
    stall_max: Duration,
    /// Taken and not sent yet.
    pending: Bytes,
    /// Cut off `pending` against credit, and perhaps refused by a full lane.
    next: Option<Frame>,
    taken: u64,
    /// Cost of the frames since the task last paused, over several `send`s.
    turn: usize,
    crc: crc32fast::Hasher,
    timer: Box<dyn Timer>,
    /// When the stream is given up unless something moves.
    give_up: Option<Monotonic>,
    over: bool,
}

impl SendStream {
    pub(crate) fn new(
        core: Arc<Core>,
        peer: Arc<PeerEntry>,
        channel: ChannelId,
        id: StreamId,
        payload_checked: bool,
        options: StreamOptions,
    ) -> Self {
        let timer = core.runtime().timer();
        Self {
            core,
            peer,
            channel,
            id,
            payload_checked,
            stall_max: options.stall_max,
            pending: Bytes::new(),
            next: None,
            taken: 0,
            turn: 0,
            crc: crate::crc::hasher(),
            timer,
            give_up: None,
            over: false,
        }
    }

    /// Bytes the stream has taken: what `send` returned `Ok` for, and perhaps the chunk of one
    /// `send` that was dropped.
    #[must_use]
    pub const fn taken_bytes(&self) -> u64 {
        self.taken
    }

    /// Sends a chunk; returns when all of it is with the transport.
    ///
    /// # Errors
    /// [`StreamError`]: the stream is over.
    ///
    /// # Cancel safety
    /// A chunk is taken whole or not at all: [`taken_bytes`](Self::taken_bytes) tells which. The
    /// rest of a chunk whose `send` was dropped goes before the next one, or with `finish`.
    pub async fn send(&mut self, chunk: Bytes) -> Result<(), StreamError> {
        self.give_up = None; // time counts while somebody waits
        poll_fn(|cx| self.poll_flush(cx)).await?;
        self.taken += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        self.pending = chunk;
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says that this was all, and waits until the receiver's application accepted it.
    ///
    /// # Errors
    /// [`StreamError::MaybeReceived`] if the session ended after the end was sent; else the
    /// receiver surely did not accept the stream.
    ///
    /// # Cancel safety
    /// Dropping it abandons the stream unless its end was sent already: then the receiver may still
    /// accept it.
    pub async fn finish(mut self) -> Result<(), StreamError> {
        self.give_up = None;
        poll_fn(|cx| self.poll_flush(cx)).await?;
        let mut body = [0; 16];
        body[..8].copy_from_slice(&self.taken.to_le_bytes());
        body[8..12].copy_from_slice(&self.crc.clone().finalize().to_le_bytes());
        let end = self.frame(Kind::StreamEnd).with_body(body.to_vec());
        poll_fn(|cx| self.poll_end(cx, &end)).await?;
        self.give_up = None;
        poll_fn(|cx| self.poll_done(cx)).await
    }

    /// Ends it unfinished with a code of the application's own.
    pub fn reset(mut self, code: u16) {
        self.drop_with(RESET_APPLICATION + u32::from(code));
    }

    fn frame(&self, kind: Kind) -> Frame {
        Frame::new(kind, self.channel).with_id(self.id.value())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let flushed = self.poll_pending(cx);
        if flushed.is_pending() {
            self.turn = 0;
        }
        flushed
    }

    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            if let Some(frame) = self.next.take() {
                let sent = self.poll_transmit(cx, &frame);
                if sent.is_pending() {
                    self.next = Some(frame);
                }
                ready!(sent)?;
                self.give_up = None;
            }
            if self.pending.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if self.turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.cut(cx)? {
                return self.poll_stalled(cx);
            }
        }
    }

    /// Cuts the next frame off `pending`, as far as there is credit. False: there is none. The
    /// credit is spent before the frame is sent: its receiver may grant it again at once.
    fn cut(&mut self, cx: &Context<'_>) -> Result<bool, StreamError> {
        let mut mux = self.peer.mux();
        let Poll::Ready(credit) = mux.poll_stream_credit(self.id, cx.waker()) else {
            return Ok(false);
        };
        let credit = usize::try_from(credit?).unwrap_or(usize::MAX);
        let bytes = self.pending.len().min(credit).min(CHUNK_MAX);
        mux.stream_sent(self.id, u64::try_from(bytes).unwrap_or(u64::MAX));
        drop(mux);
        self.turn += bytes.max(FRAME_COST);
        let piece = self.pending.split_to(bytes);
        self.crc.update(&piece); // piece by piece: a large chunk must not hold up the executor
        let frame = self.frame(Kind::StreamData).with_body(piece);
        self.next = Some(if self.payload_checked { frame.without_body_crc() } else { frame });
        Ok(true)
    }

    /// The end counts as sent before it is: the receiver may have it all, and the session may be
    /// over, before the transport returns. Refused, it was not sent.
    fn poll_end(&mut self, cx: &mut Context<'_>, end: &Frame) -> Poll<Result<(), StreamError>> {
        self.peer.mux().stream_ended(self.id, true);
        let sent = self.poll_transmit(cx, end);
        if !matches!(sent, Poll::Ready(Ok(()))) {
            self.peer.mux().stream_ended(self.id, false);
        }
        sent
    }

    /// One frame to the transport, once there is room for it.
    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_>,
        frame: &Frame,
    ) -> Poll<Result<(), StreamError>> {
        let transport = self.core.transport().clone();
        match transport.send(self.peer.node(), Lane::Bulk, frame.clone()) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(SendError::Full) => {}
            Err(error) => return Poll::Ready(Err(self.refused(error))),
        }
        match transport.poll_ready(self.peer.node(), Lane::Bulk, cx) {
            Poll::Pending => self.poll_stalled(cx),
            // Room for the lane, not for this channel, or just now: ask again shortly.
            Poll::Ready(_) => self.poll_pause(cx),
        }
    }

    /// Why the stream is over when the transport took no more of it.
    fn refused(&self, error: SendError) -> StreamError {
        match self.peer.mux().poll_stream_done(self.id, Waker::noop()) {
            Poll::Ready(Err(known)) => known,
            _ if error == SendError::Disconnected => StreamError::Disconnected,
            _ => StreamError::NotSent(error),
        }
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let verdict = self.peer.mux().poll_stream_done(self.id, cx.waker());
        if let Poll::Ready(verdict) = verdict {
            self.forget();
            return Poll::Ready(verdict);
        }
        match self.poll_stalled(cx) {
            // Its end is with the receiver.
            Poll::Ready(Err(StreamError::Stalled)) => {
                self.forget();
                Poll::Ready(Err(StreamError::MaybeReceived))
            }
            other => other,
        }
    }

    /// Pending, until nothing moved for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let at = self.give_up_at(self.core.runtime().now());
        self.timer.poll_at(at, cx).map(|()| Err(StreamError::Stalled))
    }

    /// Counted from the first moment without progress.
    fn give_up_at(&mut self, now: Monotonic) -> Monotonic {
        let stall_max = self.stall_max;
        *self.give_up.get_or_insert_with(|| now.saturating_add(stall_max))
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        let now = self.core.runtime().now();
        if self.give_up_at(now) <= now {
            return Poll::Ready(Err(StreamError::Stalled));
        }
        if self.timer.poll_at(now.saturating_add(CROWDED_PAUSE), cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn forget(&mut self) {
        self.drop_with(RESET_ABANDONED);
    }

    fn drop_with(&mut self, aux: u32) {
        if !std::mem::replace(&mut self.over, true) {
            self.core.with(&self.peer, |mux| mux.drop_own_stream(self.id, aux));
        }
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream")
            .field("id", &self.id)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

//! The reader of one connection.

use super::connection::Connection;
use super::shared::Shared;
use super::stream::reason_of;
use super::wire::{Source, yield_turn};
use crate::{Decoder, DownReason, Frame, FrameError, Kind};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// Frames of one turn, so that neighbours on the executor are not starved. // H26
const TURN_FRAMES: u32 = 256;
/// Bytes of one turn: what a heartbeat on another lane may have to wait for. // H14
const TURN_BYTES: usize = 64 * 1024;
/// Room for frames of a burst that a connection keeps while it is idle.
const BURST_KEPT: usize = 8;

/// Reads until the connection ends.
///
/// Bytes go from the stream into the decoder without a wait in between: dropping this loses nothing
/// of the stream but the connection. // H1
pub(super) struct Reader {
    shared: Arc<Shared>,
    conn: Arc<Connection>,
    decoder: Decoder,
    /// Decoded and not delivered yet.
    burst: Vec<Frame>,
}

enum Turn {
    /// The budget is used up.
    Spent,
    /// The stream has nothing more; the task is woken when it has.
    Dry,
    Over(DownReason),
}

#[derive(Default)]
struct Progress {
    frames: u32,
    bytes: usize,
}

impl Reader {
    pub(super) const fn new(shared: Arc<Shared>, conn: Arc<Connection>, decoder: Decoder) -> Self {
        Self { shared, conn, decoder, burst: Vec::new() }
    }

    /// Ready with the reason when the connection is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut impl Source,
    ) -> Poll<DownReason> {
        let skipped = self.decoder.skipped();
        let mut progress = Progress::default();
        let turn = self.turn(cx, wire, &mut progress);
        self.shared.counters.skipped.add(self.decoder.skipped() - skipped);
        if progress.bytes > 0 || progress.frames > 0 {
            self.conn.refill_inline();
            self.conn.activity.fetch_add(1, Ordering::Relaxed);
        }
        if progress.frames > 0
            && let Some(sink) = self.shared.sink.get()
        {
            sink.on_batch_end();
        }
        match turn {
            Turn::Spent => {
                yield_turn(cx);
                Poll::Pending
            }
            Turn::Dry => {
                self.burst.shrink_to(BURST_KEPT);
                if let Some(block) = self.decoder.take_idle_block() {
                    self.shared.pool.put(block);
                }
                Poll::Pending
            }
            Turn::Over(reason) => Poll::Ready(reason),
        }
    }

    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut impl Source,
        progress: &mut Progress,
    ) -> Turn {
        loop {
            // The kernel goes on handing out what it had received: of a life that is over nothing
            // more is delivered. // H13
            if self.conn.is_killed() {
                return Turn::Over(DownReason::Io(ErrorKind::NotConnected));
            }
            let over = self.decode_all(progress);
            self.deliver();
            if let Some(reason) = over {
                return Turn::Over(reason);
            }
            if progress.frames >= TURN_FRAMES {
                return Turn::Spent;
            }
            if progress.bytes >= TURN_BYTES {
                return Turn::Spent;
            }
            match poll_some(&self.shared, cx, wire, &mut self.decoder) {
                Poll::Pending => return Turn::Dry,
                // H22
                Poll::Ready(Ok(0)) => return Turn::Over(DownReason::Io(ErrorKind::UnexpectedEof)),
                Poll::Ready(Ok(n)) => progress.bytes += n,
                Poll::Ready(Err(error)) => return Turn::Over(reason_of(&error)),
            }
        }
    }

    /// Decodes what is there, as far as the turn goes; the reason if the connection is over.
    fn decode_all(&mut self, progress: &mut Progress) -> Option<DownReason> {
        while progress.frames < TURN_FRAMES {
            let frame = match self.decoder.decode() {
                Ok(frame) => frame?,
                Err(error) => return Some(self.violation(error)),
            };
            progress.frames += 1;
            if frame.kind == Kind::GoAway {
                let protocol = frame.aux == super::connection::GOAWAY_PROTOCOL;
                return Some(if protocol { DownReason::Protocol } else { DownReason::Closed });
            }
            if !frame.kind.is_allowed_on(self.conn.lane) {
                return Some(self.violation(FrameError::Malformed { what: "kind for this lane" }));
            }
            self.burst.push(frame);
        }
        None
    }

    /// All frames of a burst go to the sink together.
    fn deliver(&mut self) {
        if self.burst.is_empty() {
            return;
        }
        let conn = &self.conn;
        self.shared.counters.frames_in.add(u64::try_from(self.burst.len()).unwrap_or(u64::MAX));
        let frames = &mut self.burst.drain(..);
        if let Some(sink) = self.shared.sink.get() {
            sink.on_frames(conn.peer, conn.lane, conn.session, frames);
        }
    }

    fn violation(&self, error: FrameError) -> DownReason {
        self.shared.count_violation(error);
        let (peer, lane) = (self.conn.peer.node, self.conn.lane);
        if self.shared.may_warn(peer) {
            tracing::warn!(%peer, %lane, %error, "protocol violation");
        }
        DownReason::Protocol
    }
}

/// From the stream into the decoder.
pub(super) fn poll_some(
    shared: &Shared,
    cx: &mut Context<'_>,
    wire: &mut impl Source,
    decoder: &mut Decoder,
) -> Poll<io::Result<usize>> {
    if decoder.wants_block() {
        decoder.give_block(shared.pool.take());
    }
    let read = decoder.fill(|space| wire.poll_read(cx, space));
    if let Poll::Ready(Ok(n)) = read {
        shared.counters.bytes_in.add(u64::try_from(n).unwrap_or(u64::MAX));
    }
    read
}

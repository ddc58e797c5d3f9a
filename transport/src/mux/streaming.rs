//! The streams of a [`PeerMux`]: its methods about them, and small frames that found no room.

use super::streams::{Late, StreamId};
use super::{MuxEffect, MuxOutput, PeerMux};
use crate::{ChannelId, Frame, Kind, Lane, Peer, SendError, StreamError};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::collections::VecDeque;
use std::task::{Poll, Waker};
use std::time::Duration;

/// When a frame that found its lane full is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// Frames kept to be tried again; the streams they are about end by themselves beyond that.
const RETRIES_MAX: usize = 256;

/// Credit, verdicts and resets that found their lane full: a stream would stand still without.
#[derive(Debug, Default)]
pub(super) struct Retries {
    frames: VecDeque<(Lane, Frame)>,
    at: Option<Monotonic>,
}

impl Retries {
    pub(super) const fn at(&self) -> Option<Monotonic> {
        self.at
    }

    fn add(&mut self, now: Monotonic, lane: Lane, frame: Frame) -> bool {
        if self.frames.len() >= RETRIES_MAX {
            return false;
        }
        self.frames.push_back((lane, frame));
        self.at.get_or_insert_with(|| now.saturating_add(RETRY_AFTER));
        true
    }

    pub(super) fn run(&mut self, now: Monotonic, out: &mut MuxOutput) {
        if self.at.is_none_or(|at| at > now) {
            return;
        }
        self.at = None;
        for (lane, frame) in self.frames.drain(..) {
            out.push(MuxEffect::Send { lane, frame });
        }
    }
}

impl PeerMux {
    /// Opens a stream: the frame to send on Bulk.
    ///
    /// # Errors
    /// [`SendError::Full`] if too many streams to this peer are open.
    pub fn open_stream(
        &mut self,
        channel: ChannelId,
        head: Bytes,
    ) -> Result<(StreamId, Frame), SendError> {
        self.streams.open(channel, head).ok_or(SendError::Full)
    }

    /// The window the peer announced for its Bulk session: streams wait for it.
    pub fn set_stream_window(&mut self, bytes: u32) {
        self.streams.set_peer_window(bytes, &mut self.out);
    }

    /// Bytes of an own stream that may be sent now, at least one; or why it is over. Else keeps the
    /// waker.
    pub fn poll_stream_credit(
        &mut self,
        id: StreamId,
        waker: &Waker,
    ) -> Poll<Result<u64, StreamError>> {
        self.streams.poll_credit(id, waker)
    }

    /// Bytes of an own stream were accepted by the transport.
    pub fn stream_sent(&mut self, id: StreamId, bytes: u64) {
        self.stats.stream_bytes_out += bytes;
        self.streams.spent(id, bytes);
    }

    /// `StreamEnd` of an own stream is about to be sent, or was refused.
    pub fn stream_ended(&mut self, id: StreamId, yes: bool) {
        self.streams.ended(id, yes);
    }

    /// The receiver's verdict on a whole stream, once it is known. Else keeps the waker.
    pub fn poll_stream_done(
        &mut self,
        id: StreamId,
        waker: &Waker,
    ) -> Poll<Result<(), StreamError>> {
        self.streams.poll_done(id, waker)
    }

    /// Forgets an own stream; an unfinished one is reset with this `aux`.
    pub fn drop_own_stream(&mut self, id: StreamId, aux: u32) {
        self.streams.drop_outgoing(id, aux, &mut self.out);
    }

    /// Forgets an own stream whose `StreamOpen` the transport refused.
    pub fn forget_own_stream(&mut self, id: StreamId) {
        self.streams.forget_outgoing(id);
    }

    /// The next bytes of a stream that came in; `None` when all came and were verified. Else keeps
    /// the waker.
    pub fn poll_stream_chunk(
        &mut self,
        id: StreamId,
        waker: &Waker,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        self.streams.poll_chunk(id, waker, &mut self.out)
    }

    /// The component took a stream that came in, whole.
    ///
    /// # Errors
    /// [`StreamError`]: the sender does not learn of success.
    pub fn accept_stream(&mut self, id: StreamId) -> Result<(), StreamError> {
        self.streams.accept(id, &mut self.out)
    }

    /// Forgets a stream that came in and resets it with this `aux`.
    pub fn drop_stream(&mut self, id: StreamId, aux: u32) {
        self.streams.drop_incoming(id, aux, &mut self.out);
    }

    pub(super) fn handle_stream_frame(&mut self, from: Peer, lane: Lane, frame: Frame) {
        let (id, out) = (frame.id, &mut self.out);
        let found = match frame.kind {
            Kind::StreamOpen => {
                self.stats.inbound_streams += 1;
                if self.streams.handle_open(from, frame, out) { Ok(()) } else { Err(Late) }
            }
            Kind::StreamData => {
                let chunk = frame.body.into_bytes();
                self.stats.stream_bytes_in += u64::try_from(chunk.len()).unwrap_or(u64::MAX);
                self.streams.handle_data(id, chunk, out)
            }
            Kind::StreamCredit => self.streams.handle_credit(id, frame.aux, out),
            Kind::StreamEnd => self.streams.handle_end(id, &frame.body.into_bytes(), out),
            Kind::StreamDone => self.streams.handle_done(id, out),
            Kind::StreamReset => self.streams.handle_reset(id, lane, frame.aux, out),
            _ => Err(Late),
        };
        if found.is_err() {
            self.stats.late_frames += 1;
        }
    }

    /// A frame of [`MuxEffect::Send`] found its lane full. Whether it will be tried again.
    pub(crate) fn retry_later(&mut self, now: Monotonic, lane: Lane, frame: Frame) -> bool {
        self.retries.add(now, lane, frame)
    }
}

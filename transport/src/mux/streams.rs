//! Byte streams of one peer: credit, order, and an end that is verified.
//!
//! The sender's frames (`StreamOpen`, `StreamData`, `StreamEnd`, its `StreamReset`) travel on
//! Bulk, the receiver's (`StreamCredit`, `StreamDone`, its `StreamReset`) on Control: so the lane
//! of a `StreamReset` says which of the two sides of this node it is about. A stream dies with the
//! session of either.

mod incoming;
mod outgoing;

use super::{MuxEffect, MuxOutput};
use crate::{ChannelId, Frame, Kind, Lane, Peer, StreamError};
use bytes::Bytes;
use incoming::Incoming;
use outgoing::Outgoing;
use std::collections::BTreeMap;
use std::task::{Poll, Waker};

/// `aux` of a `StreamReset`: the receiver has no room for the stream.
pub(crate) const RESET_OVERLOADED: u32 = 1;
/// Nobody serves the channel.
pub(crate) const RESET_NO_HANDLER: u32 = 2;
/// The end did not match what came: bytes are missing, or there are too many.
pub(crate) const RESET_TRUNCATED: u32 = 3;
/// Its owner dropped it unfinished.
pub(crate) const RESET_ABANDONED: u32 = 4;
/// The end did not match what came: other bytes.
pub(crate) const RESET_CHECKSUM: u32 = 5;
/// The rules of credit or order were broken.
pub(crate) const RESET_FLOW: u32 = 6;
/// First code of an application.
pub(crate) const RESET_APPLICATION: u32 = 0x1_0000;

/// Names a stream of one sender; never used twice in its life.
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::StreamId::new(7).value(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// From the number on the wire.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// What the last call found wrong with the peer's use of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

#[derive(Debug)]
pub(super) struct Streams {
    /// Streams per direction.
    max: usize,
    /// What this node grants to each incoming stream.
    window: u64,
    /// What the peer grants to each of ours; 0 until its Bulk session is up.
    peer_window: u64,
    next_id: u64,
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: BTreeMap<u64, Incoming>,
}

fn frame(kind: Kind, channel: ChannelId, id: u64, aux: u32) -> Frame {
    Frame::new(kind, channel).with_id(id).with_aux(aux)
}

fn send(lane: Lane, frame: Frame) -> MuxEffect {
    MuxEffect::Send { lane, frame }
}

impl Streams {
    pub(super) fn new(max: u32, window: u32, seed: u64) -> Self {
        Self {
            max: usize::try_from(max).unwrap_or(usize::MAX),
            window: u64::from(window),
            peer_window: 0,
            next_id: seed,
            outgoing: BTreeMap::new(),
            incoming: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.outgoing.is_empty() && self.incoming.is_empty()
    }

    /// Whether a stream needs this lane: then its silence means something.
    pub(super) fn is_waiting_on(&self, lane: Lane) -> bool {
        lane != Lane::Data
            && (self.outgoing.values().any(Outgoing::is_live)
                || self.incoming.values().any(Incoming::is_live))
    }

    /// The window of the peer's Bulk session is known: streams opened before get theirs.
    pub(super) fn set_peer_window(&mut self, window: u32, out: &mut MuxOutput) {
        self.peer_window = u64::from(window);
        for stream in self.outgoing.values_mut() {
            stream.begin(self.peer_window, out);
        }
    }

    // Streams of this node.

    pub(super) fn open(&mut self, channel: ChannelId, head: Bytes) -> Option<(StreamId, Frame)> {
        if self.outgoing.len() >= self.max {
            return None;
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outgoing.insert(id, Outgoing::new(channel, self.peer_window));
        Some((StreamId(id), frame(Kind::StreamOpen, channel, id, 0).with_body(head)))
    }

    /// Bytes that may be sent now, at least one; or why none ever may.
    pub(super) fn poll_credit(
        &mut self,
        id: StreamId,
        waker: &Waker,
    ) -> Poll<Result<u64, StreamError>> {
        match self.outgoing.get_mut(&id.0) {
            Some(stream) => stream.poll_credit(waker),
            None => Poll::Ready(Err(StreamError::Disconnected)),
        }
    }

    pub(super) fn spent(&mut self, id: StreamId, bytes: u64) {
        if let Some(stream) = self.outgoing.get_mut(&id.0) {
            stream.spend(bytes);
        }
    }

    /// Whether `StreamEnd` may be with the receiver.
    pub(super) fn ended(&mut self, id: StreamId, yes: bool) {
        if let Some(stream) = self.outgoing.get_mut(&id.0) {
            stream.end(yes);
        }
    }

    /// The receiver's verdict, once it is known.
    pub(super) fn poll_done(
        &mut self,
        id: StreamId,
        waker: &Waker,
    ) -> Poll<Result<(), StreamError>> {
        match self.outgoing.get_mut(&id.0) {
            Some(stream) => stream.poll_done(waker),
            None => Poll::Ready(Err(StreamError::Disconnected)),
        }
    }

    /// The owner is gone: an unfinished stream tells the receiver so.
    pub(super) fn drop_outgoing(&mut self, id: StreamId, aux: u32, out: &mut MuxOutput) {
        if let Some(stream) = self.outgoing.remove(&id.0)
            && !stream.is_told()
        {
            out.push(send(Lane::Bulk, frame(Kind::StreamReset, stream.channel(), id.0, aux)));
        }
    }

    pub(super) fn forget_outgoing(&mut self, id: StreamId) {
        self.outgoing.remove(&id.0);
    }

    pub(super) fn handle_credit(
        &mut self,
        id: u64,
        bytes: u32,
        out: &mut MuxOutput,
    ) -> Result<(), Late> {
        let stream = self.outgoing.get_mut(&id).ok_or(Late)?;
        if !stream.grant(u64::from(bytes), out) {
            let reset = frame(Kind::StreamReset, stream.channel(), id, RESET_FLOW);
            out.push(send(Lane::Bulk, reset));
        }
        Ok(())
    }

    pub(super) fn handle_done(&mut self, id: u64, out: &mut MuxOutput) -> Result<(), Late> {
        let stream = self.outgoing.get_mut(&id).ok_or(Late)?;
        if stream.done(out) { Ok(()) } else { Err(Late) }
    }

    /// A frame of a stream was accepted by the transport and surely never left.
    pub(super) fn handle_unsent(&mut self, id: u64, out: &mut MuxOutput) {
        if let Some(stream) = self.outgoing.get_mut(&id) {
            stream.fail(StreamError::Disconnected, out);
        }
    }

    // Streams of the peer.

    /// A stream begins. What is refused is answered by a reset.
    pub(super) fn handle_open(&mut self, from: Peer, opened: Frame, out: &mut MuxOutput) -> bool {
        let (id, channel) = (opened.id, opened.channel);
        if self.incoming.contains_key(&id) {
            return false; // a second one with a living id is the peer's fault
        }
        let illegal = opened.body.len() > crate::stream::CHUNK_MAX;
        if illegal || self.incoming.len() >= self.max {
            let aux = if illegal { RESET_FLOW } else { RESET_OVERLOADED };
            let reset = frame(Kind::StreamReset, channel, id, aux);
            out.push(send(Lane::Control, reset));
            return true;
        }
        self.incoming.insert(id, Incoming::new(channel, self.window));
        let (id, head) = (StreamId(id), opened.body.into_bytes());
        out.push(MuxEffect::Stream { from, channel, id, head });
        true
    }

    pub(super) fn handle_data(
        &mut self,
        id: u64,
        chunk: Bytes,
        out: &mut MuxOutput,
    ) -> Result<(), Late> {
        let stream = self.incoming.get_mut(&id).ok_or(Late)?;
        let verdict = stream.data(chunk, out);
        Self::answer(stream.channel(), id, verdict, out)
    }

    pub(super) fn handle_end(
        &mut self,
        id: u64,
        body: &[u8],
        out: &mut MuxOutput,
    ) -> Result<(), Late> {
        let stream = self.incoming.get_mut(&id).ok_or(Late)?;
        let verdict = stream.end(body, out);
        Self::answer(stream.channel(), id, verdict, out)
    }

    fn answer(
        channel: ChannelId,
        id: u64,
        verdict: Result<(), Option<u32>>,
        out: &mut MuxOutput,
    ) -> Result<(), Late> {
        match verdict {
            Ok(()) => Ok(()),
            Err(None) => Err(Late),
            Err(Some(aux)) => {
                out.push(send(Lane::Control, frame(Kind::StreamReset, channel, id, aux)));
                Ok(())
            }
        }
    }

    /// On Bulk it is the sender's and about an incoming stream, on Control the receiver's.
    pub(super) fn handle_reset(
        &mut self,
        id: u64,
        lane: Lane,
        aux: u32,
        out: &mut MuxOutput,
    ) -> Result<(), Late> {
        let error = read_reset(aux);
        if lane == Lane::Bulk {
            let stream = self.incoming.get_mut(&id).ok_or(Late)?;
            if stream.reset(error, out) { Ok(()) } else { Err(Late) }
        } else {
            let stream = self.outgoing.get_mut(&id).ok_or(Late)?;
            if stream.reset(error, out) { Ok(()) } else { Err(Late) }
        }
    }

    /// The next bytes; `None` when all came and were verified.
    pub(super) fn poll_chunk(
        &mut self,
        id: StreamId,
        waker: &Waker,
        out: &mut MuxOutput,
    ) -> Poll<Result<Option<Bytes>, StreamError>> {
        let Some(stream) = self.incoming.get_mut(&id.0) else {
            return Poll::Ready(Err(StreamError::Disconnected));
        };
        let polled = stream.poll_chunk(waker);
        if let Some(grant) = stream.take_grant(self.window / 2) {
            let channel = stream.channel();
            out.push(send(Lane::Control, frame(Kind::StreamCredit, channel, id.0, grant)));
        }
        polled
    }

    /// The component took the whole stream.
    pub(super) fn accept(&mut self, id: StreamId, out: &mut MuxOutput) -> Result<(), StreamError> {
        let Some(stream) = self.incoming.remove(&id.0) else {
            return Err(StreamError::Disconnected);
        };
        let verdict = stream.verdict();
        let (kind, aux) = match &verdict {
            Ok(()) => (Kind::StreamDone, 0),
            Err(_) if stream.is_told() => return verdict,
            Err(_) => (Kind::StreamReset, RESET_ABANDONED),
        };
        out.push(send(Lane::Control, frame(kind, stream.channel(), id.0, aux)));
        verdict
    }

    /// The component does not want it (any more).
    pub(super) fn drop_incoming(&mut self, id: StreamId, aux: u32, out: &mut MuxOutput) {
        if let Some(stream) = self.incoming.remove(&id.0)
            && !stream.is_told()
        {
            let reset = frame(Kind::StreamReset, stream.channel(), id.0, aux);
            out.push(send(Lane::Control, reset));
        }
    }

    /// A session of Bulk or Control ended.
    pub(super) fn session_ended(&mut self, lane: Lane, out: &mut MuxOutput) {
        if lane == Lane::Data {
            return;
        }
        if lane == Lane::Bulk {
            self.peer_window = 0; // the next session says its own
        }
        self.fail_all(out);
    }

    /// The endpoint is shut down.
    pub(super) fn fail_all(&mut self, out: &mut MuxOutput) {
        for stream in self.outgoing.values_mut() {
            stream.session_ended(out);
        }
        for stream in self.incoming.values_mut() {
            stream.session_ended(out);
        }
    }
}

fn read_reset(aux: u32) -> StreamError {
    match aux {
        RESET_OVERLOADED => StreamError::Overloaded,
        RESET_NO_HANDLER => StreamError::NoHandler,
        RESET_TRUNCATED => StreamError::Truncated { expected: None, received: None },
        RESET_CHECKSUM => StreamError::Checksum,
        RESET_FLOW => StreamError::Flow,
        _ => match u16::try_from(aux.wrapping_sub(RESET_APPLICATION)) {
            Ok(code) => StreamError::Reset { code },
            // Abandoned, and codes of a later version.
            Err(_) => StreamError::Abandoned,
        },
    }
}

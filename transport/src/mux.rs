//! [`PeerMux`]: everything clever about one peer, without I/O, clock or randomness.

mod calls;
mod dedup;
mod inbound;
mod liveness;
mod output;
mod streaming;
mod streams;

pub use calls::CallId;
pub(crate) use dedup::{Dedup, DedupLimits, DedupStats, PREFIX, Prefix, Verdict};
pub use inbound::InboundCall;
pub use liveness::{LaneHealth, PeerHealth, PeerState};
pub use output::{MuxEffect, MuxOutput, MuxStats};
pub use streams::StreamId;
pub(crate) use streams::{RESET_ABANDONED, RESET_APPLICATION, RESET_NO_HANDLER, RESET_OVERLOADED};

use crate::{
    Body, CallError, Cause, ChannelId, EndpointConfig, Frame, Kind, Lane, LinkEvent, MaybeExecuted,
    NodeId, Peer, SendError, SessionId,
};
use bytes::Bytes;
use calls::Calls;
use inbound::Inbound;
use liveness::Liveness;
use quorate_clocks::Monotonic;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use streaming::Retries;
use streams::Streams;

/// `aux` of a Reject: the callee is full.
pub(crate) const OVERLOADED: u32 = 1;
/// `aux` of a Reject: nobody serves the channel.
pub(crate) const NO_HANDLER: u32 = 2;
/// `aux` of a Reject: the deadline had passed.
pub(crate) const EXPIRED: u32 = 3;
/// `aux` of a Reject: the responder was dropped.
pub(crate) const ABANDONED: u32 = 4;
/// `aux` of a Reject: another life of the callee may have executed it.
pub(crate) const RESTARTED: u32 = 5;
/// `aux` of a Reject: it may have been executed, the answer is not known any more.
pub(crate) const FORGOTTEN: u32 = 6;
/// First `aux` of a Reject that is the application's own.
pub(crate) const APPLICATION: u32 = 0x1_0000;

/// Calls, streams and liveness of one peer: a pure state machine.
///
/// Every method takes what happened and the time; what is to be done comes out of
/// [`drain`](Self::drain). The driver holds one lock around it and does the effects after letting
/// go of it.
///
/// # Examples
/// A call from one mux to another, carried by hand:
/// ```
/// use quorate_transport::*;
/// use quorate_clocks::Monotonic;
/// use std::task::{Poll, Waker};
/// use std::time::Duration;
///
/// let (now, session) = (Monotonic::ZERO, SessionId::new(1));
/// let peer = |n| Peer::new(NodeId::new(n), Incarnation::new(1), Role::Member);
/// let mut at_a = PeerMux::new(NodeId::new(2), EndpointConfig::default(), 1);
/// let mut at_b = PeerMux::new(NodeId::new(1), EndpointConfig::default(), 2);
/// let deadline = now.saturating_add(Duration::from_secs(1));
/// let channel = ChannelId::new(16);
/// let (id, frame) = at_a.call(now, channel, Lane::Data, b"ping".into(), deadline)?;
///
/// at_b.handle_frame(now, peer(1), Lane::Data, session, frame);
/// let mut out = MuxOutput::default();
/// at_b.drain(&mut out);
/// let Some(MuxEffect::Call { call, .. }) = out.pop() else { panic!() };
/// let answer = at_b.answer(now, &call, b"pong".into()).unwrap();
///
/// at_a.handle_frame(now, peer(2), Lane::Data, session, answer);
/// let Poll::Ready(Ok(body)) = at_a.poll_call(id, Waker::noop()) else { panic!() };
/// assert_eq!(&body[..], b"pong");
/// # Ok::<(), SendError>(())
/// ```
#[derive(Debug)]
pub struct PeerMux {
    node: NodeId,
    calls: Calls,
    inbound: Inbound,
    streams: Streams,
    retries: Retries,
    live: Liveness,
    out: MuxOutput,
    stats: MuxStats,
}

impl PeerMux {
    /// The mux of the peer `node`. `seed` makes call ids differ between two lives of this process.
    #[must_use]
    pub fn new(node: NodeId, config: EndpointConfig, seed: u64) -> Self {
        Self {
            node,
            calls: Calls::new(config.peer_calls_inflight_max, seed),
            inbound: Inbound::new(config.peer_calls_inflight_max),
            streams: Streams::new(config.peer_streams_max, config.stream_window_bytes, seed),
            retries: Retries::default(),
            live: Liveness::new(node, config),
            out: MuxOutput::default(),
            stats: MuxStats::default(),
        }
    }

    /// Takes a slot and makes the Call frame, which counts as sent from here on: follow with
    /// [`call_not_sent`](Self::call_not_sent) if the transport refuses it. A session of the lane
    /// that ends in between leaves the call `MaybeExecuted`, as nobody knows in which it went.
    ///
    /// # Errors
    /// [`SendError::Full`] if too many calls to this peer are in flight.
    pub fn call(
        &mut self,
        now: Monotonic,
        channel: ChannelId,
        lane: Lane,
        body: Body,
        deadline: Monotonic,
    ) -> Result<(CallId, Frame), SendError> {
        let id = self.calls.begin(lane, deadline).ok_or(SendError::Full)?;
        // The time that is left, not a point in time: clocks of two nodes differ. // H7
        let left = u32::try_from(deadline.since(now).as_millis()).unwrap_or(u32::MAX).max(1);
        let frame = Frame::new(Kind::Call, channel).with_id(id.value()).with_aux(left);
        Ok((id, frame.with_body(body)))
    }

    /// The transport refused the Call frame.
    pub fn call_not_sent(&mut self, id: CallId, error: SendError) {
        self.calls.finish(id, Err(CallError::NotSent(error)), &mut self.out);
    }

    /// The outcome, once; frees the slot. Else keeps the waker.
    pub fn poll_call(&mut self, id: CallId, waker: &Waker) -> Poll<Result<Bytes, CallError>> {
        self.calls.poll(id, waker)
    }

    /// The caller gave up: frees the slot and returns the Cancel to send, if the call is out.
    #[must_use]
    pub fn cancel(&mut self, id: CallId) -> Option<(Lane, Frame)> {
        let (lane, channel) = (self.calls.cancel(id)?, ChannelId::ENDPOINT);
        // The same lane, hence behind the call in the same FIFO. // H8
        let wrong = crate::mutant::on("cancel_on_another_lane");
        let lane = if wrong { Lane::ALL[(lane.index() + 1) % 3] } else { lane };
        Some((lane, Frame::new(Kind::Cancel, channel).with_id(id.value())))
    }

    /// Ends every waiting call as `MaybeExecuted`, and every stream.
    pub fn fail_all(&mut self, cause: Cause) {
        let maybe = self.maybe(cause);
        self.calls.fail_all(maybe, &mut self.out);
        self.streams.fail_all(&mut self.out);
    }

    /// A frame arrived.
    pub fn handle_frame(
        &mut self,
        now: Monotonic,
        from: Peer,
        lane: Lane,
        session: SessionId,
        frame: Frame,
    ) {
        self.live.heard(now, lane, frame.kind.is_application(), &mut self.out);
        match frame.kind {
            Kind::Message => self.out.push(MuxEffect::Message {
                from,
                lane,
                channel: frame.channel,
                body: frame.body.into_bytes(),
            }),
            Kind::Call => self.handle_call(now, from, lane, session, frame),
            Kind::Reply => {
                let outcome = Ok(frame.body.into_bytes());
                self.finish(frame.id, lane, outcome);
            }
            Kind::Reject => {
                let error = self.read_reject(frame.aux, frame.body.into_bytes());
                self.finish(frame.id, lane, Err(error));
            }
            Kind::Cancel => match self.inbound.cancel(frame.id, lane) {
                Some(call) => self.revoke(call),
                None => self.stats.late_frames += 1,
            },
            Kind::Ping => {
                let pong = Frame::new(Kind::Pong, ChannelId::ENDPOINT).with_id(frame.id);
                self.out.push(MuxEffect::Send { lane, frame: pong });
            }
            Kind::Pong => {
                if let Some(rtt) = self.live.pong(now, lane, frame.id, frame.aux) {
                    self.stats.rtt_us[bucket(rtt)] += 1;
                }
            }
            Kind::StreamOpen
            | Kind::StreamData
            | Kind::StreamCredit
            | Kind::StreamEnd
            | Kind::StreamDone
            | Kind::StreamReset => self.handle_stream_frame(from, lane, frame),
            // The rest never comes past the transport.
            Kind::Hello | Kind::HelloAck | Kind::GoAway => self.stats.late_frames += 1,
        }
    }

    fn handle_call(
        &mut self,
        now: Monotonic,
        from: Peer,
        lane: Lane,
        session: SessionId,
        mut frame: Frame,
    ) {
        self.stats.inbound_calls += 1;
        let reject = |call: &Frame, aux| {
            let frame = Frame::new(Kind::Reject, call.channel).with_id(call.id).with_aux(aux);
            MuxEffect::Send { lane, frame }
        };
        let body = std::mem::take(&mut frame.body).into_bytes();
        let Some((prefix, body)) = read_prefix(frame.flags, body) else {
            // Cut short by its maker: definite, nothing ran.
            self.stats.malformed_calls += 1;
            return self.out.push(reject(&frame, NO_HANDLER));
        };
        let call = InboundCall::new(&frame, from, lane, session, now, prefix);
        match self.inbound.insert(call) {
            inbound::Inserted::Yes(call) => {
                self.out.push(MuxEffect::Call { call, body });
            }
            inbound::Inserted::Full => {
                self.stats.inbound_overloaded += 1;
                self.out.push(reject(&frame, OVERLOADED));
            }
            // A live id used twice is the caller's fault; answering would end the first call.
            inbound::Inserted::Taken => self.stats.late_frames += 1,
        }
    }

    fn finish(&mut self, id: u64, lane: Lane, outcome: Result<Bytes, CallError>) {
        if !self.calls.answered(CallId::new(id), lane, outcome, &mut self.out) {
            self.stats.late_frames += 1; // H10
        }
    }

    fn read_reject(&self, aux: u32, detail: Bytes) -> CallError {
        use crate::Reject;
        match aux {
            OVERLOADED => CallError::Rejected(Reject::Overloaded),
            NO_HANDLER => CallError::Rejected(Reject::NoHandler),
            EXPIRED => CallError::Rejected(Reject::Expired),
            RESTARTED => CallError::MaybeExecuted(self.maybe(Cause::Restarted)),
            FORGOTTEN => CallError::MaybeExecuted(self.maybe(Cause::Forgotten)),
            _ => match u16::try_from(aux.wrapping_sub(APPLICATION)) {
                Ok(code) => CallError::Rejected(Reject::Application { code, detail }),
                // Abandoned, and codes of a later version: nothing is known about the handler.
                Err(_) => CallError::MaybeExecuted(self.maybe(Cause::Abandoned)),
            },
        }
    }

    fn maybe(&self, cause: Cause) -> MaybeExecuted {
        MaybeExecuted::new(cause, self.node, self.live.incarnation())
    }

    fn revoke(&mut self, call: Arc<InboundCall>) {
        self.stats.inbound_cancelled += 1;
        call.revoke(|waker| self.out.push(MuxEffect::Wake { waker }));
        self.out.push(MuxEffect::Revoked { call });
    }

    /// The Reply frame of a call, or `None` if it was revoked. Ends the call.
    #[must_use]
    pub fn answer(&mut self, now: Monotonic, call: &InboundCall, body: Body) -> Option<Frame> {
        let frame = self.end(now, call, Kind::Reply)?;
        Some(frame.with_body(body))
    }

    /// The transport refused the Reply frame as too large: the call waits for another answer.
    pub fn answer_not_sent(&mut self, call: Arc<InboundCall>) {
        self.inbound.restore(call);
    }

    /// The Reject frame of a call, or `None` if it was revoked. Ends the call.
    pub(crate) fn reject(
        &mut self,
        now: Monotonic,
        call: &InboundCall,
        aux: u32,
        detail: Bytes,
    ) -> Option<Frame> {
        let frame = self.end(now, call, Kind::Reject)?;
        Some(frame.with_aux(aux).with_body(detail))
    }

    /// The Reject frame of a call that is not executed, or `None` if it was revoked. Ends the call.
    /// A detail longer than 1 KiB is cut.
    #[must_use]
    pub fn refuse(
        &mut self,
        now: Monotonic,
        call: &InboundCall,
        reject: crate::Reject,
    ) -> Option<Frame> {
        use crate::Reject;
        let (aux, mut detail) = match reject {
            Reject::Overloaded => (OVERLOADED, Bytes::new()),
            Reject::NoHandler => (NO_HANDLER, Bytes::new()),
            Reject::Expired => (EXPIRED, Bytes::new()),
            Reject::Application { code, detail } => (APPLICATION + u32::from(code), detail),
        };
        detail.truncate(usize::try_from(crate::REJECT_DETAIL_MAX).unwrap_or(usize::MAX));
        self.reject(now, call, aux, detail)
    }

    /// The frame that tells a caller that its call may have been executed and is not answered, or
    /// `None` if it was revoked. Ends the call.
    #[must_use]
    pub fn abandon(&mut self, now: Monotonic, call: &InboundCall) -> Option<Frame> {
        self.reject(now, call, ABANDONED, Bytes::new())
    }

    fn end(&mut self, now: Monotonic, call: &InboundCall, kind: Kind) -> Option<Frame> {
        self.inbound.remove(call)?;
        let micros = u32::try_from(now.since(call.arrived()).as_micros()).unwrap_or(u32::MAX);
        let aux = if kind == Kind::Reply { micros } else { 0 };
        Some(Frame::new(kind, call.channel()).with_id(call.id()).with_aux(aux))
    }

    /// A link of this peer changed.
    pub fn handle_event(&mut self, now: Monotonic, event: &LinkEvent) {
        match event {
            LinkEvent::Up { peer, lane, session } => {
                self.live.up(now, *peer, *lane, *session, &mut self.out);
            }
            LinkEvent::Down { lane, session, reason, .. } => {
                self.live.down(now, *lane, *session, &mut self.out);
                // A replaced session was read to its end and its successor carries the answers.
                if *reason != crate::DownReason::Replaced {
                    let life = self.live.incarnation_on(*lane);
                    let maybe = MaybeExecuted::new(Cause::Disconnected, self.node, life);
                    self.calls.session_ended(*lane, maybe, &mut self.out); // H11
                    // An idempotent call goes on: its caller will ask again.
                    for call in self.inbound.take_lane(*lane) {
                        match call.prefix() {
                            None => self.revoke(call),
                            Some(_) => self.out.push(MuxEffect::Orphaned { call }),
                        }
                    }
                    self.streams.session_ended(*lane, &mut self.out);
                }
            }
            LinkEvent::Discovered { .. } | LinkEvent::DialFailed { .. } => {}
        }
    }

    /// A frame the transport had accepted surely never left.
    pub fn handle_unsent(&mut self, frame: &Frame) {
        match frame.kind {
            Kind::Call => {
                let error = if crate::mutant::on("unsent_as_maybe") {
                    CallError::MaybeExecuted(self.maybe(Cause::Disconnected))
                } else {
                    CallError::NotSent(SendError::Disconnected)
                };
                self.calls.finish(CallId::new(frame.id), Err(error), &mut self.out);
            }
            Kind::Message => self.stats.messages_unsent += 1,
            Kind::Ping => {
                self.live.ping_unsent(frame.id);
                self.stats.control_unsent += 1;
            }
            Kind::StreamOpen | Kind::StreamData | Kind::StreamEnd => {
                self.streams.handle_unsent(frame.id, &mut self.out);
            }
            _ => self.stats.control_unsent += 1,
        }
    }

    /// The earliest time [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Monotonic> {
        let all = [self.calls.poll_timeout(), self.live.poll_timeout(), self.retries.at()];
        all.into_iter().flatten().min()
    }

    /// Time passed. `written` is the lanes' [`written_bytes`](crate::LaneStatus), read before.
    pub fn handle_timeout(&mut self, now: Monotonic, written: [u64; 3]) {
        let maybe = self.maybe(Cause::Deadline);
        self.calls.expire(now, maybe, &mut self.out);
        self.retries.run(now, &mut self.out);
        let busy = Lane::ALL
            .map(|lane| self.calls.is_waiting_on(lane) || self.streams.is_waiting_on(lane));
        self.live.handle_timeout(now, written, busy, &mut self.out, &mut self.stats);
    }

    /// A frame of an application was sent on a lane: the lane is worth pinging for a while.
    pub fn note_sent(&mut self, now: Monotonic, lane: Lane) {
        self.live.sent(now, lane);
    }

    /// Begins to watch the peer: its Control lane is kept dialed and pinged.
    pub fn watch(&mut self, now: Monotonic) {
        self.live.watch(now, &mut self.out);
    }

    /// Ends one [`watch`](Self::watch).
    pub fn unwatch(&mut self, now: Monotonic) {
        self.live.unwatch(now, &mut self.out);
    }

    /// What is known about the peer.
    #[must_use]
    pub fn health(&self) -> PeerHealth {
        self.live.health()
    }

    /// Rises with each change of [`PeerHealth::state`] and incarnation.
    pub(crate) fn health_version(&self) -> u64 {
        self.live.version()
    }

    pub(crate) fn register_watcher(&mut self, waker: &Waker) {
        self.live.register(waker);
    }

    /// Nothing will change any more: whoever waits for a change looks again.
    pub(crate) fn wake_watchers(&mut self) {
        self.live.wake_watchers(&mut self.out);
    }

    /// Moves all effects to `out`, in order.
    pub fn drain(&mut self, out: &mut MuxOutput) {
        out.append(&mut self.out);
    }

    /// Whether there is anything to [`drain`](Self::drain).
    #[must_use]
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Counters.
    #[must_use]
    pub const fn stats(&self) -> MuxStats {
        self.stats
    }

    /// Whether forgetting this mux would lose nothing.
    pub(crate) fn is_disposable(&self) -> bool {
        self.calls.is_empty()
            && self.inbound.is_empty()
            && self.streams.is_empty()
            && self.live.is_quiet()
    }
}

/// The prefix of an idempotent call and the payload behind it.
fn read_prefix(flags: u8, body: Bytes) -> Option<(Option<Prefix>, Bytes)> {
    if flags & crate::frame::IDEMPOTENT == 0 {
        return Some((None, body));
    }
    let prefix = Prefix::decode(&body)?;
    Some((Some(prefix), body.slice(PREFIX..)))
}

/// Which counter of round-trip times: the bits of its microseconds.
fn bucket(rtt: Duration) -> usize {
    let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
    let bits = usize::try_from(u64::BITS - micros.leading_zeros()).unwrap_or(0);
    bits.min(MuxStats::default().rtt_us.len() - 1)
}

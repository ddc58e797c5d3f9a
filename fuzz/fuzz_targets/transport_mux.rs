//! Any sequence of frames, link events, local calls and time into a `PeerMux`: no panic, and the
//! books balance. A call of this node has exactly one outcome or was cancelled; a call of the peer
//! is ended exactly once, by an answer, by being revoked or, if it is idempotent, by the end of its
//! session; nothing is left when all is over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_transport::*;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

const PEER: NodeId = NodeId::new(2);
const CHANNEL: ChannelId = ChannelId::new(16);

/// The input, taken in small numbers.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> ControlFlow<(), u8> {
        let Some((byte, rest)) = self.0.split_first() else { return ControlFlow::Break(()) };
        self.0 = rest;
        ControlFlow::Continue(*byte)
    }

    fn lane(&mut self) -> ControlFlow<(), Lane> {
        ControlFlow::Continue(Lane::ALL[usize::from(self.byte()?) % 3])
    }

    fn body(&mut self) -> ControlFlow<(), Vec<u8>> {
        let len = usize::from(self.byte()?).min(self.0.len());
        let (body, rest) = self.0.split_at(len);
        self.0 = rest;
        ControlFlow::Continue(body.to_vec())
    }
}

struct Model {
    mux: PeerMux,
    now: Monotonic,
    /// Own calls without an outcome yet.
    waiting: Vec<CallId>,
    /// Calls of the peer that are not ended yet.
    held: Vec<Arc<InboundCall>>,
    /// Where the last session of each lane stands, and the next one's number.
    up: [Option<SessionId>; 3],
    sessions: u64,
    sent: BTreeSet<CallId>,
    revoked: u64,
}

impl Model {
    fn new() -> Self {
        let config = EndpointConfig::local().peer_calls_inflight_max(8).build();
        Self {
            mux: PeerMux::new(PEER, config.expect("within the ranges"), 7),
            now: Monotonic::ZERO,
            waiting: Vec::new(),
            held: Vec::new(),
            up: [None; 3],
            sessions: 0,
            sent: BTreeSet::new(),
            revoked: 0,
        }
    }

    fn peer() -> Peer {
        Peer::new(PEER, Incarnation::new(1), Role::Member)
    }

    fn step(&mut self, input: &mut Input<'_>) -> ControlFlow<()> {
        match input.byte()? % 12 {
            0..=2 => self.frame(input)?,
            3 => self.call(input)?,
            4 => {
                let pick = usize::from(input.byte()?);
                if let Some(id) = self.pick(pick) {
                    let _ = self.mux.cancel(id);
                    let again = self.mux.cancel(id);
                    assert!(again.is_none(), "a slot is freed once");
                    self.waiting.retain(|other| *other != id);
                }
            }
            5 => self.answer(input)?,
            6 => {
                let lane = input.lane()?;
                self.end(lane, DownReason::Closed);
                self.sessions += 1;
                let session = SessionId::new(self.sessions);
                self.up[lane.index()] = Some(session);
                let event = LinkEvent::Up { peer: Self::peer(), lane, session };
                self.mux.handle_event(self.now, &event);
            }
            7 => {
                let (lane, reason) = (input.lane()?, input.byte()?);
                let replaced = reason & 1 != 0;
                self.end(lane, if replaced { DownReason::Replaced } else { DownReason::Closed });
            }
            8 => {
                self.now = self.now.saturating_add(Duration::from_millis(input.byte()?.into()));
                self.mux.handle_timeout(self.now, [u64::from(input.byte()?); 3]);
                if let Some(next) = self.mux.poll_timeout() {
                    assert!(next > self.now, "a driver would spin");
                }
            }
            9 => {
                let frame = Frame::new(Kind::Call, CHANNEL).with_id(self.any_id(input)?);
                self.mux.handle_unsent(&frame);
            }
            10 => self.mux.watch(self.now),
            _ => self.mux.unwatch(self.now),
        }
        ControlFlow::Continue(())
    }

    fn pick(&self, pick: usize) -> Option<CallId> {
        (!self.waiting.is_empty()).then(|| self.waiting[pick % self.waiting.len()])
    }

    /// An id in use, one that was, or a small one.
    fn any_id(&self, input: &mut Input<'_>) -> ControlFlow<(), u64> {
        let byte = input.byte()?;
        let all: Vec<_> = self.sent.iter().collect();
        ControlFlow::Continue(match (byte & 3, all.len()) {
            (0, _) | (_, 0) => u64::from(byte >> 2),
            (_, n) => all[usize::from(byte >> 2) % n].value(),
        })
    }

    fn frame(&mut self, input: &mut Input<'_>) -> ControlFlow<()> {
        let Some(kind) = Kind::from_byte(input.byte()? % 17) else {
            return ControlFlow::Continue(());
        };
        let (lane, aux, id) = (input.lane()?, input.byte()?, self.any_id(input)?);
        // Small numbers, and codes of an application.
        let aux = u32::from(aux & 0x7f) | u32::from(aux >> 7) << 16;
        let mut frame = Frame::new(kind, CHANNEL).with_id(id).with_aux(aux);
        if matches!(kind, Kind::Call) {
            frame.flags = input.byte()? & 4;
        }
        let frame = frame.with_body(input.body()?);
        let session = self.up[lane.index()].unwrap_or(SessionId::new(0));
        if kind.is_allowed_on(lane) {
            self.mux.handle_frame(self.now, Self::peer(), lane, session, frame);
        }
        ControlFlow::Continue(())
    }

    fn call(&mut self, input: &mut Input<'_>) -> ControlFlow<()> {
        let (lane, how) = (input.lane()?, input.byte()?);
        let deadline = self.now.saturating_add(Duration::from_millis(u64::from(how >> 2) + 1));
        match self.mux.call(self.now, CHANNEL, lane, Body::empty(), deadline) {
            Ok((id, frame)) => {
                assert_eq!(frame.id, id.value());
                assert!(self.sent.insert(id), "an id is used once"); // H10
                self.waiting.push(id);
                match how & 3 {
                    0 => self.mux.call_not_sent(id, SendError::Full),
                    _ => {}
                }
            }
            Err(error) => {
                assert_eq!((error, self.waiting.len()), (SendError::Full, 8));
            }
        }
        ControlFlow::Continue(())
    }

    fn answer(&mut self, input: &mut Input<'_>) -> ControlFlow<()> {
        let pick = usize::from(input.byte()?);
        if self.held.is_empty() {
            return ControlFlow::Continue(());
        }
        let call = self.held.swap_remove(pick % self.held.len());
        let frame = self.mux.answer(self.now, &call, Body::empty());
        assert!(frame.is_some_and(|f| f.id == call.id()), "it was not revoked");
        let again = self.mux.answer(self.now, &call, Body::empty());
        assert!(again.is_none(), "one answer");
        ControlFlow::Continue(())
    }

    fn end(&mut self, lane: Lane, reason: DownReason) {
        if let Some(session) = self.up[lane.index()].take() {
            let event = LinkEvent::Down { node: PEER, lane, session, reason };
            self.mux.handle_event(self.now, &event);
        }
    }

    /// Takes effects and outcomes after each step.
    fn settle(&mut self) {
        let mut out = MuxOutput::default();
        self.mux.drain(&mut out);
        while let Some(effect) = out.pop() {
            match effect {
                MuxEffect::Call { call, .. } => {
                    assert!(!call.is_revoked());
                    self.held.push(call);
                }
                MuxEffect::Revoked { call } => {
                    assert!(call.is_revoked());
                    let at = self.held.iter().position(|held| Arc::ptr_eq(held, &call));
                    self.held.swap_remove(at.expect("revoked once, and never after its answer"));
                    self.revoked += 1;
                }
                // Its session ended, and it goes on without this try: no answer of it is due.
                MuxEffect::Orphaned { call } => {
                    assert!(!call.is_revoked());
                    let at = self.held.iter().position(|held| Arc::ptr_eq(held, &call));
                    let call = self.held.swap_remove(at.expect("a call that was not ended"));
                    assert!(self.mux.answer(self.now, &call, Body::empty()).is_none());
                }
                _ => {}
            }
        }
        let mux = &mut self.mux;
        self.waiting.retain(|id| match mux.poll_call(*id, Waker::noop()) {
            Poll::Ready(_) => {
                assert!(mux.poll_call(*id, Waker::noop()).is_pending(), "one outcome");
                assert!(mux.cancel(*id).is_none(), "a slot is freed once");
                false
            }
            Poll::Pending => true,
        });
        assert_eq!(self.mux.stats().inbound_cancelled, self.revoked);
    }

    fn finish(mut self) {
        for lane in Lane::ALL {
            // Frames may have come on lanes that never were up.
            self.up[lane.index()].get_or_insert(SessionId::new(u64::MAX));
            self.end(lane, DownReason::Closed);
        }
        self.mux.fail_all(Cause::Cancelled);
        self.settle();
        assert!(self.waiting.is_empty(), "every call has an outcome");
        assert!(self.held.is_empty(), "every call of the peer was ended");
        for _ in 0..8 {
            let call = self.mux.call(self.now, CHANNEL, Lane::Data, Body::empty(), self.now);
            assert!(call.is_ok(), "all slots are free again"); // H9
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let (mut model, mut input) = (Model::new(), Input(data));
    while model.step(&mut input).is_continue() {
        model.settle();
    }
    model.settle();
    model.finish();
});

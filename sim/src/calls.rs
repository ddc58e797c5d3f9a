//! Calls of sans-IO nodes, through the real [`PeerMux`], one for each peer.

use crate::machine::Machine;
use crate::world::Effect;
use crate::{Ctx, SimConfig};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use quorate_transport::{
    CallError, CallId, ChannelId, Frame, Kind, Lane, LinkEvent, MuxEffect, MuxOutput, NodeId, Peer,
    PeerMux, Reject, SendError, SessionId,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

type Revocable = Arc<quorate_transport::InboundCall>;

/// Names a call of this node, for its outcome.
///
/// # Examples
/// See [`Ctx::call`].
/// ```
/// fn same(a: quorate_sim::CallToken, b: quorate_sim::CallToken) -> bool {
///     a == b
/// }
/// # let _ = same;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallToken(u64);

/// A call that came in; dropped unanswered, its caller learns that it may have been executed.
///
/// # Examples
/// See [`Node::on_call`](crate::Node::on_call).
/// ```
/// fn is_late(call: &quorate_sim::InboundCall, now: quorate_sim::Monotonic) -> bool {
///     call.is_cancelled() || now >= call.deadline()
/// }
/// # let _ = is_late;
/// ```
#[derive(Debug)]
#[must_use = "dropping it answers MaybeExecuted(Abandoned)"]
pub struct InboundCall {
    call: Revocable,
    /// Calls that were dropped, for the world to answer after the handler.
    dropped: Rc<RefCell<Vec<Revocable>>>,
    answered: bool,
}

impl InboundCall {
    /// When its caller gives up, by this node's clock.
    #[must_use]
    pub fn deadline(&self) -> Monotonic {
        self.call.deadline()
    }

    /// Whether its caller gave up, or its session ended.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_revoked()
    }

    /// Who calls.
    #[must_use]
    pub fn from(&self) -> Peer {
        self.call.from()
    }

    fn take(mut self) -> Revocable {
        self.answered = true;
        Arc::clone(&self.call)
    }
}

impl Drop for InboundCall {
    fn drop(&mut self) {
        if !self.answered {
            self.dropped.borrow_mut().push(Arc::clone(&self.call));
        }
    }
}

/// The calls of one life of a node.
#[derive(Debug, Default)]
pub(crate) struct CallBook {
    muxes: BTreeMap<NodeId, PeerMux>,
    waiting: BTreeMap<(NodeId, u64), CallToken>,
    last: u64,
    dropped: Rc<RefCell<Vec<Revocable>>>,
    out: MuxOutput,
}

/// What the book has for its node or for the network.
#[derive(Debug)]
pub(crate) enum CallWork {
    Send { to: NodeId, lane: Lane, frame: Frame },
    Reset { to: NodeId, lane: Lane },
    Call { from: Peer, channel: ChannelId, body: Bytes, call: InboundCall },
    Ended { token: CallToken, result: Result<Bytes, CallError> },
}

impl CallBook {
    fn mux(
        &mut self,
        peer: NodeId,
        config: &SimConfig,
        seed: impl FnOnce() -> u64,
    ) -> &mut PeerMux {
        let mux = || PeerMux::new(peer, config.calls, seed());
        self.muxes.entry(peer).or_insert_with(mux)
    }

    /// A frame that is no plain message.
    pub(crate) fn handle_frame(
        &mut self,
        now: Monotonic,
        config: &SimConfig,
        seed: impl FnOnce() -> u64,
        arrived: (Peer, Lane, SessionId, Frame),
    ) -> Vec<CallWork> {
        let (from, lane, session, frame) = arrived;
        let answered = matches!(frame.kind, Kind::Reply | Kind::Reject).then_some(frame.id);
        self.mux(from.node, config, seed).handle_frame(now, from, lane, session, frame);
        let mut work = self.drain(from.node);
        if let Some(id) = answered {
            self.poll_one(from.node, id, &mut work);
        }
        work
    }

    pub(crate) fn handle_link(&mut self, now: Monotonic, event: &LinkEvent) -> Vec<CallWork> {
        let Some(peer) = event.node() else { return Vec::new() };
        let Some(mux) = self.muxes.get_mut(&peer) else { return Vec::new() };
        mux.handle_event(now, event);
        self.all_of(peer)
    }

    pub(crate) fn handle_unsent(&mut self, to: NodeId, frames: &[Frame]) -> Vec<CallWork> {
        let Some(mux) = self.muxes.get_mut(&to) else { return Vec::new() };
        frames.iter().for_each(|frame| mux.handle_unsent(frame));
        self.all_of(to)
    }

    /// Runs what is due; `written` says how far each lane has come.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Monotonic,
        mut written: impl FnMut(NodeId) -> [u64; 3],
    ) -> Vec<CallWork> {
        let is_due = |mux: &PeerMux| mux.poll_timeout().is_some_and(|at| at <= now);
        let due = self.muxes.iter().filter(|(_, mux)| is_due(mux)).map(|(peer, _)| *peer);
        let due: Vec<NodeId> = due.collect();
        let mut work = Vec::new();
        for peer in due {
            let written = written(peer);
            if let Some(mux) = self.muxes.get_mut(&peer) {
                mux.handle_timeout(now, written);
            }
            work.extend(self.all_of(peer));
        }
        work
    }

    pub(crate) fn poll_timeout(&self) -> Option<Monotonic> {
        self.muxes.values().filter_map(PeerMux::poll_timeout).min()
    }

    /// Whether the node dropped calls that it has not answered.
    pub(crate) fn has_abandoned(&self) -> bool {
        !self.dropped.borrow().is_empty()
    }

    /// Answers to calls that the node dropped.
    pub(crate) fn abandoned(&mut self, now: Monotonic) -> Vec<CallWork> {
        let dropped = std::mem::take(&mut *self.dropped.borrow_mut());
        let mut work = Vec::new();
        for call in dropped {
            let (to, lane) = (call.from().node, call.lane());
            let frame = self.muxes.get_mut(&to).and_then(|mux| mux.abandon(now, &call));
            work.extend(frame.map(|frame| CallWork::Send { to, lane, frame }));
        }
        work
    }

    fn all_of(&mut self, peer: NodeId) -> Vec<CallWork> {
        let mut work = self.drain(peer);
        let from = (peer, 0);
        let ids: Vec<u64> =
            self.waiting.range(from..=(peer, u64::MAX)).map(|((_, id), _)| *id).collect();
        ids.into_iter().for_each(|id| self.poll_one(peer, id, &mut work));
        work
    }

    fn poll_one(&mut self, peer: NodeId, id: u64, work: &mut Vec<CallWork>) {
        let Some(token) = self.waiting.get(&(peer, id)).copied() else { return };
        let Some(mux) = self.muxes.get_mut(&peer) else { return };
        if let Poll::Ready(result) = mux.poll_call(CallId::new(id), Waker::noop()) {
            self.waiting.remove(&(peer, id));
            work.push(CallWork::Ended { token, result });
        }
    }

    fn drain(&mut self, peer: NodeId) -> Vec<CallWork> {
        let Some(mux) = self.muxes.get_mut(&peer) else { return Vec::new() };
        mux.drain(&mut self.out);
        let mut work = Vec::new();
        while let Some(effect) = self.out.pop() {
            match effect {
                MuxEffect::Send { lane, frame } => {
                    work.push(CallWork::Send { to: peer, lane, frame });
                }
                MuxEffect::Reset { lane } => work.push(CallWork::Reset { to: peer, lane }),
                MuxEffect::Call { call, body } => {
                    let (from, channel) = (call.from(), call.channel());
                    let dropped = Rc::clone(&self.dropped);
                    let call = InboundCall { call, dropped, answered: false };
                    work.push(CallWork::Call { from, channel, body, call });
                }
                // Plain messages do not come here, and nobody opens streams; who was revoked says
                // so itself, and nobody sleeps.
                _ => {}
            }
        }
        work
    }
}

pub(crate) fn begin(
    ctx: &mut Ctx<'_>,
    to: NodeId,
    lane: Lane,
    channel: ChannelId,
    body: Bytes,
    deadline: Duration,
) -> CallToken {
    let now = ctx.now();
    let until = now.saturating_add(deadline);
    let known = ctx.world.place(to);
    let (config, machine) = ctx.world.config_and_machine(ctx.place);
    let token = machine.calls.next_token();
    if machine.id == to || known.is_none() {
        let self_addressed = machine.id == to;
        let error = if self_addressed { SendError::SelfAddressed } else { SendError::UnknownPeer };
        fail(ctx, token, error);
        return token;
    }
    let Machine { calls, call_seeds, .. } = machine;
    let mux = calls.mux(to, config, || call_seeds.word());
    let (id, frame) = match mux.call(now, channel, lane, body.into(), until) {
        Ok(made) => made,
        Err(error) => {
            fail(ctx, token, error);
            return token;
        }
    };
    calls.waiting.insert((to, id.value()), token);
    if let Err(error) = ctx.send_frame(to, lane, frame) {
        let calls = &mut ctx.world.machine_mut(ctx.place).calls;
        calls.waiting.remove(&(to, id.value()));
        if let Some(mux) = calls.muxes.get_mut(&to) {
            mux.call_not_sent(id, error);
            // The outcome is told below; this frees the slot.
            let _ = mux.poll_call(id, Waker::noop());
        }
        fail(ctx, token, error);
    } else {
        let calls = &mut ctx.world.machine_mut(ctx.place).calls;
        if let Some(mux) = calls.muxes.get_mut(&to) {
            mux.note_sent(now, lane);
        }
    }
    token
}

impl CallBook {
    /// Of this life of a node: its tokens differ from those of every other.
    pub(crate) fn of_life(life: u64) -> Self {
        Self { last: life << 40, ..Self::default() }
    }

    const fn next_token(&mut self) -> CallToken {
        self.last += 1;
        CallToken(self.last)
    }
}

/// The outcome comes after the handler that made the call, as every outcome does.
fn fail(ctx: &mut Ctx<'_>, token: CallToken, error: SendError) {
    let at = ctx.true_time();
    let error = CallError::NotSent(error);
    ctx.world.effect(at, ctx.place, Effect::CallFailed { token: token.0, error });
}

impl CallToken {
    pub(crate) const fn new(value: u64) -> Self {
        Self(value)
    }
}

pub(crate) fn cancel(ctx: &mut Ctx<'_>, token: CallToken) {
    let calls = &mut ctx.world.machine_mut(ctx.place).calls;
    let found = calls.waiting.iter().find(|(_, of)| **of == token).map(|(key, _)| *key);
    let Some((to, id)) = found else { return };
    calls.waiting.remove(&(to, id));
    let frame = calls.muxes.get_mut(&to).and_then(|mux| mux.cancel(CallId::new(id)));
    if let Some((lane, frame)) = frame {
        // Refused, the callee answers what nobody waits for.
        let _ = ctx.send_frame(to, lane, frame);
    }
}

pub(crate) fn reply(ctx: &mut Ctx<'_>, call: InboundCall, body: Bytes) {
    let (now, call) = (ctx.now(), call.take());
    let mux = ctx.world.machine_mut(ctx.place).calls.muxes.get_mut(&call.from().node);
    let frame = mux.and_then(|mux| mux.answer(now, &call, body.into()));
    answer(ctx, &call, frame);
}

pub(crate) fn reject(ctx: &mut Ctx<'_>, call: InboundCall, code: u16) {
    let (now, call) = (ctx.now(), call.take());
    let reject = Reject::Application { code, detail: Bytes::new() };
    let mux = ctx.world.machine_mut(ctx.place).calls.muxes.get_mut(&call.from().node);
    let frame = mux.and_then(|mux| mux.refuse(now, &call, reject));
    answer(ctx, &call, frame);
}

fn answer(ctx: &mut Ctx<'_>, call: &quorate_transport::InboundCall, frame: Option<Frame>) {
    let Some(frame) = frame else { return }; // nobody waits for it any more
    let (to, lane) = (call.from().node, call.lane());
    // Refused, the caller learns by its deadline or by the end of the session.
    let _ = ctx.send_frame(to, lane, frame);
}

/// Runs the timeouts of all calls of a node.
pub(crate) fn run_timeouts(
    world: &mut crate::world::World,
    place: u32,
    now: Monotonic,
) -> Vec<CallWork> {
    let mut calls = std::mem::take(&mut world.machine_mut(place).calls);
    let work = calls.handle_timeout(now, |peer| {
        let Some(to) = world.place(peer) else { return [0; 3] };
        Lane::ALL.map(|lane| world.net.lock().status(place, to, lane).written_bytes)
    });
    world.machine_mut(place).calls = calls;
    work
}

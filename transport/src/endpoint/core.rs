//! What endpoint, channels and replies share; the sink of the transport.

use super::OpenError;
use super::counters::{Counters, add};
use super::discovery::Dials;
use super::sink::EndpointSink;
use super::timers::{Timers, drive};
use crate::inbox::{Inbox, Item, Pushed};
use crate::mux::{ABANDONED, EXPIRED, NO_HANDLER, OVERLOADED};
use crate::{
    Body, CallError, CallId, CallOptions, Cause, ChannelId, ChannelOptions, EndpointConfig,
    EndpointStats, Frame, Identity, InboundCall, Lane, LinkEvent, MuxEffect, MuxOutput, MuxStats,
    NodeId, Peer, PeerHealth, PeerMux, Reply, Runtime, SendError, SessionId, StartError, Transport,
};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Waker;

/// Peers an endpoint keeps state for.
const PEERS_MAX: usize = 65_536;
/// Channels open at once.
const CHANNELS_MAX: usize = 256;
/// Session of calls to oneself, which no transport uses.
const LOOPBACK: SessionId = SessionId::new(0);

#[derive(Debug)]
pub(crate) struct PeerEntry {
    node: NodeId,
    mux: Mutex<PeerMux>,
    /// Earliest time this peer has in the heap; `u64::MAX`: none.
    scheduled: AtomicU64,
}

impl PeerEntry {
    pub(crate) fn mux(&self) -> MutexGuard<'_, PeerMux> {
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lock order: peer table → one peer's mux → one inbox. No lock is held across a call of the
/// transport or of a waker.
pub(crate) struct Core {
    transport: Arc<dyn Transport>,
    runtime: Arc<dyn Runtime>,
    config: EndpointConfig,
    identity: Identity,
    peers: RwLock<BTreeMap<NodeId, Arc<PeerEntry>>>,
    channels: RwLock<BTreeMap<ChannelId, Arc<Inbox>>>,
    timers: Timers,
    dials: Dials,
    /// Components to wake at the end of the burst.
    woken: Mutex<Vec<Waker>>,
    any_woken: AtomicBool,
    closed: AtomicBool,
    inflight: AtomicU64,
    counters: Counters,
    /// Of muxes that were disposed of.
    past: Mutex<MuxStats>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(super) fn start(
        transport: Arc<dyn Transport>,
        runtime: Arc<dyn Runtime>,
        config: EndpointConfig,
    ) -> Result<Arc<Self>, StartError> {
        let core = Arc::new(Self {
            identity: transport.identity(),
            transport,
            runtime,
            config,
            peers: RwLock::default(),
            channels: RwLock::default(),
            timers: Timers::default(),
            dials: Dials::default(),
            woken: Mutex::default(),
            any_woken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            inflight: AtomicU64::new(0),
            counters: Counters::default(),
            past: Mutex::default(),
        });
        let weak = Arc::downgrade(&core);
        core.transport.start(Arc::new(EndpointSink::new(weak.clone())))?;
        let timer = core.runtime.timer();
        core.runtime.spawn("endpoint timers", Box::pin(drive(weak, timer)));
        Ok(core)
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    pub(super) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Counters of all peers, also of those that were disposed of.
    pub(super) fn mux_stats(&self) -> MuxStats {
        let mut sum = *lock(&self.past);
        let peers: Vec<_> = {
            let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
            peers.values().cloned().collect()
        };
        peers.iter().for_each(|peer| add(&mut sum, peer.mux().stats()));
        sum
    }

    pub(super) fn stats(&self) -> EndpointStats {
        self.counters.snapshot(self.mux_stats(), self.inflight.load(Ordering::Acquire))
    }

    pub(super) fn dials(&self) -> &Dials {
        &self.dials
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn known(&self, node: NodeId) -> Option<Arc<PeerEntry>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// The peer's entry, made if there is room. // H27
    fn peer(&self, node: NodeId) -> Option<Arc<PeerEntry>> {
        if let Some(peer) = self.known(node) {
            return Some(peer);
        }
        let seed = self.runtime.seed();
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= PEERS_MAX {
            let mut past = lock(&self.past);
            peers.retain(|_, peer| {
                // An entry somebody holds is about to be used: it stays.
                let mux = peer.mux();
                let goes = Arc::strong_count(peer) == 1 && mux.is_disposable();
                if goes {
                    add(&mut past, mux.stats());
                }
                !goes
            });
            if peers.len() >= PEERS_MAX {
                self.counters.peers_overflow.add(1);
                return None;
            }
        }
        let entry = peers.entry(node).or_insert_with(|| {
            Arc::new(PeerEntry {
                node,
                mux: Mutex::new(PeerMux::new(node, self.config, seed)),
                scheduled: AtomicU64::new(u64::MAX),
            })
        });
        Some(entry.clone())
    }

    /// Changes a peer's mux, then does what came out of it without the lock.
    pub(super) fn with<R>(&self, peer: &PeerEntry, change: impl FnOnce(&mut PeerMux) -> R) -> R {
        let mut out = MuxOutput::default();
        let mut mux = peer.mux();
        let result = change(&mut mux);
        mux.drain(&mut out);
        let next = mux.poll_timeout();
        drop(mux);
        self.schedule(peer, next);
        self.perform(peer, out);
        result
    }

    fn schedule(&self, peer: &PeerEntry, next: Option<Monotonic>) {
        let Some(next) = next else { return };
        if next.as_nanos() < peer.scheduled.fetch_min(next.as_nanos(), Ordering::AcqRel) {
            self.timers.add(next, peer.node);
        }
    }

    /// Runs all deadlines that have passed.
    pub(super) fn fire(&self) {
        let now = self.runtime.now();
        while let Some(node) = self.timers.pop_due(now) {
            let Some(peer) = self.known(node) else { continue };
            peer.scheduled.store(u64::MAX, Ordering::Release);
            let written = Lane::ALL.map(|lane| self.transport.lane(node, lane).written_bytes);
            self.with(&peer, |mux| mux.handle_timeout(now, written));
        }
    }

    fn perform(&self, peer: &PeerEntry, mut out: MuxOutput) {
        while let Some(effect) = out.pop() {
            match effect {
                MuxEffect::Send { lane, frame } => self.send_control(peer.node, lane, frame),
                MuxEffect::Message { from, lane, channel, body } => {
                    self.deliver(channel, Item::Message { from, lane, body });
                }
                MuxEffect::Call { call, body } => {
                    self.deliver(call.channel(), Item::Call { call, body });
                }
                MuxEffect::Revoked { call } => {
                    if let Some(inbox) = self.inbox(call.channel()) {
                        inbox.remove(&call);
                    }
                }
                MuxEffect::Wake { waker } => waker.wake(),
                MuxEffect::Reset { lane } => self.transport.reset(peer.node, lane),
            }
        }
    }

    /// Answers, cancels and pings: nobody waits for their fate, so a failure is only counted.
    fn send_control(&self, to: NodeId, lane: Lane, frame: Frame) {
        if self.transmit(to, lane, frame).is_err() {
            self.counters.control_unsent.add(1);
        }
    }

    /// To the transport, or straight back for this node itself. // H32
    fn transmit(&self, to: NodeId, lane: Lane, mut frame: Frame) -> Result<(), SendError> {
        if to != self.identity.node {
            return self.transport.send(to, lane, frame);
        }
        self.transport.limits().check(lane, frame.body.len())?;
        frame.body = frame.body.into_bytes().into();
        let me = Peer::new(to, self.identity.incarnation, self.identity.role);
        self.handle_frame(me, lane, LOOPBACK, frame);
        self.wake_components();
        Ok(())
    }

    fn inbox(&self, channel: ChannelId) -> Option<Arc<Inbox>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(&channel).cloned()
    }

    fn deliver(&self, channel: ChannelId, item: Item) {
        let Some(inbox) = self.inbox(channel) else {
            self.counters.unknown_channel.add(1);
            return self.refuse(item, NO_HANDLER);
        };
        match inbox.push(item) {
            Pushed::Taken(waker) => self.wake_later(waker),
            Pushed::Full(item) => {
                match &item {
                    Item::Call { .. } => self.counters.inbound_overloaded.add(1),
                    Item::Message { .. } | Item::Link(_) => self.counters.inbox_dropped.add(1),
                }
                self.refuse(item, OVERLOADED);
            }
            Pushed::Closed(item) => {
                self.counters.unknown_channel.add(1);
                self.refuse(item, NO_HANDLER);
            }
        }
    }

    fn refuse(&self, item: Item, aux: u32) {
        if let Item::Call { call, .. } = item {
            self.reject(&call, aux, Bytes::new());
        }
    }

    /// Frames for a peer without an entry came back.
    pub(super) fn count_unsent(&self, messages: u64) {
        lock(&self.past).messages_unsent += messages;
    }

    pub(super) fn count_unsent_at_shutdown(&self) {
        self.counters.unsent_at_shutdown.add(1);
    }

    fn wake_later(&self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            lock(&self.woken).push(waker);
            self.any_woken.store(true, Ordering::Release);
        }
    }

    pub(super) fn wake_components(&self) {
        if self.any_woken.swap(false, Ordering::AcqRel) {
            let woken = std::mem::take(&mut *lock(&self.woken));
            woken.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn handle_frame(&self, from: Peer, lane: Lane, session: SessionId, frame: Frame) {
        let Some(peer) = self.peer(from.node) else { return };
        let now = self.runtime.now();
        self.with(&peer, |mux| mux.handle_frame(now, from, lane, session, frame));
    }

    // Calls and messages of this node.

    pub(crate) fn send_message(
        &self,
        channel: ChannelId,
        payload_checked: bool,
        to: NodeId,
        lane: Lane,
        body: Body,
    ) -> Result<(), SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        if to == self.identity.node {
            return Err(SendError::SelfAddressed);
        }
        let mut frame = Frame::message(channel, body);
        if payload_checked {
            frame = frame.without_body_crc();
        }
        self.transport.send(to, lane, frame)?;
        if let Some(peer) = self.known(to) {
            let now = self.runtime.now();
            self.with(&peer, |mux| mux.note_sent(now, lane));
        }
        Ok(())
    }

    pub(crate) fn call(
        self: &Arc<Self>,
        channel: ChannelId,
        payload_checked: bool,
        to: NodeId,
        body: Body,
        options: CallOptions,
    ) -> Reply {
        match self.begin_call(channel, payload_checked, to, body, options) {
            Ok((peer, id)) => Reply::waiting(self.clone(), peer, id),
            Err(error) => {
                self.counters.calls_not_sent.add(1);
                Reply::failed(CallError::NotSent(error))
            }
        }
    }

    fn begin_call(
        &self,
        channel: ChannelId,
        payload_checked: bool,
        to: NodeId,
        body: Body,
        options: CallOptions,
    ) -> Result<(Arc<PeerEntry>, CallId), SendError> {
        if self.is_closed() {
            return Err(SendError::Closed);
        }
        let peer = self.peer(to).ok_or(SendError::Full)?;
        let max = u64::from(self.config.calls_inflight_max);
        if self.inflight.fetch_add(1, Ordering::AcqRel) >= max {
            self.inflight.fetch_sub(1, Ordering::AcqRel); // H16
            return Err(SendError::Full);
        }
        let now = self.runtime.now();
        let deadline = now.saturating_add(options.within.min(self.config.deadline_max));
        let lane = options.lane;
        let begun = self.with(&peer, |mux| {
            mux.note_sent(now, lane);
            mux.call(now, channel, lane, body, deadline)
        });
        let (id, mut frame) = begun.inspect_err(|_| {
            self.inflight.fetch_sub(1, Ordering::AcqRel);
        })?;
        if payload_checked {
            frame = frame.without_body_crc();
        }
        match self.transmit(to, lane, frame) {
            Ok(()) => self.with(&peer, |mux| mux.call_sent(id)),
            Err(error) => self.with(&peer, |mux| mux.call_not_sent(id, error)),
        }
        // Shut down meanwhile: whoever came too late for `fail_all` fails itself.
        if self.is_closed() {
            self.with(&peer, |mux| mux.fail_all(Cause::Cancelled));
        }
        Ok((peer, id))
    }

    pub(crate) fn call_finished(&self, outcome: &Result<Bytes, CallError>) {
        self.inflight.fetch_sub(1, Ordering::AcqRel);
        match outcome {
            Ok(_) => self.counters.calls_ok.add(1),
            Err(CallError::NotSent(_)) => self.counters.calls_not_sent.add(1),
            Err(CallError::Rejected(_)) => self.counters.calls_rejected.add(1),
            Err(CallError::MaybeExecuted(_)) => self.counters.calls_maybe.add(1),
        }
    }

    /// The future exists only after the call's `send` returned, so the Cancel is behind it. // H8
    pub(crate) fn cancel_call(&self, peer: &PeerEntry, id: CallId) {
        self.inflight.fetch_sub(1, Ordering::AcqRel);
        self.counters.calls_cancelled.add(1);
        if let Some((lane, frame)) = self.with(peer, |mux| mux.cancel(id)) {
            self.send_control(peer.node, lane, frame);
        }
    }

    // Calls of others.

    /// Whether a component may have this call: not revoked, not expired.
    pub(crate) fn take_call(&self, call: &Arc<InboundCall>) -> bool {
        if call.is_revoked() {
            return false;
        }
        if call.deadline() <= self.runtime.now() {
            self.counters.inbound_expired.add(1);
            self.reject(call, EXPIRED, Bytes::new());
            return false;
        }
        true
    }

    pub(crate) fn answer(&self, call: &Arc<InboundCall>, body: Body) -> Result<(), SendError> {
        if let Err(error) = self.transport.limits().check(call.lane(), body.len()) {
            self.reject(call, ABANDONED, Bytes::new()); // or the caller would wait in vain
            return Err(error);
        }
        let peer = self.known(call.node()).ok_or(SendError::Disconnected)?;
        let now = self.runtime.now();
        let frame = self.with(&peer, |mux| mux.answer(now, call, body));
        self.transmit(call.node(), call.lane(), frame.ok_or(SendError::Disconnected)?)
    }

    pub(crate) fn reject(&self, call: &Arc<InboundCall>, aux: u32, detail: Bytes) {
        let Some(peer) = self.known(call.node()) else { return };
        let now = self.runtime.now();
        if let Some(frame) = self.with(&peer, |mux| mux.reject(now, call, aux, detail)) {
            self.send_control(call.node(), call.lane(), frame);
        }
    }

    // Channels.

    pub(super) fn open_channel(
        &self,
        id: ChannelId,
        options: ChannelOptions,
    ) -> Result<Arc<Inbox>, OpenError> {
        if id == ChannelId::ENDPOINT {
            return Err(OpenError::Reserved);
        }
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return Err(OpenError::Closed);
        }
        if channels.contains_key(&id) {
            return Err(OpenError::Taken);
        }
        if channels.len() >= CHANNELS_MAX {
            return Err(OpenError::TooMany);
        }
        let (messages, bytes) = (self.config.inbox_messages_max, self.config.inbox_bytes_max);
        let inbox = Arc::new(Inbox::new(id, options.links, messages, bytes));
        channels.insert(id, inbox.clone());
        Ok(inbox)
    }

    pub(crate) fn close_channel(&self, inbox: &Arc<Inbox>) {
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.get(&inbox.channel).is_some_and(|open| Arc::ptr_eq(open, inbox)) {
            channels.remove(&inbox.channel);
        }
        drop(channels);
        let (items, waker) = inbox.close();
        items.into_iter().for_each(|item| self.refuse(item, NO_HANDLER));
        waker.into_iter().for_each(Waker::wake);
    }

    // Links and liveness.

    pub(super) fn handle_event(&self, event: &LinkEvent) {
        match event {
            LinkEvent::Discovered { dial, peer, .. } => self.dials.answered(*dial, Ok(*peer)),
            LinkEvent::DialFailed { dial, reason } => self.dials.answered(*dial, Err(*reason)),
            LinkEvent::Up { .. } | LinkEvent::Down { .. } => {}
        }
        let Some(node) = event.node() else { return };
        if let Some(peer) = self.peer(node) {
            let now = self.runtime.now();
            self.with(&peer, |mux| mux.handle_event(now, event));
        }
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let inboxes: Vec<_> = channels.values().filter(|inbox| inbox.links).cloned().collect();
        drop(channels);
        for inbox in inboxes {
            if let Pushed::Taken(waker) = inbox.push(Item::Link(event.clone())) {
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    pub(super) fn watch(&self, node: NodeId) -> Option<Arc<PeerEntry>> {
        let peer = self.peer(node)?;
        let now = self.runtime.now();
        self.with(&peer, |mux| mux.watch(now));
        Some(peer)
    }

    pub(super) fn unwatch(&self, peer: &PeerEntry) {
        let now = self.runtime.now();
        self.with(peer, |mux| mux.unwatch(now));
    }

    pub(super) fn health(&self, node: NodeId) -> PeerHealth {
        match self.known(node) {
            Some(peer) => peer.mux().health(),
            None => PeerMux::new(node, self.config, 0).health(),
        }
    }

    // End.

    pub(super) fn begin_shutdown(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        self.timers.close();
        let peers: Vec<_> = {
            let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
            peers.values().cloned().collect()
        };
        for peer in peers {
            self.with(&peer, |mux| mux.fail_all(Cause::Cancelled));
        }
        let inboxes = {
            let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *channels)
        };
        for inbox in inboxes.into_values() {
            let (items, waker) = inbox.close();
            items.into_iter().for_each(|item| self.refuse(item, NO_HANDLER));
            waker.into_iter().for_each(Waker::wake);
        }
        self.dials.wake_all();
    }

    pub(super) fn unsent_at_shutdown(&self) -> u64 {
        self.counters.unsent_at_shutdown.value()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.timers.close();
    }
}

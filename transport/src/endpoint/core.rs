//! What endpoint, channels and replies share; the sink of the transport.

use super::OpenError;
use super::counters::{Counters, add};
use super::discovery::Dials;
use super::sink::EndpointSink;
use super::timers::{Timers, drive};
use crate::inbox::{Inbox, Item, Pushed};
use crate::mux::{Dedup, DedupLimits, NO_HANDLER, OVERLOADED, RESET_NO_HANDLER, RESET_OVERLOADED};
use crate::{
    Cause, ChannelId, ChannelOptions, EndpointConfig, EndpointStats, Frame, Identity, Kind, Lane,
    LinkEvent, MuxEffect, MuxOutput, MuxStats, NodeId, Peer, PeerHealth, PeerMux, Runtime,
    SendError, SessionId, StartError, Transport,
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
const RELAXED: Ordering = Ordering::Relaxed;
/// Outputs kept for reuse.
const OUTPUTS_MAX: usize = 8;
/// Session of calls to oneself, which no transport uses.
const LOOPBACK: SessionId = SessionId::new(0);

#[derive(Debug)]
pub(crate) struct PeerEntry {
    node: NodeId,
    mux: Mutex<PeerMux>,
    /// The time at which the heap's entry for this peer counts; `u64::MAX`: none does.
    scheduled: AtomicU64,
    /// Lanes on which this node sent since the peer's last deadline was run.
    talked: [AtomicBool; 3],
}

/// What a change of a mux leaves to be done without its lock.
struct Todo {
    timer: Option<Monotonic>,
    out: Option<MuxOutput>,
}

impl PeerEntry {
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn mux(&self) -> MutexGuard<'_, PeerMux> {
        self.mux.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lock order: peer table → one peer's mux → one inbox. No lock is held across a call of the
/// transport or of a waker.
pub(crate) struct Core {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) config: EndpointConfig,
    pub(super) identity: Identity,
    peers: RwLock<BTreeMap<NodeId, Arc<PeerEntry>>>,
    channels: RwLock<BTreeMap<ChannelId, Arc<Inbox>>>,
    timers: Timers,
    dials: Dials,
    /// Outputs between two uses: a burst allocates none.
    outputs: Mutex<Vec<MuxOutput>>,
    /// Components to wake at the end of the burst.
    woken: Mutex<Vec<Waker>>,
    any_woken: AtomicBool,
    closed: AtomicBool,
    pub(super) inflight: AtomicU64,
    pub(super) counters: Counters,
    dedup: Mutex<Dedup>,
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
        // What a transport announces is what its streams get.
        let config = config.with_stream_window(transport.limits().stream_window_bytes);
        let core = Arc::new(Self {
            identity: transport.identity(),
            peers: RwLock::default(),
            channels: RwLock::default(),
            timers: Timers::default(),
            dials: Dials::default(),
            outputs: Mutex::default(),
            woken: Mutex::default(),
            any_woken: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            inflight: AtomicU64::new(0),
            counters: Counters::default(),
            dedup: Mutex::new(Dedup::new(transport.identity().incarnation, dedup_limits(config))),
            past: Mutex::default(),
            transport,
            runtime,
            config,
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

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
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
        peers.iter().for_each(|peer| add(&mut sum, &peer.mux().stats()));
        sum
    }

    pub(super) fn stats(&self) -> EndpointStats {
        let inflight = self.inflight.load(Ordering::Acquire);
        let dedup = self.dedup().stats();
        self.counters.snapshot(&self.mux_stats(), dedup, inflight)
    }

    pub(super) fn dedup(&self) -> MutexGuard<'_, Dedup> {
        lock(&self.dedup)
    }

    pub(super) fn dials(&self) -> &Dials {
        &self.dials
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn known(&self, node: NodeId) -> Option<Arc<PeerEntry>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// The peer's entry, if there is one and it was not told of talk on this lane yet.
    pub(super) fn known_untold(&self, node: NodeId, lane: Lane) -> Option<Arc<PeerEntry>> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.get(&node).filter(|peer| !peer.talked[lane.index()].load(RELAXED)).cloned()
    }

    /// The peer's entry, made if there is room. // H27
    pub(super) fn peer(&self, node: NodeId) -> Option<Arc<PeerEntry>> {
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
                    add(&mut past, &mux.stats());
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
                talked: Default::default(),
            })
        });
        Some(entry.clone())
    }

    /// Changes a peer's mux, then does what came out of it without the lock.
    pub(crate) fn with<R>(&self, peer: &PeerEntry, change: impl FnOnce(&mut PeerMux) -> R) -> R {
        let (result, todo) = self.change(peer, change);
        self.finish(peer.node, todo);
        result
    }

    /// The same by name, without taking a share of the entry; it is made if there is room.
    fn with_node(&self, node: NodeId, change: impl FnOnce(&mut PeerMux)) {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(peer) = peers.get(&node) else {
            drop(peers);
            if let Some(peer) = self.peer(node) {
                self.with(&peer, change);
            }
            return;
        };
        let ((), todo) = self.change(peer, change);
        drop(peers);
        self.finish(node, todo);
    }

    fn change<R>(&self, peer: &PeerEntry, change: impl FnOnce(&mut PeerMux) -> R) -> (R, Todo) {
        let mut mux = peer.mux();
        let result = change(&mut mux);
        let next = mux.poll_timeout();
        let out = mux.has_output().then(|| {
            let mut out = lock(&self.outputs).pop().unwrap_or_default();
            mux.drain(&mut out);
            out
        });
        drop(mux);
        // Only what is earlier than what the peer has in the heap is news to the timers.
        let earlier = |at: &Monotonic| {
            at.as_nanos() < peer.scheduled.fetch_min(at.as_nanos(), Ordering::AcqRel)
        };
        (result, Todo { timer: next.filter(earlier), out })
    }

    fn finish(&self, node: NodeId, todo: Todo) {
        if let Some(at) = todo.timer {
            self.timers.add(at, node);
        }
        let Some(mut out) = todo.out else { return };
        self.perform(node, &mut out);
        let mut outputs = lock(&self.outputs);
        if outputs.len() < OUTPUTS_MAX {
            outputs.push(out);
        }
    }

    /// A frame of an application was sent: the lane is worth pinging for a while. Said to the mux
    /// once per deadline, as its lock is dear where every frame would take it.
    pub(super) fn note_sent(&self, peer: &PeerEntry, lane: Lane) {
        let talked = &peer.talked[lane.index()];
        if !talked.load(RELAXED) && !talked.swap(true, RELAXED) {
            let now = self.runtime.now();
            self.with(peer, |mux| mux.note_sent(now, lane));
        }
    }

    /// Runs all deadlines that have passed.
    pub(super) fn fire(&self) {
        let now = self.runtime.now();
        while let Some((at, node)) = self.timers.pop_due(now) {
            let Some(peer) = self.known(node) else { continue };
            let (at, none) = (at.as_nanos(), u64::MAX);
            if peer.scheduled.compare_exchange(at, none, Ordering::AcqRel, RELAXED).is_err() {
                continue; // an earlier one took its place, and made another one since
            }
            let written = Lane::ALL.map(|lane| self.transport.lane(node, lane).written_bytes);
            let talked = Lane::ALL.map(|lane| peer.talked[lane.index()].swap(false, RELAXED));
            self.with(&peer, |mux| {
                let lanes = Lane::ALL.into_iter().filter(|lane| talked[lane.index()]);
                lanes.for_each(|lane| mux.note_sent(now, lane));
                mux.handle_timeout(now, written);
            });
        }
    }

    fn perform(&self, node: NodeId, out: &mut MuxOutput) {
        while let Some(effect) = out.pop() {
            match effect {
                MuxEffect::Send { lane, frame } => self.send_control(node, lane, frame),
                MuxEffect::Message { from, lane, channel, body } => {
                    self.deliver_run(channel, Item::Message { from, lane, body }, out);
                }
                MuxEffect::Call { call, body } if call.prefix().is_none() => {
                    self.deliver_run(call.channel(), Item::Call { call, body }, out);
                }
                MuxEffect::Call { call, body } => self.deliver_call(call, body),
                MuxEffect::Stream { from, channel, id, head } => {
                    self.deliver(channel, Item::Stream { from, id, head });
                }
                MuxEffect::Revoked { call } => self.revoke_call(&call),
                MuxEffect::Orphaned { call } => self.detach(&call),
                MuxEffect::Wake { waker } => waker.wake(),
                MuxEffect::Reset { lane } => self.transport.reset(node, lane),
            }
        }
    }

    /// Answers, cancels and pings: nobody waits for their fate, so a failure is only counted. Small
    /// frames of streams are tried again: the stream would stand still without them.
    pub(super) fn send_control(&self, to: NodeId, lane: Lane, frame: Frame) {
        let again = is_minded(frame.kind).then(|| frame.clone());
        let Err(error) = self.transmit(to, lane, frame) else { return };
        let Some((frame, peer)) = again.zip(self.known(to)) else {
            return self.counters.control_unsent.add(1);
        };
        let now = self.runtime.now();
        self.with(&peer, |mux| {
            let waits = frame.kind != Kind::Ping && error == SendError::Full;
            if !waits || !mux.retry_later(now, lane, frame.clone()) {
                mux.handle_unsent(&frame);
            }
        });
    }

    /// To the transport, or straight back for this node itself. // H32
    pub(super) fn transmit(
        &self,
        to: NodeId,
        lane: Lane,
        mut frame: Frame,
    ) -> Result<(), SendError> {
        if to != self.identity.node {
            return self.transport.send(to, lane, frame);
        }
        self.transport.limits().check(lane, frame.body.len())?;
        frame.body = frame.body.into_bytes().into();
        let me = Peer::new(to, self.identity.incarnation, self.identity.role);
        self.handle_frames(me, lane, LOOPBACK, &mut std::iter::once(frame));
        self.wake_components();
        Ok(())
    }

    pub(super) fn inbox(&self, channel: ChannelId) -> Option<Arc<Inbox>> {
        self.channels.read().unwrap_or_else(PoisonError::into_inner).get(&channel).cloned()
    }

    pub(super) fn deliver(&self, channel: ChannelId, item: Item) {
        self.deliver_run(channel, item, &mut MuxOutput::default());
    }

    /// Delivers an item, and those behind it that go to the same channel.
    fn deliver_run(&self, channel: ChannelId, item: Item, out: &mut MuxOutput) {
        let mut run = std::iter::once(item)
            .chain(std::iter::from_fn(|| out.pop_plain(channel).and_then(Item::plain)));
        let Some(inbox) = self.inbox(channel) else {
            return run.for_each(|item| self.refuse_unknown(item));
        };
        let mut refused = Vec::new();
        let pushed = inbox.push_all(&mut run, &mut refused);
        drop(run);
        match pushed {
            Pushed::Taken(waker) => self.wake_later(waker),
            // Closed meanwhile.
            Pushed::Closed => return refused.into_iter().for_each(|i| self.refuse_unknown(i)),
        }
        for item in refused {
            match &item {
                Item::Call { .. } => self.counters.inbound_overloaded.add(1),
                Item::Stream { .. } => self.counters.streams_overloaded.add(1),
                Item::Message { .. } | Item::Datagram { .. } | Item::Link(_) => {
                    self.counters.inbox_dropped.add(1);
                }
            }
            self.refuse(item, OVERLOADED);
        }
    }

    fn refuse_unknown(&self, item: Item) {
        self.counters.unknown_channel.add(1);
        self.refuse(item, NO_HANDLER);
    }

    fn refuse(&self, item: Item, aux: u32) {
        match item {
            Item::Call { call, .. } => self.reject(&call, aux, Bytes::new()),
            Item::Stream { from, id, .. } => {
                let Some(peer) = self.known(from.node) else { return };
                let full = aux == OVERLOADED;
                let aux = if full { RESET_OVERLOADED } else { RESET_NO_HANDLER };
                self.with(&peer, |mux| mux.drop_stream(id, aux));
            }
            Item::Message { .. } | Item::Datagram { .. } | Item::Link(_) => {}
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
        if !self.any_woken.load(Ordering::Acquire) || !self.any_woken.swap(false, Ordering::AcqRel)
        {
            return;
        }
        // One at a time: the list keeps its room, and no lock is held across a waker.
        loop {
            let Some(waker) = lock(&self.woken).pop() else { return };
            waker.wake();
        }
    }

    /// One turn with the peer's mux for all frames of a burst.
    pub(super) fn handle_frames(
        &self,
        from: Peer,
        lane: Lane,
        session: SessionId,
        frames: &mut dyn Iterator<Item = Frame>,
    ) {
        let now = self.runtime.now();
        self.with_node(from.node, |mux| {
            frames.for_each(|frame| mux.handle_frame(now, from, lane, session, frame));
        });
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
            let window = self.window_after(node, event);
            self.with(&peer, |mux| {
                mux.handle_event(now, event);
                window.into_iter().for_each(|bytes| mux.set_stream_window(bytes));
            });
        }
        let channels = self.channels.read().unwrap_or_else(PoisonError::into_inner);
        let inboxes: Vec<_> = channels.values().filter(|inbox| inbox.links).cloned().collect();
        drop(channels);
        for inbox in inboxes {
            let mut event = std::iter::once(Item::Link(event.clone()));
            if let Pushed::Taken(waker) = inbox.push_all(&mut event, &mut Vec::new()) {
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
            self.with(&peer, |mux| {
                mux.fail_all(Cause::Cancelled);
                mux.wake_watchers();
            });
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

/// Frames whose fate matters: a stream stands still without the first three, and a ping that never
/// left must not be waited for.
const fn is_minded(kind: Kind) -> bool {
    matches!(kind, Kind::StreamCredit | Kind::StreamDone | Kind::StreamReset | Kind::Ping)
}

fn dedup_limits(config: EndpointConfig) -> DedupLimits {
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    DedupLimits {
        sessions_max: size(config.dedup_sessions_max),
        window: u64::from(config.dedup_window),
        reply_bytes_max: size(config.dedup_reply_bytes_max),
    }
}

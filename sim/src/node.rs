//! [`Node`]: one simulated machine, and [`Ctx`]: all it has.

use crate::calls::{CallToken, InboundCall};
use crate::clock::Reading;
use crate::disk::{Cost, SimVfs};
use crate::trace::{Record, What};
use crate::world::{Effect, World};
use crate::{SimTime, calls};
use bytes::Bytes;
use quorate_clocks::{BoundedClock, Clock, Interval, Monotonic, WallTime};
use quorate_transport::{
    CallError, ChannelId, Frame, Incarnation, Lane, LinkEvent, NodeId, Peer, SendError,
};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// One simulated machine: any number of protocol cores, wired as the user wires them.
///
/// It has no clock, thread, randomness or I/O but through `ctx`; see the crate's "Rules for nodes".
/// Handlers run one at a time, and each costs time (see [`Ctx::busy`]).
///
/// # Examples
/// A node that answers, and one that asks once a second:
/// ```
/// use quorate_sim::*;
/// use std::time::Duration;
///
/// struct Echo;
/// impl Node for Echo {
///     fn on_message(&mut self, ctx: &mut Ctx<'_>, p: Peer, lane: Lane, ch: ChannelId, b: Bytes) {
///         let _ = ctx.send(p.node, lane, ch, b);
///     }
/// }
///
/// struct Ask { next: Monotonic, answers: u32 }
/// impl Node for Ask {
///     fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
///         self.answers += 1;
///     }
///     fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
///         let _ = ctx.send(NodeId::new(1), Lane::Data, ChannelId::new(16), "?");
///         self.next = ctx.now().saturating_add(Duration::from_secs(1));
///     }
///     fn poll_timeout(&self) -> Option<Monotonic> {
///         Some(self.next)
///     }
/// }
///
/// let mut sim = Sim::new(SimConfig::lan(7).build()?);
/// sim.add(NodeId::new(1), |_| Echo);
/// sim.add(NodeId::new(2), |ctx| Ask { next: ctx.now(), answers: 0 });
/// sim.run_for(Duration::from_secs(60))?;
/// assert!(sim.node::<Ask>(NodeId::new(2)).unwrap().answers > 50);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Node: 'static {
    /// A one-way message arrived on a lane.
    fn on_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        lane: Lane,
        channel: ChannelId,
        body: Bytes,
    ) {
        let _ = (ctx, from, lane, channel, body);
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come: `ctx.now()` is at or after it.
    /// One call, however late it is. // H15
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let _ = ctx;
    }

    /// When [`on_timeout`](Self::on_timeout) is wanted; asked after every handler.
    fn poll_timeout(&self) -> Option<Monotonic> {
        None
    }

    /// A datagram arrived.
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, channel: ChannelId, body: Bytes) {
        let _ = (ctx, from, channel, body);
    }

    /// A call arrived: answer it now or later, with [`Ctx::reply`] or [`Ctx::reject`]. Dropped, its
    /// caller learns that it may have been executed.
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        channel: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let _ = (ctx, from, channel, body, call);
    }

    /// A call of this node has an outcome.
    fn on_reply(&mut self, ctx: &mut Ctx<'_>, call: CallToken, result: Result<Bytes, CallError>) {
        let _ = (ctx, call, result);
    }

    /// A session began or ended.
    fn on_link(&mut self, ctx: &mut Ctx<'_>, event: &LinkEvent) {
        let _ = (ctx, event);
    }

    /// Disk work that was put off with [`Ctx::complete_after`] is due: do it now.
    fn on_completion(&mut self, ctx: &mut Ctx<'_>, token: u64) {
        let _ = (ctx, token);
    }

    /// Invariants; run after every handler, or every n-th.
    ///
    /// # Errors
    /// What does not hold: the world stops with it.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A node of any type.
pub(crate) trait AnyNode: Node {
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<N: Node> AnyNode for N {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// All a node has: clocks, network, disk, a seed, and its words to the checkers.
///
/// # Examples
/// See [`Node`].
/// ```
/// fn greet(ctx: &mut quorate_sim::Ctx<'_>) {
///     ctx.note(format!("node {} in its life {}", ctx.id(), ctx.incarnation()));
/// }
/// # let _ = greet;
/// ```
#[derive(Debug)]
pub struct Ctx<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) place: u32,
}

impl Ctx<'_> {
    /// Who this is.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.world.machine(self.place).id
    }

    /// Which life of it; every start has a higher one.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.world.machine(self.place).incarnation
    }

    /// The node's monotonic clock.
    #[must_use]
    pub fn now(&mut self) -> Monotonic {
        let at = self.time();
        let shown = self.world.machine(self.place).clock.monotonic(at);
        self.world.clock_was_read(self.place, shown.as_nanos(), Reading::Monotonic);
        shown
    }

    /// The node's wall clock.
    #[must_use]
    pub fn wall(&mut self) -> WallTime {
        let at = self.time();
        let shown = self.world.machine(self.place).clock.wall(at);
        self.world.clock_was_read(self.place, shown.as_nanos(), Reading::Wall);
        shown
    }

    /// The wall clock with its error.
    #[must_use]
    pub fn interval(&mut self) -> Interval {
        let at = self.time();
        let shown = self.world.machine(self.place).clock.interval(at);
        let word = shown.earliest().as_nanos() ^ shown.latest().as_nanos().rotate_left(32);
        self.world.clock_was_read(self.place, word, Reading::Interval);
        shown
    }

    /// Both clocks, to be kept by the node's parts.
    #[must_use]
    pub fn clock(&mut self) -> Arc<dyn Clock> {
        self.world.node_clock(self.place)
    }

    /// The wall clock with its error, to be kept by the node's parts.
    #[must_use]
    pub fn bounded(&mut self) -> Arc<dyn BoundedClock> {
        self.world.node_clock(self.place)
    }

    /// A number that was not given before; the only randomness of a node.
    #[must_use]
    pub fn seed(&mut self) -> u64 {
        self.world.machine_mut(self.place).seeds.word()
    }

    /// True time. For histories only: a node that acts on it proves nothing.
    #[must_use]
    pub fn true_time(&mut self) -> SimTime {
        self.time()
    }

    /// Whether a client that has begun so many operations may begin another.
    pub(crate) fn may_begin(&mut self, begun: u64) -> bool {
        let world = &mut *self.world;
        let may = begun < world.operations_max;
        if may {
            world.operations_most = world.operations_most.max(begun + 1);
        }
        may
    }

    /// The moment of this line: the beginning of the handler and what it has cost so far.
    fn time(&mut self) -> SimTime {
        self.world.handler_time(self.place)
    }

    // --- Network -------------------------------------------------------------------------------

    /// Sends a one-way message.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent. A message that was accepted may still be lost with its
    /// session.
    pub fn send(
        &mut self,
        to: NodeId,
        lane: Lane,
        channel: ChannelId,
        body: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.send_frame(to, lane, Frame::message(channel, body.into()))
    }

    pub(crate) fn send_frame(
        &mut self,
        to: NodeId,
        lane: Lane,
        frame: Frame,
    ) -> Result<(), SendError> {
        let at = self.time();
        self.world.send(at, self.place, to, lane, frame)
    }

    /// Sends a datagram.
    ///
    /// # Errors
    /// [`SendError`]: nothing was sent. What was sent may be lost, doubled, or overtaken.
    pub fn send_datagram(
        &mut self,
        to: NodeId,
        channel: ChannelId,
        body: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        let at = self.time();
        self.world.send_datagram(at, self.place, to, channel, body.into())
    }

    /// Calls another node; the outcome comes to [`Node::on_reply`], in time.
    #[must_use = "the token says which call an outcome belongs to"]
    pub fn call(
        &mut self,
        to: NodeId,
        lane: Lane,
        channel: ChannelId,
        body: impl Into<Bytes>,
        deadline: Duration,
    ) -> CallToken {
        calls::begin(self, to, lane, channel, body.into(), deadline)
    }

    /// Gives up a call: its outcome does not come any more.
    pub fn cancel(&mut self, call: CallToken) {
        calls::cancel(self, call);
    }

    /// Answers a call.
    pub fn reply(&mut self, call: InboundCall, body: impl Into<Bytes>) {
        calls::reply(self, call, body.into());
    }

    /// Tells a caller that its call was not executed.
    pub fn reject(&mut self, call: InboundCall, code: u16) {
        calls::reject(self, call, code);
    }

    /// Closes the session of a lane; the next message begins another.
    pub fn reset(&mut self, to: NodeId, lane: Lane) {
        let at = self.time();
        self.world.effect(at, self.place, Effect::Reset { to, lane });
    }

    // --- Disk and time -------------------------------------------------------------------------

    /// The node's disk, for this life of the node. Every operation costs its time.
    #[must_use]
    pub fn disk(&mut self) -> SimVfs {
        self.world.vfs(self.place)
    }

    /// [`Node::on_completion`] with this token, when that much disk work would be done. What the
    /// node does to its disk, it does then: a crash before means that nothing was written.
    pub fn complete_after(&mut self, cost: Cost, token: u64) {
        let at = self.time();
        let due = self.world.due(at, self.place, cost);
        self.world.effect(at, self.place, Effect::Complete { due, token });
    }

    /// This handler takes so much longer: the node does nothing else meanwhile.
    pub fn busy(&mut self, d: Duration) {
        self.world.spend(self.place, d);
    }

    // --- Words to the checkers -----------------------------------------------------------------

    /// Something the checkers of this name are told: the leader of a term, the hash of an entry.
    pub fn fact(&mut self, name: &'static str, key: u64, value: u128) {
        let at = self.time();
        self.world.fact(at, self.place, name, key, value);
    }

    /// The node acts from now on as the only one that holds `key`, until `until` on its clock.
    pub fn believe(&mut self, name: &'static str, key: u64, until: Monotonic) {
        let at = self.time();
        self.world.believe(at, self.place, name, key, until);
    }

    /// The node no longer acts as if it held `key`.
    pub fn disown(&mut self, name: &'static str, key: u64) {
        let at = self.time();
        self.world.disown(at, self.place, name, key);
    }

    /// A place in the code that a campaign has to reach.
    pub fn reached(&mut self, mark: &'static str) {
        let at = self.time();
        self.world.reached(at, self.place, mark);
    }

    /// A line for whoever reads a failure.
    pub fn note(&mut self, text: impl Into<String>) {
        let at = self.time();
        let record = Record::new(at, What::Note, self.id());
        self.world.trace.record(record);
        self.world.trace.note(text.into());
    }
}

//! [`Sim`]: a world and the code of its nodes.

mod faults;
mod handler;
mod tasks;
mod turns;
mod verdict;

use crate::check::Checker;
use crate::coverage::Coverage;
use crate::disk::SimDisk;
use crate::executor::Stirred;
use crate::machine::{Input, Phase, Traffic};
use crate::node::AnyNode;
use crate::world::{Event, World};
use crate::{Ctx, Fault, Node, Plan, SimConfig, SimTime, Violation};
use quorate_clocks::Monotonic;
use quorate_transport::{ChannelId, Incarnation, NodeId, Role};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Nodes of one world.
const NODES_MAX: usize = 65_536;

type Boot = Box<dyn FnMut(&mut Ctx<'_>) -> Box<dyn AnyNode>>;

/// The code of one node: how it starts, and what it is while it runs.
pub(crate) struct Slot {
    code: Code,
}

enum Code {
    Node { boot: Boot, node: Option<Box<dyn AnyNode>> },
    Tasks { main: tasks::Main, life: Option<tasks::Life> },
}

impl Slot {
    /// A sans-IO node that runs.
    fn node(&self) -> Option<&dyn AnyNode> {
        match &self.code {
            Code::Node { node, .. } => node.as_deref(),
            Code::Tasks { .. } => None,
        }
    }

    fn node_mut(&mut self) -> Option<&mut (dyn AnyNode + 'static)> {
        match &mut self.code {
            Code::Node { node, .. } => node.as_deref_mut(),
            Code::Tasks { .. } => None,
        }
    }

    /// When it wants to be woken.
    fn deadline(&self) -> Option<Monotonic> {
        match &self.code {
            Code::Node { node, .. } => node.as_ref()?.poll_timeout(),
            Code::Tasks { life, .. } => life.as_ref()?.shared.deadlines.next(),
        }
    }

    const fn is_tasks(&self) -> bool {
        matches!(self.code, Code::Tasks { .. })
    }

    /// Ends its life: nothing it does from here on has an effect. What is left of it is dropped
    /// with the value that is returned. // H7
    fn kill(&mut self) -> (Option<Box<dyn AnyNode>>, Option<tasks::Life>) {
        match &mut self.code {
            Code::Node { node, .. } => (node.take(), None),
            Code::Tasks { life, .. } => {
                let life = life.take();
                life.iter().for_each(|life| life.shared.kill());
                (None, life)
            }
        }
    }
}

/// A world: nodes, their network, disks and clocks, and everything that will happen to them.
///
/// # Shape
/// One thread, deterministic: the same code, configuration and plan give the same
/// [`trace_hash`](Self::trace_hash) on every platform. Not `Send`: create it in the thread that
/// runs it.
///
/// # Cost
/// Nothing happens between events: an idle hour costs its timers. // H5
/// About 1.7 KiB for a node, and under 400 bytes for every two nodes that ever spoke.
///
/// # Examples
/// See [`Node`].
/// ```
/// use quorate_sim::{Sim, SimConfig};
/// let mut sim = Sim::new(SimConfig::lan(7).build()?);
/// sim.run_for(std::time::Duration::from_secs(3600))?;
/// assert_eq!(sim.now().to_string(), "3600.000s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sim {
    pub(crate) world: World,
    pub(crate) slots: Vec<Slot>,
    checkers: Vec<Box<dyn Checker>>,
    plan: VecDeque<(SimTime, Fault)>,
    violation: Option<Violation>,
    started: bool,
    clients_max: usize,
    /// Async nodes that have something to do.
    stirred: Arc<Stirred>,
    /// Other threads may use async nodes.
    any_thread: bool,
    not_send: PhantomData<*const ()>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("now", &self.world.now)
            .field("nodes", &self.slots.len())
            .field("events", &self.world.events.len())
            .field("sessions", &self.world.net.lock().sessions())
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// An empty world.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        Self {
            world: World::new(config),
            slots: Vec::new(),
            checkers: Vec::new(),
            plan: VecDeque::new(),
            violation: None,
            started: false,
            clients_max: usize::MAX,
            stirred: Arc::default(),
            any_thread: false,
            not_send: PhantomData,
        }
    }

    /// Adds a member. `boot` makes the node at the next step and after every restart; it reads
    /// what is left of its disk through `ctx`.
    ///
    /// # Panics
    /// If the id is taken, or there are 65,536 nodes.
    pub fn add<N: Node>(&mut self, id: NodeId, mut boot: impl FnMut(&mut Ctx<'_>) -> N + 'static) {
        let boot: Boot = Box::new(move |ctx| Box::new(boot(ctx)));
        self.add_slot(id, Role::Member, Code::Node { boot, node: None });
    }

    /// Adds a client: as [`add`](Self::add), but faults of processes and disks spare it.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    pub fn add_client<N: Node>(
        &mut self,
        id: NodeId,
        mut boot: impl FnMut(&mut Ctx<'_>) -> N + 'static,
    ) {
        let clients = self.world.machines.iter().filter(|m| m.role == Role::Client).count();
        if clients >= self.clients_max {
            return; // a failure is looked for with fewer of them
        }
        let boot: Boot = Box::new(move |ctx| Box::new(boot(ctx)));
        self.add_slot(id, Role::Client, Code::Node { boot, node: None });
    }

    fn add_slot(&mut self, id: NodeId, role: Role, code: Code) {
        assert!(self.world.place(id).is_none(), "node {id} was added twice");
        assert!(self.slots.len() < NODES_MAX, "a world has at most {NODES_MAX} nodes");
        self.world.add(id, role);
        self.slots.push(Slot { code });
    }

    /// Only so many clients, each of so few operations: for shrinking.
    pub(crate) const fn limit_clients(&mut self, clients_max: usize, operations_max: u64) {
        self.clients_max = clients_max;
        self.world.operations_max = operations_max;
    }

    /// Adds a checker.
    ///
    /// # Panics
    /// After the first step: it would not have heard what was said before.
    pub fn add_checker(&mut self, checker: impl Checker) {
        assert!(!self.started, "checkers are added before the first step");
        self.checkers.push(Box::new(checker));
    }

    /// Makes something go wrong, or mends it, now.
    pub fn apply(&mut self, fault: Fault) {
        self.inject(fault);
        self.reach_nodes();
    }

    /// What was done from outside reaches nodes and checkers now, not with the next event.
    fn reach_nodes(&mut self) {
        self.world.settle();
        let done = self.hand_out();
        let _ = self.stop_at(done); // the next step says so
    }

    /// Makes things go wrong at their times, in their order; what lies in the past happens at
    /// once. Steps of another plan that are still to come stay.
    ///
    /// # Panics
    /// If it has more than 100,000 steps.
    pub fn plan(&mut self, plan: Plan) {
        assert!(plan.steps.len() <= crate::plan::STEPS_MAX, "the plan has too many steps");
        for (at, _) in &plan.steps {
            self.world.events.push((*at).max(self.world.now), Event::Step);
        }
        self.plan.extend(plan.steps);
        self.plan.make_contiguous().sort_by_key(|(at, _)| *at);
    }

    /// One step more.
    fn apply_later(&mut self, after: Duration, fault: Fault) {
        let at = self.world.now.saturating_add(after);
        let place = self.plan.partition_point(|(step, _)| *step <= at);
        self.plan.insert(place, (at, fault));
        self.world.events.push(at, Event::Step);
    }

    // --- Running -------------------------------------------------------------------------------

    /// Runs for so much true time.
    ///
    /// # Errors
    /// The first [`Violation`]; the world stands still from then on.
    pub fn run_for(&mut self, d: Duration) -> Result<(), Violation> {
        let end = self.world.now.saturating_add(d);
        self.run_to(end)
    }

    fn run_to(&mut self, end: SimTime) -> Result<(), Violation> {
        loop {
            self.look_around()?;
            if self.world.events.next().is_none_or(|at| at > end) {
                self.tell_up_to(end)?;
                self.world.set_now(end);
                return Ok(());
            }
            self.advance()?;
        }
    }

    /// Runs until the condition holds, or for `limit` of true time; whether it came to hold. The
    /// condition is asked after every event.
    ///
    /// # Errors
    /// As [`run_for`](Self::run_for).
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        let end = self.world.now.saturating_add(limit);
        loop {
            self.look_around()?;
            if condition(self) {
                return Ok(true);
            }
            if self.world.events.next().is_none_or(|at| at > end) {
                self.tell_up_to(end)?;
                self.world.set_now(end);
                return Ok(condition(self));
            }
            self.advance()?;
        }
    }

    /// Makes the next thing happen; `None` if nothing ever will.
    ///
    /// # Errors
    /// As [`run_for`](Self::run_for).
    pub fn step(&mut self) -> Result<Option<SimTime>, Violation> {
        self.look_around()?;
        let at = self.advance()?;
        self.look_around()?;
        Ok(at)
    }

    fn advance(&mut self) -> Result<Option<SimTime>, Violation> {
        if !self.world.said.is_empty() {
            self.tell_up_to(self.world.events.next().unwrap_or(SimTime::FAR_FUTURE))?;
        }
        let Some((at, event)) = self.world.events.pop() else { return Ok(None) };
        self.world.set_now(at);
        let done = self.happen(event).and_then(|()| self.hand_out());
        self.stop_at(done)?;
        Ok(Some(at))
    }

    /// What was done to nodes from outside, or left by them for later.
    fn look_around(&mut self) -> Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.started = true;
        // What was done from outside between two steps may have been the last thing to happen.
        let done = self.look_at_stirred().and_then(|()| self.hand_out());
        self.stop_at(done)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let world = &mut self.world;
        let limit = world.config.heap_events_max;
        if world.events.len() > limit {
            let message = format!("more than {limit} events are to come");
            return Err(Violation::new("limit", message, world.now, None));
        }
        match event {
            Event::Net(event) => {
                world.net.lock().handle(world.now, event);
                world.settle();
            }
            Event::Input { place, life, input } => {
                let machine = world.machine(place);
                if machine.is_up() && machine.incarnation == life {
                    world.due.push_back((place, input));
                }
            }
            Event::Wake { place, life } => return self.wake(place, life),
            Event::Timer { place, life } => {
                if world.timer_event(place, life)
                    && !std::mem::replace(&mut world.machine_mut(place).timer_waits, true)
                {
                    world.due.push_back((place, Input::Timer));
                }
            }
            Event::Boot { place } => self.boot(place),
            Event::Step => {
                if let Some((_, fault)) = self.plan.pop_front() {
                    self.apply(fault);
                }
            }
        }
        Ok(())
    }

    /// A node that was busy looks at what has come meanwhile: one thing at a time.
    fn wake(&mut self, place: u32, life: Incarnation) -> Result<(), Violation> {
        let now = self.world.now;
        let machine = self.world.machine_mut(place);
        if machine.incarnation != life || !machine.is_up() {
            return Ok(());
        }
        machine.wake_set = false;
        if machine.phase == Phase::Paused {
            return Ok(());
        }
        if machine.free_at > now {
            self.world.set_wake(place);
            return Ok(());
        }
        if let Some(input) = self.world.take_waiting(place) {
            self.handle(place, input)?;
            self.world.set_wake(place);
        }
        Ok(())
    }

    /// Hands everything out that is due at this moment.
    fn hand_out(&mut self) -> Result<(), Violation> {
        while let Some((place, input)) = self.world.due.pop_front() {
            let now = self.world.now;
            let machine = self.world.machine(place);
            match machine.phase {
                Phase::Down => {}
                // A worker has a time of its own.
                Phase::Running if matches!(input, Input::Turn { .. } | Input::TurnEnd { .. }) => {
                    self.handle(place, input)?;
                }
                Phase::Running if machine.free_at <= now && machine.inbox.is_empty() => {
                    self.handle(place, input)?;
                }
                Phase::Running | Phase::Paused => self.world.put_off(place, input)?,
            }
        }
        self.tell_checkers(self.world.now)
    }

    /// Whether every node has begun its life: one that was busy when it died, or is, takes longer.
    pub(crate) fn is_started(&self) -> bool {
        self.slots.iter().all(|slot| slot.is_tasks() || slot.node().is_some())
    }

    // --- Looking -------------------------------------------------------------------------------

    /// A node's state; `None` if it is down, or of another type.
    #[must_use]
    pub fn node<N: Node>(&self, id: NodeId) -> Option<&N> {
        let place = self.world.place(id)?;
        self.slots[place as usize].node()?.as_any().downcast_ref()
    }

    /// Runs code on a node as one of its handlers, now; `None` if it is down, or of another type.
    ///
    /// # Errors
    /// None of its own: what it breaks is found by the next step.
    pub fn with_node<N: Node, R>(
        &mut self,
        id: NodeId,
        f: impl FnOnce(&mut N, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        let place = self.world.place(id)?;
        let is_it = self.node::<N>(id).is_some();
        if is_it { self.visit(place, f) } else { None }
    }

    /// Whether a node is up; a paused node is.
    #[must_use]
    pub fn is_up(&self, id: NodeId) -> bool {
        self.world.place(id).is_some_and(|place| self.world.machine(place).is_up())
    }

    /// All nodes, clients too, in the order in which they were added.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        self.world.machines.iter().map(|machine| machine.id).collect()
    }

    /// All nodes but clients.
    #[must_use]
    pub fn members(&self) -> Vec<NodeId> {
        let members = self.world.machines.iter().filter(|machine| machine.role == Role::Member);
        members.map(|machine| machine.id).collect()
    }

    /// A node's disk.
    ///
    /// # Panics
    /// If there is no such node.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a rule for tests, which panics name best")]
    pub fn disk(&mut self, id: NodeId) -> SimDisk {
        let place = self.world.place(id).expect("the node was added");
        self.world.disk(place).clone()
    }

    /// What a node has sent and got on one channel.
    #[must_use]
    pub fn traffic(&self, id: NodeId, channel: ChannelId) -> Traffic {
        let place = self.world.place(id);
        let all = place.map_or(&[][..], |place| self.world.machine(place).all_traffic());
        all.iter().find(|(of, _)| *of == channel).map_or_else(Traffic::default, |(_, sum)| *sum)
    }

    /// Which faults were injected, which had an effect, which marks were reached.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        self.world.coverage()
    }

    /// A hash of everything that happened.
    #[must_use]
    pub const fn trace_hash(&self) -> u64 {
        self.world.trace.hash()
    }

    /// The newest things that happened, a line each.
    #[must_use]
    pub fn trace_tail(&self, events: usize) -> String {
        self.world.trace.tail(events)
    }

    /// Events that happened so far.
    #[must_use]
    pub const fn handled(&self) -> u64 {
        self.world.handled
    }

    /// True time.
    #[must_use]
    pub const fn now(&self) -> SimTime {
        self.world.now
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &SimConfig {
        &self.world.config
    }
}

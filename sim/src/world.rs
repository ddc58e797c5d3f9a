//! The world without the code of its nodes: time, events, machines, network, records.

use crate::calls::CallWork;
use crate::check::{Observation, Observed};
use crate::clock::{Model, NodeClock, Reading};
use crate::disk::{SimDisk, SimVfs};
use crate::heap::Events;
use crate::machine::{Input, Machine, Phase};
use crate::net::{Net, NetEvent, NetOut, SharedNet};
use crate::said::Held;
use crate::trace::{Record, Trace, What};
use crate::{Class, Cost, Coverage, Rng, SimConfig, SimTime, Violation};
use bytes::Bytes;
use quorate_clocks::{Drift, Monotonic};
use quorate_transport::{
    CallError, ChannelId, Frame, Incarnation, Kind, Lane, NodeId, Role, SendError,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    Net(NetEvent),
    /// A busy node is free.
    Wake {
        place: u32,
        life: Incarnation,
    },
    Timer {
        place: u32,
        life: Incarnation,
    },
    /// Something for a node, if it still lives.
    Input {
        place: u32,
        life: Incarnation,
        input: Input,
    },
    Boot {
        place: u32,
    },
    /// The next step of the plan.
    Step,
}

/// Something a handler wants done; it leaves when the handler has come so far.
#[derive(Debug)]
pub(crate) enum Effect {
    Send { to: u32, lane: Lane, frame: Frame },
    Datagram { to: u32, channel: ChannelId, body: Bytes },
    Reset { to: NodeId, lane: Lane },
    Complete { due: SimTime, token: u64 },
    CallFailed { token: u64, error: CallError },
}

/// Everything but the nodes' own code.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: SimConfig,
    pub(crate) now: SimTime,
    /// The same, and what the running handler has cost, for clocks that nodes keep.
    pub(crate) shared_now: Arc<AtomicU64>,
    pub(crate) events: Events<Event>,
    pub(crate) machines: Vec<Machine>,
    places: BTreeMap<NodeId, u32>,
    pub(crate) net: SharedNet,
    pub(crate) trace: Trace,
    pub(crate) coverage: Coverage,
    /// What the running handler wants done.
    pub(crate) effects: Vec<(SimTime, Effect)>,
    /// What nodes said and checkers have not heard yet.
    pub(crate) said: Held,
    /// Who reached a mark last.
    pub(crate) marked: BTreeMap<&'static str, NodeId>,
    /// What is to be handed to nodes at this moment.
    pub(crate) due: VecDeque<(u32, Input)>,
    /// Lanes that have room again, for async nodes that wait for it.
    pub(crate) rooms: Vec<(u32, u32)>,
    pub(crate) plan_rng: Rng,
    pub(crate) handled: u64,
    /// Operations of each client, at most, and how many one has begun.
    pub(crate) operations_max: u64,
    pub(crate) operations_most: u64,
}

impl World {
    pub(crate) fn new(config: SimConfig) -> Self {
        Self {
            now: SimTime::ZERO,
            shared_now: Arc::new(AtomicU64::new(0)),
            events: Events::new(config.seed, config.order),
            machines: Vec::new(),
            places: BTreeMap::new(),
            net: SharedNet::new(Net::new(config.clone())),
            trace: Trace::new(config.trace, config.trace_events_max),
            coverage: Coverage::default(),
            effects: Vec::new(),
            said: Held::default(),
            marked: BTreeMap::new(),
            due: VecDeque::new(),
            rooms: Vec::new(),
            plan_rng: Rng::stream(config.seed, "plan", 0, 0),
            handled: 0,
            operations_max: u64::MAX,
            operations_most: 0,
            config,
        }
    }

    // --- Machines ------------------------------------------------------------------------------

    pub(crate) fn add(&mut self, id: NodeId, role: Role) -> u32 {
        let place = u32::try_from(self.machines.len()).unwrap_or(u32::MAX);
        let mut clock = Model::draw(&mut Rng::stream(self.config.seed, "clock", id.value(), 0));
        if self.config.extreme_clocks {
            clock.set_drift(Drift::SLEWED);
        }
        self.machines.push(Machine::new(id, role, clock));
        self.places.insert(id, place);
        self.net.lock().add(id, role);
        self.events.push(self.now, Event::Boot { place });
        place
    }

    pub(crate) fn place(&self, id: NodeId) -> Option<u32> {
        self.places.get(&id).copied()
    }

    pub(crate) fn machine(&self, place: u32) -> &Machine {
        &self.machines[place as usize]
    }

    pub(crate) fn machine_mut(&mut self, place: u32) -> &mut Machine {
        &mut self.machines[place as usize]
    }

    pub(crate) fn config_and_machine(&mut self, place: u32) -> (&SimConfig, &mut Machine) {
        (&self.config, &mut self.machines[place as usize])
    }

    pub(crate) fn disk(&mut self, place: u32) -> &mut SimDisk {
        let (seed, config) = (self.config.seed, self.config.disk);
        let now = &self.shared_now;
        let machine = &mut self.machines[place as usize];
        let id = machine.id.value();
        machine.disk.get_or_insert_with(|| {
            let disk = SimDisk::of_node(seed, id, config);
            disk.bind(now); // H21
            disk.slow(machine.slow_percent);
            disk
        })
    }

    pub(crate) fn vfs(&mut self, place: u32) -> SimVfs {
        self.disk(place).vfs()
    }

    // --- Time ----------------------------------------------------------------------------------

    /// The world has come to this moment.
    pub(crate) fn set_now(&mut self, at: SimTime) {
        self.now = at;
        self.shared_now.store(at.as_nanos(), Ordering::Relaxed);
    }

    /// The moment a handler has come to: its beginning, and what it has cost.
    pub(crate) fn handler_time(&mut self, place: u32) -> SimTime {
        let machine = &mut self.machines[place as usize];
        let reached = self.now.as_nanos().saturating_add(machine.spent);
        // Its disk puts the time of its operations there itself.
        let at = reached.max(self.shared_now.load(Ordering::Relaxed));
        machine.spent = at - self.now.as_nanos();
        self.shared_now.store(at, Ordering::Relaxed);
        SimTime::from_nanos(at)
    }

    /// The handler takes so much longer, more on a slow node.
    pub(crate) fn spend(&mut self, place: u32, d: Duration) {
        self.handler_time(place); // what its disk has cost comes on top
        let machine = &mut self.machines[place as usize];
        let slowed = machine.slowed(d);
        let nanos = u64::try_from(slowed.as_nanos()).unwrap_or(u64::MAX);
        machine.spent = machine.spent.saturating_add(nanos);
        if slowed > d {
            self.coverage.effective(Class::Slow); // H3
        }
        self.handler_time(place);
    }

    /// What a handler takes of its node at least.
    pub(crate) fn event_cost(&self, place: u32) -> Duration {
        self.machines[place as usize].slowed(self.config.event_cost)
    }

    /// When deferred work is done that begins now.
    pub(crate) fn due(&mut self, at: SimTime, place: u32, cost: Cost) -> SimTime {
        let cost = match cost {
            Cost::Fixed(d) => self.machines[place as usize].slowed(d),
            other => {
                let disk = self.disk(place);
                disk.time(other).saturating_add(disk.take_stall())
            }
        };
        at.saturating_add(cost)
    }

    /// Its clock was read: into the hash, and as proof that clock faults were seen by who read
    /// what they change. // H3
    pub(crate) fn clock_was_read(&mut self, place: u32, shown: u64, read: Reading) {
        self.trace.fold(shown);
        let faults = &mut self.machines[place as usize].clock_faults;
        if !faults.is_empty() {
            faults.retain(|class| {
                let seen = read.shows(*class);
                if seen {
                    self.coverage.effective(*class);
                }
                !seen
            });
        }
    }

    /// The clocks of a node, to be kept by it.
    pub(crate) fn node_clock(&mut self, place: u32) -> Arc<NodeClock> {
        let now = &self.shared_now;
        let machine = &mut self.machines[place as usize];
        let clock = &machine.clock;
        let made = || Arc::new(NodeClock::new(Arc::clone(now), clock.clone()));
        Arc::clone(machine.node_clock.get_or_insert_with(made))
    }

    /// What the node read from clocks that it keeps.
    pub(crate) fn collect_clock_reads(&mut self, place: u32) {
        let clock = self.machines[place as usize].node_clock.as_ref();
        if let Some((shown, read)) = clock.and_then(|clock| clock.take_read()) {
            self.clock_was_read(place, shown, read);
        }
    }

    /// Wakes the node at `deadline`, unless its timer is due earlier.
    pub(crate) fn set_timer(&mut self, place: u32, deadline: Option<Monotonic>) {
        let Some(deadline) = deadline else { return };
        let machine = &mut self.machines[place as usize];
        let at = machine.clock.when(deadline).max(machine.free_at).max(self.now);
        if at < machine.timer_at {
            machine.timer_at = at;
            self.see_to_timer(place);
        }
    }

    /// Sees to it that a timer event comes when the timer is due, or earlier.
    fn see_to_timer(&mut self, place: u32) {
        let machine = &mut self.machines[place as usize];
        let (at, next) = (machine.timer_at, machine.timer_events.last());
        if at < *next.unwrap_or(&SimTime::FAR_FUTURE) {
            machine.timer_events.push(at);
            self.events.push(at, Event::Timer { place, life: machine.incarnation });
        }
    }

    /// A timer event: whether the timer is due.
    pub(crate) fn timer_event(&mut self, place: u32, life: Incarnation) -> bool {
        let now = self.now;
        let machine = &mut self.machines[place as usize];
        if machine.incarnation != life || !machine.is_up() {
            return false;
        }
        machine.timer_events.pop();
        if machine.timer_at > now {
            self.see_to_timer(place); // it was moved
            return false;
        }
        machine.timer_at = SimTime::FAR_FUTURE;
        true
    }

    // --- What handlers do ----------------------------------------------------------------------

    pub(crate) fn effect(&mut self, at: SimTime, place: u32, effect: Effect) {
        if !self.machines[place as usize].is_dying() {
            self.effects.push((at, effect));
        }
    }

    /// Who sends, and where the receiver is, if anything can go there.
    fn way_to(&self, place: u32, to: NodeId) -> Result<(NodeId, u32), SendError> {
        let machine = &self.machines[place as usize];
        if machine.is_dying() {
            return Err(SendError::Closed);
        }
        if machine.id == to {
            return Err(SendError::SelfAddressed);
        }
        let peer = self.place(to).ok_or(SendError::UnknownPeer)?;
        Ok((machine.id, peer))
    }

    pub(crate) fn send(
        &mut self,
        at: SimTime,
        place: u32,
        to: NodeId,
        lane: Lane,
        frame: Frame,
    ) -> Result<(), SendError> {
        let (id, peer) = self.way_to(place, to)?;
        let sent = self.net.lock().admit(at, place, peer, lane, &frame);
        let what = if sent.is_ok() { What::Send } else { What::Refused };
        if self.trace.is_on() {
            let record = Record::new(at, what, id).peer(to).name(lane_name(lane));
            self.trace.record(record.frame(&frame));
        }
        sent?;
        if frame.kind.is_application() {
            self.machines[place as usize].traffic(frame.channel).sent(frame.body.len());
        }
        self.effects.push((at, Effect::Send { to: peer, lane, frame }));
        Ok(())
    }

    pub(crate) fn send_datagram(
        &mut self,
        at: SimTime,
        place: u32,
        to: NodeId,
        channel: ChannelId,
        body: Bytes,
    ) -> Result<(), SendError> {
        let (id, peer) = self.way_to(place, to)?;
        self.net.lock().admit_datagram(body.len())?;
        if self.trace.is_on() {
            self.trace.record(Record::new(at, What::SendDatagram, id).peer(to).body(&body));
        }
        self.machines[place as usize].traffic(channel).sent(body.len());
        self.effects.push((at, Effect::Datagram { to: peer, channel, body }));
        Ok(())
    }

    /// What the calls of a node want done.
    pub(crate) fn call_work(&mut self, place: u32, work: CallWork) -> Option<CallWork> {
        let at = self.handler_time(place);
        match work {
            CallWork::Send { to, lane, frame } => {
                // An answer that is refused is not sent; its caller learns by itself.
                let _ = self.send(at, place, to, lane, frame);
                None
            }
            CallWork::Reset { to, lane } => {
                self.effect(at, place, Effect::Reset { to, lane });
                None
            }
            work @ (CallWork::Call { .. } | CallWork::Ended { .. }) => Some(work),
        }
    }

    /// Lets go what the handler wanted.
    pub(crate) fn flush(&mut self, place: u32) {
        if self.effects.is_empty() {
            return;
        }
        let life = self.machines[place as usize].incarnation;
        let mut effects = std::mem::take(&mut self.effects);
        let mut net = self.net.lock();
        for (at, effect) in effects.drain(..) {
            match effect {
                Effect::Send { to, lane, frame } => net.send(at, place, to, lane, frame),
                Effect::Datagram { to, channel, body } => {
                    net.send_datagram(at, place, to, channel, &body);
                }
                Effect::Reset { to, lane } => {
                    if let Some(to) = self.place(to) {
                        net.reset(at, place, to, lane);
                    }
                }
                Effect::Complete { due, token } => {
                    let input = Input::Completion { token };
                    self.events.push(due, Event::Input { place, life, input });
                }
                Effect::CallFailed { token, error } => {
                    let input = Input::CallFailed { token, error };
                    self.events.push(at, Event::Input { place, life, input });
                }
            }
        }
        drop(net);
        self.effects = effects; // its room is used again
    }

    // --- What handlers say ---------------------------------------------------------------------

    pub(crate) fn fact(&mut self, at: SimTime, place: u32, name: &'static str, key: u64, v: u128) {
        let low = u64::try_from(v & u128::from(u64::MAX)).unwrap_or(0);
        let high = u64::try_from(v >> 64).unwrap_or(0);
        let id = self.machines[place as usize].id;
        let sum = low ^ high.rotate_left(32);
        self.trace.record(Record::new(at, What::Fact, id).size(key, sum).name(name));
        self.say(at, place, Observed::Fact { name, key, value: v });
    }

    pub(crate) fn believe(
        &mut self,
        at: SimTime,
        place: u32,
        name: &'static str,
        key: u64,
        until: Monotonic,
    ) {
        let id = self.machines[place as usize].id;
        let record = Record::new(at, What::Believe, id).size(key, until.as_nanos()).name(name);
        self.trace.record(record);
        self.say(at, place, Observed::Believe { name, key, until });
    }

    pub(crate) fn disown(&mut self, at: SimTime, place: u32, name: &'static str, key: u64) {
        let id = self.machines[place as usize].id;
        self.trace.record(Record::new(at, What::Disown, id).size(key, 0).name(name));
        self.say(at, place, Observed::Disown { name, key });
    }

    pub(crate) fn reached(&mut self, at: SimTime, place: u32, mark: &'static str) {
        let id = self.machines[place as usize].id;
        self.trace.record(Record::new(at, What::Reached, id).name(mark));
        self.marked.insert(mark, id);
        self.coverage.reached(mark);
        self.say(at, place, Observed::Reached { mark });
    }

    pub(crate) fn say(&mut self, at: SimTime, place: u32, what: Observed) {
        let machine = &self.machines[place as usize];
        if !machine.is_dying() {
            let (node, incarnation) = (machine.id, machine.incarnation);
            self.said.push(Observation { at, node, incarnation, what });
        }
    }

    // --- From the network to the nodes ---------------------------------------------------------

    /// Turns what the network wants into events and inputs.
    pub(crate) fn settle(&mut self) {
        let mut net = self.net.lock();
        if net.out.is_empty() {
            return;
        }
        let mut outs = std::mem::take(&mut net.out);
        drop(net);
        for out in outs.drain(..) {
            match out {
                NetOut::Schedule(at, event) => self.events.push(at, Event::Net(event)),
                NetOut::Frame { from, to, lane, session, frame } => {
                    self.due.push_back((to, Input::Frame { from, lane, session, frame }));
                }
                NetOut::Datagram(packet) => {
                    let (from, to) = (packet.sender, packet.to);
                    let (channel, body) = (packet.channel, packet.body);
                    self.due.push_back((to, Input::Datagram { from, channel, body }));
                }
                NetOut::Link { node, event } => self.due.push_back((node, Input::Link(event))),
                NetOut::Unsent { node, to, lane, frames } => {
                    let to = self.machines[to as usize].id;
                    self.due.push_back((node, Input::Unsent { to, lane, frames }));
                }
                NetOut::Lost { from, to, lane, frames } => {
                    let record = Record::new(self.now, What::Lost, self.machine(to).id);
                    let record = record.peer(self.machine(from).id).size(frames, 0);
                    self.trace.record(record.name(lane_name(lane)));
                }
                NetOut::LostDatagram { from, to } => {
                    let record = Record::new(self.now, What::Lost, self.machine(to).id);
                    let record = record.peer(self.machine(from).id).size(1, 0);
                    self.trace.record(record.name("datagram"));
                }
                NetOut::Room { node, to } => self.rooms.push((node, to)),
            }
        }
        // Keep the room of the list, and what another thread may have added to it meanwhile.
        let mut net = self.net.lock();
        if net.out.is_empty() {
            net.out = outs;
        }
    }

    /// Puts an input where a busy or standing node will find it.
    pub(crate) fn put_off(&mut self, place: u32, input: Input) -> Result<(), Violation> {
        let (now, max) = (self.now, self.config.inbox_events_max);
        let machine = &mut self.machines[place as usize];
        if let Input::Datagram { from, .. } = &input
            && machine.inbox_bytes + input.bytes() > KERNEL_BUFFER_BYTES
        {
            // Nothing holds datagrams back: what finds no room is lost.
            let record = Record::new(now, What::Lost, machine.id).peer(from.node).size(1, 0);
            self.trace.record(record.name("datagram"));
            return Ok(());
        }
        if machine.phase == Phase::Paused {
            self.coverage.effective(Class::Pause);
        }
        machine.inbox_bytes += input.bytes();
        machine.inbox.push_back(input);
        if machine.inbox.len() > max {
            let message = format!("more than {max} events wait for the node");
            return Err(Violation::new("overload", message, now, Some(machine.id)));
        }
        let full = machine.inbox_bytes > KERNEL_BUFFER_BYTES;
        self.set_wake(place);
        if full {
            self.net.lock().choke(now, place, true);
        }
        Ok(())
    }

    /// An event that looks at the inbox once the node is free.
    pub(crate) fn set_wake(&mut self, place: u32) {
        let machine = &mut self.machines[place as usize];
        if machine.phase == Phase::Running && !machine.wake_set && !machine.inbox.is_empty() {
            machine.wake_set = true;
            let (at, life) = (machine.free_at.max(self.now), machine.incarnation);
            self.events.push(at, Event::Wake { place, life });
        }
    }

    /// The next input of a node that is free.
    pub(crate) fn take_waiting(&mut self, place: u32) -> Option<Input> {
        let machine = &mut self.machines[place as usize];
        let input = machine.inbox.pop_front()?;
        let was_full = machine.inbox_bytes > KERNEL_BUFFER_BYTES / 2;
        machine.inbox_bytes -= input.bytes();
        if was_full && machine.inbox_bytes <= KERNEL_BUFFER_BYTES / 2 {
            self.net.lock().choke(self.now, place, false);
            self.settle();
        }
        Some(input)
    }

    /// Everything that was covered, the network's and the disks' part too.
    pub(crate) fn coverage(&self) -> Coverage {
        let mut all = self.coverage.clone();
        all.add(&self.net.lock().coverage);
        for disk in self.machines.iter().filter_map(|machine| machine.disk.as_ref()) {
            crate::plan::count_disk(&disk.stats(), &mut all);
        }
        all
    }
}

/// What the kernel of a machine takes for a process that does not read: then lanes stand still,
/// and datagrams are lost.
const KERNEL_BUFFER_BYTES: u64 = 1 << 20;

pub(crate) const fn lane_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Control => "control",
        Lane::Data => "data",
        Lane::Bulk => "bulk",
    }
}

impl Record {
    /// A frame; all of its header that differs between runs is in the sum.
    pub(crate) fn frame(self, frame: &Frame) -> Self {
        let mut crc = crc32fast::Hasher::new();
        frame.body.pieces().iter().for_each(|piece| crc.update(piece));
        let channel = u64::from(frame.channel.value()) << 32;
        let kind = if frame.kind == Kind::Message { 0 } else { (frame.kind as u64) << 48 };
        let sum = u64::from(crc.finalize()) | channel | kind;
        self.size(frame.body.len() as u64, sum ^ frame.id.rotate_left(16))
    }
}

//! Running async nodes: what comes in goes to the transport's sink, tasks are polled one at a time.

use super::{Code, Sim};
use crate::executor::{Executor, Look};
use crate::host::{Birth, Host, Said, Shared};
use crate::machine::Input;
use crate::panics;
use crate::trace::{Record, What};
use crate::transport::{Port, identity};
use crate::worker::Worker;
use crate::world::{Effect, Event, lane_name};
use crate::{Order, Rng, SimTime, Violation};
use quorate_transport::Task;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Polls of one node with nothing else happening, and no time passing but that of the polls.
const POLLS_MAX: u64 = 100_000;

pub(super) type Main = Box<dyn FnMut(Host) -> Task>;

/// One life of an async node.
pub(super) struct Life {
    pub(super) shared: Arc<Shared>,
    tasks: BTreeMap<u64, Task>,
    pub(super) workers: Vec<Worker>,
    /// Which of the ready tasks is next.
    rng: Rng,
    /// An event for the next poll is on its way.
    poll_set: bool,
    /// Polls one right after the other, with nothing else in between.
    pub(super) polls: u64,
    /// When the last handler was over.
    until: SimTime,
}

impl Sim {
    /// Adds a member that runs async code: production code with three constructors exchanged.
    /// `main` makes its first task, at the next step and after every restart.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    pub fn add_async(&mut self, id: crate::NodeId, main: impl FnMut(Host) -> Task + 'static) {
        let code = Code::Tasks { main: Box::new(main), life: None };
        self.add_slot(id, quorate_transport::Role::Member, code);
    }

    /// For the transport's conformance suite, which uses transports from its own threads: what they
    /// do happens at no particular moment, so such a world is not deterministic.
    #[doc(hidden)]
    pub const fn allow_any_thread(&mut self) {
        self.any_thread = true;
    }

    /// The next life of a node has this incarnation, or a higher one.
    #[doc(hidden)]
    pub fn set_next_incarnation(&mut self, id: crate::NodeId, incarnation: crate::Incarnation) {
        if let Some(place) = self.world.place(id) {
            let machine = self.world.machine_mut(place);
            let before = crate::Incarnation::new(incarnation.value().saturating_sub(1));
            machine.incarnation = machine.incarnation.max(before);
        }
    }

    /// Hands one input to an async node.
    pub(super) fn handle_tasks(&mut self, place: u32, input: Input) -> Result<(), Violation> {
        match input {
            Input::Turn { worker } => return self.take_turn(place, worker),
            Input::TurnEnd { worker } => return self.end_turn(place, worker),
            _ => {}
        }
        self.begin(place);
        let mut only_polls = false;
        let ran = match input {
            Input::Boot => self.begin_tasks(place),
            Input::Poll => {
                only_polls = true;
                self.poll(place)
            }
            Input::Timer => {
                let at = self.world.handler_time(place);
                let machine = self.world.machine_mut(place);
                machine.timer_waits = false;
                let now = machine.clock.monotonic(at);
                self.with_life(place, |life| life.shared.deadlines.wake_due(now))
            }
            input => self.with_life(place, |life| deliver(&life.shared.port, input)),
        };
        let (now, until) = (self.world.now, self.world.handler_time(place));
        let least = self.world.event_cost(place);
        if let Some(life) = self.life(place) {
            let idle = only_polls && now <= life.until && until.since(now) <= least;
            life.polls = if idle { life.polls + 1 } else { 0 };
            life.until = until;
        }
        let machine = self.world.machine_mut(place);
        machine.free_at = machine.free_at.max(until);
        self.end_tasks(place, ran)
    }

    pub(super) fn life(&mut self, place: u32) -> Option<&mut Life> {
        match &mut self.slots[place as usize].code {
            Code::Tasks { life, .. } => life.as_mut(),
            Code::Node { .. } => None,
        }
    }

    fn with_life(&mut self, place: u32, run: impl FnOnce(&mut Life)) -> Result<(), String> {
        let Some(life) = self.life(place) else { return Ok(()) };
        panics::caught(|| run(life))
    }

    fn begin_tasks(&mut self, place: u32) -> Result<(), String> {
        let (clock, disk) = (self.world.node_clock(place), self.world.disk(place).clone());
        let (now, net) = (Arc::clone(&self.world.shared_now), self.world.net.clone());
        let executor =
            Executor::new(place, Arc::clone(&self.stirred), Arc::clone(&now), self.any_thread);
        let seed = self.world.config.seed;
        let machine = self.world.machine(place);
        let (id, role, incarnation) = (machine.id, machine.role, machine.incarnation);
        let port = Port::new(place, net, identity(id, incarnation, role));
        let seeds = machine.seeds.clone();
        let birth = Birth { id, incarnation, now, clock, disk, executor, port, seeds };
        let shared = Arc::new(Shared::new(birth));
        let rng = Rng::stream(seed, "tasks", id.value(), incarnation.value());
        let until = self.world.now;
        let (tasks, workers) = (BTreeMap::new(), Vec::new());
        let host = Host { shared: Arc::clone(&shared) };
        let Code::Tasks { main, life } = &mut self.slots[place as usize].code else {
            return Ok(());
        };
        *life = Some(Life { shared, tasks, workers, rng, poll_set: false, polls: 0, until });
        panics::caught(|| {
            let task = main(host.clone());
            host.shared.executor.spawn(task);
        })
    }

    /// Polls one of the tasks that are ready. // H4
    fn poll(&mut self, place: u32) -> Result<(), String> {
        let fifo = self.world.config.order == Order::Fifo;
        let Some(life) = self.life(place) else { return Ok(()) };
        life.poll_set = false;
        let rng = &mut life.rng;
        let pick = |n: usize| if fifo { 0 } else { rng.index(n) };
        let Some(id) = life.shared.executor.take_ready(pick) else { return Ok(()) };
        let Some(mut task) = life.tasks.remove(&id) else { return Ok(()) };
        let waker = life.shared.executor.waker(id);
        let polled = panics::caught(move || {
            match task.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(()) => None, // the task is dropped here, as a part of the node
                Poll::Pending => Some(task),
            }
        });
        let node = life.shared.id;
        if let Some(task) = polled? {
            life.tasks.insert(id, task);
        }
        let record = Record::new(self.world.now, What::Poll, node).size(id, 0);
        self.world.trace.record(record);
        Ok(())
    }

    pub(super) fn end_tasks(
        &mut self,
        place: u32,
        ran: Result<(), String>,
    ) -> Result<(), Violation> {
        self.world.collect_clock_reads(place);
        let until = self.world.handler_time(place);
        if let Some(disk) = &self.world.machines[place as usize].disk {
            self.world.trace.fold(disk.trace_hash());
        }
        let machine = self.world.machine(place);
        let (dying, id) = (machine.is_dying(), machine.id);
        self.let_go(place);
        if dying {
            return self.died_inside(place);
        }
        ran.map_err(|panic| Violation::new("panic", panic, until, Some(id)))?;
        self.send_out(place);
        self.look(place)
    }

    /// Gives the network what the node sent.
    fn send_out(&mut self, place: u32) {
        self.world.flush(place);
        if let Some(life) = self.life(place) {
            life.shared.port.left();
        }
        self.world.settle();
    }

    /// Takes what the node sent and said out of its hands.
    fn let_go(&mut self, place: u32) {
        let Some(life) = self.life(place) else { return };
        let (said, sent) = (life.shared.take_said(), life.shared.port.take_outbox());
        let id = life.shared.id;
        for (at, said) in said {
            match said {
                Said::Fact { name, key, value } => self.world.fact(at, place, name, key, value),
                Said::Believe { name, key, until } => {
                    self.world.believe(at, place, name, key, until);
                }
                Said::Disown { name, key } => self.world.disown(at, place, name, key),
                Said::Reached { mark } => self.world.reached(at, place, mark),
                Said::Note(text) => {
                    self.world.trace.record(Record::new(at, What::Note, id));
                    self.world.trace.note(text);
                }
            }
        }
        for (at, effect) in sent {
            self.record_sent(at, place, &effect);
            self.world.effects.push((at, effect));
        }
    }

    fn record_sent(&mut self, at: SimTime, place: u32, effect: &Effect) {
        let id = self.world.machine(place).id;
        let (to, channel, bytes, record) = match effect {
            Effect::Send { to, lane, frame } => {
                let record = Record::new(at, What::Send, id).name(lane_name(*lane));
                let channel = frame.kind.is_application().then_some(frame.channel);
                (*to, channel, frame.body.len(), record.frame(frame))
            }
            Effect::Datagram { to, channel, body } => {
                let record = Record::new(at, What::SendDatagram, id);
                (*to, Some(*channel), body.len(), record.body(body))
            }
            _ => return,
        };
        let peer = self.world.machine(to).id;
        self.world.trace.record(record.peer(peer));
        if let Some(channel) = channel {
            self.world.machine_mut(place).traffic(channel).sent(bytes);
        }
    }

    /// Looks at what wakers, spawners and timers of a node left.
    pub(super) fn look(&mut self, place: u32) -> Result<(), Violation> {
        let now = self.world.now;
        let Some(life) = self.life(place) else { return Ok(()) };
        let shared = Arc::clone(&life.shared);
        let Look { spawned, workers, ready } = shared.executor.look();
        life.tasks.extend(spawned);
        life.workers.extend(shared.take_workers().into_iter().map(Worker::new));
        let poll = ready && !life.poll_set;
        life.poll_set |= ready;
        let polls = life.polls;
        let machine = self.world.machine(place);
        let (free_at, life) = (machine.free_at, machine.incarnation);
        self.schedule_turns(place, workers);
        if poll {
            let input = Input::Poll;
            self.world.events.push(free_at.max(now), Event::Input { place, life, input });
        }
        self.world.set_timer(place, shared.deadlines.next());
        self.limits(place, polls, &shared)
    }

    fn limits(&self, place: u32, polls: u64, shared: &Shared) -> Result<(), Violation> {
        let machine = self.world.machine(place);
        let (now, node) = (self.world.now, Some(machine.id));
        machine.check_standing()?;
        if polls > POLLS_MAX {
            let message = format!("its tasks were polled {polls} times and nothing else happened");
            return Err(Violation::new("livelock", message, now, node));
        }
        let foreign = shared.executor.foreign_thread();
        let foreign = foreign.or_else(|| shared.disk.foreign_thread());
        match foreign {
            None => Ok(()),
            Some(thread) => {
                let message = format!("thread {thread} used the node");
                Err(Violation::new("thread", message, now, node))
            }
        }
    }

    /// Async nodes that were used, or woken, since the last time.
    pub(super) fn look_at_stirred(&mut self) -> Result<(), Violation> {
        for place in self.stirred.take() {
            // Before anything is taken, so that no other thread adds to what was looked at.
            if let Some(life) = self.life(place) {
                life.shared.executor.settle_down();
            }
            self.let_go(place);
            self.send_out(place);
            self.look(place)?;
        }
        for (place, to) in std::mem::take(&mut self.world.rooms) {
            if let Some(life) = self.life(place) {
                life.shared.port.wake_waiters(to);
                self.look(place)?;
            }
        }
        Ok(())
    }
}

fn deliver(port: &Port, input: Input) {
    let bytes = input.bytes();
    match input {
        Input::Frame { from, lane, session, frame } => {
            port.deliver_frame(|sink| sink.on_frame(from, lane, session, frame), bytes);
        }
        Input::Datagram { from, channel, body } => {
            port.deliver_frame(|sink| sink.on_datagram(from, channel, body), bytes);
        }
        Input::Link(event) => port.deliver_event(event),
        Input::Unsent { to, lane, frames } => port.deliver_unsent(to, lane, frames),
        _ => {}
    }
}

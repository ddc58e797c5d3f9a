//! Running the code of one node: one input at a time.

use super::{Code, Sim};
use crate::calls::{CallToken, CallWork};
use crate::disk::{CrashDisk, SimDisk};
use crate::machine::Input;
use crate::node::AnyNode;
use crate::panics;
use crate::trace::{Record, What};
use crate::world::lane_name;
use crate::{Class, Ctx, Node, Rng, SimTime, Violation};
use quorate_clocks::Monotonic;
use quorate_transport::{CallError, Frame, Kind, Lane, LinkEvent, NodeId, Peer, SessionId};

impl Sim {
    /// Hands one input to a node that is free.
    pub(super) fn handle(&mut self, place: u32, input: Input) -> Result<(), Violation> {
        self.record(place, &input);
        if self.slots[place as usize].is_tasks() {
            return self.handle_tasks(place, input);
        }
        self.begin(place);
        let mut ctx = Ctx { world: &mut self.world, place };
        let ran = match &mut self.slots[place as usize].code {
            Code::Node { boot, node } if matches!(input, Input::Boot) => {
                panics::caught(|| *node = Some(boot(&mut ctx)))
            }
            Code::Node { node: Some(node), .. } => {
                panics::caught(|| dispatch(&mut **node, &mut ctx, input))
            }
            _ => Ok(()),
        };
        self.end(place, ran)
    }

    /// Runs a piece of a test as a handler.
    pub(super) fn visit<N: Node, R>(
        &mut self,
        place: u32,
        f: impl FnOnce(&mut N, &mut Ctx<'_>) -> R,
    ) -> Option<R> {
        self.begin(place);
        let mut ctx = Ctx { world: &mut self.world, place };
        let node = self.slots[place as usize].node_mut()?;
        let out = node.as_any_mut().downcast_mut().map(|node| f(node, &mut ctx));
        if let Err(violation) = self.end(place, Ok(())) {
            self.violation.get_or_insert(violation);
        }
        self.reach_nodes();
        out
    }

    pub(super) fn begin(&mut self, place: u32) {
        self.world.handled += 1;
        let (now, cost) = (self.world.now, self.world.config.event_cost);
        // What other nodes did at this moment took their time, not this one's.
        self.world.set_now(now);
        let machine = self.world.machine_mut(place);
        machine.stand(now);
        // A test may look at a node that is busy: that comes after what it does.
        machine.spent = u64::try_from(machine.free_at.since(now).as_nanos()).unwrap_or(u64::MAX);
        self.world.spend(place, cost);
    }

    fn end(&mut self, place: u32, ran: Result<(), String>) -> Result<(), Violation> {
        self.world.collect_clock_reads(place);
        let until = self.world.handler_time(place);
        if let Some(disk) = &self.world.machines[place as usize].disk {
            self.world.trace.fold(disk.trace_hash());
        }
        let machine = self.world.machine_mut(place);
        machine.free_at = machine.free_at.max(until);
        if machine.is_dying() {
            // A panic is part of dying now.
            return self.died_inside(place);
        }
        let node = Some(machine.id);
        if let Some(thread) = machine.disk.as_ref().and_then(SimDisk::foreign_thread) {
            let message = format!("thread {thread} used the disk of the node");
            return Err(Violation::new("thread", message, until, node));
        }
        let stands = machine.check_standing();
        ran.map_err(|panic| Violation::new("panic", panic, until, node))?;
        stands?;
        self.abandon(place);
        self.world.flush(place);
        self.world.settle();
        self.ask_timeout(place)?;
        self.check(place)
    }

    /// The disk cut the process off: what it sent before may or may not have left. // H8
    pub(super) fn died_inside(&mut self, place: u32) -> Result<(), Violation> {
        self.world.coverage.effective(Class::CrashMid);
        let (seed, machine) = (self.world.config.seed, self.world.machine(place));
        let (id, life) = (machine.id.value(), machine.incarnation.value());
        let left = Rng::stream(seed, "crash-mid", id, life).flip();
        if left {
            self.world.flush(place);
        } else {
            self.world.effects.clear();
        }
        // What its kernel got goes on its way.
        let until = if left { SimTime::FAR_FUTURE } else { self.world.now };
        self.crash(place, CrashDisk::Random, until, Class::CrashMid);
        self.world.settle();
        Ok(())
    }

    /// Calls that the node dropped get their answer.
    fn abandon(&mut self, place: u32) {
        if !self.world.machine(place).calls.has_abandoned() {
            return;
        }
        let at = self.world.handler_time(place);
        let machine = self.world.machine_mut(place);
        let now = machine.clock.monotonic(at);
        for work in machine.calls.abandoned(now) {
            self.world.call_work(place, work);
        }
    }

    fn ask_timeout(&mut self, place: u32) -> Result<(), Violation> {
        let node = self.slots[place as usize].node();
        let asked = panics::caught(|| node.and_then(|node| node.poll_timeout()));
        let wanted = asked.map_err(|panic| self.panicked(place, panic))?;
        let calls = self.world.machine(place).calls.poll_timeout();
        let earliest = [wanted, calls].into_iter().flatten().min();
        self.world.set_timer(place, earliest);
        Ok(())
    }

    fn panicked(&self, place: u32, panic: String) -> Violation {
        Violation::new("panic", panic, self.world.now, Some(self.world.machine(place).id))
    }

    fn check(&mut self, place: u32) -> Result<(), Violation> {
        let every = self.world.config.checks_every;
        let now = self.world.now;
        let machine = self.world.machine_mut(place);
        machine.handlers += 1;
        if machine.handlers < every {
            return Ok(());
        }
        machine.handlers = 0;
        let id = machine.id;
        let Some(node) = self.slots[place as usize].node() else { return Ok(()) };
        let checked = panics::caught(|| node.check());
        checked
            .map_err(|panic| self.panicked(place, panic))?
            .map_err(|message| Violation::new("check", message, now, Some(id)))
    }

    fn record(&mut self, place: u32, input: &Input) {
        let (now, id) = (self.world.now, self.world.machine(place).id);
        if !self.world.trace.is_on() {
            return self.count(place, input);
        }
        let new = |what| Record::new(now, what, id);
        let record = match input {
            Input::Boot => {
                let life = self.world.machine(place).incarnation.value();
                new(What::Boot).size(life, 0)
            }
            Input::Frame { from, lane, frame, .. } => {
                new(What::Message).peer(from.node).name(lane_name(*lane)).frame(frame)
            }
            Input::Datagram { from, body, channel } => {
                let record = new(What::Datagram).peer(from.node).body(body);
                let sum = record.sum | u64::from(channel.value()) << 32;
                record.size(body.len() as u64, sum)
            }
            Input::Link(event) => link_record(event, new),
            Input::Unsent { to, lane, frames } => {
                let record = new(What::Unsent).peer(*to).name(lane_name(*lane));
                record.size(frames.len() as u64, 0)
            }
            Input::CallFailed { token, .. } => new(What::CallEnded).size(*token, 0),
            Input::Completion { token } => new(What::Completion).size(*token, 0),
            Input::Timer => new(What::Timer),
            // Which task is polled is recorded when it is, and turns when they are taken.
            Input::Poll | Input::Turn { .. } => return,
            Input::TurnEnd { worker } => new(What::Completion).size(*worker as u64, 1),
        };
        self.world.trace.record(record);
        self.count(place, input);
    }

    fn count(&mut self, place: u32, input: &Input) {
        let (channel, bytes) = match input {
            Input::Frame { frame, .. } if frame.kind.is_application() => {
                (frame.channel, frame.body.len())
            }
            Input::Datagram { channel, body, .. } => (*channel, body.len()),
            _ => return,
        };
        self.world.machine_mut(place).traffic(channel).received(bytes);
    }
}

fn link_record(event: &LinkEvent, new: impl Fn(What) -> Record) -> Record {
    let named = |record: Record, node: NodeId, lane: Lane, session: SessionId| {
        record.peer(node).name(lane_name(lane)).size(session.value(), 0)
    };
    match event {
        LinkEvent::Up { peer, lane, session } => {
            named(new(What::LinkUp), peer.node, *lane, *session)
        }
        LinkEvent::Down { node, lane, session, .. } => {
            named(new(What::LinkDown), *node, *lane, *session)
        }
        _ => new(What::Note),
    }
}

/// Calls the handler that the input is for.
fn dispatch(node: &mut dyn AnyNode, ctx: &mut Ctx<'_>, input: Input) {
    match input {
        Input::Boot | Input::Poll | Input::Turn { .. } | Input::TurnEnd { .. } => {}
        Input::Frame { from, lane, frame, .. } if frame.kind == Kind::Message => {
            node.on_message(ctx, from, lane, frame.channel, frame.body.into_bytes());
        }
        Input::Frame { from, lane, session, frame } => {
            call_frame(node, ctx, from, lane, session, frame);
        }
        Input::Datagram { from, channel, body } => node.on_datagram(ctx, from, channel, body),
        Input::Link(event) => {
            let now = mono(ctx);
            let work = ctx.world.machine_mut(ctx.place).calls.handle_link(now, &event);
            do_work(node, ctx, work);
            node.on_link(ctx, &event);
        }
        Input::Unsent { to, frames, .. } => {
            let work = ctx.world.machine_mut(ctx.place).calls.handle_unsent(to, &frames);
            do_work(node, ctx, work);
        }
        Input::CallFailed { token, error } => {
            node.on_reply(ctx, CallToken::new(token), Err::<_, CallError>(error));
        }
        Input::Completion { token } => node.on_completion(ctx, token),
        Input::Timer => timer(node, ctx),
    }
}

fn call_frame(
    node: &mut dyn AnyNode,
    ctx: &mut Ctx<'_>,
    from: Peer,
    lane: Lane,
    session: SessionId,
    frame: Frame,
) {
    let now = mono(ctx);
    let (config, machine) = ctx.world.config_and_machine(ctx.place);
    let (calls, seeds) = (&mut machine.calls, &mut machine.call_seeds);
    let work = calls.handle_frame(now, config, || seeds.word(), (from, lane, session, frame));
    do_work(node, ctx, work);
}

fn do_work(node: &mut dyn AnyNode, ctx: &mut Ctx<'_>, work: Vec<CallWork>) {
    for work in work {
        match ctx.world.call_work(ctx.place, work) {
            Some(CallWork::Call { from, channel, body, call }) => {
                node.on_call(ctx, from, channel, body, call);
            }
            Some(CallWork::Ended { token, result }) => node.on_reply(ctx, token, result),
            _ => {}
        }
    }
}

/// One call however late, and only if its time has come: the deadline may have moved. // H15
fn timer(node: &mut dyn AnyNode, ctx: &mut Ctx<'_>) {
    let place = ctx.place;
    ctx.world.machine_mut(place).timer_waits = false;
    let now = mono(ctx);
    if ctx.world.machine(place).calls.poll_timeout().is_some_and(|at| at <= now) {
        let work = crate::calls::run_timeouts(ctx.world, place, now);
        do_work(node, ctx, work);
    }
    if node.poll_timeout().is_some_and(|at| at <= now) {
        node.on_timeout(ctx);
    }
}

/// The node's clock without a trace of it: the world asks, not the node.
fn mono(ctx: &mut Ctx<'_>) -> Monotonic {
    let at = ctx.true_time();
    ctx.world.machine(ctx.place).clock.monotonic(at)
}

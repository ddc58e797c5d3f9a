//! What faults do.

use super::Sim;
use crate::check::Observed;
use crate::disk::CrashDisk;
use crate::machine::{Input, Phase};
use crate::net::{Cut, CutShape, Rates};
use crate::panics;
use crate::trace::{Record, What};
use crate::{Class, Fault, Plane, Rng, Shape, SimTime};
use quorate_transport::{NodeId, Role};
use std::time::Duration;

/// Of crashes, so many are noticed by nobody until the node is back.
const SILENT_PPM: u32 = 700_000;
/// A heal that goes from pair to pair takes so long.
const SWIZZLE: Duration = Duration::from_secs(2);

impl Sim {
    /// Applies one fault; what has nothing to apply to is counted as skipped.
    pub(super) fn inject(&mut self, fault: Fault) {
        let (now, class) = (self.world.now, fault.class());
        let record = Record::nowhere(now, What::Fault);
        let mut word = 0;
        for byte in fault.to_string().bytes() {
            word = crate::trace::mix(word, u64::from(byte));
        }
        self.world.trace.record(record.size(word, 0).name(class.map_or("mend", Class::name)));
        self.world.trace.note(fault.to_string());
        let applied = self.apply_fault(fault);
        match (class, applied) {
            (Some(class), true) => self.world.coverage.injected(class),
            (Some(class), false) => self.world.coverage.skipped(class),
            (None, _) => {}
        }
    }

    /// Ends everything that can be ended: cuts, rates, stalls; whoever is down starts again. What
    /// rotted stays.
    pub(crate) fn heal_all(&mut self) {
        if self.world.net.lock().rates != Rates::NONE {
            self.inject(Fault::Delay { percent: 100 });
            self.inject(Fault::Loss { ppm: 0 });
            self.inject(Fault::Duplicate { ppm: 0 });
            self.inject(Fault::Corrupt { ppm: 0 });
        }
        for node in self.nodes() {
            let Some(place) = self.world.place(node) else { continue };
            let machine = self.world.machine_mut(place);
            let (up, clock) = (machine.is_up(), &machine.clock);
            let mends = [
                (machine.phase == Phase::Paused, Fault::Resume { node }),
                (machine.slow_percent != 100, Fault::Slow { node, percent: 100 }),
                (clock.ppm().unsigned_abs() > 200, Fault::ClockRate { node, ppm: 0 }),
                (clock.lie() > 0, Fault::ClockBound { node, lie_ns: 0 }),
            ];
            for (_, mend) in mends.into_iter().filter(|(broken, _)| *broken) {
                self.inject(mend);
            }
            if let Some(disk) = &self.world.machines[place as usize].disk {
                disk.heal();
            }
            if !up {
                self.inject(Fault::Restart { node });
            }
        }
        let swizzle = self.world.plan_rng.flip();
        self.inject(Fault::Heal { swizzle });
        self.reach_nodes();
    }

    fn apply_fault(&mut self, fault: Fault) -> bool {
        let now = self.world.now;
        match fault {
            Fault::CrashMarked { mark, disk, down } => {
                let crash = |node| Fault::Crash { node, disk };
                return self.hunt(&mark, crash, down, |node| Fault::Restart { node });
            }
            Fault::PauseMarked { mark, for_ } => {
                let pause = |node| Fault::Pause { node };
                return self.hunt(&mark, pause, for_, |node| Fault::Resume { node });
            }
            _ => {}
        }
        if let Some(node) = fault.node() {
            let Some(place) = self.world.place(node) else { return false };
            return self.apply_to(place, fault);
        }
        let mut net = self.world.net.lock();
        match fault {
            Fault::Block { from, to, .. } | Fault::Clog { from, to, .. } if from == to => {
                return false;
            }
            Fault::Partition { shape, plane } => {
                drop(net);
                return self.partition(shape, plane);
            }
            Fault::Block { from, to, plane } => {
                let (Some(from), Some(to)) = (self.world.place(from), self.world.place(to)) else {
                    return false;
                };
                let shape = CutShape::OneWay(from, to);
                net.cut(now, Cut { shape, plane });
            }
            Fault::Clog { from, to, for_ } => {
                let (Some(from), Some(to)) = (self.world.place(from), self.world.place(to)) else {
                    return false;
                };
                net.clog(from, to, now.saturating_add(for_));
            }
            Fault::Delay { percent } => net.rates.delay_percent = percent,
            Fault::Loss { ppm } => net.rates.loss_ppm = ppm,
            Fault::Duplicate { ppm } => net.rates.duplicate_ppm = ppm,
            Fault::Corrupt { ppm } => net.rates.corrupt_ppm = ppm,
            Fault::Heal { swizzle } => {
                net.heal(now, if swizzle { SWIZZLE } else { Duration::ZERO });
            }
            _ => return false,
        }
        true
    }

    /// Harms the node that last reached the mark, and mends it after so long.
    fn hunt(
        &mut self,
        mark: &str,
        harm: impl FnOnce(NodeId) -> Fault,
        after: Duration,
        mend: fn(NodeId) -> Fault,
    ) -> bool {
        let Some(node) = self.world.marked.get(mark).copied() else { return false };
        let harmed = self.apply_fault(harm(node));
        if harmed {
            self.apply_later(after, mend(node));
        }
        harmed
    }

    fn apply_to(&mut self, place: u32, fault: Fault) -> bool {
        let now = self.world.now;
        let machine = self.world.machine_mut(place);
        let (up, client) = (machine.is_up(), machine.role == Role::Client);
        match fault {
            Fault::Crash { .. }
            | Fault::CrashMid { .. }
            | Fault::Wipe { .. }
            | Fault::Disk { .. }
                if client =>
            {
                return false;
            }
            Fault::Crash { disk, .. } if up => self.crash(place, disk, now, Class::Crash),
            Fault::CrashMid { operations, .. } if up => {
                self.world.disk(place).crash_at_operation(operations);
            }
            Fault::Restart { .. } if !up => self.boot(place),
            Fault::Wipe { .. } => {
                if up {
                    self.crash(place, CrashDisk::LoseUnsynced, now, Class::Wipe);
                }
                if self.world.disk(place).wipe() {
                    self.world.coverage.effective(Class::Wipe);
                }
            }
            Fault::Pause { .. } if machine.phase == Phase::Running => machine.phase = Phase::Paused,
            Fault::Resume { .. } if machine.phase == Phase::Paused => {
                machine.phase = Phase::Running;
                machine.free_at = machine.free_at.max(now);
                self.world.set_wake(place);
            }
            Fault::Slow { percent, .. } => {
                machine.slow_percent = percent.max(1);
                if let Some(disk) = &machine.disk {
                    disk.slow(machine.slow_percent);
                }
            }
            Fault::BreakSessions { silent, .. } if up => {
                let (broken, busy) = self.world.net.lock().break_all(now, place, silent);
                self.world.coverage.effective_times(Class::Break, busy);
                return broken > 0;
            }
            Fault::ClockStep { by_ns: 0, .. } => return false,
            Fault::ClockStep { by_ns, .. } => {
                machine.clock.step(by_ns);
                self.clock_changed(place, Some(Class::ClockStep));
            }
            Fault::ClockRate { ppm, .. } => {
                machine.clock.set_rate(now.max(machine.free_at), ppm);
                self.clock_changed(place, (ppm != 0).then_some(Class::ClockRate));
            }
            Fault::ClockBound { lie_ns, .. } => {
                machine.clock.set_lie(lie_ns);
                self.clock_changed(place, (lie_ns > 0).then_some(Class::ClockBound));
            }
            Fault::Disk { fault, .. } => return self.world.disk(place).inject(fault),
            _ => return false,
        }
        true
    }

    /// Deadlines are mapped to true time anew.
    fn clock_changed(&mut self, place: u32, class: Option<Class>) {
        let machine = self.world.machine_mut(place);
        if let Some(clock) = &machine.node_clock {
            clock.set(&machine.clock);
        }
        machine.clock_faults.extend(class);
        machine.timer_at = SimTime::FAR_FUTURE;
        let wanted = machine.calls.poll_timeout();
        let up = machine.is_up();
        let timeout = self.slots[place as usize].deadline();
        if up {
            self.world.set_timer(place, [wanted, timeout].into_iter().flatten().min());
        }
    }

    fn partition(&mut self, shape: Shape, plane: Plane) -> bool {
        let n = self.world.machines.len();
        let mut groups: Vec<Option<u32>> = vec![None; n];
        let shape = match shape {
            Shape::Halves => {
                self.halves(&mut groups, None);
                CutShape::Groups(groups)
            }
            Shape::Bridge(node) => {
                let Some(bridge) = self.world.place(node) else { return false };
                self.halves(&mut groups, Some(bridge));
                CutShape::Groups(groups)
            }
            Shape::Groups(named) => {
                for (group, nodes) in (0..).zip(named) {
                    for place in nodes.into_iter().filter_map(|node| self.world.place(node)) {
                        groups[place as usize] = Some(group);
                    }
                }
                let mut of = groups.iter().flatten();
                let first = of.next();
                if of.all(|group| Some(group) == first) {
                    return false; // it keeps nobody from anybody
                }
                CutShape::Groups(groups)
            }
            Shape::Isolate(node) => {
                let Some(place) = self.world.place(node) else { return false };
                CutShape::Groups(alone(n, place))
            }
            Shape::IsolateMarked(mark) => {
                let node = self.world.marked.get(&*mark);
                let Some(place) = node.and_then(|node| self.world.place(*node)) else {
                    return false;
                };
                CutShape::Groups(alone(n, place))
            }
            Shape::Ring => {
                let members = self.members_in_order();
                for (position, place) in (0..).zip(&members) {
                    groups[*place as usize] = Some(position);
                }
                CutShape::Ring(groups, u32::try_from(members.len()).unwrap_or(u32::MAX))
            }
        };
        let now = self.world.now;
        self.world.net.lock().cut(now, Cut { shape, plane });
        true
    }

    /// Two groups of the members, none empty; clients hear one of them.
    fn halves(&mut self, groups: &mut [Option<u32>], bridge: Option<u32>) {
        let mut members = self.members_in_order();
        members.retain(|place| Some(*place) != bridge);
        let rng = &mut self.world.plan_rng;
        rng.shuffle(&mut members);
        let most = (members.len() as u64).saturating_sub(1).max(1);
        let first = usize::try_from(rng.between(1, most)).unwrap_or(1);
        for (i, place) in members.iter().enumerate() {
            groups[*place as usize] = Some(u32::from(i >= first));
        }
        for (place, machine) in self.world.machines.iter().enumerate() {
            if machine.role == Role::Client {
                groups[place] = Some(u32::from(rng.flip()));
            }
        }
    }

    /// Places of all members, by id.
    fn members_in_order(&self) -> Vec<u32> {
        let machines = (0..).zip(&self.world.machines);
        let members = machines.filter(|(_, machine)| machine.role == Role::Member);
        let mut members: Vec<(NodeId, u32)> =
            members.map(|(place, machine)| (machine.id, place)).collect();
        members.sort_unstable();
        members.into_iter().map(|(_, place)| place).collect()
    }

    /// A node dies: first it is dead for everybody, then what it was is dropped. What it sent up
    /// to `left` has left it. // H7
    pub(super) fn crash(&mut self, place: u32, disk: CrashDisk, left: SimTime, class: Class) {
        let now = self.world.now;
        let machine = self.world.machine(place);
        let (id, life) = (machine.id, machine.incarnation.value());
        let seed = self.world.config.seed;
        let silent = Rng::stream(seed, "crash", id.value(), life).chance(SILENT_PPM);
        self.world.trace.record(Record::new(now, What::Crash, id));
        let machine = self.world.machine_mut(place);
        let mut lost = machine.unread();
        machine.end_life();
        let incarnation = machine.incarnation;
        lost += self.world.net.lock().die(now, place, !silent, left);
        if let Some(device) = &self.world.machines[place as usize].disk {
            let report = device.crash(disk);
            lost += report.lost;
            if report.lost > 0 && report.lost < report.units {
                self.world.coverage.effective(Class::DiskTorn);
            }
            self.world.trace.fold(device.trace_hash());
        }
        if lost > 0 && class == Class::Crash {
            self.world.coverage.effective(class);
        }
        self.world.said.cut(id, now, left);
        let what = Observed::Crashed;
        self.world.said.push(crate::check::Observation { at: now, node: id, incarnation, what });
        let node = self.slots[place as usize].kill();
        // Whatever it does while it is dropped has no effect, a panic neither.
        let _ = panics::caught(move || drop(node));
        self.world.effects.clear();
    }

    /// A node starts, in a new life.
    pub(super) fn boot(&mut self, place: u32) {
        let (seed, now) = (self.world.config.seed, self.world.now);
        let machine = self.world.machine_mut(place);
        if machine.is_up() {
            return;
        }
        machine.begin_life(seed, now);
        let life = machine.incarnation;
        if self.slots[place as usize].is_tasks() {
            // It listens once its transport is started.
            self.world.net.lock().power_on(place);
        } else {
            self.world.net.lock().boot(place, life);
        }
        self.world.due.push_back((place, Input::Boot));
    }
}

/// One in a group of its own, all others in another.
fn alone(n: usize, place: u32) -> Vec<Option<u32>> {
    (0..n).map(|other| Some(u32::from(other == place as usize))).collect()
}

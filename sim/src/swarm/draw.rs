//! Draws the faults of one seed.

use super::{MS, Nodes, SECOND, Swarm};
use crate::disk::{CrashDisk, DiskFault};
use crate::{Class, Fault, FsyncFailure, Plane, Rng, Shape, SimTime};
use quorate_transport::NodeId;
use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The plan of one seed, as far as it is drawn.
pub(super) struct Draw<'a> {
    pub(super) swarm: &'a Swarm,
    pub(super) nodes: &'a Nodes,
    pub(super) chosen: &'a [Class],
    /// When chaos ends, in nanoseconds.
    pub(super) end: u64,
    pub(super) rng: Rng,
    pub(super) steps: Vec<(SimTime, Fault)>,
    /// Of the class at hand.
    pub(super) strength: u64,
}

impl Draw<'_> {
    /// Adds the faults of one class.
    pub(super) fn class(&mut self, class: Class, range: &RangeInclusive<u64>) {
        let rate = u32::try_from(self.strength).unwrap_or(u32::MAX);
        match class {
            Class::Loss => {
                self.windows(|_| Some(Fault::Loss { ppm: rate }), &Fault::Loss { ppm: 0 });
            }
            Class::Duplicate => {
                self.windows(
                    |_| Some(Fault::Duplicate { ppm: rate }),
                    &Fault::Duplicate { ppm: 0 },
                );
            }
            Class::Corrupt => {
                self.windows(|_| Some(Fault::Corrupt { ppm: rate }), &Fault::Corrupt { ppm: 0 });
            }
            Class::Delay | Class::Reorder => {
                let percent = rate.max(101);
                self.windows(|_| Some(Fault::Delay { percent }), &Fault::Delay { percent: 100 });
            }
            Class::Clog => self.every(3 * SECOND, |draw, _| draw.clog(range)),
            Class::Partition => self.every(5 * SECOND, |draw, at| draw.partition(at, range)),
            Class::OneWay => self.every(5 * SECOND, |draw, at| draw.one_way(at, range)),
            Class::Break => self.every(self.strength, |draw, _| {
                let (node, silent) = (draw.node()?, draw.rng.flip());
                Some(Fault::BreakSessions { node, silent })
            }),
            // Torn writes come with crashes: without them some are made for it.
            Class::DiskTorn if self.chosen.contains(&Class::Crash) => {}
            Class::Crash | Class::DiskTorn => self.every(self.strength, Self::crash),
            Class::CrashMid => self.every(self.strength, Self::crash_mid),
            Class::Wipe => self.every(self.strength, Self::wipe),
            Class::Pause => self.every(8 * SECOND, |draw, at| draw.pause(at, range)),
            Class::Slow => self.every(8 * SECOND, |draw, at| draw.slow(at, rate)),
            Class::ClockStep => self.every(8 * SECOND, |draw, _| draw.clock_step(range)),
            Class::ClockRate => self.every(8 * SECOND, |draw, _| draw.clock_rate(range)),
            Class::ClockBound => self.every(8 * SECOND, |draw, _| {
                let lie_ns = draw.rng.log_uniform(*range.start(), *range.end());
                Some(Fault::ClockBound { node: draw.member()?, lie_ns })
            }),
            Class::DiskSyncError => self.every(self.strength, |draw, _| draw.sync_error()),
            Class::DiskStall => self.every(8 * SECOND, |draw, at| {
                // Who waits already when the heal comes is not spared the rest.
                let stall = draw.lasting(range).min(draw.end - at).max(MS);
                let fault = DiskFault::Stall(Duration::from_nanos(stall));
                Some(Fault::Disk { node: draw.member()?, fault })
            }),
            Class::DiskRot => self.every(self.strength, |draw, _| draw.rot()),
            Class::DiskSpace => {
                let capacity_bytes = self.strength;
                self.every(20 * SECOND, |draw, _| {
                    let fault = DiskFault::NoSpace { capacity_bytes };
                    Some(Fault::Disk { node: draw.member()?, fault })
                });
            }
        }
    }

    /// Something at random moments, so far apart on average; once at least.
    fn every(&mut self, mean: u64, mut make: impl FnMut(&mut Self, u64) -> Option<Fault>) {
        let mut at = self.rng.below(self.end.min(mean).max(1));
        while at < self.end {
            at = whole_ms(at);
            if let Some(fault) = make(self, at) {
                self.push(at, fault);
            }
            at = at.saturating_add(self.rng.exponential(mean).max(MS));
        }
    }

    /// Something that lasts: one to three times, until its end.
    fn windows(&mut self, mut make: impl FnMut(&mut Self) -> Option<Fault>, end: &Fault) {
        for _ in 0..self.rng.between(1, 3) {
            let begin = whole_ms(self.rng.below(self.end.max(1)));
            let length = whole_ms(self.rng.log_uniform(100 * MS, 10 * SECOND));
            if let Some(fault) = make(self) {
                self.push(begin, fault);
                self.push(begin.saturating_add(length), end.clone());
            }
        }
    }

    /// What happens after the end of chaos is left to the heal.
    fn push(&mut self, at: u64, fault: Fault) {
        if at < self.end {
            self.steps.push((SimTime::from_nanos(at), fault));
        }
    }

    fn lasting(&mut self, range: &RangeInclusive<u64>) -> u64 {
        whole_ms(self.rng.log_uniform(*range.start(), *range.end())).max(MS)
    }

    fn member(&mut self) -> Option<NodeId> {
        self.rng.pick(&self.nodes.members).copied()
    }

    /// One of those that may lose what they stored: always the same few.
    fn unlucky(&mut self) -> Option<NodeId> {
        let few = self.swarm.minority.min(self.nodes.members.len());
        self.rng.pick(&self.nodes.members[..few]).copied()
    }

    fn node(&mut self) -> Option<NodeId> {
        let (members, clients) = (self.nodes.members.len(), self.nodes.clients.len());
        let at = self.rng.index(members + clients);
        let of_clients = at.checked_sub(members).and_then(|at| self.nodes.clients.get(at));
        self.nodes.members.get(at).or(of_clients).copied()
    }

    fn pair(&mut self) -> Option<(NodeId, NodeId)> {
        let (from, to) = (self.node()?, self.node()?);
        (from != to).then_some((from, to))
    }

    fn plane(&mut self) -> Plane {
        match self.rng.below(10) {
            0..=5 => Plane::Both,
            6 | 7 => Plane::Lanes,
            _ => Plane::Datagrams,
        }
    }

    fn clog(&mut self, range: &RangeInclusive<u64>) -> Option<Fault> {
        let (from, to) = self.pair()?;
        let for_ = Duration::from_nanos(self.lasting(range));
        Some(Fault::Clog { from, to, for_ })
    }

    fn partition(&mut self, at: u64, range: &RangeInclusive<u64>) -> Option<Fault> {
        let (shape, plane) = (self.shape()?, self.plane());
        self.heal_after(at, range);
        Some(Fault::Partition { shape, plane })
    }

    fn one_way(&mut self, at: u64, range: &RangeInclusive<u64>) -> Option<Fault> {
        let ((from, to), plane) = (self.pair()?, self.plane());
        self.heal_after(at, range);
        Some(Fault::Block { from, to, plane })
    }

    fn heal_after(&mut self, at: u64, range: &RangeInclusive<u64>) {
        let (length, swizzle) = (self.lasting(range), self.rng.flip());
        self.push(at.saturating_add(length), Fault::Heal { swizzle });
    }

    fn shape(&mut self) -> Option<Shape> {
        Some(match self.rng.below(6) {
            0 | 1 => self.groups()?,
            2 => Shape::Isolate(self.member()?),
            3 => Shape::Bridge(self.member()?),
            4 => Shape::Ring,
            _ => match &self.swarm.hunt {
                Some(mark) => Shape::IsolateMarked(mark.clone()),
                None => Shape::Isolate(self.member()?),
            },
        })
    }

    /// Two or three groups, written out, so that a step means the same whatever other steps there
    /// are. Of three none may be a majority. // H24
    fn groups(&mut self) -> Option<Shape> {
        let mut nodes = self.nodes.members.clone();
        self.rng.shuffle(&mut nodes);
        let most = (nodes.len() as u64).checked_sub(1).filter(|most| *most > 0)?;
        let first = usize::try_from(self.rng.between(1, most)).unwrap_or(1);
        let rest = nodes.split_off(first);
        let mut groups = vec![nodes, rest];
        if most >= 2 && self.rng.flip() {
            let larger = usize::from(groups[1].len() > groups[0].len());
            let half = groups[larger].len() / 2;
            let third = groups[larger].split_off(half);
            groups.push(third);
        }
        for client in &self.nodes.clients {
            let group = self.rng.index(groups.len());
            groups[group].push(*client);
        }
        groups.iter_mut().for_each(|group| group.sort_unstable());
        Some(Shape::Groups(groups))
    }

    fn crash(&mut self, at: u64) -> Option<Fault> {
        let node = self.member()?;
        let torn = self.chosen.contains(&Class::DiskTorn);
        let disk = match self.rng.below(4) {
            0 => CrashDisk::KeepAll,
            1 => CrashDisk::LoseUnsynced,
            _ if torn => CrashDisk::Random,
            _ => CrashDisk::LoseUnsynced,
        };
        if let Some(mark) = self.hunted() {
            return Some(Fault::CrashMarked { mark, disk, down: self.down() });
        }
        self.restart_after(at, node);
        Some(Fault::Crash { node, disk })
    }

    fn crash_mid(&mut self, at: u64) -> Option<Fault> {
        let node = self.member()?;
        let operations = self.rng.log_uniform(1, 100);
        self.restart_after(at, node);
        Some(Fault::CrashMid { node, operations })
    }

    fn wipe(&mut self, at: u64) -> Option<Fault> {
        let node = self.unlucky()?;
        self.restart_after(at, node);
        Some(Fault::Wipe { node })
    }

    fn restart_after(&mut self, at: u64, node: NodeId) {
        let down = u64::try_from(self.down().as_nanos()).unwrap_or(u64::MAX);
        self.push(at.saturating_add(down), Fault::Restart { node });
    }

    fn down(&mut self) -> Duration {
        let (least, most) = (*self.swarm.down.start(), *self.swarm.down.end());
        Duration::from_nanos(whole_ms(self.rng.log_uniform(least, most)).max(MS))
    }

    /// The mark whose node is to be hit, in one case of three. Nothing is drawn for swarms that
    /// hunt nobody: their plans are what they were.
    fn hunted(&mut self) -> Option<Cow<'static, str>> {
        let mark = self.swarm.hunt.as_ref()?;
        (self.rng.below(3) == 0).then(|| mark.clone())
    }

    fn pause(&mut self, at: u64, range: &RangeInclusive<u64>) -> Option<Fault> {
        let (node, length) = (self.node()?, self.lasting(range));
        if let Some(mark) = self.hunted() {
            return Some(Fault::PauseMarked { mark, for_: Duration::from_nanos(length) });
        }
        self.push(at.saturating_add(length), Fault::Resume { node });
        Some(Fault::Pause { node })
    }

    fn slow(&mut self, at: u64, percent: u32) -> Option<Fault> {
        let node = self.node()?;
        let length = whole_ms(self.rng.log_uniform(100 * MS, 10 * SECOND));
        self.push(at.saturating_add(length), Fault::Slow { node, percent: 100 });
        Some(Fault::Slow { node, percent: percent.max(101) })
    }

    fn clock_step(&mut self, range: &RangeInclusive<u64>) -> Option<Fault> {
        let step = i64::try_from(self.lasting(range)).unwrap_or(i64::MAX);
        let by_ns = if self.rng.flip() { step } else { -step };
        Some(Fault::ClockStep { node: self.node()?, by_ns })
    }

    fn clock_rate(&mut self, range: &RangeInclusive<u64>) -> Option<Fault> {
        let most = if self.nodes.extreme_clocks { 100_000 } else { *range.end() };
        let ppm = self.rng.log_uniform(*range.start(), most);
        let ppm = i32::try_from(ppm).unwrap_or(i32::MAX);
        let ppm = if self.rng.flip() { ppm } else { -ppm };
        Some(Fault::ClockRate { node: self.node()?, ppm })
    }

    fn sync_error(&mut self) -> Option<Fault> {
        let models = [FsyncFailure::MarkClean, FsyncFailure::DropPages, FsyncFailure::KeepDirty];
        let fault = DiskFault::SyncError(*self.rng.pick(&models)?);
        Some(Fault::Disk { node: self.member()?, fault })
    }

    fn rot(&mut self) -> Option<Fault> {
        let fault = match self.rng.below(3) {
            0 => DiskFault::ZeroSector,
            1 => DiskFault::StaleSector,
            _ => {
                let far = i32::try_from(self.rng.between(1, 16)).unwrap_or(1);
                DiskFault::Misdirect { sectors: if self.rng.flip() { far } else { -far } }
            }
        };
        Some(Fault::Disk { node: self.unlucky()?, fault })
    }
}

/// Times in plans are read by people.
const fn whole_ms(nanos: u64) -> u64 {
    nanos - nanos % MS
}

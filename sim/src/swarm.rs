//! [`Swarm`]: which faults a seed gets, and how strong; drawn into a plan before the run.
//!
//! Every seed has some of the classes, not all: a run with every fault at once hides what only
//! shows when one of them is missing (Groce et al. 2012, swarm testing).

use crate::disk::{CrashDisk, DiskFault};
use crate::{Class, Fault, FsyncFailure, Plan, Plane, Rng, Shape, SimTime};
use quorate_transport::NodeId;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// Which classes of faults seeds may get, and their ranges.
///
/// # Shape
/// Each class is on with probability one half per seed, one at least; its strength is drawn
/// log-uniformly from its range. Off unless named: [`Class::ClockBound`], [`Class::DiskRot`],
/// [`Class::DiskSpace`], and [`Class::Wipe`] without a [`minority`](Self::minority).
///
/// # Examples
/// ```
/// use quorate_sim::{Class, Swarm};
/// let swarm = Swarm::default().without(Class::ClockStep).minority(2);
/// assert!(swarm.has(Class::Wipe) && !swarm.has(Class::ClockStep));
/// assert!(!Swarm::quiet().has(Class::Crash));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swarm {
    on: BTreeMap<Class, RangeInclusive<u64>>,
    minority: usize,
    isolate: Option<Cow<'static, str>>,
    always: bool,
}

impl Default for Swarm {
    fn default() -> Self {
        let off = [Class::ClockBound, Class::DiskRot, Class::DiskSpace, Class::Wipe];
        let on = Class::ALL.into_iter().filter(|class| !off.contains(class));
        let on = on.map(|class| (class, default_range(class))).collect();
        Self { on, minority: 0, isolate: None, always: false }
    }
}

/// Strength: parts per million, per cent, or nanoseconds, as the class has it.
const fn default_range(class: Class) -> RangeInclusive<u64> {
    match class {
        Class::Loss => 1_000..=200_000,
        Class::Duplicate => 1_000..=100_000,
        Class::Corrupt => 100..=10_000,
        Class::Reorder | Class::Delay | Class::Slow => 200..=10_000,
        Class::Clog => 10 * MS..=10 * SECOND,
        Class::Partition | Class::OneWay => 50 * MS..=30 * SECOND,
        Class::Break => SECOND / 2..=30 * SECOND,
        Class::Crash | Class::CrashMid | Class::Wipe | Class::DiskTorn => SECOND..=30 * SECOND,
        Class::Pause => 10 * MS..=60 * SECOND,
        Class::ClockStep => MS..=3_600 * SECOND,
        Class::ClockRate => 1..=200,
        Class::ClockBound => 1_000..=SECOND,
        Class::DiskSyncError | Class::DiskRot => SECOND / 10..=10 * SECOND,
        Class::DiskStall => MS..=30 * SECOND,
        Class::DiskSpace => 64 << 10..=16 << 20,
    }
}

impl Swarm {
    /// No faults at all.
    #[must_use]
    pub const fn quiet() -> Self {
        Self { on: BTreeMap::new(), minority: 0, isolate: None, always: false }
    }

    /// These classes alone, with their default ranges.
    #[must_use]
    pub fn only(mut self, classes: &[Class]) -> Self {
        self.on = classes.iter().map(|class| (*class, default_range(*class))).collect();
        self
    }

    /// All classes in every seed, instead of each in half of them.
    #[must_use]
    pub const fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// This class, too.
    #[must_use]
    pub fn with(mut self, class: Class) -> Self {
        self.on.entry(class).or_insert_with(|| default_range(class));
        self
    }

    /// Not this class.
    #[must_use]
    pub fn without(mut self, class: Class) -> Self {
        self.on.remove(&class);
        self
    }

    /// Turns a class on, with this range of strength: parts per million (loss, duplicates,
    /// corruption, clock rates), per cent (delays, slowness), bytes (space), or nanoseconds: how
    /// long it lasts (clogs, partitions, pauses, stalls), how far apart they are (crashes, breaks,
    /// failed syncs, rot), how far it goes (clock steps and bounds).
    #[must_use]
    pub fn range(mut self, class: Class, range: RangeInclusive<u64>) -> Self {
        self.on.insert(class, range);
        self
    }

    /// So many members may lose what they stored: rot and wipes hit at most so many. From 1 on,
    /// wipes are on.
    #[must_use]
    pub fn minority(mut self, n: usize) -> Self {
        self.minority = n;
        if n > 0 { self.with(Class::Wipe) } else { self.without(Class::Wipe) }
    }

    /// Some partitions isolate the node that last reached this mark.
    #[must_use]
    pub fn isolate(mut self, mark: impl Into<Cow<'static, str>>) -> Self {
        self.isolate = Some(mark.into());
        self
    }

    /// Whether seeds may get this class.
    #[must_use]
    pub fn has(&self, class: Class) -> bool {
        self.on.contains_key(&class)
    }

    /// The classes seeds may get.
    pub(crate) fn classes(&self) -> impl Iterator<Item = Class> {
        self.on.keys().copied()
    }

    /// The plan of one seed.
    pub(crate) fn draw(&self, seed: u64, nodes: &Nodes, chaos: Duration) -> Plan {
        let mut rng = Rng::stream(seed, "swarm", 0, 0);
        let mut chosen: Vec<Class> =
            self.on.keys().copied().filter(|_| self.always || rng.flip()).collect();
        if chosen.is_empty() {
            let all: Vec<Class> = self.on.keys().copied().collect();
            chosen.extend(rng.pick(&all));
        }
        let end = u64::try_from(chaos.as_nanos()).unwrap_or(u64::MAX);
        let (steps, strength) = (Vec::new(), 0);
        let mut draw = Draw { swarm: self, nodes, chosen: &chosen, end, rng, steps, strength };
        for class in &chosen {
            // One stream for each class: another class more does not move the others.
            draw.rng = Rng::stream(seed, "swarm", 1 + *class as u64, 0);
            let range = self.on[class].clone();
            draw.strength = draw.rng.log_uniform(*range.start(), *range.end());
            draw.class(*class, &range);
        }
        let mut steps = draw.steps;
        steps.sort_by_key(|(at, _)| *at);
        steps.truncate(crate::plan::STEPS_MAX);
        Plan { steps }
    }
}

/// Who there is.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    pub(crate) members: Vec<NodeId>,
    pub(crate) clients: Vec<NodeId>,
    pub(crate) extreme_clocks: bool,
}

struct Draw<'a> {
    swarm: &'a Swarm,
    nodes: &'a Nodes,
    chosen: &'a [Class],
    /// When chaos ends, in nanoseconds.
    end: u64,
    rng: Rng,
    steps: Vec<(SimTime, Fault)>,
    /// Of the class at hand.
    strength: u64,
}

impl Draw<'_> {
    fn class(&mut self, class: Class, range: &RangeInclusive<u64>) {
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
            _ => match &self.swarm.isolate {
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
        // Most are back soon, some only when everything is over.
        let down = whole_ms(self.rng.log_uniform(MS, 30 * SECOND));
        self.push(at.saturating_add(down), Fault::Restart { node });
    }

    fn pause(&mut self, at: u64, range: &RangeInclusive<u64>) -> Option<Fault> {
        let (node, length) = (self.node()?, self.lasting(range));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn nodes() -> Nodes {
        let ids = |range: std::ops::Range<u64>| range.map(NodeId::new).collect();
        Nodes { members: ids(1..6), clients: ids(11..13), extreme_clocks: false }
    }

    #[test]
    fn plans_have_only_classes_that_are_on_and_are_read_back() {
        let swarm = Swarm::default().minority(1).with(Class::DiskRot).isolate("leader");
        let mut seen = BTreeSet::new();
        for seed in 0..300 {
            let plan = swarm.draw(seed, &nodes(), Duration::from_secs(30));
            assert!(plan.steps.is_sorted_by_key(|(at, _)| *at));
            assert!(plan.steps.iter().all(|(at, _)| *at < SimTime::from_nanos(30 * SECOND)));
            assert_eq!(plan.to_string().parse::<Plan>().as_ref(), Ok(&plan), "seed {seed}");
            assert_eq!(plan, swarm.draw(seed, &nodes(), Duration::from_secs(30)));
            let classes = plan.steps.iter().filter_map(|(_, fault)| fault.class());
            seen.extend(classes);
            let lost = plan
                .steps
                .iter()
                .filter(|(_, fault)| matches!(fault.class(), Some(Class::Wipe | Class::DiskRot)));
            assert!(lost.into_iter().all(|(_, f)| f.node() == Some(NodeId::new(1))));
        }
        // Those of crashes and delays have no fault of their own.
        let expected = swarm.classes().filter(|c| ![Class::Reorder, Class::DiskTorn].contains(c));
        assert_eq!(seen, expected.collect(), "every class comes up");
    }

    #[test]
    fn a_single_class_is_always_on() {
        for seed in 0..50 {
            let swarm = Swarm::quiet().only(&[Class::Pause]);
            let plan = swarm.draw(seed, &nodes(), Duration::from_secs(30));
            assert!(!plan.steps.is_empty(), "seed {seed}");
        }
        let quiet = Swarm::quiet().draw(1, &nodes(), Duration::from_secs(30));
        assert_eq!(quiet, Plan::default());
    }
}

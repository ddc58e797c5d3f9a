//! [`Swarm`]: which faults a seed gets, and how strong; drawn into a plan before the run.
//!
//! Every seed has some of the classes, not all: a run with every fault at once hides what only
//! shows when one of them is missing (Groce et al. 2012, swarm testing).

mod draw;

use crate::{Class, Plan, Rng};
use draw::Draw;
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
    hunt: Option<Cow<'static, str>>,
    /// Nanoseconds.
    down: RangeInclusive<u64>,
    always: bool,
}

/// Most are back soon, some only when everything is over.
const DOWN: RangeInclusive<u64> = MS..=30 * SECOND;

impl Default for Swarm {
    fn default() -> Self {
        let off = [Class::ClockBound, Class::DiskRot, Class::DiskSpace, Class::Wipe];
        let on = Class::ALL.into_iter().filter(|class| !off.contains(class));
        let on = on.map(|class| (class, default_range(class))).collect();
        Self { on, ..Self::quiet() }
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
        Self { on: BTreeMap::new(), minority: 0, hunt: None, down: DOWN, always: false }
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

    /// Some partitions, crashes and pauses hit the node that last reached this mark: a leader, say.
    /// An empty one hunts nobody: no plan could name it.
    #[must_use]
    pub fn hunt(mut self, mark: impl Into<Cow<'static, str>>) -> Self {
        self.hunt = Some(mark.into()).filter(|mark| !mark.is_empty());
        self
    }

    /// Default: 1 ms to 30 s · how long nodes stay down that crashed or were wiped, drawn
    /// log-uniformly, in whole milliseconds · too short → the others never do without them · too
    /// long → most crashes find nobody to hit. An empty range is its beginning.
    #[must_use]
    pub fn down(mut self, range: RangeInclusive<Duration>) -> Self {
        let nanos = |d: &Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let least = nanos(range.start());
        self.down = least..=nanos(range.end()).max(least);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fault, SimTime};
    use std::collections::BTreeSet;

    fn nodes() -> Nodes {
        let ids = |range: std::ops::Range<u64>| range.map(NodeId::new).collect();
        Nodes { members: ids(1..6), clients: ids(11..13), extreme_clocks: false }
    }

    #[test]
    fn plans_have_only_classes_that_are_on_and_are_read_back() {
        let swarm = Swarm::default().minority(1).with(Class::DiskRot).hunt("now leads");
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

    /// Whom the faults of these seeds hit by a mark, of how many that could.
    fn marked(swarm: &Swarm) -> [(usize, usize); 2] {
        let mut counts = [(0, 0); 2];
        for seed in 0..100 {
            for (_, fault) in swarm.draw(seed, &nodes(), Duration::from_secs(30)).steps {
                let (at, marked) = match fault {
                    Fault::Crash { .. } => (0, 0),
                    Fault::CrashMarked { .. } => (0, 1),
                    Fault::Pause { .. } => (1, 0),
                    Fault::PauseMarked { .. } => (1, 1),
                    _ => continue,
                };
                counts[at] = (counts[at].0 + marked, counts[at].1 + 1);
            }
        }
        counts
    }

    #[test]
    fn a_third_of_crashes_and_pauses_hunt_if_they_are_told_whom() {
        for (hits, of) in marked(&Swarm::default().hunt("leader")) {
            assert!(hits * 4 > of && hits * 5 < of * 2, "{hits} of {of}");
        }
        assert!(marked(&Swarm::default()).into_iter().all(|(hits, of)| hits == 0 && of > 0));
    }

    /// How long nodes stay down, of all that come back before the end.
    fn downs(swarm: &Swarm) -> Vec<Duration> {
        let mut downs = Vec::new();
        for seed in 0..100 {
            let mut crashed = BTreeMap::new();
            for (at, fault) in swarm.draw(seed, &nodes(), Duration::from_secs(30)).steps {
                match fault {
                    Fault::Crash { node, .. } => drop(crashed.insert(node, at)),
                    Fault::CrashMarked { down, .. } => downs.push(down),
                    Fault::Restart { node } => {
                        downs.extend(crashed.remove(&node).map(|crash| at.since(crash)));
                    }
                    _ => {}
                }
            }
        }
        downs
    }

    #[test]
    fn nodes_stay_down_as_long_as_they_are_told_to() {
        let [least, most] = [20, 300].map(Duration::from_millis);
        // Far apart: a restart is that of the crash before it.
        let rare = Swarm::quiet().range(Class::Crash, 5 * SECOND..=5 * SECOND);
        for swarm in [rare.clone(), rare.clone().hunt("leader")] {
            let downs = downs(&swarm.down(least..=most));
            assert!(downs.len() > 100, "{}", downs.len());
            // Crashes that are close to each other mix up their restarts.
            let within = downs.iter().filter(|down| (least..=most).contains(down)).count();
            assert!(within * 100 > downs.len() * 95, "{within} of {}", downs.len());
        }
        let usual = downs(&rare);
        assert!(usual.iter().any(|down| *down < least) && usual.iter().any(|down| *down > most));
        let empty = rare.clone().down(most..=least);
        assert_eq!(empty, rare.down(most..=most));
    }

    #[test]
    fn an_empty_mark_hunts_nobody() {
        assert_eq!(Swarm::default().hunt(""), Swarm::default());
        assert_ne!(Swarm::default().hunt("leader"), Swarm::default());
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

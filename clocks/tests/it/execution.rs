//! Seeded executions: nodes with wrong clocks, messages, crashes. What one event can have caused
//! has a larger stamp; nothing is issued twice; bounds hold.

use crate::support::{Rng, each_seed};
use quorate_clocks::*;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const START: u64 = 1_700_000_000_000_000_000;
const STEPS: u64 = 1_500;
const MAX_SKEW: Duration = Duration::from_millis(50);
const WINDOW: Duration = Duration::from_millis(20);
/// How wrong the clocks of disciplined nodes are at most.
const EPSILON: Duration = Duration::from_millis(3);

/// What really happened over a campaign: a campaign in which one of these never did shows nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Fired {
    remote_higher: u64,
    remote_lower: u64,
    remote_equal: u64,
    carries: u64,
    back_steps: u64,
    refusals: u64,
    floors_above_wall: u64,
    horizon_behind: u64,
    waits_that_looped: u64,
}

type NodeClock = Arc<SkewedClock<ManualClock>>;

struct Node {
    hardware: ManualClock,
    clock: NodeClock,
    /// Its wall clock is within [`EPSILON`] of true time.
    disciplined: bool,
    stalled: bool,
    hlc: HorizonHlc<NodeClock>,
    /// What the disk holds.
    stored: Option<Timestamp>,
    /// Being written.
    writing: Option<Persist>,
    issued: BTreeSet<Timestamp>,
    last: Option<Timestamp>,
    /// The events that may have caused the next one, as counts per node.
    history: Vec<u64>,
    /// By how much stamps may lead the wall clock, beyond what remote stamps may bring.
    back: Duration,
    waiting: Option<(CommitWait, Timestamp, bool)>,
}

struct Message {
    stamp: Timestamp,
    history: Vec<u64>,
}

struct World {
    rng: Rng,
    truth: ManualClock,
    nodes: Vec<Node>,
    flying: Vec<Message>,
    events: Vec<(Timestamp, usize, Vec<u64>)>,
    fired: Fired,
}

fn config() -> HlcConfig {
    HlcConfig::local().max_skew(MAX_SKEW).horizon_window(WINDOW).build().unwrap()
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let truth = ManualClock::new(WallTime::from_nanos(START));
        let count = 2 + rng.below(6);
        let nodes = (0..count).map(|_| Node::new(&mut rng, usize::try_from(count).unwrap()));
        let nodes = nodes.collect::<Vec<_>>();
        let (flying, events) = (Vec::new(), Vec::new());
        Self { rng, truth, nodes, flying, events, fired: Fired::default() }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.check_causality();
        self.fired.carries = self.nodes.iter().map(|n| n.hlc.stats().carried).sum();
    }

    fn step(&mut self) {
        let at = usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap();
        match self.rng.below(24) {
            0..=3 => self.event(at, None),
            4..=7 => self.send(at),
            8..=11 => self.receive(at),
            12..=15 => self.pass_time(),
            16 => self.step_wall(at),
            17 => self.nodes[at].stalled = !self.nodes[at].stalled,
            18 => self.burst(at),
            19 if self.rng.one_in(3) => self.crash(at),
            19..=21 => self.disk(at),
            22 => self.check_interval(at),
            _ => self.commit_wait(at),
        }
    }

    /// One event of a node: a local one, or the arrival of a message.
    fn event(&mut self, at: usize, message: Option<Message>) {
        let node = &mut self.nodes[at];
        let wall = node.clock.wall();
        let before = node.hlc.latest();
        let outcome = match &message {
            None => node.hlc.now().map_err(ObserveError::HorizonBehind),
            Some(m) => node.hlc.observe(m.stamp),
        };
        let stamp = match outcome {
            Ok(stamp) => stamp,
            Err(ObserveError::HorizonBehind(behind)) => {
                assert!(behind.durable.is_none_or(|durable| behind.wanted > durable));
                self.fired.horizon_behind += 1;
                return;
            }
            Err(error) => {
                assert_eq!(node.hlc.latest(), before, "a refusal changes nothing: {error}");
                self.fired.refusals += 1;
                return;
            }
        };
        if let Some(m) = message {
            assert!(stamp > m.stamp, "{stamp} is the arrival of {}", m.stamp);
            if let Some(own) = before.filter(|own| own.micros() == m.stamp.micros()) {
                match m.stamp.cmp(&own) {
                    std::cmp::Ordering::Greater => self.fired.remote_higher += 1,
                    std::cmp::Ordering::Less => self.fired.remote_lower += 1,
                    std::cmp::Ordering::Equal => self.fired.remote_equal += 1,
                }
            }
            for (own, other) in node.history.iter_mut().zip(&m.history) {
                *own = (*own).max(*other);
            }
        }
        node.history[at] += 1;
        node.check_issue(stamp, wall);
        self.events.push((stamp, at, node.history.clone()));
    }

    fn send(&mut self, at: usize) {
        let before = self.events.len();
        self.event(at, None);
        if self.events.len() > before {
            let (stamp, _, history) = self.events[before].clone();
            self.flying.push(Message { stamp, history });
        }
    }

    fn receive(&mut self, at: usize) {
        if !self.flying.is_empty() {
            // Any order, and some of them never.
            let index = usize::try_from(self.rng.below(self.flying.len() as u64)).unwrap();
            let message = self.flying.swap_remove(index);
            if !self.rng.one_in(10) {
                self.event(at, Some(message));
            }
        }
    }

    /// Mostly microseconds, so that stamps meet; sometimes long, sometimes in suspend.
    fn pass_time(&mut self) {
        let d = match self.rng.below(8) {
            0 => Duration::from_nanos(self.rng.below(30_000_000)),
            1..=3 => Duration::from_nanos(self.rng.below(200_000)),
            _ => Duration::from_nanos(self.rng.below(3_000)),
        };
        let suspended = self.rng.one_in(20);
        self.truth.advance(d);
        for node in &mut self.nodes {
            let wall = node.hardware.wall();
            if suspended {
                node.hardware.suspend(d);
            } else {
                node.hardware.advance(d);
            }
            if node.stalled && !node.disciplined {
                node.hardware.set_wall(wall);
            }
        }
    }

    fn step_wall(&mut self, at: usize) {
        let size = self.rng.below(nanos(MAX_SKEW) / 4);
        let back = self.rng.one_in(2);
        let node = &mut self.nodes[at];
        if node.disciplined {
            return;
        }
        let size = size.cast_signed();
        let before = node.clock.wall();
        node.hardware.step_wall(if back { -size } else { size });
        node.back += before.since(node.clock.wall());
        self.fired.back_steps += u64::from(back);
    }

    /// More stamps than a microsecond holds.
    fn burst(&mut self, at: usize) {
        if !self.rng.one_in(4) {
            return;
        }
        let node = &mut self.nodes[at];
        for _ in 0..5_000 {
            let wall = node.clock.wall();
            let Ok(stamp) = node.hlc.now() else { return };
            node.check_issue(stamp, wall);
        }
        node.back += Duration::from_micros(2); // 5,000 stamps while the clock stood
    }

    /// Everything but the disk is gone; what was being written may or may not be there.
    fn crash(&mut self, at: usize) {
        let survived = self.rng.one_in(2);
        let node = &mut self.nodes[at];
        if let Some(writing) = node.writing.take().filter(|_| survived) {
            node.stored = Some(writing.horizon());
        }
        if node.stored.is_some_and(|stored| stored.wall() > node.clock.wall()) {
            self.fired.floors_above_wall += 1;
        }
        self.fired.carries += node.hlc.stats().carried;
        node.hlc = HorizonHlc::recover(node.clock.clone(), config(), node.stored).unwrap();
        node.back += Duration::from_millis(1); // H24: not a window
        node.waiting = None;
    }

    fn disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        match node.writing.take() {
            Some(written) => {
                node.stored = node.stored.max(Some(written.horizon()));
                node.hlc.persisted(written);
            }
            None => node.writing = node.hlc.poll_persist(),
        }
    }

    /// The bound that a source gives at this moment; it may grow while somebody waits. // H17
    fn interval(&mut self, at: usize) -> Interval {
        let error = if self.rng.one_in(3) { EPSILON * 4 } else { EPSILON };
        FixedError::new(self.nodes[at].clock.clone(), error).interval().unwrap()
    }

    fn check_interval(&mut self, at: usize) {
        let now = self.interval(at);
        let node = &self.nodes[at];
        if node.disciplined {
            let truth = self.truth.wall();
            assert!(now.contains(truth), "{truth} is not in {now}");
        }
    }

    /// A transaction waits until its stamp is in the past everywhere.
    fn commit_wait(&mut self, at: usize) {
        let now = self.interval(at);
        let node = &mut self.nodes[at];
        if !node.disciplined {
            return;
        }
        let Some((wait, stamp, looped)) = node.waiting.take() else {
            node.waiting = node.last.map(|stamp| (CommitWait::after(stamp), stamp, false));
            return;
        };
        match wait.poll(&now) {
            Wait::Done => {
                assert!(self.truth.wall() > stamp.wall_end(), "{stamp} is not over yet");
                self.fired.waits_that_looped += u64::from(looped);
            }
            Wait::For(_) => node.waiting = Some((wait, stamp, true)),
        }
    }

    /// Every pair: if one can have caused the other, its stamp is smaller.
    fn check_causality(&self) {
        for (n, (stamp, at, history)) in self.events.iter().enumerate() {
            for (other, other_at, other_history) in &self.events[n + 1..] {
                if other_history[*at] >= history[*at] {
                    assert!(stamp < other, "{stamp} at {at} caused {other} at {other_at}");
                }
            }
        }
    }
}

impl Node {
    fn new(rng: &mut Rng, count: usize) -> Self {
        let hardware = ManualClock::new(WallTime::from_nanos(START));
        let disciplined = rng.one_in(3);
        let range = if disciplined { EPSILON / 2 } else { MAX_SKEW };
        let signed =
            |rng: &mut Rng, max: u64| rng.below(2 * max + 1).cast_signed() - max.cast_signed();
        let offset = signed(rng, nanos(range));
        let rate = signed(rng, if disciplined { 500_000 } else { 100_000_000 });
        let clock = Arc::new(SkewedClock::new(hardware.clone(), offset, rate));
        let hlc = HorizonHlc::recover(clock.clone(), config(), None).unwrap();
        Self {
            hardware,
            clock,
            disciplined,
            stalled: false,
            hlc,
            stored: None,
            writing: None,
            issued: BTreeSet::new(),
            last: None,
            history: vec![0; count],
            back: Duration::ZERO,
            waiting: None,
        }
    }

    /// G1, G3, G5: distinct and rising over all lives, never below the clock, never far above it.
    fn check_issue(&mut self, stamp: Timestamp, wall: WallTime) {
        assert!(self.issued.insert(stamp), "{stamp} was issued twice");
        assert!(self.last.is_none_or(|last| stamp > last), "{stamp} after {:?}", self.last);
        assert!(stamp.micros() >= wall.as_nanos() / 1_000, "{stamp} is before {wall}");
        assert!(self.stored.is_some_and(|stored| stamp <= stored), "{stamp} is above the disk's");
        let lead = stamp.wall().since(wall);
        let bound = MAX_SKEW + self.back + Duration::from_micros(1);
        assert!(lead <= bound, "{stamp} leads {wall} by {lead:?}, bound {bound:?}");
        self.last = Some(stamp);
    }
}

#[test]
fn execution() {
    let total = std::sync::Mutex::new(Fired::default());
    each_seed(200, "execution::execution", |seed| {
        let world = RefCell::new(World::new(seed));
        world.borrow_mut().run();
        let one = world.borrow().fired;
        let mut all = total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.remote_higher += one.remote_higher;
        all.remote_lower += one.remote_lower;
        all.remote_equal += one.remote_equal;
        all.carries += one.carries;
        all.back_steps += one.back_steps;
        all.refusals += one.refusals;
        all.floors_above_wall += one.floors_above_wall;
        all.horizon_behind += one.horizon_behind;
        all.waits_that_looped += one.waits_that_looped;
    });
    let all = *total.lock().unwrap();
    crate::support::say(format_args!("{all:#?}"));
    if std::env::var("QUORATE_SEED").is_err() {
        for (what, count) in [
            ("remote counter higher", all.remote_higher),
            ("remote counter lower", all.remote_lower),
            ("remote counter equal", all.remote_equal),
            ("counter carries", all.carries),
            ("steps back", all.back_steps),
            ("refusals", all.refusals),
            ("restarts below their floor", all.floors_above_wall),
            ("stamps behind a horizon", all.horizon_behind),
            ("commit waits that looped", all.waits_that_looped),
        ] {
            assert!(count > 0, "never happened: {what}");
        }
    }
}

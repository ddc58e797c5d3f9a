//! Clocks (G6): never back, timers never early, intervals that hold, and faults that show.

use crate::disk::seeds::{Replay, seeds};
use quorate_clocks::{BoundedClock, Clock};
use quorate_sim::*;
use std::sync::Arc;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
/// When every world begins.
const START: u64 = 1_735_689_600_000_000_000;

/// Wakes at times of its own, and keeps clocks.
struct Watch {
    clock: Arc<dyn Clock>,
    bounded: Arc<dyn BoundedClock>,
    deadline: Option<Monotonic>,
    /// The first deadline, how late each one was, in true time when it was handled.
    wakes: Vec<(Monotonic, SimTime)>,
    last: Monotonic,
    /// Sets no new deadline.
    once: bool,
    rng: Rng,
}

impl Watch {
    fn boot(ctx: &mut Ctx<'_>) -> Self {
        let rng = Rng::stream(ctx.seed(), "watch", 0, 0);
        let (clock, bounded) = (ctx.clock(), ctx.bounded());
        let now = ctx.now();
        Self { clock, bounded, deadline: None, wakes: Vec::new(), last: now, once: false, rng }
    }

    fn look(&mut self, ctx: &mut Ctx<'_>) {
        let own = self.clock.monotonic();
        let now = ctx.now();
        assert!(self.last <= own && own <= now, "back: {:?} {own:?} {now:?}", self.last);
        assert!(now.since(own) < Duration::from_micros(5), "the kept clock is another one");
        self.last = now;
        let wall = ctx.wall();
        assert!(wall.as_nanos().abs_diff(self.clock.wall().as_nanos()) < 5_000);
    }
}

impl Node for Watch {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.look(ctx);
        let deadline = self.deadline.take().unwrap();
        assert!(ctx.now() >= deadline, "early by {:?}", deadline.since(ctx.now()));
        self.wakes.push((deadline, ctx.true_time()));
        if !self.once {
            let wait = Duration::from_nanos(self.rng.log_uniform(1, 2_000_000_000));
            self.deadline = Some(ctx.now().saturating_add(wait));
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.deadline
    }
}

const NODE: NodeId = NodeId::new(1);

fn world(config: SimConfigBuilder) -> Sim {
    let mut sim = Sim::new(config.build().unwrap());
    sim.add(NODE, Watch::boot);
    sim.run_for(MS).unwrap();
    sim
}

fn wake_in(sim: &mut Sim, d: Duration) -> Monotonic {
    let set = |node: &mut Watch, ctx: &mut Ctx<'_>| {
        node.once = true;
        node.deadline = Some(ctx.now().saturating_add(d));
        node.deadline.unwrap()
    };
    sim.with_node(NODE, set).unwrap()
}

fn look(sim: &mut Sim) -> Monotonic {
    let look = |node: &mut Watch, ctx: &mut Ctx<'_>| {
        node.look(ctx);
        ctx.now()
    };
    sim.with_node(NODE, look).unwrap()
}

fn rate(ppm: i32) -> Fault {
    Fault::ClockRate { node: NODE, ppm }
}

/// Random faults of clocks and processes: whatever happens, no timer is early, no clock goes back.
#[test]
fn clocks_go_forward_and_timers_are_never_early() {
    let mut wakes = 0;
    for seed in seeds(60) {
        let _replay = Replay { test: "clocks::clocks_go", seed };
        let mut rng = Rng::stream(seed, "clocks", 0, 0);
        let mut sim = world(SimConfig::chaos(seed));
        sim.with_node(NODE, |node: &mut Watch, ctx| node.deadline = Some(ctx.now())).unwrap();
        for _ in 0..100 {
            let ppm = i32::try_from(rng.below(200_001)).unwrap() - 100_000;
            let by_ns = i64::try_from(rng.below(7_200_000_000_000)).unwrap() - 3_600_000_000_000;
            sim.apply(match rng.below(7) {
                0..=2 => rate(ppm),
                3 => Fault::ClockStep { node: NODE, by_ns },
                4 => Fault::Pause { node: NODE },
                5 => Fault::Resume { node: NODE },
                _ => Fault::Slow {
                    node: NODE,
                    percent: 100 + u32::try_from(rng.below(900)).unwrap(),
                },
            });
            if rng.flip() {
                look(&mut sim);
            }
            sim.run_for(Duration::from_nanos(rng.log_uniform(1, 3_000_000_000))).unwrap();
        }
        sim.apply(Fault::Resume { node: NODE });
        sim.run_for(Duration::from_secs(1)).unwrap();
        wakes += sim.node::<Watch>(NODE).unwrap().wakes.len();
    }
    assert!(wakes > 1_000, "{wakes}");
}

/// A deadline is where the clock, at its new rate, will show it.
/// H16: a busy node has read its clock up to the moment when it is free.
#[test]
fn a_rate_that_falls_while_a_node_is_busy_moves_nothing_back() {
    let mut sim = world(SimConfig::chaos(7));
    let busy = |_: &mut Watch, ctx: &mut Ctx<'_>| {
        ctx.busy(Duration::from_secs(10));
        ctx.now()
    };
    let before = sim.with_node(NODE, busy).unwrap();
    sim.run_for(Duration::from_secs(1)).unwrap();
    sim.apply(rate(-100_000));
    sim.run_for(Duration::from_secs(9)).unwrap();
    let after = look(&mut sim);
    assert!(after >= before, "it went back by {:?}", before.since(after));
    sim.run_for(Duration::from_secs(100)).unwrap();
    let passed = look(&mut sim).since(after).as_millis();
    assert!((89_900..=90_100).contains(&passed), "then the rate holds: {passed} ms");
}

#[test]
fn deadlines_move_with_the_rate() {
    for (ppm, seconds) in [(100_000, 91), (-100_000, 112), (0, 100)] {
        let mut sim = world(SimConfig::chaos(1));
        sim.apply(rate(0));
        let began = sim.now();
        wake_in(&mut sim, Duration::from_secs(100));
        sim.run_for(Duration::from_secs(1)).unwrap();
        sim.apply(rate(ppm));
        sim.run_for(Duration::from_secs(200)).unwrap();
        let wakes = &sim.node::<Watch>(NODE).unwrap().wakes;
        assert_eq!(wakes.len(), 1, "once");
        let after = wakes[0].1.since(began);
        // One second at the old rate, 99 at the new one: 90 faster, 110 slower.
        let range = Duration::from_secs(seconds - 1)..Duration::from_secs(seconds) + MS;
        assert!(range.contains(&after), "{ppm}: {after:?}");
    }
}

#[test]
fn a_timer_is_late_by_no_more_than_the_handler_takes() {
    let mut sim = world(SimConfig::lan(1));
    for _ in 0..50 {
        let deadline = wake_in(&mut sim, Duration::from_micros(1_234_567));
        sim.run_for(Duration::from_secs(2)).unwrap();
        let node = sim.node::<Watch>(NODE).unwrap();
        assert_eq!(node.wakes.last().unwrap().0, deadline);
        assert!(node.last.since(deadline) < Duration::from_micros(3), "{:?}", node.last);
    }
}

#[test]
fn a_clock_tells_the_bound_it_keeps_to() {
    for (config, ppm) in [(SimConfig::lan(1), 200), (SimConfig::chaos(1), 100_500)] {
        let sim = world(config);
        let node = sim.node::<Watch>(NODE).unwrap();
        assert_eq!(node.clock.drift().as_ppm(), ppm);
    }
    // Honest rates keep to it, whatever the seed.
    for seed in 0..100 {
        let mut sim = world(SimConfig::lan(seed));
        let (began, shown) = (sim.now(), look(&mut sim));
        sim.run_for(Duration::from_secs(1_000)).unwrap();
        let (passed, shown) = (sim.now().since(began), look(&mut sim).since(shown));
        let error = passed.as_nanos().abs_diff(shown.as_nanos());
        assert!(error <= 200_000 * 1_000, "{error} ns in 1,000 s");
    }
}

#[test]
fn a_step_moves_the_wall_and_no_timer() {
    let mut sim = world(SimConfig::lan(1));
    let wall = |sim: &mut Sim| sim.with_node(NODE, |_: &mut Watch, ctx| ctx.wall()).unwrap();
    let before = wall(&mut sim);
    assert!(before.as_nanos().abs_diff(START) < 600_000_000, "half a second off at most");
    wake_in(&mut sim, Duration::from_secs(10));
    for by_ns in [3_600_000_000_000, -7_200_000_000_000] {
        let before = wall(&mut sim).as_nanos();
        sim.apply(Fault::ClockStep { node: NODE, by_ns });
        let after = wall(&mut sim).as_nanos();
        let moved = i64::try_from(i128::from(after) - i128::from(before)).unwrap();
        assert!(moved.abs_diff(by_ns) < 10_000, "{moved} instead of {by_ns}");
        assert_eq!(
            sim.node::<Watch>(NODE).unwrap().clock.wall().as_nanos() / 100_000,
            after / 100_000
        );
    }
    sim.run_for(Duration::from_secs(9)).unwrap();
    assert_eq!(sim.node::<Watch>(NODE).unwrap().wakes, []);
    sim.run_for(Duration::from_secs(2)).unwrap();
    assert_eq!(sim.node::<Watch>(NODE).unwrap().wakes.len(), 1);
}

fn interval_holds(sim: &mut Sim) -> bool {
    let look = |node: &mut Watch, ctx: &mut Ctx<'_>| {
        let (own, kept) = (ctx.interval(), node.bounded.interval().unwrap());
        let truth = WallTime::from_nanos(START + ctx.true_time().as_nanos());
        assert_eq!(own.contains(truth), kept.contains(truth));
        own.contains(truth)
    };
    sim.with_node(NODE, look).unwrap()
}

#[test]
fn an_interval_holds_the_true_time_until_it_lies() {
    for seed in 0..50 {
        let mut sim = world(SimConfig::lan(seed));
        assert!(interval_holds(&mut sim));
        for fault in [
            Fault::ClockStep { node: NODE, by_ns: 3_600_000_000_000 },
            rate(-150),
            Fault::ClockStep { node: NODE, by_ns: -3_600_000_000_000 },
        ] {
            sim.apply(fault);
            sim.run_for(Duration::from_secs(100)).unwrap();
            assert!(interval_holds(&mut sim));
        }
        sim.apply(Fault::ClockBound { node: NODE, lie_ns: 400_000_000_000 });
        assert!(!interval_holds(&mut sim));
        sim.apply(Fault::ClockBound { node: NODE, lie_ns: 0 });
        assert!(interval_holds(&mut sim));
    }
}

/// A fault of a clock counts once the node has read what it changes, of either kind of clock.
#[test]
fn a_fault_shows_once_its_clock_is_read() {
    type Read = fn(&mut Watch, &mut Ctx<'_>);
    let own: [Read; 3] =
        [|_, ctx| _ = ctx.now(), |_, ctx| _ = ctx.wall(), |_, ctx| _ = ctx.interval()];
    let kept: [Read; 3] = [
        |node, _| _ = node.clock.monotonic(),
        |node, _| _ = node.clock.wall(),
        |node, _| _ = node.bounded.interval(),
    ];
    let faults = [
        (Class::ClockRate, rate(150), 0),
        (Class::ClockStep, Fault::ClockStep { node: NODE, by_ns: 5 }, 0),
        (Class::ClockBound, Fault::ClockBound { node: NODE, lie_ns: 5 }, 2),
    ];
    for (class, fault, needs) in faults {
        for (i, read) in own.into_iter().enumerate().chain(kept.into_iter().enumerate()) {
            let mut sim = world(SimConfig::lan(1));
            sim.apply(fault.clone());
            sim.run_for(MS).unwrap();
            let count = |sim: &Sim| sim.coverage().class(class);
            assert_eq!((count(&sim).injected, count(&sim).effective), (1, 0));
            sim.with_node(NODE, read).unwrap();
            assert_eq!(count(&sim).effective, u64::from(i >= needs), "{fault} read {i}");
            (0..3).for_each(|_| _ = sim.with_node(NODE, read));
            assert!(count(&sim).effective <= 1, "once");
        }
    }
}

/// Its clocks go on while it stands still; on resume one late wake, not one for each missed.
#[test]
fn a_pause_is_one_late_wake() {
    struct Tick {
        next: Monotonic,
        wakes: u32,
    }
    impl Node for Tick {
        fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
            self.wakes += 1;
            self.next = ctx.now().saturating_add(100 * MS);
        }
        fn poll_timeout(&self) -> Option<Monotonic> {
            Some(self.next)
        }
    }
    let mut sim = Sim::new(SimConfig::lan(1).build().unwrap());
    sim.add(NODE, |ctx| Tick { next: ctx.now(), wakes: 0 });
    sim.run_for(50 * MS).unwrap();
    assert_eq!(sim.node::<Tick>(NODE).unwrap().wakes, 1);
    let shown = sim.with_node(NODE, |_: &mut Tick, ctx| ctx.now()).unwrap();
    sim.apply(Fault::Pause { node: NODE });
    sim.run_for(Duration::from_secs(60)).unwrap();
    assert_eq!(sim.node::<Tick>(NODE).unwrap().wakes, 1);
    assert!(sim.is_up(NODE));
    sim.apply(Fault::Resume { node: NODE });
    sim.run_for(50 * MS).unwrap();
    assert_eq!(sim.node::<Tick>(NODE).unwrap().wakes, 2, "one, however late");
    let now = sim.with_node(NODE, |_: &mut Tick, ctx| ctx.now()).unwrap();
    assert!(now.since(shown) > Duration::from_secs(59), "its clocks went on");
    assert_eq!(sim.coverage().class(Class::Pause).effective, 1);
}

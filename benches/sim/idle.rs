//! S2: an hour of five nodes that do nothing but look at the clock ten times a second.

use crate::Bench;
use crate::flood::NODES;
use crate::peers::turmoil;
use quorate_benches::busy::Busy;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::{Ctx, Monotonic, Node, NodeId, Sim, SimConfig};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
/// The peer gets so much of the hour; what it takes is counted as many times as that is less.
const SHARE: u32 = 100;
/// Between two looks at the clock.
pub(crate) const EVERY: Duration = Duration::from_millis(100);

const OURS: &str = "ours";

struct Idle {
    next: Monotonic,
    woken: u64,
}

impl Node for Idle {
    fn on_timeout(&mut self, _: &mut Ctx<'_>) {
        self.woken += 1;
        self.next = self.next.saturating_add(EVERY);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

/// Nanoseconds of an hour.
fn hour() -> f64 {
    let begun = Busy::begin();
    let mut sim = Sim::new(SimConfig::lan(1).build().expect("a preset"));
    for id in 1..=NODES {
        let boot = |ctx: &mut Ctx<'_>| Idle { next: ctx.now().saturating_add(EVERY), woken: 0 };
        sim.add(NodeId::new(id), boot);
    }
    sim.run_for(HOUR).expect("no fault");
    let taken = begun.nanos();
    for id in 1..=NODES {
        let woken = sim.node::<Idle>(NodeId::new(id)).expect("it runs").woken;
        // Clocks differ by 200 ppm.
        assert!((35_990..=36_010).contains(&woken), "woken {woken} times");
    }
    taken
}

/// S2: beside turmoil, which looks at every node every millisecond.
pub(crate) fn idle(bench: &mut Bench) {
    let peer = || turmoil::idle(HOUR / SHARE) * f64::from(SHARE);
    let contenders = vec![Contender::new(OURS, hour), Contender::new(turmoil::NAME, peer)];
    let rounds = take_turns(contenders, bench.rounds);
    let (ns, ratio) = (rounds.ns(OURS), rounds.ratio(turmoil::NAME, OURS));
    let line = Line::new("S2 a simulated hour of 5 idle nodes, a timer of 100 ms each")
        .value(&time(ns), ns, "ns")
        .peer(turmoil::NAME, &time(rounds.ns(turmoil::NAME)), ratio)
        .goal("≤ 0.3 s", ns <= 0.3e9)
        .goal("≥ 50× turmoil", ratio >= 50.0);
    bench.sheet.push(line.note(&format!("the peer ran 1/{SHARE} of the hour")));
}

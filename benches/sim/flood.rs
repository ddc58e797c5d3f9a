//! S1 and S7: five nodes in a ring, each asks the next as quickly as its window allows.

use crate::Bench;
use crate::peers::{madsim, moonpool, turmoil};
use quorate_benches::busy::Busy;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::{
    Bytes, ChannelId, Ctx, Lane, Node, NodeId, Peer, Sim, SimConfig, SimConfigBuilder,
};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Nodes; each asks the next one, the last one the first.
pub(crate) const NODES: u64 = 5;
/// Questions of a node on their way.
pub(crate) const DEPTH: u64 = 32;
/// Questions of a node in a turn.
pub(crate) const COUNT: u64 = 8_000;
/// One way.
pub(crate) const LATENCY: Duration = Duration::from_millis(1);

/// Questions of a node: so many on their way, so many in a turn.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) depth: u64,
    pub(crate) count: u64,
}

const FULL: Window = Window { depth: DEPTH, count: COUNT };
const ONE: Window = Window { depth: 1, count: COUNT / 8 };

const ASK: ChannelId = ChannelId::new(16);
const ANSWER: ChannelId = ChannelId::new(17);
const OURS: &str = "ours";
const FLOOR: &str = "heap push and pop";

/// Answers its neighbour, and asks the other one.
struct Echo {
    next: NodeId,
    asked: u64,
    answered: u64,
    count: u64,
}

/// The `n`th question: 64 bytes that no other has.
fn question(n: u64) -> [u8; 64] {
    let mut body = [7; 64];
    body[..8].copy_from_slice(&n.to_le_bytes());
    body
}

impl Echo {
    fn boot(ctx: &mut Ctx<'_>, Window { depth, count }: Window) -> Self {
        let next = NodeId::new(ctx.id().value() % NODES + 1);
        let mut echo = Self { next, asked: 0, answered: 0, count };
        (0..depth.min(count)).for_each(|_| echo.ask(ctx));
        echo
    }

    fn ask(&mut self, ctx: &mut Ctx<'_>) {
        let body = Bytes::copy_from_slice(&question(self.asked));
        ctx.send(self.next, Lane::Data, ASK, body).expect("room");
        self.asked += 1;
    }
}

impl Node for Echo {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, lane: Lane, ch: ChannelId, b: Bytes) {
        if ch == ASK {
            ctx.send(from.node, lane, ANSWER, b).expect("room");
            return;
        }
        assert_eq!(b[..], question(self.answered));
        self.answered += 1;
        if self.asked < self.count {
            self.ask(ctx);
        }
    }
}

fn config() -> SimConfigBuilder {
    SimConfig::lan(1).latency(LATENCY, LATENCY)
}

/// Handlers run, and nanoseconds it took.
fn run(config: SimConfigBuilder, window: Window) -> (u64, f64) {
    let begun = Busy::begin();
    let mut sim = Sim::new(config.build().expect("within the ranges"));
    let nodes = || (1..=NODES).map(NodeId::new);
    nodes().for_each(|id| sim.add(id, move |ctx| Echo::boot(ctx, window)));
    let has_all = |echo: &Echo| echo.answered == window.count;
    let done = |sim: &Sim| nodes().all(|id| sim.node::<Echo>(id).is_some_and(has_all));
    while !done(&sim) {
        sim.run_for(Duration::from_secs(1)).expect("no fault");
    }
    (sim.handled(), begun.nanos())
}

/// Nanoseconds of an echo in a turn.
fn turn(config: SimConfigBuilder, window: Window) -> f64 {
    run(config, window).1 / (NODES * window.count) as f64
}

/// What an event has at least: who, to whom, where, what.
struct Content {
    _from: u32,
    _to: u32,
    _channel: ChannelId,
    body: Bytes,
}

/// When, tie, in order of arrival; the place of the content.
type Key = (Reverse<(u64, u32, u64)>, u32);

/// Events by time, tie and arrival, as many at a time as messages are on their way; nanoseconds
/// of one.
fn heap(events: u64, depth: u64) -> f64 {
    let begun = Busy::begin();
    let mut heap: BinaryHeap<Key> = BinaryHeap::new();
    let mut contents: Vec<Content> = Vec::new();
    let mut random = 1_u64;
    let flying = u32::try_from(NODES * depth).expect("few");
    for place in 0..flying {
        let body = Bytes::copy_from_slice(&question(0));
        contents.push(Content { _from: place % 5, _to: place % 5 + 1, _channel: ASK, body });
        heap.push((Reverse((u64::from(place), place, 0)), place));
    }
    for n in 0..events {
        let (Reverse((at, ..)), place) = heap.pop().expect("as many as before");
        let content = &mut contents[place as usize];
        // Every second event is a question, which is a new body.
        if n % 2 == 0 {
            content.body = Bytes::copy_from_slice(&question(n));
        }
        black_box(&content.body);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let later = at + 1_000_000 + (random >> 44);
        heap.push((Reverse((later, (random >> 32) as u32, n)), place));
    }
    begun.nanos() / events as f64
}

/// S1: beside the peers, with a window full of questions and with one.
pub(crate) fn flood(bench: &mut Bench) {
    let lines = [
        ("S1 echo flood, 5 nodes, sans-IO, 32 in flight a node", FULL),
        ("S1 the same, 1 in flight a node", ONE),
    ];
    for (lane, window) in lines {
        let line = beside_peers(lane, window, bench.rounds);
        bench.sheet.push(line);
    }
}

fn beside_peers(lane: &str, window: Window, rounds: usize) -> Line {
    let handled = run(config(), window).0;
    // What an echo is made of: the question's event and the answer's.
    let events = handled as f64 / (NODES * window.count) as f64;
    let mut contenders = vec![
        Contender::new(OURS, || turn(config(), window)),
        Contender::new(FLOOR, || heap(handled, window.depth) * events),
        Contender::new(turmoil::NAME, || turmoil::flood(window)),
        Contender::new(moonpool::NAME, || moonpool::flood(window)),
    ];
    let built = madsim::contender(window);
    let without = built.is_none().then_some("madsim: not built, see benches/sim/madsim");
    contenders.extend(built);
    let rounds = take_turns(contenders, rounds);
    let echo = rounds.ns(OURS);
    let second = events * 1e9 / echo;
    let text = format!("{:.2} M events/s, {} an echo", second / 1e6, time(echo));
    let (floor, peer) = (rounds.ratio(OURS, FLOOR), rounds.ratio(turmoil::NAME, OURS));
    let mut line = Line::new(lane)
        .value(&text, second, "events/s")
        .floor(&format!("{FLOOR} {}", time(rounds.ns(FLOOR))), floor)
        .goal("≥ 1 M events/s", second >= 1e6)
        .goal("≥ 20× turmoil", peer >= 20.0)
        .goal("≥ 0.25× floor", floor <= 4.0)
        .note(&format!("{events:.2} events an echo"));
    for peer in rounds.others(&[OURS, FLOOR]) {
        line = line.peer(&peer, &time(rounds.ns(&peer)), rounds.ratio(&peer, OURS));
    }
    without.into_iter().fold(line, Line::note)
}

/// S7: what the evidence costs.
pub(crate) fn trace(bench: &mut Bench) {
    const UNTRACED: &str = "no trace";
    const UNCHECKED: &str = "no wire check";
    const BARE: &str = "neither";
    // Short turns and many of them: what is looked for is less than what the machine varies by.
    const WINDOW: Window = Window { depth: DEPTH, count: COUNT / 8 };
    let events = run(config(), WINDOW).0 as f64 / (NODES * WINDOW.count) as f64;
    let contenders = vec![
        Contender::new(OURS, || turn(config(), WINDOW)),
        Contender::new(UNTRACED, || turn(config().trace(false), WINDOW)),
        Contender::new(UNCHECKED, || turn(config().wire_check(false), WINDOW)),
        Contender::new(BARE, || turn(config().trace(false).wire_check(false), WINDOW)),
    ];
    let rounds = take_turns(contenders, bench.rounds * 8);
    let speed = |name: &str| events * 1e3 / rounds.ns(name);
    let line = |lane: &str, without: &str| {
        let cost = rounds.ratio(OURS, without) - 1.0;
        let line = Line::new(lane).value(&format!("{:+.1} %", cost * 100.0), cost * 100.0, "%");
        let (on, off) = (speed(OURS), speed(without));
        (line.note(&format!("{on:.2} M events/s, {off:.2} M without")), cost)
    };
    let (traced, cost) = line("S7 cost of hash and trace", UNTRACED);
    bench.sheet.push(traced.goal("≤ 15 %", cost <= 0.15));
    bench.sheet.push(line("S7 cost of the wire check (1 frame in 16)", UNCHECKED).0);
    bench.sheet.push(line("S7 cost of both", BARE).0);
}

/// The flood alone, for a profiler: nanoseconds of an event.
pub(crate) fn alone(time: Duration, bare: bool) -> f64 {
    let (begun, mut events, mut ns) = (Instant::now(), 0, 0.0);
    while begun.elapsed() < time {
        let (handled, taken) = run(config().trace(!bare).wire_check(!bare), FULL);
        events += handled;
        ns += taken;
    }
    ns / events as f64
}

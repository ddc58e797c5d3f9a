//! S4: ten thousand nodes, three datagrams a second each, every one to somebody else.

use crate::Bench;
use quorate_benches::busy::Busy;
use quorate_benches::count::counted;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::{Bytes, ChannelId, Ctx, Monotonic, Node, NodeId, Peer, Rng, Sim, SimConfig};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

const NODES: u64 = 10_000;
const EVERY: Duration = Duration::from_nanos(1_000_000_000 / 3);
const SECONDS: u64 = 5;
const GOSSIP: ChannelId = ChannelId::new(16);
const OURS: &str = "ours";

/// Tells somebody three times a second; as idle as a node can be if it never begins.
struct Gossip {
    rng: Rng,
    next: Option<Monotonic>,
    received: Rc<Cell<u64>>,
}

impl Node for Gossip {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let mut to = self.rng.below(NODES - 1) + 1;
        if to >= ctx.id().value() {
            to += 1;
        }
        let body = Bytes::copy_from_slice(&[7; 64]);
        ctx.send_datagram(NodeId::new(to), GOSSIP, body).expect("room");
        self.next = self.next.map(|next| next.saturating_add(EVERY));
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        self.next
    }

    fn on_datagram(&mut self, _: &mut Ctx<'_>, _: Peer, _: ChannelId, body: Bytes) {
        assert_eq!(body.len(), 64);
        self.received.set(self.received.get() + 1);
    }
}

/// The world after everybody has started, and what was received in it.
fn world(idle: bool) -> (Sim, Rc<Cell<u64>>) {
    let mut sim = Sim::new(SimConfig::lan(1).build().expect("a preset"));
    let received = Rc::new(Cell::new(0));
    for id in 1..=NODES {
        let received = received.clone();
        sim.add(NodeId::new(id), move |ctx| {
            let mut rng = Rng::stream(ctx.seed(), "gossip", 0, 0);
            let phase = Duration::from_nanos(rng.below(1_000_000_000 / 3));
            let next = (!idle).then(|| ctx.now().saturating_add(phase));
            Gossip { rng, next, received: received.clone() }
        });
    }
    sim.run_for(Duration::from_micros(10)).expect("no fault");
    (sim, received)
}

/// Nanoseconds of a message.
fn turn() -> f64 {
    let (mut sim, received) = world(false);
    let begun = Busy::begin();
    sim.run_for(Duration::from_secs(SECONDS)).expect("no fault");
    let (taken, count) = (begun.nanos(), received.get());
    assert!((145_000..=151_000).contains(&count), "{count} messages");
    taken / count as f64
}

/// S4: messages, and bytes of a node.
pub(crate) fn many(bench: &mut Bench) {
    let rounds = take_turns(vec![Contender::new(OURS, turn)], bench.rounds);
    let ns = rounds.ns(OURS);
    let text = format!("{:.0} k messages/s, {} a message", 1e6 / ns, time(ns));
    let line = Line::new("S4 10,000 nodes, 3 datagrams a second each")
        .value(&text, 1e9 / ns, "messages/s")
        .goal("≥ 500 k messages/s", ns <= 2e3);
    bench.sheet.push(line.note("each to a node drawn anew"));

    let kib = |bytes: i64| bytes as f64 / NODES as f64 / 1024.0;
    let (_idle, idle) = counted(|| world(true));
    let (_busy, busy) = counted(|| {
        let (mut sim, received) = world(false);
        sim.run_for(Duration::from_secs(SECONDS)).expect("no fault");
        (sim, received)
    });
    let bytes = kib(idle.live);
    let line = Line::new("S4 heap of an idle node, 10,000 nodes")
        .value(&format!("{bytes:.2} KiB"), bytes, "KiB")
        .goal("≤ 16 KiB", bytes <= 16.0);
    let note = format!("{:.2} KiB after {SECONDS} s of datagrams", kib(busy.live));
    bench.sheet.push(line.note(&note));
}

/// Some turns alone, for a profiler; nanoseconds of a message.
pub(crate) fn alone() -> f64 {
    (0..3).map(|_| turn()).sum::<f64>() / 3.0
}

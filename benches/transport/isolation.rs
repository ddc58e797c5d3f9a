//! P7 and P8: who delays whom.

use crate::bulk::{BLOCK, Streams};
use crate::ours::{CHANNEL, Calls, Pair, SERVER, open, serve};
use crate::side::Sides;
use crate::subject::{Caller, one_by_one};
use crate::{Bench, peers};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::quantile;
use quorate_transport::{ChannelId, ChannelSender, Lane};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const OTHER: ChannelId = ChannelId::new(17);
/// Large requests of peers on their way at a time.
const LARGE: usize = 4;

fn p99(sides: &Sides, caller: impl Caller, turn: Duration) -> f64 {
    let latencies =
        sides.client.run(async move { one_by_one(caller, Instant::now() + turn).await });
    quantile(latencies.into_iter().map(|ns| ns as f64).collect(), 0.99)
}

fn median_of(rounds: usize, mut measure: impl FnMut() -> (f64, f64)) -> (f64, f64, f64) {
    let found: Vec<(f64, f64)> = (0..rounds).map(|_| measure()).collect();
    let middle = |pick: fn(&(f64, f64)) -> f64| quantile(found.iter().map(pick).collect(), 0.5);
    (middle(|f| f.0), middle(|f| f.1), middle(|f| f.1 / f.0))
}

/// Small calls of a peer, alone and beside large ones on the same connection.
fn beside_large<C: Caller>(bench: &Bench, sides: &Sides, small: &C, large: &C) -> (f64, f64, f64) {
    let turn = bench.turn * 4;
    median_of(bench.rounds.min(7), || {
        let idle = p99(sides, small.clone(), turn);
        let stop = Arc::new(AtomicBool::new(false));
        let loops: Vec<_> = (0..LARGE)
            .map(|_| {
                let (large, stop) = (large.clone(), stop.clone());
                sides.client.begin(async move {
                    while !stop.load(Ordering::Relaxed) {
                        large.call().await;
                    }
                })
            })
            .collect();
        let busy = p99(sides, small.clone(), turn);
        stop.store(true, Ordering::Relaxed);
        loops.into_iter().for_each(|done| done.recv().expect("no panic"));
        (idle, busy)
    })
}

/// P7: calls on Control while a stream to the same node runs all the time.
pub(crate) fn beside_stream(bench: &mut Bench) {
    let sides = Sides::new();
    let pair = Pair::new(&sides);
    let _served = serve(&sides.server, open(&pair.server, CHANNEL));
    let (sender, _receiver) = open(&pair.client, CHANNEL).split();
    let calls = Calls::new(sender, Lane::Control);
    let streams = Streams::new(&sides, &pair, OTHER);
    let turn = bench.turn * 4;
    let mut rate = Vec::new();
    let (idle, busy, ratio) = median_of(bench.rounds.min(7), || {
        let idle = p99(&sides, calls.clone(), turn);
        let (busy, bytes_a_second) = streams.beside(&sides, || p99(&sides, calls.clone(), turn));
        rate.push(bytes_a_second);
        (idle, busy)
    });
    let mut line = Line::new("P7 p99 of a Control call beside a stream to the same node")
        .value(&time(busy), busy, "ns")
        .floor(&format!("p99 idle {}", time(idle)), ratio)
        .note(&format!("stream at {:.2} GB/s meanwhile", quantile(rate, 0.5) / 1e9))
        .goal("≤ 2× idle", ratio <= 2.0)
        .goal("< 1 ms", busy < 1e6);
    let (at, _served) = peers::tarpc::server(&sides);
    let small = sides.client.run(peers::tarpc::connect(at));
    let (_, peer, _) = beside_large(bench, &sides, &small, &small.sized(BLOCK));
    line = line.peer("tarpc, one connection", &time(peer), peer / busy);
    let (at, _served) = peers::tonic::server(&sides);
    let small = sides.client.run(peers::tonic::connect(at));
    let (_, peer, _) = beside_large(bench, &sides, &small, &small.sized(BLOCK));
    line = line.peer("tonic, one connection", &time(peer), peer / busy);
    bench.sheet.push(line);
}

/// A call on one channel after a message on another.
#[derive(Clone)]
struct Both(Calls, ChannelSender);

impl Caller for Both {
    async fn call(&self) {
        self.1.send(SERVER, Lane::Data, crate::ours::PAYLOAD).expect("room");
        self.0.call().await;
    }
}

/// Calls on one channel; each is preceded by a message on another, which somebody reads or not.
fn neighbour(sides: &Sides, reads: bool) -> (Both, impl Sized) {
    let pair = Pair::new(sides);
    let served = serve(&sides.server, open(&pair.server, CHANNEL));
    let mut other = Some(open(&pair.server, OTHER));
    if reads {
        let mut channel = other.take().expect("it was just made");
        drop(sides.server.begin(async move { while channel.recv().await.is_some() {} }));
    }
    let (sender, receiver) = open(&pair.client, CHANNEL).split();
    let (to_other, keep) = open(&pair.client, OTHER).split();
    let both = Both(Calls::new(sender, Lane::Data), to_other);
    // The other's inbox is full before anything is measured.
    let fill = both.clone();
    sides.client.run(async move {
        for _ in 0..10_000 {
            fill.call().await;
        }
    });
    (both, (pair, served, other, receiver, keep))
}

/// P8: a component that never reads beside one that does.
pub(crate) fn beside_deaf(bench: &mut Bench) {
    let sides = Sides::new();
    let ((alone, _kept), (deaf, _kept_too)) = (neighbour(&sides, true), neighbour(&sides, false));
    let turn = bench.turn * 3;
    let (alone, beside, ratio) = median_of(bench.rounds, || {
        (p99(&sides, alone.clone(), turn), p99(&sides, deaf.clone(), turn))
    });
    let lane = "P8 p99 of a call on channel B, channel A never reads its messages";
    let line = Line::new(lane)
        .value(&time(beside), beside, "ns")
        .floor(&format!("p99 when A reads {}", time(alone)), ratio)
        .goal("≤ 1.1×", ratio <= 1.1);
    bench.sheet.push(line);
}

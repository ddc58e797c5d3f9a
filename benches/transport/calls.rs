//! P1 and P2: calls at depth 1, 64 and 256.

use crate::side::Sides;
use crate::subject::Subject;
use crate::{Bench, floors, ours, peers};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, Rounds, quantile, take_turns};

fn subjects(sides: &Sides, depth: usize) -> Vec<Subject> {
    let mut all = vec![floors::ping_pong(sides), ours::calls(sides)];
    all.extend([peers::tarpc::calls(sides), peers::tonic::calls(sides)]);
    all.extend([peers::moonpool::calls(sides), peers::quinn::calls(sides)]);
    if depth == 1 {
        all.push(peers::zeromq::calls(sides));
    }
    all
}

fn measure(bench: &Bench, sides: &Sides, subjects: Vec<Subject>, depth: usize) -> Rounds {
    let turn = bench.turn;
    let contender = |mut subject: Subject| {
        Contender::new(subject.name, move || {
            let taken = subject.turn(sides, depth, turn);
            taken.elapsed.as_secs_f64() * 1e9 / taken.count as f64
        })
    };
    take_turns(subjects.into_iter().map(contender).collect(), bench.rounds)
}

/// P1: one call at a time.
pub(crate) fn single(bench: &mut Bench) {
    let sides = Sides::new();
    let subjects = subjects(&sides, 1);
    let latencies: Vec<_> = subjects.iter().map(|s| (s.name, s.latencies())).collect();
    let rounds = measure(bench, &sides, subjects, 1);
    let line = Line::times("P1 a call, depth 1, mean", &rounds, "ours", Some(floors::PING_PONG));
    let to_floor = rounds.ratio("ours", floors::PING_PONG);
    let line = line
        .goal("≤ 0.5× tarpc", rounds.ratio("ours", peers::TARPC) <= 0.5)
        .goal("≤ 0.3× tonic", rounds.ratio("ours", peers::TONIC) <= 0.3)
        .goal("≤ 1.15× floor", to_floor <= 1.15);
    bench.sheet.push(line);
    for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
        let of =
            |samples: &Vec<u64>| quantile(samples.iter().map(|ns| *ns as f64).collect(), share);
        let found: Vec<_> = latencies.iter().map(|(n, l)| (*n, of(&l.borrow()))).collect();
        let named = |name| found.iter().find(|(n, _)| *n == name).expect("measured").1;
        let (mine, floor) = (named("ours"), named(floors::PING_PONG));
        let mut line = Line::new(&format!("P1 a call, depth 1, {what}"))
            .value(&time(mine), mine, "ns")
            .floor(&format!("{} {}", floors::PING_PONG, time(floor)), mine / floor);
        for (name, ns) in found.iter().filter(|(n, _)| *n != "ours" && *n != floors::PING_PONG) {
            line = line.peer(name, &time(*ns), ns / mine);
        }
        bench.sheet.push(line);
    }
}

/// P2: many calls at a time on one connection.
pub(crate) fn pipelined(bench: &mut Bench) {
    for depth in [64, 256] {
        let sides = Sides::new();
        let subjects = subjects(&sides, depth);
        let rounds = measure(bench, &sides, subjects, depth);
        let lane = format!("P2 a call, depth {depth}, one connection");
        let line = Line::times(&lane, &rounds, "ours", Some(floors::PING_PONG));
        let line = line
            .goal("≥ 4× tarpc", rounds.ratio(peers::TARPC, "ours") >= 4.0)
            .goal("≥ 5× tonic", rounds.ratio(peers::TONIC, "ours") >= 5.0)
            .goal("≥ 0.5× floor", rounds.ratio("ours", floors::PING_PONG) <= 2.0);
        bench.sheet.push(line);
    }
}

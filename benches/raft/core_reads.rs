//! Lane P5, the core's part: linearizable reads and the lease.
//!
//! `raft` 0.7.0 sends a round of heartbeats for every context that it is given. Its users either
//! give each read a context, or (as TiKV does) collect reads themselves and give all of them one.
//! Both are here: the first with 1,024 reads, the second as one confirmation, of ours as well.

use crate::Bench;
use crate::cores::Cores;
use crate::pace::processor_time;
use crate::peers::RawNodes;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_raft::{Config, ReadId};
use std::cell::RefCell;
use std::hint::black_box;

const READERS: u64 = 1_024;
const OURS: &str = "ours";
const RAFT: &str = "raft 0.7.0";

pub(crate) fn lane(bench: &mut Bench) {
    linearizable(bench);
    lease(bench);
}

/// Confirms so many reads on one of the sides; how many messages that took.
fn messages(count: impl Fn() -> u64, confirm: impl FnOnce()) -> u64 {
    let before = count();
    confirm();
    count() - before
}

fn linearizable(bench: &mut Bench) {
    let ours = RefCell::new(Cores::new(Config::lan().build().expect("a preset is valid")));
    let raft = RefCell::new(RawNodes::new());
    let rounds = take_turns(
        vec![
            Contender::busy(OURS, bench.turn, || ours.borrow_mut().read(READERS)),
            Contender::busy(RAFT, bench.turn, || raft.borrow_mut().read(READERS)),
            Contender::busy("ours, one", bench.turn, || ours.borrow_mut().read(1)),
            Contender::busy("raft, one", bench.turn, || raft.borrow_mut().read(1)),
        ],
        bench.rounds,
    );
    let of_ours = messages(|| ours.borrow().messages, || ours.borrow_mut().read(READERS));
    let of_raft = messages(|| raft.borrow().messages, || raft.borrow_mut().read(READERS));
    let per_second = |name: &str| READERS as f64 * 1e9 / rounds.ns(name);
    let shown = |name: &str| format!("{:.2} M/s", per_second(name) / 1e6);
    // A round is two heartbeats and two answers; the first reader begins one at once.
    let extra = of_ours as f64 / 4.0 - 1.0;
    let line = Line::new("P5 linearizable reads, 1,024 at once, an id or context each, core")
        .value(&shown(OURS), per_second(OURS), "reads/s")
        .peer(RAFT, &shown(RAFT), rounds.ratio(RAFT, OURS))
        .goal("≥ 1 M/s", per_second(OURS) >= 1e6)
        .goal("≤ 1 extra round a batch", extra <= 1.0)
        .note(&format!("messages for all: ours {of_ours}, raft {of_raft}"));
    bench.sheet.push(line);

    let of_ours = messages(|| ours.borrow().messages, || ours.borrow_mut().read(1));
    let of_raft = messages(|| raft.borrow().messages, || raft.borrow_mut().read(1));
    let line = Line::new("P5 one confirmation for however many reads, core")
        .value(&time(rounds.ns("ours, one")), rounds.ns("ours, one"), "ns")
        .peer(RAFT, &time(rounds.ns("raft, one")), rounds.ratio("raft, one", "ours, one"))
        .note(&format!("messages: ours {of_ours}, raft {of_raft}"));
    bench.sheet.push(line);
}

fn lease(bench: &mut Bench) {
    let config = Config::lan().lease(true).build().expect("a preset is valid");
    let heartbeat = config.election_timeout_value() / 10;
    let mut cores = Cores::new(config);
    // The first heartbeat asks for promises, the answers to the second count: promises are durable.
    (0..3).for_each(|_| cores.advance(heartbeat));
    assert!(cores.rafts[0].lease_valid(cores.now), "a quorum promised");
    let messages = cores.messages;
    let cores = RefCell::new(cores);
    let rounds = take_turns(
        vec![
            processor_time("check", bench.turn, READERS as usize, || {
                let cores = cores.borrow();
                for _ in 0..READERS {
                    assert!(black_box(&cores.rafts[0]).lease_valid(black_box(cores.now)));
                }
            }),
            processor_time("read", bench.turn, READERS as usize, || {
                let mut cores = cores.borrow_mut();
                let before = cores.reads;
                for id in 0..READERS {
                    let now = cores.now;
                    cores.rafts[0].read_by_lease(now, ReadId::new(id)).expect("it is valid");
                }
                cores.settle();
                assert_eq!(cores.reads - before, READERS, "every read is served");
            }),
        ],
        bench.rounds,
    );
    assert_eq!(cores.borrow().messages, messages, "no message was needed");
    for (name, what) in [("check", "lease_valid"), ("read", "a read by lease, 1,024 a drain")] {
        let ns = rounds.ns(name);
        let line = Line::new(&format!("P5 {what}, core"))
            .value(&time(ns), ns, "ns")
            .goal("≤ 100 ns", ns <= 100.0);
        bench.sheet.push(line);
    }
}

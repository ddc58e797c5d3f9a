//! Lane P1: what a committed entry costs in the core. Three nodes on one thread, messages handed
//! over, durable at once; from the proposal until all three have applied it.
//!
//! All contenders get the same payloads by reference and make them their own; each keeps a log in
//! memory on every node, hands committed entries to the same state machine on every node, and
//! compacts its logs equally often. No time passes for any of them: no heartbeats.

use crate::applier::{Applier, Payloads};
use crate::cores::Cores;
use crate::pace::processor_time;
use crate::peers::{Omni, Propose, RawNodes};
use crate::{Bench, floors};
use quorate_benches::count::counted;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, Rounds, take_turns};
use quorate_raft::Config;
use std::cell::RefCell;
use std::time::Duration;

const OURS: &str = "ours";
const FLOOR: &str = "copy and CRC";
const EACH: &str = "raft 0.7.0";
const TOGETHER: &str = "raft 0.7.0, one MsgPropose";
const OMNI: &str = "omnipaxos 0.2.4";

/// Rounds over which allocations are counted.
const COUNTED: u32 = 64;

/// A way to commit a round, and the replicas' state machines.
struct Group<'a> {
    name: &'static str,
    commit: Box<dyn FnMut(&mut Payloads) + 'a>,
    appliers: Box<dyn Fn() -> Vec<Applier> + 'a>,
    payloads: Payloads,
}

impl Group<'_> {
    fn round(&mut self) {
        (self.commit)(&mut self.payloads);
    }

    /// Allocations of a round.
    fn allocations(&mut self) -> f64 {
        let ((), count) = counted(|| (0..COUNTED).for_each(|_| self.round()));
        count.allocations as f64 / f64::from(COUNTED)
    }

    /// Every replica applied every entry, with the right bytes and in order.
    fn check(&self) {
        let expected = self.payloads.expected();
        for applier in (self.appliers)() {
            assert_eq!(applier, expected, "{}: a replica applied something else", self.name);
        }
    }
}

macro_rules! group {
    ($name:expr, $cell:expr, $size:expr, |$group:ident, $payloads:ident| $commit:expr) => {
        Group {
            name: $name,
            commit: Box::new(|$payloads| {
                let mut $group = $cell.borrow_mut();
                $commit
            }),
            appliers: Box::new(|| $cell.borrow().appliers.clone()),
            payloads: Payloads::new($size),
        }
    };
}

/// Processor time of an entry.
fn contender<'a>(
    name: &str,
    batch: usize,
    turn: Duration,
    mut round: impl FnMut() + 'a,
) -> Contender<'a> {
    let rounds = (256 / batch).max(1);
    processor_time(name, turn, rounds * batch, move || (0..rounds).for_each(|_| round()))
}

struct Measured {
    rounds: Rounds,
    /// Allocations of a round, by contender.
    allocations: Vec<(&'static str, f64)>,
}

fn measure(bench: &Bench, batch: usize, size: usize) -> Measured {
    let config = Config::lan().build().expect("a preset is valid");
    let ours = RefCell::new(Cores::new(config));
    let (each, together) = (RefCell::new(RawNodes::new()), RefCell::new(RawNodes::new()));
    let omni = RefCell::new(Omni::new(batch));
    let mut groups = vec![
        group!(OURS, ours, size, |g, p| g.commit(batch, p)),
        group!(EACH, each, size, |g, p| g.commit(batch, p, Propose::Each)),
        group!(OMNI, omni, size, |g, p| g.commit(batch, p)),
    ];
    if batch > 1 {
        groups.push(group!(TOGETHER, together, size, |g, p| g.commit(batch, p, Propose::Together)));
    }
    let (mut bytes, mut buf) = (Payloads::new(size), Vec::new());
    let mut contenders = vec![contender(FLOOR, batch, bench.turn, || {
        floors::copied_and_summed(batch, &mut bytes, &mut buf);
    })];
    for group in &mut groups {
        contenders.push(contender(group.name, batch, bench.turn, || group.round()));
    }
    let rounds = take_turns(contenders, bench.rounds);
    let allocations = groups.iter_mut().map(|group| (group.name, group.allocations())).collect();
    groups.iter().for_each(Group::check);
    Measured { rounds, allocations }
}

/// All sizes and batches.
pub(crate) fn lane(bench: &mut Bench) {
    let mut of_blocks = Vec::new();
    for size in [16, 256, 4096] {
        for batch in [1, 64, 1024] {
            let measured = measure(bench, batch, size);
            if size == 16 {
                of_blocks.push(measured.allocations[0].1);
            }
            let line = judged(&measured, batch, size);
            bench.sheet.push(line);
        }
    }
    // What a block allocates does not depend on how many entries it has.
    let more = (of_blocks[2] - of_blocks[1]) / (1024.0 - 64.0);
    let line = Line::new("P1 allocations of one entry more in a block, three nodes, 16 B")
        .value(&format!("{more:.4}"), more, "allocations")
        .note(&format!(
            "{:.1}, {:.1}, {:.1} a block of 1, 64, 1024",
            of_blocks[0], of_blocks[1], of_blocks[2]
        ))
        .goal("0 an entry", more.abs() < 0.001);
    bench.sheet.push(line);
}

fn judged(measured: &Measured, batch: usize, size: usize) -> Line {
    let Measured { rounds, allocations } = measured;
    let lane = format!("P1 core commit, {size} B × {batch}, an entry");
    let mut line = Line::times(&lane, rounds, OURS, Some(FLOOR));
    // Against the quicker way to use it.
    let ways = rounds.others(&[OURS, FLOOR, OMNI]);
    let lead = ways.iter().map(|way| rounds.ratio(way, OURS)).fold(f64::INFINITY, f64::min);
    let wanted = if batch == 1 { 2.0 } else { 5.0 };
    line = line.goal(&format!("≥ {wanted}× raft"), lead >= wanted);
    let possible = ways.iter().map(|way| rounds.ratio(way, FLOOR)).fold(f64::INFINITY, f64::min);
    if possible < wanted {
        line = line.note(&format!("the floor itself is {possible:.1}× quicker than raft"));
    }
    let most = match (size, batch) {
        (16, 64) => Some(150.0),
        (16, 1024) => Some(50.0),
        _ => None,
    };
    if let Some(most) = most {
        line = line.goal(&format!("≤ {most} ns"), rounds.ns(OURS) <= most);
    }
    let counts: Vec<String> = allocations
        .iter()
        .map(|(name, count)| format!("{name} {count:.1} ({:.2})", count / batch as f64))
        .collect();
    line.note(&format!("allocations a round (an entry): {}", counts.join(", ")))
}

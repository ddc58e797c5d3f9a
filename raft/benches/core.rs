//! What the core costs: three replicas on one thread, messages handed over, every write durable at
//! once. Beside it the floor: one copy and one checksum of the same bytes. Prints a Markdown table.
//!
//! `cargo bench -p quorate-raft`

#![expect(clippy::expect_used, reason = "a benchmark that cannot run says where")]

use quorate_clocks::Monotonic;
use quorate_raft::{
    Block, Boot, Config, EntryBody, Envelope, GroupId, LogId, Membership, Output, Proposal, Raft,
    Role, Term,
};
use quorate_transport::NodeId;
use std::hint::black_box;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

const RUNS: usize = 15;
/// What one run measures takes about this long.
const RUN: Duration = Duration::from_millis(40);
const NOW: Monotonic = Monotonic::ZERO;

struct Group {
    rafts: Vec<Raft>,
    out: Output,
    flights: Vec<(usize, Envelope)>,
    config: Config,
    applied: u64,
}

impl Group {
    fn new() -> Self {
        let ids = [1, 2, 3].map(NodeId::new);
        let config = Config::lan().build().expect("a preset is valid");
        let start = |id: NodeId| {
            let boot = Boot::fresh(id, GroupId::new(1), Membership::of_voters(&ids));
            Raft::new(config.clone(), boot, NOW, id.value()).expect("a fresh start is valid")
        };
        let rafts = ids.into_iter().map(start).collect();
        let out = Output::default();
        let mut group = Self { rafts, out, flights: Vec::new(), config, applied: 0 };
        group.rafts[0].campaign(NOW).expect("a voter may campaign");
        group.settle();
        assert_eq!(group.rafts[0].role(), Role::Leader);
        group
    }

    /// Does what `i` wants done.
    fn carry_out(&mut self, i: usize) {
        while self.rafts[i].has_output() {
            self.rafts[i].drain(&mut self.out);
            self.flights.extend(self.out.send.drain(..).map(|e| (i, e)));
            if let Some(append) = self.out.append.take() {
                for envelope in append.gated {
                    self.flights.push((i, envelope));
                }
                if let Some(token) = append.token {
                    self.rafts[i].appended(NOW, token);
                }
            }
            if let Some(apply) = self.out.apply.take() {
                self.applied += apply.range.end().value() - apply.range.start().value() + 1;
                self.rafts[i].applied(NOW, apply.token);
            }
        }
    }

    /// Carries out and delivers until nothing is left.
    fn settle(&mut self) {
        let mut arriving = Vec::new();
        (0..self.rafts.len()).for_each(|i| self.carry_out(i));
        while !self.flights.is_empty() {
            std::mem::swap(&mut self.flights, &mut arriving);
            for (from, envelope) in arriving.drain(..) {
                let to = usize::try_from(envelope.to.value() - 1).expect("three nodes");
                let from = self.rafts[from].id();
                self.rafts[to].handle_message(NOW, from, envelope.message).expect("it is sound");
                self.carry_out(to);
            }
        }
    }

    /// `batch` entries, proposed, committed and applied by all three.
    fn commit(&mut self, batch: usize, data: &[u8]) {
        let room = batch * (data.len() + 8);
        let mut proposal = Proposal::with_capacity(self.config.limits(), room);
        for _ in 0..batch {
            proposal.push(EntryBody::Normal(data)).expect("within the limits");
        }
        self.rafts[0].propose(NOW, proposal).map_err(|(e, _)| e).expect("the leader takes it");
        self.settle();
    }
}

/// The same bytes once: copied entry by entry, and summed.
fn floor(buf: &mut Vec<u8>, batch: usize, data: &[u8]) {
    buf.clear();
    buf.resize(64, 0);
    for _ in 0..batch {
        buf.extend_from_slice(&[1, 0, 0, 0]);
        buf.extend_from_slice(&(data.len() as u64).to_le_bytes()[..4]);
        buf.extend_from_slice(data);
    }
    black_box(crc32fast::hash(&buf[64..]) ^ crc32fast::hash(&buf[..60]));
}

/// Nanoseconds of `rounds` calls, divided by `entries`.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn measure(rounds: u32, entries: f64, mut call: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..rounds).for_each(|_| call());
    begun.elapsed().as_secs_f64() * 1e9 / (f64::from(rounds) * entries)
}

/// How many calls take about [`RUN`].
fn rounds_for(mut call: impl FnMut()) -> u32 {
    let once = measure(50, 1.0, &mut call).max(1.0);
    let nanos = RUN.as_secs_f64() * 1e9;
    let rounds = (nanos / once).clamp(20.0, 1e6);
    format!("{rounds:.0}").parse().expect("a whole number within u32")
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn lane(batch: u16, size: usize) -> (f64, f64) {
    let data = vec![0x5A; size];
    let (entries, batch) = (f64::from(batch), usize::from(batch));
    let (mut group, mut buf) = (Group::new(), Vec::new());
    let core_rounds = rounds_for(|| group.commit(batch, &data));
    let floor_rounds = rounds_for(|| floor(&mut buf, batch, &data));
    let (mut core, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floors.push(measure(floor_rounds, entries, || floor(&mut buf, batch, &data)));
        core.push(measure(core_rounds, entries, || group.commit(batch, &data)));
    }
    let last = group.rafts[0].last().index.value();
    assert_eq!(group.applied, 3 * last, "every node applied every entry");
    (median(core), median(floors))
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    // So that a format change of the floor's bytes shows.
    let mut one = Proposal::new(Config::lan().build().expect("a preset is valid").limits());
    one.push(EntryBody::Normal(&[0x5A; 16])).expect("within the limits");
    let block: Block = one.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0);
    assert_eq!(block.as_bytes().len(), 64 + 8 + 16);

    writeln!(
        out,
        "Core, 3 nodes, 1 thread, proposed to applied everywhere; medians of {RUNS} runs.\n"
    )?;
    writeln!(out, "| entries a block | bytes an entry | ns an entry | floor | ratio |")?;
    writeln!(out, "|---:|---:|---:|---:|---:|")?;
    for size in [16, 256] {
        for batch in [1, 64, 1_024] {
            let (core, floor) = lane(batch, size);
            let ratio = core / floor;
            writeln!(out, "| {batch} | {size} | {core:.1} | {floor:.1} | {ratio:.1} |")?;
        }
    }
    Ok(())
}

//! S8 and S9: looking for a short plan, and many seeds at a time.

use crate::Bench;
use quorate_benches::busy::{Busy, process};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, median, take_turns};
use quorate_sim::{
    Bytes, Campaign, ChannelId, Checker, Class, Ctx, Lane, Monotonic, Node, NodeId, Observation,
    Observed, Peer, Sim, Swarm, View, Workload,
};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const BEATS: ChannelId = ChannelId::new(16);
const EVERY: Duration = Duration::from_millis(100);
const MEMBERS: u64 = 6;

/// Ten times a second a word to everybody else.
struct Beat(Monotonic);

impl Node for Beat {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
        ctx.reached("heard");
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let own = ctx.id();
        for id in (1..=MEMBERS).map(NodeId::new).filter(|id| *id != own) {
            // A peer that is away is told later.
            let _ = ctx.send(id, Lane::Control, BEATS, "beat");
        }
        self.0 = ctx.now().saturating_add(EVERY);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.0)
    }
}

/// Everybody beats; with a bug, it is one if these have all died.
struct Beats(Option<&'static [u64]>);

impl Workload for Beats {
    fn setup(&mut self, sim: &mut Sim) {
        (1..=MEMBERS).for_each(|id| sim.add(NodeId::new(id), |ctx| Beat(ctx.now())));
        if let Some(all) = self.0 {
            sim.add_checker(Died { all, dead: BTreeSet::new() });
        }
    }

    fn healed(&mut self, _: &mut Sim) -> Result<bool, String> {
        Ok(true)
    }
}

/// Fails in the end when all of these have died.
struct Died {
    all: &'static [u64],
    dead: BTreeSet<u64>,
}

impl Checker for Died {
    fn name(&self) -> String {
        "died".to_owned()
    }

    fn observe(&mut self, _: View<'_>, said: &Observation) -> Result<(), String> {
        if said.what == Observed::Crashed {
            self.dead.insert(said.node.value());
        }
        Ok(())
    }

    fn finish(&mut self, _: View<'_>) -> Result<(), String> {
        let all = self.all.iter().all(|id| self.dead.contains(id));
        if all { Err(format!("{:?} died", self.all)) } else { Ok(()) }
    }
}

/// Crashes every one and a half seconds, pauses and steps of clocks.
fn swarm() -> Swarm {
    let classes = [Class::Crash, Class::Pause, Class::ClockStep];
    let often = 1_500_000_000..=1_500_000_000;
    Swarm::quiet().only(&classes).range(Class::Crash, often).always()
}

/// S8: what is left of a failure of at least twenty steps of which three are needed.
pub(crate) fn shrink(bench: &mut Bench) {
    const OURS: &str = "ours";
    let campaign = |seed| {
        let made = Campaign::new("bench-shrink", |_| Beats(Some(&[2, 3, 5])));
        made.swarm(swarm()).seed(seed)
    };
    let seeds: Vec<u64> = (0..20).filter(|s| campaign(*s).shrink(false).run().is_err()).collect();
    assert!(!seeds.is_empty(), "no seed kills those three");
    let (mut turn, mut least, mut left, mut most) = (0, usize::MAX, 0, 0);
    let contender = Contender::new(OURS, || {
        let begun = Busy::begin();
        let failure = campaign(seeds[turn % seeds.len()]).run().expect_err("it failed before");
        turn += 1;
        assert_eq!(failure.checker(), Some("died"));
        let (before, runs) = failure.shrunk_from;
        least = least.min(before);
        left = left.max(failure.plan.steps.len());
        most = most.max(runs);
        begun.nanos()
    });
    let ns = take_turns(vec![contender], bench.rounds.min(5)).ns(OURS);
    assert!(least >= 20, "a failure of {least} steps is none of this lane");
    let text = format!("{left} steps left, {most} re-runs, {}", time(ns));
    let line = Line::new("S8 shrink a failure of 20 steps and more, 6 nodes, 60 virtual seconds")
        .value(&text, ns, "ns")
        .goal("≤ 4 steps left", left <= 4)
        .goal("≤ 200 re-runs", most <= 200)
        .goal("< 10 s", ns < 10e9);
    bench
        .sheet
        .push(line.note(&format!("worst of {turn}, time is the median; from {least} steps")));
}

/// What a child process is told to be one.
pub(crate) const CHILD: &str = "--campaign";

/// Runs the campaign of S9 on as many cores as `QUORATE_JOBS` says, and says how long it took.
pub(crate) fn child() {
    let campaign = Campaign::new("bench-cores", |_| Beats(None)).seeds(24).swarm(swarm());
    let report = campaign.run().expect("nothing is wrong");
    println!("{} {} {}", report.wall.as_nanos(), process(), report.hash);
}

/// A campaign in a process of its own: its time by the clock on the wall, its processor time, and
/// the hash of all it did. The number of its threads is an environment variable.
struct Run(Child);

impl Run {
    fn start(jobs: usize) -> Self {
        let program = std::env::current_exe().expect("this one");
        let mut command = Command::new(program);
        command.arg(CHILD).env("QUORATE_JOBS", jobs.to_string()).stdout(Stdio::piped());
        Self(command.spawn().expect("it runs already"))
    }

    fn end(self) -> (f64, f64, String) {
        let ended = self.0.wait_with_output().expect("it ends");
        let said = String::from_utf8(ended.stdout).expect("numbers");
        let [wall, busy, hash] = said.trim().split(' ').collect::<Vec<_>>()[..] else {
            panic!("times and hash, not {said:?}")
        };
        let number = |text: &str| text.parse().expect("nanoseconds");
        (number(wall), number(busy), hash.to_owned())
    }
}

/// S9: one core and two; what the second one is worth is what two processes have of it.
pub(crate) fn cores(bench: &mut Bench) {
    const ONE: &str = "1 core";
    const TWO: &str = "2 cores";
    const TWINS: &str = "half of 2 processes at once";
    let (hashes, spent) = (RefCell::new(BTreeSet::new()), RefCell::new([vec![], vec![]]));
    let run = |jobs: usize| {
        let (wall, busy, hash) = Run::start(jobs).end();
        hashes.borrow_mut().insert(hash);
        spent.borrow_mut()[jobs - 1].push(busy);
        wall
    };
    let twins = || {
        let both = [Run::start(1), Run::start(1)].map(|run| run.end().0);
        both[0].max(both[1]) / 2.0
    };
    let contenders = vec![
        Contender::new(ONE, || run(1)),
        Contender::new(TWO, || run(2)),
        Contender::new(TWINS, twins),
    ];
    let rounds = take_turns(contenders, bench.rounds);
    assert_eq!(hashes.borrow().len(), 1, "the same seeds end in the same way");
    let ratio = rounds.ratio(ONE, TWO);
    let text = format!("{ratio:.2}× ({} → {})", time(rounds.ns(ONE)), time(rounds.ns(TWO)));
    let [one, two] = spent.into_inner().map(median);
    let busy = format!("processor time {} with 1, {} with 2", time(one), time(two));
    let line = Line::new("S9 a campaign of 24 seeds on 2 cores instead of 1")
        .value(&text, ratio, "ratio")
        .floor(&format!("{TWINS} {}", time(rounds.ns(TWINS))), rounds.ratio(TWO, TWINS))
        .goal("≥ 1.8×", ratio >= 1.8);
    bench.sheet.push(line.note(&format!("time by the clock on the wall; {busy}")));
}

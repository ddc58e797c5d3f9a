//! P2: commands through whole groups in memory. Everybody has clients in tasks beside the group, on
//! the same runtime.

use crate::Bench;
use crate::group::{Group, propose_turn};
use crate::host::{Host, THREADS, Threads};
use crate::ours_cluster::{self, Setup};
use crate::peers::{OPENRAFT09, OPENRAFT10, openraft09, openraft10};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, Rounds, take_turns};

const SIZE: usize = 16;
const CLIENTS: [u64; 5] = [1, 64, 256, 1_024, 4_096];

/// The quicker of somebody's two ways to run.
pub(crate) fn better(rounds: &Rounds, whose: &str) -> String {
    let names = THREADS.map(|threads| threads.name(whose));
    let quickest = names.iter().min_by(|a, b| rounds.ns(a).total_cmp(&rounds.ns(b)));
    quickest.expect("two ways").clone()
}

/// A line of what goes on in a second: each contender by its better way.
pub(crate) fn line_of_better(lane: &str, rounds: &Rounds, peers: &[&str]) -> (Line, Vec<f64>) {
    let ours = better(rounds, "ours");
    let each = |name: &str| format!("{:.0}/s, {}", 1e9 / rounds.ns(name), time(rounds.ns(name)));
    let threads = ours.trim_start_matches("ours, ");
    let text = format!("{} ({threads})", each(&ours));
    let mut line = Line::new(lane).value(&text, 1e9 / rounds.ns(&ours), "/s");
    let mut ratios = Vec::new();
    for peer in peers {
        let name = better(rounds, peer);
        let ratio = rounds.ratio(&name, &ours);
        line = line.peer(&name, &each(&name), ratio);
        ratios.push(ratio);
    }
    (line, ratios)
}

/// A group with the runtime it lives on.
pub(crate) struct Hosted<G> {
    pub(crate) name: String,
    pub(crate) host: Host,
    pub(crate) group: G,
}

impl<G: Group> Hosted<G> {
    pub(crate) fn new(whose: &str, threads: Threads, start: impl FnOnce(&Host) -> G) -> Self {
        let host = Host::new(threads);
        let group = start(&host);
        Self { name: threads.name(whose), host, group }
    }

    /// A contender whose turn is done by `turn`.
    pub(crate) fn contender<'a>(&'a self, turn: impl Fn(&Host, &G) -> f64 + 'a) -> Contender<'a> {
        Contender::new(&self.name, move || turn(&self.host, &self.group))
    }

    pub(crate) fn check(&self) {
        self.group.ledger().check(&self.name);
    }
}

/// P2.
pub(crate) fn lane(bench: &mut Bench) {
    let setup = || Setup { size: SIZE, lease: false };
    let ours = THREADS.map(|t| Hosted::new("ours", t, |h| ours_cluster::in_memory(h, setup())));
    let old = THREADS.map(|t| Hosted::new(OPENRAFT09, t, |h| openraft09::start(h, SIZE, None)));
    let new = THREADS.map(|t| Hosted::new(OPENRAFT10, t, |h| openraft10::start(h, SIZE, None)));
    for clients in CLIENTS {
        let turn = bench.turn;
        let mut contenders = Vec::new();
        for n in 0..THREADS.len() {
            contenders.push(ours[n].contender(move |h, g| propose_turn(h, g, clients, turn)));
            contenders.push(old[n].contender(move |h, g| propose_turn(h, g, clients, turn)));
            contenders.push(new[n].contender(move |h, g| propose_turn(h, g, clients, turn)));
        }
        let rounds = take_turns(contenders, bench.rounds);
        let lane = format!("P2 in memory, {clients} clients, {SIZE} B");
        let (line, ratios) = line_of_better(&lane, &rounds, &[OPENRAFT09, OPENRAFT10]);
        bench.sheet.push(match clients {
            1 => line.goal("≥ 4× openraft 0.10", ratios[1] >= 4.0),
            256.. => line.goal("≥ 2× openraft 0.10", ratios[1] >= 2.0),
            _ => line,
        });
    }
    ours.iter().for_each(Hosted::check);
    old.iter().for_each(Hosted::check);
    new.iter().for_each(Hosted::check);
}

//! `quorate-raft` beside its peers and the floors, in one process.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench raft`, with names of lanes (`-- P1 P3`)
//! only those, with `--quick` fewer and shorter turns. With `--profile one` (or `some`, `many`,
//! `reads`, `durable`, `durable-many`) ours alone for some seconds, for a profiler.

mod cluster;
mod durable;
mod group;
mod host;
mod ours_cluster;
mod peers;
mod profile;
mod reads;
mod snapshot;
mod tap;

use quorate_benches::count::Counting;
use quorate_benches::device::load;
use quorate_benches::processor;
use quorate_benches::sheet::{Line, Sheet};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Everything a lane needs.
pub(crate) struct Bench {
    pub(crate) sheet: Sheet,
    pub(crate) rounds: usize,
    /// How long a turn is about.
    pub(crate) turn: Duration,
    pub(crate) quick: bool,
    wanted: Vec<String>,
}

impl Bench {
    fn run(&mut self, lane: &str, measure: fn(&mut Self)) {
        if !self.wanted.is_empty() && !self.wanted.iter().any(|name| name == lane) {
            return;
        }
        let begun = Instant::now();
        // A lane that breaks is told in its place; the others go on.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| measure(self)));
        if done.is_err() {
            self.sheet.push(Line::new(lane).note("**failed**: see the output of the run"));
        }
        eprintln!("{lane} took {:.1} s, load {}", begun.elapsed().as_secs_f64(), load());
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = arguments.iter().position(|arg| arg == "--profile") {
        return arguments[at + 1..].iter().for_each(|what| profile::run(what));
    }
    let quick = arguments.iter().any(|arg| arg == "--quick");
    let wanted = arguments.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    let (rounds, turn) = if quick { (3, 20) } else { (11, 60) };
    let conditions = format!(
        "{} · load {} · {rounds} interleaved turns, ratios are medians of the ratios within a \
         round · three nodes unless said",
        processor(),
        load()
    );
    let sheet = Sheet::begin("quorate-raft", &conditions);
    let turn = Duration::from_millis(turn);
    let mut bench = Bench { sheet, rounds, turn, quick, wanted };
    let begun = Instant::now();
    bench.run("P2", cluster::lane);
    bench.run("P3", durable::lane);
    bench.run("P5", reads::lane);
    bench.run("P8", snapshot::lane);
    let after =
        format!("Took {:.0} s; load at the end {}.\n", begun.elapsed().as_secs_f64(), load());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-raft".to_owned());
    match bench.sheet.write(&folder, &name, &after) {
        Ok(()) => println!("\n{after}\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

//! `quorate-sim` beside its peers.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench sim`, with names of lanes
//! (`-- S1 S3`) only those, with `--quick` fewer turns, with `--profile S1` the loop of ours alone.
//! madsim needs a build of its own: see `benches/sim/madsim`; `QUORATE_MADSIM` names its binary.

mod calls;
mod campaigns;
mod disk;
mod flood;
mod idle;
mod judging;
mod many;
mod peers;
mod profile;

use quorate_benches::count::Counting;
use quorate_benches::device::load;
use quorate_benches::processor;
use quorate_benches::sheet::{Line, Sheet};
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Everything a lane needs.
pub(crate) struct Bench {
    pub(crate) sheet: Sheet,
    pub(crate) rounds: usize,
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
        return arguments[at + 1..].iter().for_each(|lane| profile::run(lane));
    }
    if arguments.iter().any(|arg| arg == campaigns::CHILD) {
        return campaigns::child();
    }
    let quick = arguments.iter().any(|arg| arg == "--quick");
    let wanted = arguments.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    let rounds = if quick { 3 } else { 15 };
    let conditions = format!(
        "{} · one process, one thread, time of the processor unless said · load {} · {rounds} \
         interleaved turns, ratios are medians of the ratios within a round · 64 B unless said",
        processor(),
        load()
    );
    let sheet = Sheet::begin("quorate-sim", &conditions);
    let mut bench = Bench { sheet, rounds, wanted };
    let begun = Instant::now();
    bench.run("S1", flood::flood);
    bench.run("S2", idle::idle);
    bench.run("S3", calls::calls);
    bench.run("S4", many::many);
    bench.run("S5", disk::disk);
    bench.run("S6", judging::judging);
    bench.run("S7", flood::trace);
    bench.run("S8", campaigns::shrink);
    bench.run("S9", campaigns::cores);
    let after =
        format!("Took {:.0} s; load at the end {}.\n", begun.elapsed().as_secs_f64(), load());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-sim".to_owned());
    match bench.sheet.write(&folder, &name, &after) {
        Ok(()) => println!("\n{after}\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

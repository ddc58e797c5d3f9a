//! `quorate-transport` beside its peers and the floor of the sockets, over loopback.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench transport`, with names of lanes
//! (`-- P1 P3`) only those, with `--quick` fewer and shorter turns. Client and server run on a
//! thread each, in one process.

mod bulk;
mod calls;
mod certificates;
mod decode;
mod floors;
mod footprint;
mod isolation;
mod memory;
mod oneway;
mod ours;
mod peers;
mod profile;
mod restart;
mod side;
mod subject;

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
    let quick = arguments.iter().any(|arg| arg == "--quick");
    let wanted = arguments.into_iter().filter(|arg| !arg.starts_with('-')).collect();
    let (rounds, turn) = if quick { (3, 20) } else { (15, 60) };
    let conditions = format!(
        "{} · loopback · client and server on a thread each · load {} · {rounds} interleaved \
         turns, ratios are medians of the ratios within a round · 64 B unless said",
        processor(),
        load()
    );
    let sheet = Sheet::begin("quorate-transport", &conditions);
    let mut bench = Bench { sheet, rounds, turn: Duration::from_millis(turn), wanted };
    let begun = Instant::now();
    bench.run("P1", calls::single);
    bench.run("P2", calls::pipelined);
    bench.run("P3", oneway::oneway);
    bench.run("P4", memory::memory);
    bench.run("P5", bulk::plain);
    bench.run("P6", bulk::sealed);
    bench.run("P7", isolation::beside_stream);
    bench.run("P8", isolation::beside_deaf);
    bench.run("P9", decode::decode);
    bench.run("P10", footprint::allocations);
    bench.run("P11", restart::restart);
    bench.run("P12", footprint::idle);
    let after =
        format!("Took {:.0} s; load at the end {}.\n", begun.elapsed().as_secs_f64(), load());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-transport".to_owned());
    match bench.sheet.write(&folder, &name, &after) {
        Ok(()) => println!("\n{after}\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

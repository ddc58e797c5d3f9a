//! `quorate-wal` beside its peers and the floor of the device.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench wal`, with names of lanes (`-- P1 P2`)
//! only those. `QUORATE_BENCH_DIR` names the directory to measure in (default: where cargo built
//! this); durable lanes refuse memory file systems. `--features mmap` adds the lanes of maps.

mod bulk;
mod floors;
mod many;
mod ours;
mod peers;
mod read;
mod single;
mod space;
mod truncate;

use quorate_benches::count::Counting;
use quorate_benches::device::{Place, load};
use quorate_benches::processor;
use quorate_benches::sheet::{Line, Sheet};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long a turn of a durable lane is.
const TURN: Duration = Duration::from_millis(40);
const ROUNDS: usize = 15;

/// A floor above this (in ns) is the device's slow pace.
const SLOW: f64 = 500_000.0;

/// Everything a lane needs.
pub(crate) struct Bench {
    pub(crate) place: Place,
    pub(crate) sheet: Sheet,
    wanted: Vec<String>,
}

impl Bench {
    /// Whether a lane was asked for.
    fn wants(&self, lane: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|name| name == lane)
    }

    fn run(&mut self, lane: &str, durable: bool, measure: fn(&mut Self)) {
        if !self.wants(lane) {
            return;
        }
        if durable && !self.place.durable {
            println!("{lane} refused: {} keeps nothing", self.place.device);
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

/// Measures again, at most twice, while the floor (and the floor alone) was at the slow pace; the
/// lines of every attempt stay in the table.
fn at_quick_pace(bench: &mut Bench, measure: fn(&mut Bench) -> bool) {
    let _ = (0..3).any(|_| measure(bench));
}

fn main() {
    let place = Place::new();
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var(peers::WALRUS_DIR, place.dir("walrus")) };
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("WALRUS_QUIET", "1") };
    let wanted = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let maps = if cfg!(feature = "mmap") { " · feature mmap" } else { "" };
    let conditions = format!(
        "{} · {} · load {} · {ROUNDS} interleaved turns, ratios are medians of the ratios \
         within a round{maps}",
        processor(),
        place.device,
        load()
    );
    let sheet = Sheet::begin("quorate-wal", &conditions);
    let mut bench = Bench { place, sheet, wanted };
    let begun = Instant::now();
    bench.run("P0", true, single::floors);
    bench.run("P1", true, |bench| at_quick_pace(bench, single::durable));
    bench.run("P2", true, |bench| at_quick_pace(bench, many::durable));
    bench.run("P3", true, many::rolls);
    bench.run("P4", false, many::written);
    bench.run("P5", false, many::staged);
    bench.run("P6", true, |bench| at_quick_pace(bench, bulk::streams));
    bench.run("P7", false, read::open);
    bench.run("P8", false, bulk::boot);
    bench.run("P9", false, read::sequential);
    bench.run("P10", false, read::random);
    bench.run("P11", false, space::space);
    bench.run("P12", true, truncate::prefix);
    bench.run("P13", true, |bench| at_quick_pace(bench, single::files));
    bench.run("P14", false, space::memory);
    let after =
        format!("Took {:.0} s; load at the end {}.\n", begun.elapsed().as_secs_f64(), load());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-wal".to_owned());
    match bench.sheet.write(&folder, &name, &after) {
        Ok(()) => println!("\n{after}\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

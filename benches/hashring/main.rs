//! `quorate-hashring` beside its peers and the floors of the machine.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench hashring`

mod balance;
mod build;
mod changes;
mod keys;
mod lookup;
mod memory;
mod others;
mod rings;
mod solver;
mod threads;

use quorate_benches::Table;
use quorate_benches::count::Counting;

const TITLE: &str = "quorate-hashring";

/// Adds the lines of a lane.
type Measure = fn(&mut Table);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut table = Table::begin(TITLE);
    // One lane alone, while working on it.
    let only = std::env::args().skip(1).find(|arg| arg.starts_with('P') || arg == "Memory");
    let lanes: [(&str, Measure); 16] = [
        ("P1", lookup::owner),
        ("P2", lookup::replicas),
        ("P3", rings::owner),
        ("P4", others::buckets),
        ("P5", build::maglev),
        ("P6", build::ring),
        ("P7", threads::shared),
        ("P8", changes::compare),
        ("P9", solver::measure),
        ("P10", balance::measure),
        ("P11", others::ranges),
        ("P12", threads::bounded),
        ("P13", others::rendezvous),
        ("P14", threads::gate),
        ("P15", changes::bytes),
        ("Memory", memory::measure),
    ];
    for (name, lane) in lanes {
        if only.as_deref().is_none_or(|only| only == name) {
            lane(&mut table);
        }
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-hashring".to_owned());
    match table.write(TITLE, &folder, &name) {
        Ok(()) => println!("\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

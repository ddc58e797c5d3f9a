//! `quorate-hashring` beside its peers and the floors of the machine.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench hashring`

mod balance;
mod build;
mod keys;
mod lookup;
mod rings;
mod solver;

use quorate_benches::Table;
use quorate_benches::count::Counting;

const TITLE: &str = "quorate-hashring";

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let mut table = Table::begin(TITLE);
    // One lane alone, while working on it.
    let only = std::env::args().skip(1).find(|arg| arg.starts_with('P'));
    let lanes: [(&str, fn(&mut Table)); 7] = [
        ("P1", lookup::owner),
        ("P2", lookup::replicas),
        ("P3", rings::owner),
        ("P5", build::maglev),
        ("P6", build::ring),
        ("P9", solver::measure),
        ("P10", balance::measure),
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

//! `quorate-clocks` beside its peers and the floor of the machine.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench clocks`

mod logical;
mod physical;

use quorate_benches::Table;

const TITLE: &str = "quorate-clocks";

fn main() {
    let mut table = Table::begin(TITLE);
    physical::measure(&mut table);
    logical::measure(&mut table);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-clocks".to_owned());
    match table.write(TITLE, &folder, &name) {
        Ok(()) => println!("\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

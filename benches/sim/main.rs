//! `quorate-sim` beside its peers.
//!
//! `cargo bench --manifest-path benches/Cargo.toml --bench sim`, with `--quick` fewer turns.

mod judging;

use quorate_benches::device::load;
use quorate_benches::processor;
use quorate_benches::sheet::Sheet;

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--quick") { 3 } else { 15 };
    let conditions = format!(
        "{} · load {} · {rounds} interleaved turns, ratios are medians of the ratios within a \
         round",
        processor(),
        load()
    );
    let mut sheet = Sheet::begin("quorate-sim", &conditions);
    for line in judging::lines(rounds) {
        sheet.push(line);
    }
    let after = format!("Load at the end {}.\n", load());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-sim".to_owned());
    match sheet.write(&folder, &name, &after) {
        Ok(()) => println!("\n{after}\nwritten to benches/records/{name}.md and .csv"),
        Err(error) => println!("\nnot written: {error}"),
    }
}

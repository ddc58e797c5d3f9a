//! The same damage for several logs: what does each say afterwards?
//!
//! `cargo run --release --manifest-path benches/Cargo.toml --bin wal_damage`
//!
//! Every log gets the same records, each acknowledged as durable. Its directory is copied as a
//! power cut would leave it, one file of the copy is damaged, and the log is opened through its
//! own interface. What it acknowledged must be read, or its absence must be told.

mod generator;
mod judge;
mod subjects;

use quorate_benches::device::Place;
use std::fmt::Write as _;

fn main() {
    let place = Place::new();
    assert!(place.durable, "{} is not a real file system", place.device);
    let mut text = "# wal_damage\n\n".to_owned();
    let _ = writeln!(
        text,
        "{} records of 8 to 900 B, each acknowledged as durable; real files on {}. A loss is \
         silent if the open and the reading say nothing; hinted if the open says that something \
         was cut or cannot be told, not whether it was acknowledged; named if opening or reading refuses. A splice is a record that was not written at that place \
         (changed, out of order, or back again after it was gone). A healthy log has lost \
         nothing but an unsynced last group, of which any sectors may be missing.\n",
        generator::RECORDS,
        place.device
    );
    text.push_str(judge::HEAD);
    print!("{text}");
    for subject in subjects::all() {
        let row = judge::judge(&place, subject.as_ref());
        print!("{row}");
        text.push_str(&row);
    }
    let name = std::env::var("QUORATE_RECORD").unwrap_or_else(|_| "latest-wal-damage".to_owned());
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("records");
    std::fs::create_dir_all(&folder).expect("writable");
    std::fs::write(folder.join(format!("{name}.md")), text).expect("writable");
}

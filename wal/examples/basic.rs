//! Append, close, open again, read.

use std::error::Error;
use std::path::Path;

use quorate_wal::{Config, Lsn, ReadBound, Wal};

/// Writes three records and reads them back from a second life of the log.
pub(crate) fn run(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let config = Config::embedded().build()?;
    let (wal, report) = Wal::open(dir, config.clone())?;
    assert!(report.created);
    for text in ["one", "two", "three"] {
        // Ok means: synced to the medium.
        wal.append_blocking(text.as_bytes())?;
    }
    wal.shutdown().wait()?;

    let (wal, report) = Wal::open(dir, config)?;
    assert_eq!(report.durable, Lsn::new(3));
    let mut texts = Vec::new();
    for record in wal.read(report.first, ReadBound::Durable) {
        texts.push(String::from_utf8(record?.bytes.to_vec())?);
    }
    wal.shutdown().wait()?;
    Ok(texts)
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("qwal-basic-{}", std::process::id()));
    println!("{:?}", run(&dir)?);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

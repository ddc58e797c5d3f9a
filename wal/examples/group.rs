//! 64 writers share one fsync for each group.

use std::error::Error;
use std::path::Path;
use std::thread;

use quorate_wal::{AppendError, Config, Wal};

const WRITERS: u64 = 64;
const APPENDS: u64 = 50;

/// How many records were appended durably, and in how many groups.
pub(crate) fn run(dir: &Path) -> Result<(u64, u64), Box<dyn Error>> {
    let (wal, _) = Wal::open(dir, Config::embedded().build()?)?;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let wal = wal.clone();
                scope.spawn(move || -> Result<(), AppendError> {
                    for i in 0..APPENDS {
                        // The first writer that finds no commit running leads one for all.
                        wal.append_blocking(&(writer << 32 | i).to_le_bytes())?;
                    }
                    Ok(())
                })
            })
            .collect();
        writers.into_iter().try_for_each(|writer| match writer.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let stats = wal.stats();
    wal.shutdown().wait()?;
    Ok((stats.batches, stats.groups))
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("qwal-group-{}", std::process::id()));
    let (appends, groups) = run(&dir)?;
    println!("{appends} durable appends in {groups} groups");
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

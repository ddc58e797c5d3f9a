//! A disk runs full under a log: appends are refused, reads go on, giving records up makes room,
//! and appends resume. On a disk in memory, so that nobody's real one has to be filled: that is
//! behind the feature `testing` of this crate.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{AppendError, Config, Event, Lsn, Wal, WriteError};

pub(crate) fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let mut lines = Vec::new();
    let disk = MemVfs::new();
    disk.quota(Some(256 << 10), false);
    let config = Config::embedded()
        .segment_bytes(64 << 10)
        .batch_bytes_max(8 << 10)
        .staged_bytes_max(64 << 10)
        .build()?;
    let (wal, _) = Wal::open_on(Arc::new(disk), Path::new("log"), config, None)?;
    let mut events = wal.events();

    // Append until the disk is full. The refusal is definite: nothing was staged.
    let mut stored = 0_u64;
    let refused = loop {
        match wal.append_blocking(&[7; 1000]) {
            Ok(_) => stored += 1,
            Err(AppendError::Refused(error)) => break error,
            Err(in_doubt) => return Err(in_doubt.into()),
        }
    };
    lines.push(format!("full: {}", matches!(refused, WriteError::NoSpace { .. })));

    // Everything that was acknowledged is there.
    let readable = (1..=stored).filter(|&n| wal.get(Lsn::new(n)).is_ok()).count() as u64;
    lines.push(format!("all readable: {}", readable == stored));

    // Give half of it up. The log frees segments in the background, and takes appends again.
    wal.truncate_prefix(Lsn::new(stored / 2))?;
    let resumed = loop {
        match wal.append_blocking(&[8; 1000]) {
            Ok(lsn) => break lsn,
            Err(AppendError::Refused(WriteError::NoSpace { .. })) => std::thread::yield_now(),
            Err(other) => return Err(other.into()),
        }
    };
    lines.push(format!("resumed behind all others: {}", resumed.as_u64() > stored));

    wal.shutdown().wait()?;
    let mut told = (false, false);
    while let Some(event) = events.try_next() {
        told.0 |= matches!(event, Event::NoSpace);
        told.1 |= matches!(event, Event::SpaceBack);
    }
    lines.push(format!("the operator was told: {}", told == (true, true)));
    Ok(lines)
}

#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() -> Result<(), Box<dyn Error>> {
    for line in run()? {
        println!("{line}");
    }
    Ok(())
}

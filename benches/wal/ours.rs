//! Logs of ours, ready for a lane.

use crate::peers::RECORD;
use quorate_benches::crew::Op;
use quorate_wal::{Ack, Batch, Config, ConfigBuilder, Wal};
use std::path::Path;
use std::sync::Arc;

/// As servers have it, 64 MiB segments; waits until the next segment is prepared, so that
/// zero-filling disturbs nobody's turn.
pub(crate) fn server(dir: &Path) -> Wal {
    open(dir, Config::server())
}

pub(crate) fn open(dir: &Path, config: ConfigBuilder) -> Wal {
    let wal = Wal::open(dir, config.build().expect("in range")).expect("ours opens").0;
    while wal.stats().segments_prepared == 0 {
        std::thread::yield_now();
    }
    wal
}

/// A durable append of a record, blocking.
pub(crate) fn durable(wal: Wal) -> Op {
    Arc::new(move |_| {
        wal.append_blocking(&RECORD).expect("synced");
    })
}

/// An append into the page cache, blocking.
pub(crate) fn written(wal: Wal) -> Op {
    let mut batch = Batch::new();
    batch.record(&RECORD);
    Arc::new(move |_| {
        let staged = match wal.stage(&batch, Ack::Written) {
            Ok(staged) => staged,
            Err(_) => {
                let permit = wal.reserve(batch.bytes() as u32).wait().expect("room");
                permit.stage(&batch, Ack::Written).expect("it was reserved")
            }
        };
        staged.wait().expect("written");
    })
}

/// Fills a log with records that were appended one by one, so that they share small frames.
pub(crate) fn fill_singly(wal: &Wal, record: &[u8], records: u64) {
    let mut batch = Batch::new();
    batch.record(record);
    for n in 0..records {
        let staged = match wal.stage(&batch, Ack::Staged) {
            Ok(staged) => staged,
            Err(_) => {
                let permit = wal.reserve(batch.bytes() as u32).wait().expect("room");
                permit.stage(&batch, Ack::Staged).expect("it was reserved")
            }
        };
        drop(staged);
        if n % 4096 == 0 {
            wal.sync().expect("staged").wait().expect("synced");
        }
    }
    wal.sync().expect("staged").wait().expect("synced");
}

/// Fills a log with records, many to a batch, quickly; durable in the end.
pub(crate) fn fill(wal: &Wal, record: &[u8], records: u64) {
    let mut batch = Batch::new();
    let per_batch = (512 << 10) / (record.len() as u64 + 8);
    let mut left = records;
    while left > 0 {
        batch.clear();
        for _ in 0..left.min(per_batch) {
            batch.record(record);
        }
        left -= left.min(per_batch);
        let permit = wal.reserve(batch.bytes() as u32).wait().expect("room");
        permit.stage(&batch, Ack::Written).expect("it was reserved").wait().expect("written");
    }
    wal.sync().expect("staged").wait().expect("synced");
}

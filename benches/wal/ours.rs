//! Logs of ours, ready for a lane.

use crate::peers::RECORD;
use crate::splitting::SplitVfs;
use quorate_benches::crew::Op;
use quorate_wal::vfs::{StdVfs, Vfs};
use quorate_wal::{Ack, Batch, Config, ConfigBuilder, Wal};
use std::path::Path;
use std::sync::Arc;

/// As servers have it, 64 MiB segments; waits until the next segment is prepared, so that
/// zero-filling disturbs nobody's turn.
pub(crate) fn server(dir: &Path) -> Wal {
    open(dir, Config::server())
}

pub(crate) fn open(dir: &Path, config: ConfigBuilder) -> Wal {
    open_on(Arc::new(StdVfs), dir, config)
}

/// On a file system that takes at most 64 KiB at once, which a `Vfs` may: zero-filling, too.
pub(crate) fn split(dir: &Path) -> Wal {
    open_on(Arc::new(SplitVfs), dir, Config::server())
}

fn open_on(vfs: Arc<dyn Vfs>, dir: &Path, config: ConfigBuilder) -> Wal {
    let config = config.build().expect("in range");
    let wal = Wal::open_on(vfs, dir, config, None).expect("ours opens").0;
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

//! In steady state an append allocates nothing but what the index takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quorate_wal::vfs::{StdVfs, Vfs};
use quorate_wal::{Ack, Batch, Config, Driver, Wal};

use crate::alloc::measure;
use crate::rig::{group, say};

/// On the real file system: the one in memory allocates for what it remembers.
fn log(dir: &Path) -> Wal {
    let config = Config::server().mark_idle(Duration::ZERO).driver(Driver::manual(|| {}));
    let vfs: Arc<dyn Vfs> = Arc::new(StdVfs);
    Wal::open_on(vfs, dir, config.sync_off_for_tests().build().unwrap(), None).unwrap().0
}

/// Runs `work` in rounds of 64; how many rounds allocated, and how many calls in all. The sparse
/// index takes 8 bytes for each 4 KiB of log: rarely a round sees it grow.
fn rounds(mut work: impl FnMut()) -> (usize, usize) {
    for _ in 0..1000 {
        work();
    }
    let mut calls = Vec::new();
    for _ in 0..64 {
        let ((), usage) = measure(|| (0..64).for_each(|_| work()));
        calls.push(usage.calls);
    }
    (calls.iter().filter(|&&n| n > 0).count(), calls.iter().sum())
}

#[test]
fn appends_allocate_nothing_in_steady_state() {
    let root = tempfile::tempdir().unwrap();
    let wal = log(root.path());
    let record = [7_u8; 128];
    let blocking = rounds(|| {
        wal.append_blocking(&record).unwrap();
    });
    let mut batch = Batch::new();
    let batched = rounds(|| {
        batch.clear();
        batch.record(&record).record(&record[..9]);
        wal.stage(&batch, Ack::Durable).unwrap().wait().unwrap();
    });
    let staged = rounds(|| {
        batch.clear();
        let _ = wal.stage(batch.record(&record), Ack::Staged).unwrap().detach();
        if wal.stats().staged_bytes > 1 << 20 {
            wal.sync().unwrap().wait().unwrap();
        }
    });
    let (g, mut next) = (group(1), 1);
    let blocks = rounds(|| {
        batch.clear();
        batch.extend(g, next, 1, 1, &record);
        next += 1;
        wal.commit_blocking(&batch).unwrap();
    });
    say(&format!(
        "rounds of 64 appends, of 64, that allocated at all (and calls): blocking {blocking:?}, \
         batch {batched:?}, staged {staged:?}, blocks of a stream {blocks:?}"
    ));
    // The index doubles now and then, and the list of a stream's blocks grows by a quarter.
    for (what, (some, calls)) in
        [("blocking", blocking), ("batch", batched), ("staged", staged), ("blocks", blocks)]
    {
        assert!(some <= 10 && calls <= 10, "{what}: {calls} allocations in {some} of 64 rounds");
    }
}

/// G12: what is kept in memory of what was written. A list that doubles may be half empty, that
/// of the blocks grows by a quarter.
#[test]
fn the_index_takes_what_the_limits_say() {
    let root = tempfile::tempdir().unwrap();
    let wal = log(root.path());
    let record = [7_u8; 256];
    let appends = |n: u64| {
        for _ in 0..n {
            wal.append_blocking(&record).unwrap();
        }
    };
    appends(1000);
    let before = wal.stats().bytes_written;
    let ((), usage) = measure(|| appends(40_000));
    let written = usize::try_from(wal.stats().bytes_written - before).unwrap();
    let most = written / 2048 * 8;
    assert!(usage.peak < 2 * most + (64 << 10), "{} B of index for {written} B", usage.peak);

    const BLOCKS: u64 = 50_000;
    let mut batch = Batch::new();
    let ((), usage) = measure(|| {
        for index in 1..=BLOCKS {
            batch.clear();
            batch.extend(group(1), index, 1, 1, b"");
            wal.commit_blocking(&batch).unwrap();
        }
    });
    let each = usage.peak / usize::try_from(BLOCKS).unwrap();
    assert!((48..=62).contains(&each), "{each} B for each block");
}

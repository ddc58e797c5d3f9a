//! Lane P12: what cutting the beginning off costs, counted at the file system.

use crate::ours;
use crate::peers::RECORD;
use crate::{Bench, SLOW};
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::quantile;
use quorate_wal::vfs::{DirItem, OpenMode, StdVfs, Vfs, VfsFile, VfsLock};
use quorate_wal::{Config, Wal};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// The real file system, counting what changes names.
#[derive(Debug, Default)]
struct CountingVfs {
    renames: AtomicU64,
    removes: AtomicU64,
}

impl Vfs for CountingVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        StdVfs.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        StdVfs.list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        StdVfs.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renames.fetch_add(1, Relaxed);
        StdVfs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // Not what was not there.
        StdVfs.remove(path)?;
        self.removes.fetch_add(1, Relaxed);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdVfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        StdVfs.lock(path)
    }

    fn entropy(&self) -> io::Result<u128> {
        StdVfs.entropy()
    }
}

/// Latencies of so many durable appends.
fn appends(wal: &Wal, count: usize, into: &mut Vec<f64>) {
    for _ in 0..count {
        let begun = Instant::now();
        wal.append_blocking(&RECORD).expect("synced");
        into.push(begun.elapsed().as_secs_f64() * 1e9);
    }
}

pub(crate) fn prefix(bench: &mut Bench) {
    const SEGMENTS: u64 = 8;
    const CYCLES: u64 = 6;
    let (vfs, dir) = (Arc::new(CountingVfs::default()), bench.place.dir("prefix"));
    let config = Config::server().segment_bytes(8 << 20).batch_bytes_max(1 << 20);
    let config = config.staged_bytes_max(4 << 20).build().expect("in range");
    let wal = Wal::open_on(vfs.clone(), &dir, config, None).expect("ours opens").0;
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    let (mut freed, mut names) = (0, 0);
    for _ in 0..CYCLES {
        ours::fill(&wal, &RECORD, SEGMENTS * (8 << 20) / 275);
        while wal.stats().segments_prepared == 0 {
            std::thread::yield_now();
        }
        appends(&wal, 1_500, &mut quiet);
        let before = (wal.stats(), vfs.renames.load(Relaxed) + vfs.removes.load(Relaxed));
        wal.truncate_prefix(wal.marks().durable).expect("it is durable");
        appends(&wal, 1_500, &mut busy);
        let after = wal.stats();
        let gone = |stats: quorate_wal::Stats| stats.recycled + stats.unlinked;
        freed += gone(after) - gone(before.0);
        names += vfs.renames.load(Relaxed) + vfs.removes.load(Relaxed) - before.1;
    }
    drop(wal);
    let (quiet, busy) = (quantile(quiet, 0.99), quantile(busy, 0.99));
    let each = names as f64 / freed as f64;
    let lane = format!("P12 names changed for each of {freed} segments cut off");
    let line = Line::new(&lane).value(&format!("{each:.2}"), each, "renames and removes");
    bench.sheet.push(line.goal("k for k segments", names <= freed));
    let line = Line::new("P12 p99 of durable appends while segments are cut off")
        .value(&time(busy), busy, "ns")
        .floor(&format!("p99 before {}", time(quiet)), busy / quiet);
    bench.sheet.push(line.goal_at(quiet < SLOW, "≤ 1.2×", busy <= 1.2 * quiet));
    bench.place.remove("prefix");
}

//! Opening through windows and with several threads: the same answer as with one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
use quorate_wal::{Batch, Config, ConfigBuilder, Lsn, ReadBound, Recovery, Slot, StreamId, Wal};

use crate::rig::{Replay, Rng, dir, seeds, segments};

/// Segments of 1 MiB: a log of several is worth more than one thread.
fn config() -> ConfigBuilder {
    Config::embedded().segment_bytes(1 << 20).batch_bytes_max(256 << 10)
}

/// Records, blocks, cells and truncations over about 6 MiB.
fn busy_log(seed: u64) -> MemVfs {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk, config());
    let mut rng = Rng(seed);
    let mut batch = Batch::new();
    let vote = Slot::new(3).unwrap();
    for round in 0..56_u64 {
        batch.clear();
        let id = StreamId::new(1, rng.below(5));
        let next = wal.stream(id).bounds().end.max(1);
        let bytes = vec![round as u8; 1 + rng.below(200_000) as usize];
        batch.extend(id, next, 2, round, &bytes).meta(id, vote, &round.to_le_bytes());
        for _ in 0..rng.below(40) {
            batch.record(&vec![7; rng.below(900) as usize]);
        }
        if round % 9 == 8 {
            batch.keep_from(id, next);
        }
        wal.commit_blocking(&batch).unwrap();
        if round % 20 == 19 {
            let at = wal.append_blocking(b"cut").unwrap();
            wal.truncate_suffix(at).unwrap().wait().unwrap();
        }
    }
    let left = disk.kill();
    drop(wal);
    left
}

fn open(disk: &MemVfs, config: ConfigBuilder) -> (Wal, quorate_wal::RecoveryReport) {
    Wal::open_on(Arc::new(disk.clone()), dir(), config.build().unwrap(), None).unwrap()
}

/// All that an open shows, as text.
fn answer(disk: &MemVfs, threads: u64) -> String {
    let config = config().recovery(Recovery::Salvage).verify_threads(threads);
    let (wal, mut report) = open(&disk.kill(), config);
    report.elapsed = std::time::Duration::ZERO;
    let mut text = format!("{report:?} {:?}\n", wal.marks());
    for id in wal.streams(1) {
        let stream = wal.stream(id);
        text += &format!("{id} {:?} {:?} ", stream.bounds(), stream.health());
        text += &format!("{:?} {:?}\n", stream.blocks(), stream.meta(Slot::new(3).unwrap()));
        let mut blocks = Vec::new();
        let read = stream.read(stream.bounds(), 1 << 20, &mut blocks);
        text += &format!("{read:?} {}\n", blocks.len());
    }
    for record in wal.read(Lsn::new(1), ReadBound::Durable) {
        text += &match record {
            Ok(record) => format!("{} {}, ", record.lsn, record.bytes.len()),
            Err(error) => format!("{error:?}"),
        };
    }
    text
}

#[test]
fn threads_give_one_answer() {
    for seed in seeds(6) {
        let _replay = Replay { test: "threads_give_one_answer", seed };
        let disk = busy_log(seed);
        let mut rng = Rng(seed ^ 0xA11);
        let paths = segments(&disk);
        assert!(paths.len() > 4, "one segment needs no threads");
        for case in 0..6 {
            let hurt = disk.kill();
            // Healthy, torn at the end, then damaged here and there.
            if case == 1 {
                let last = hurt.open(&paths[paths.len() - 2], OpenMode::Write).unwrap();
                let len = last.len().unwrap();
                last.set_len(len - rng.below(len / 2)).unwrap();
            }
            for _ in 0..case * 2 {
                let path = &paths[rng.below(paths.len() as u64) as usize];
                let file = hurt.open(path, OpenMode::Write).unwrap();
                let at = rng.below(file.len().unwrap());
                file.write_at(&[0xA5; 9], at).unwrap();
            }
            let one = answer(&hurt, 1);
            for threads in [2, 3, 8] {
                assert_eq!(answer(&hurt, threads), one, "case {case}, {threads} threads");
            }
        }
    }
}

#[test]
fn a_frame_larger_than_the_window_is_read() {
    let disk = MemVfs::new();
    let large = || Config::server().segment_bytes(16 << 20).batch_bytes_max(4 << 20);
    let (wal, _) = open(&disk, large());
    let big = vec![9; 3 << 20];
    for _ in 0..4 {
        wal.append_blocking(&big).unwrap();
        wal.append_blocking(b"small").unwrap();
    }
    drop(wal);
    for threads in [1, 2] {
        let (wal, report) = open(&disk.kill(), large().verify_threads(threads));
        assert_eq!((report.durable, report.damage.len()), (Lsn::new(8), 0));
        assert_eq!(wal.get(Lsn::new(7)).unwrap(), big);
    }
}

#[test]
fn an_open_holds_windows_not_segments() {
    // One segment of 32 MiB; what is asked of the file system is never more than a window.
    let disk = MemVfs::new();
    let large = || Config::server().segment_bytes(32 << 20).verify_threads(1);
    let (wal, _) = open(&disk, large());
    for _ in 0..24 {
        wal.append_blocking(&vec![1; 1 << 20]).unwrap();
    }
    drop(wal);
    let most = Arc::new(AtomicUsize::new(0));
    let vfs: Arc<dyn Vfs> = Arc::new(Watched { disk, most: Arc::clone(&most) });
    let (_wal, report) = Wal::open_on(vfs, dir(), large().build().unwrap(), None).unwrap();
    assert!(report.bytes_scanned > 24 << 20);
    let most = most.load(Ordering::Relaxed);
    assert!(most <= (1 << 20) + 4096, "{most} bytes in one read");
}

/// Notes the largest read.
#[derive(Debug)]
struct Watched {
    disk: MemVfs,
    most: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct WatchedFile(Arc<dyn quorate_wal::vfs::VfsFile>, Arc<AtomicUsize>);

mod watched {
    //! Everything but reading is passed on.
    use std::io::Result;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use quorate_wal::vfs::{DirItem, OpenMode, Vfs, VfsFile, VfsLock};

    use super::{Watched, WatchedFile};

    impl Vfs for Watched {
        fn create_dir_all(&self, dir: &Path) -> Result<()> {
            self.disk.create_dir_all(dir)
        }
        fn list(&self, dir: &Path) -> Result<Vec<DirItem>> {
            self.disk.list(dir)
        }
        fn open(&self, path: &Path, mode: OpenMode) -> Result<Arc<dyn VfsFile>> {
            let file = self.disk.open(path, mode)?;
            Ok(Arc::new(WatchedFile(file, Arc::clone(&self.most))))
        }
        fn rename(&self, from: &Path, to: &Path) -> Result<()> {
            self.disk.rename(from, to)
        }
        fn remove(&self, path: &Path) -> Result<()> {
            self.disk.remove(path)
        }
        fn sync_dir(&self, dir: &Path) -> Result<()> {
            self.disk.sync_dir(dir)
        }
        fn lock(&self, path: &Path) -> Result<Box<dyn VfsLock>> {
            self.disk.lock(path)
        }
        fn entropy(&self) -> Result<u128> {
            self.disk.entropy()
        }
    }

    impl VfsFile for WatchedFile {
        fn len(&self) -> Result<u64> {
            self.0.len()
        }
        fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
            self.1.fetch_max(buf.len(), Ordering::Relaxed);
            self.0.read_at(buf, offset)
        }
        fn write_at(&self, buf: &[u8], offset: u64) -> Result<usize> {
            self.0.write_at(buf, offset)
        }
        fn sync_data(&self) -> Result<()> {
            self.0.sync_data()
        }
        fn sync_all(&self) -> Result<()> {
            self.0.sync_all()
        }
        fn set_len(&self, len: u64) -> Result<()> {
            self.0.set_len(len)
        }
    }
}

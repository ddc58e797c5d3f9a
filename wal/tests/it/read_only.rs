//! Reading without owning: nothing is written, and a live writer is never taken for damage.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use quorate_wal::vfs::{DirItem, MemVfs, OpKind, OpenMode, StdVfs, Vfs, VfsFile, VfsLock};
use quorate_wal::{
    Batch, Config, Health, Lsn, OpenError, ReadBound, ReadError, Slot, Tail, Wal, WalReader,
};

use crate::rig::{dir, group, open, segments, small};

fn look(disk: &MemVfs) -> (WalReader, quorate_wal::RecoveryReport) {
    WalReader::open_read_only(Arc::new(disk.clone()), dir()).unwrap()
}

/// Every operation that changes something, or makes it durable; opening is counted with what it
/// was opened for.
fn writes(disk: &MemVfs) -> u64 {
    use OpKind::{CreateDir, Lock, Remove, Rename, SetLen, SyncAll, SyncData, SyncDir, Write};
    let kinds = [CreateDir, Lock, Remove, Rename, SetLen, SyncAll, SyncData, SyncDir, Write];
    kinds.into_iter().map(|kind| disk.count(kind)).sum()
}

#[test]
fn it_reads_all_and_writes_nothing_while_the_log_is_locked() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let vote = Slot::new(1).unwrap();
    for n in 1..=400_u64 {
        let mut batch = Batch::new();
        batch.record(&n.to_le_bytes()).extend(group(1), n, 1, 7, b"entry");
        wal.commit_blocking(batch.meta(group(1), vote, b"me")).unwrap();
    }
    let copy = disk.kill();
    let _held = copy.lock(&dir().join("LOCK")).unwrap();
    let before = writes(&copy);
    let (mut reader, report) = look(&copy);
    assert_eq!((report.tail, report.damage.len(), report.streams), (Tail::Clean, 0, 1));
    let all = reader.read(Lsn::new(1), ReadBound::Written).map(Result::unwrap);
    let numbers: Vec<u64> =
        all.map(|r| u64::from_le_bytes(r.bytes[..].try_into().unwrap())).collect();
    assert_eq!(numbers, (1..=400).collect::<Vec<u64>>());
    let stream = reader.stream(group(1));
    assert_eq!((stream.bounds(), stream.health()), (1..401, Health::Intact));
    assert_eq!(stream.meta(vote).as_deref(), Some(&b"me"[..]));
    let mut blocks = Vec::new();
    assert_eq!(stream.read(100..120, 1 << 20, &mut blocks).unwrap(), 120);
    assert_eq!(&blocks[0].bytes[..], b"entry");
    assert_eq!(reader.streams(1), [group(1)]);
    reader.refresh().unwrap();
    assert_eq!(writes(&copy), before, "nothing is written");
}

#[test]
fn what_came_later_is_not_yet_there_until_a_refresh() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"1").unwrap();
    let (mut reader, _) = look(&disk);
    wal.append_blocking(b"2").unwrap();
    assert!(matches!(reader.get(Lsn::new(2)), Err(ReadError::NotYet { bound: 1 })));
    assert_eq!(reader.read(Lsn::new(1), ReadBound::Written).count(), 1);
    reader.refresh().unwrap();
    assert_eq!(&reader.get(Lsn::new(2)).unwrap()[..], b"2");
    // The last group is written; only what a later frame or MANIFEST says is proven.
    let marks = reader.marks();
    assert_eq!((marks.durable, marks.written), (Lsn::new(1), Lsn::new(2)));
    assert_eq!(reader.read(Lsn::new(1), ReadBound::Durable).count(), 1);
    wal.shutdown().wait().unwrap();
    assert_eq!(reader.refresh().unwrap().durable, Lsn::new(2));
}

#[test]
fn what_is_not_a_log_stays_as_it_is() {
    let disk = MemVfs::new();
    let absent = WalReader::open_read_only(Arc::new(disk.clone()), dir());
    assert!(matches!(absent, Err(OpenError::NotALog(_))));
    disk.create_dir_all(dir()).unwrap();
    let empty = WalReader::open_read_only(Arc::new(disk.clone()), dir());
    assert!(matches!(empty, Err(OpenError::NotALog(_))));
    assert!(disk.list(dir()).unwrap().is_empty());
}

#[test]
fn a_read_only_directory_is_enough() {
    let home = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(home.path(), small().build().unwrap()).unwrap();
    wal.append_blocking(b"x").unwrap();
    wal.shutdown().wait().unwrap();
    let mut rights = std::fs::metadata(home.path()).unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(home.path(), rights.clone()).unwrap();
    let opened = WalReader::open(home.path());
    #[expect(clippy::permissions_set_readonly_false, reason = "the directory is about to go")]
    rights.set_readonly(false);
    std::fs::set_permissions(home.path(), rights).unwrap();
    let (reader, report) = opened.unwrap();
    assert_eq!((report.durable, &reader.get(Lsn::new(1)).unwrap()[..]), (Lsn::new(1), &b"x"[..]));
}

#[test]
fn real_damage_is_confirmed_and_named_and_the_rest_is_read() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for n in 0..8_u8 {
        wal.append_blocking(&[n; 50]).unwrap();
    }
    wal.shutdown().wait().unwrap();
    let path = &segments(&disk)[0];
    let at = disk.contents(path).unwrap().windows(50).position(|w| w == [4; 50]).unwrap();
    disk.flip(path, at as u64 * 8).unwrap();
    let (reader, report) = look(&disk);
    assert_eq!(report.damage.len(), 1);
    assert!(report.damage[0].lost.contains(Lsn::new(5)));
    assert!(matches!(reader.get(Lsn::new(5)), Err(ReadError::Lost { .. })));
    assert_eq!(&reader.get(Lsn::new(6)).unwrap()[..], [5; 50]);
}

/// Appends, rolls and truncates until told to stop; how much was acknowledged is in `acked`.
fn write(wal: &Wal, acked: &AtomicU64, stop: &AtomicBool) {
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let lsn = wal.append_blocking(&vec![n as u8; 20 + (n % 700) as usize]).unwrap();
        acked.store(lsn.as_u64(), Ordering::Release);
        if n.is_multiple_of(400) {
            let keep = lsn.as_u64().saturating_sub(150);
            wal.truncate_prefix(Lsn::new(keep)).unwrap();
        }
    }
}

fn beside(vfs: &Arc<dyn Vfs>, path: &Path, looks: u32) {
    let config = small().build().unwrap();
    let (wal, _) = Wal::open_on(Arc::clone(vfs), path, config, None).unwrap();
    let (acked, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(&wal, &acked, &stop));
        let (mut reader, _) = WalReader::open_read_only(Arc::clone(vfs), path).unwrap();
        let mut records = 0;
        // On a busy machine the writer's thread may begin after the last look.
        for _ in 0..10_000_000 {
            if acked.load(Ordering::Acquire) > 0 {
                break;
            }
            std::thread::yield_now();
        }
        for _ in 0..looks {
            let sure = acked.load(Ordering::Acquire);
            let report = reader.refresh().unwrap();
            assert!(report.damage.is_empty(), "{report:?}");
            let marks = reader.marks();
            assert!(marks.written.as_u64() >= sure, "{marks:?}, {sure} was acknowledged");
            records += read_all(&reader);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(records > 0);
    });
}

/// Reads what the snapshot holds; only what the writer has deleted since may be missing.
fn read_all(reader: &WalReader) -> u64 {
    let (mut last, mut seen) = (0, 0);
    for read in reader.read(reader.marks().low, ReadBound::Written) {
        let record = match read {
            Ok(record) => record,
            Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => break,
            Err(other) => panic!("{other}"),
        };
        assert!(last == 0 || record.lsn.as_u64() == last + 1, "{last} then {}", record.lsn);
        last = record.lsn.as_u64();
        seen += 1;
    }
    seen
}

#[test]
fn a_writer_in_memory_is_never_taken_for_damage() {
    let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    beside(&vfs, dir(), 300);
}

#[test]
fn a_writer_on_the_real_file_system_is_never_taken_for_damage() {
    let home = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(StdVfs);
    beside(&vfs, &home.path().join("log"), 300);
}

/// Runs `between` once, after a window of a segment was read and before the next one is.
struct Between {
    disk: MemVfs,
    between: Arc<dyn Fn() + Send + Sync>,
    reads: Arc<AtomicU64>,
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Between")
    }
}

impl std::fmt::Debug for BetweenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BetweenFile")
    }
}

struct BetweenFile {
    file: Arc<dyn VfsFile>,
    between: Arc<dyn Fn() + Send + Sync>,
    reads: Arc<AtomicU64>,
}

impl Vfs for Between {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.disk.open(path, mode)?;
        let (between, reads) = (Arc::clone(&self.between), Arc::clone(&self.reads));
        Ok(Arc::new(BetweenFile { file, between, reads }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.disk.lock(path)
    }
    fn entropy(&self) -> io::Result<u128> {
        self.disk.entropy()
    }
}

impl VfsFile for BetweenFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.file.read_at(buf, offset)?;
        if buf.len() >= 1 << 20 && self.reads.fetch_add(1, Ordering::Relaxed) == 0 {
            (self.between)();
        }
        Ok(n)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

#[test]
fn evidence_younger_than_the_bytes_is_no_evidence() {
    let disk = MemVfs::new();
    let config = Config::server().segment_bytes(16 << 20).batch_bytes_max(4 << 20);
    let open = Wal::open_on(Arc::new(disk.clone()), dir(), config.build().unwrap(), None);
    let (wal, _) = open.unwrap();
    wal.append_blocking(b"before").unwrap();
    // The first window ends in empty space; behind it two groups appear, the second of which
    // says that the first was durable.
    let between = Arc::new(move || {
        for _ in 0..3 {
            wal.append_blocking(&vec![1; 1 << 20]).unwrap();
        }
    });
    let reads = Arc::new(AtomicU64::new(0));
    let vfs = Between { disk, between, reads: Arc::clone(&reads) };
    let (reader, report) = WalReader::open_read_only(Arc::new(vfs), dir()).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!(reader.marks().written, Lsn::new(4));
    assert!(reads.load(Ordering::Relaxed) > 16, "it looked twice");
}

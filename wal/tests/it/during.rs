//! What happens while the log is in the middle of a sync, a preparation, a shutdown or an
//! acceptance, and at the edges of what a configuration allows. Each of these was a defect once.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use quorate_wal::vfs::{DirItem, MemVfs, OpenMode, StdVfs, Vfs, VfsFile, VfsLock};
use quorate_wal::*;

use crate::rig::{dir, group, manual, open_with, segments, settle, small};

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

#[derive(Clone)]
struct HookVfs {
    inner: MemVfs,
    hook: Hook,
    on: &'static str,
    panics: Arc<AtomicBool>,
}
impl std::fmt::Debug for HookVfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookVfs")
    }
}
struct HookFile {
    inner: Arc<dyn VfsFile>,
    name: String,
    vfs: HookVfs,
}
impl std::fmt::Debug for HookFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookFile")
    }
}
impl HookVfs {
    fn new(on: &'static str) -> Self {
        Self { inner: MemVfs::new(), hook: Hook::default(), on, panics: Arc::default() }
    }
    fn over(inner: MemVfs, on: &'static str) -> Self {
        Self { inner, ..Self::new(on) }
    }
    fn set(&self, f: impl FnOnce() + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(f));
    }
    fn pending(&self) -> bool {
        self.hook.lock().unwrap().is_some()
    }
    fn open_wal(&self, config: ConfigBuilder) -> (Wal, RecoveryReport) {
        Wal::open_on(Arc::new(self.clone()), dir(), config.build().unwrap(), None).unwrap()
    }
}
impl HookFile {
    fn fire(&self) {
        if self.name.contains(self.vfs.on) {
            let hook = self.vfs.hook.lock().unwrap().take();
            if let Some(hook) = hook {
                hook();
            }
        }
    }
}
impl VfsFile for HookFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, b: &mut [u8], o: u64) -> io::Result<usize> {
        self.inner.read_at(b, o)
    }
    fn write_at(&self, b: &[u8], o: u64) -> io::Result<usize> {
        self.inner.write_at(b, o)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.fire();
        self.inner.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.fire();
        self.inner.sync_all()
    }
    fn set_len(&self, l: u64) -> io::Result<()> {
        self.inner.set_len(l)
    }
}
impl Vfs for HookVfs {
    fn create_dir_all(&self, d: &Path) -> io::Result<()> {
        self.inner.create_dir_all(d)
    }
    fn list(&self, d: &Path) -> io::Result<Vec<DirItem>> {
        self.inner.list(d)
    }
    fn open(&self, p: &Path, m: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        assert!(
            !(m == OpenMode::CreateNew && self.panics.load(Ordering::SeqCst)),
            "a bug in a Vfs"
        );
        let name = p.file_name().unwrap().to_string_lossy().into_owned();
        Ok(Arc::new(HookFile { inner: self.inner.open(p, m)?, name, vfs: self.clone() }))
    }
    fn rename(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.inner.rename(a, b)
    }
    fn remove(&self, p: &Path) -> io::Result<()> {
        self.inner.remove(p)
    }
    fn sync_dir(&self, d: &Path) -> io::Result<()> {
        self.inner.sync_dir(d)
    }
    fn lock(&self, p: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.inner.lock(p)
    }
    fn entropy(&self) -> io::Result<u128> {
        self.inner.entropy()
    }
}

fn roll(wal: &Wal, rolls: u64) {
    let to = wal.stats().rolls + rolls;
    while wal.stats().rolls < to {
        wal.append_blocking(&[0xab; 900]).unwrap();
        settle(wal);
    }
}
fn next(wal: &Wal) -> Lsn {
    Lsn::new(wal.marks().durable.as_u64() + 1)
}
fn flip(disk: &MemVfs, path: &Path, at: u64) {
    let file = disk.open(path, OpenMode::Write).unwrap();
    let mut b = [0];
    file.read_at(&mut b, at).unwrap();
    b[0] ^= 1;
    file.write_at(&b, at).unwrap();
    file.sync_all().unwrap();
}

/// Reclaim deletes a segment whose release was staged during its sync, and is not durable.
#[test]
fn h45_what_frees_a_segment_during_its_sync_frees_nothing_yet() {
    let vfs = HookVfs::new(".qwal");
    let (wal, _) = vfs.open_wal(manual().carry_live_percent_max(0));
    let (g, vote) = (group(1), Slot::new(0).unwrap());
    roll(&wal, 2);
    wal.commit_blocking(Batch::new().meta(g, vote, b"vote 1")).unwrap();
    roll(&wal, 1);
    settle(&wal);
    wal.truncate_prefix(next(&wal)).unwrap();
    let clone = wal.clone();
    vfs.set(move || drop(clone.stage(Batch::new().meta(g, vote, b"vote 2"), Ack::Staged).unwrap()));
    while vfs.pending() {
        assert_eq!(wal.turn(), Turn::Again);
    }
    for disk in [vfs.inner.kill(), vfs.inner.crash(1)] {
        let (wal, report) = open_with(&disk, manual()).unwrap();
        let cell = wal.stream(g).meta(vote);
        assert!(
            cell.is_some(),
            "the acknowledged vote is lost: {:?} {report:?}",
            wal.stream(g).health()
        );
    }
}

/// Somebody else leads, and has taken its group: the flush must come again.
#[test]
fn a_flush_by_hand_that_meets_another_leader_is_not_forgotten() {
    let vfs = HookVfs::new(".qwal");
    let (wal, _) = vfs.open_wal(manual());
    wal.append_blocking(b"a").unwrap();
    settle(&wal);
    let other = wal.clone();
    vfs.set(move || {
        drop(other.stage(Batch::new().record(b"staged during a sync"), Ack::Staged).unwrap());
        settle(&other);
    });
    wal.append_blocking(b"b").unwrap();
    assert!(!vfs.pending());
    settle(&wal);
    let marks = wal.marks();
    assert_eq!((marks.written, marks.staged), (Lsn::new(3), Lsn::new(3)));
}

/// MANIFEST's durable position is stale after a reclaim; rot of the Link then restarts numbers.
#[test]
fn h24_reclaiming_carries_the_durable_position_along() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual().staged_bytes_max(64 << 10)).unwrap();
    let g = group(1);
    roll(&wal, 2);
    settle(&wal);
    wal.truncate_prefix(next(&wal)).unwrap();
    let (mut i, rolls) = (1, wal.stats().rolls);
    while wal.stats().rolls == rolls {
        drop(wal.stage(Batch::new().extend(g, i, 1, 1, &[1; 900]), Ack::Staged).unwrap());
        i += 1;
    }
    drop(wal.stage(Batch::new().drop_stream(g), Ack::Staged).unwrap());
    while wal.stats().recycled + wal.stats().unlinked == 0 {
        assert_eq!(wal.turn(), Turn::Again);
    }
    let acked = wal.marks().durable;
    let disk = disk.kill();
    flip(&disk, &dir().join("00000000000000000003.qwal"), 4096 + 20);
    match open_with(&disk, manual()) {
        Ok((wal, report)) => {
            let lsn = wal.append_blocking(b"new").unwrap();
            let got = wal.get(lsn);
            assert!(
                lsn > acked && got.is_ok(),
                "lsn {lsn} after {acked}: {got:?}; {:?} {:?}",
                report.tail,
                wal.marks()
            );
        }
        Err(e) => eprintln!("refused: {e}"),
    }
}

fn accepted_then_reclaimed(headless: bool) {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    roll(&wal, 5);
    wal.shutdown().wait().unwrap();
    let third = dir().join("00000000000000000003.qwal");
    if headless {
        flip(&disk, &third, 4096 + 20);
    } else {
        disk.remove(&third).unwrap();
    }
    let salvage = || manual().recovery(Recovery::Salvage);
    let (wal, report) = open_with(&disk, salvage()).unwrap();
    wal.accept_damage(&report).unwrap().wait().unwrap();
    settle(&wal);
    roll(&wal, 1);
    drop(wal);
    let (wal, _) = open_with(&disk, manual()).unwrap();
    let to = report.damage[0].lost.to.unwrap().as_u64();
    wal.truncate_prefix(Lsn::new(to + if headless { 3 } else { 1 })).unwrap();
    wal.sync().unwrap().wait().unwrap();
    settle(&wal);
    let stats = wal.stats();
    assert!(stats.recycled + stats.unlinked >= 2, "{stats:?}");
    wal.shutdown().wait().unwrap();
    if let Err(e) = open_with(&disk, manual()) {
        panic!("accepted damage refused again: {e}");
    }
}
#[test]
fn an_accepted_missing_segment_stays_accepted_when_older_ones_go() {
    accepted_then_reclaimed(false);
}
#[test]
fn an_accepted_headless_segment_stays_accepted_when_older_ones_go() {
    accepted_then_reclaimed(true);
}

/// A second shutdown gives the lock back while the first one still syncs.
#[test]
fn h53_a_second_shutdown_does_not_free_the_lock_early() {
    let vfs = HookVfs::new(".qwal");
    let (wal, _) = vfs.open_wal(manual());
    wal.append_blocking(b"a").unwrap();
    drop(wal.stage(Batch::new().record(b"b"), Ack::Staged).unwrap());
    let (clone, disk) = (wal.clone(), vfs.inner.clone());
    let (tx, rx) = mpsc::channel();
    vfs.set(move || {
        let (done, end) = mpsc::channel();
        std::thread::spawn(move || done.send(clone.shutdown().wait()));
        let second = end.recv_timeout(Duration::from_millis(300));
        let other = open_with(&disk, manual()).map(|(w, r)| (w.marks(), r.tail));
        tx.send(format!("second {second:?}, open during the first: {other:?}")).unwrap();
    });
    let first = wal.shutdown().wait();
    let told = rx.recv().unwrap();
    eprintln!("first {first:?}; {told}");
    assert!(told.contains("Locked"), "{told}");
}

struct Count(AtomicU64);
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A Reserve that waits for a permit wakes itself for ever.
#[test]
fn a_waiting_reservation_is_quiet() {
    use std::future::Future;
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    settle(&wal);
    let mut held = Vec::new();
    while let Ok(permit) = wal.reserve(3000).wait() {
        held.push(permit);
    }
    let count = Arc::new(Count(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut cx = Context::from_waker(&waker);
    let mut waiting = Box::pin(wal.reserve(3000));
    let mut polls = 0_u64;
    loop {
        polls += 1;
        match waiting.as_mut().poll(&mut cx) {
            Poll::Pending => {}
            Poll::Ready(r) => panic!("{r:?}"),
        }
        settle(&wal);
        if count.0.swap(0, Ordering::SeqCst) == 0 || polls == 1000 {
            break;
        }
    }
    assert!(
        polls < 10,
        "{polls} polls with {} permits held and nothing to do; groups {}",
        held.len(),
        wal.stats().groups
    );
}

fn in_time(f: impl FnOnce() -> String + Send + 'static) -> Option<String> {
    let (tx, rx) = mpsc::channel();
    std::thread::spawn(move || tx.send(f()));
    rx.recv_timeout(Duration::from_secs(8)).ok()
}

/// Allowed configurations in which an append of the allowed size never goes.
#[test]
fn h18_the_largest_batch_goes_with_padding_too() {
    for staged in [16, 9] {
        let r = in_time(move || {
            let disk = MemVfs::new();
            let config = small().align(Align::Bytes4096).staged_bytes_max(staged << 10);
            let (wal, _) = open_with(&disk, config).unwrap();
            for i in 0..60 {
                if let Err(e) = wal.append_blocking(&[1; 4080]) {
                    return format!("{i}: {e:?}");
                }
            }
            "all".into()
        });
        assert!(r.is_some(), "hung");
    }
}
#[test]
fn the_largest_batch_goes_by_hand() {
    for staged in [16, 9] {
        let disk = MemVfs::new();
        let config = manual().align(Align::Bytes4096).staged_bytes_max(staged << 10);
        let (wal, _) = open_with(&disk, config).unwrap();
        for _ in 0..60 {
            let r = wal.append_blocking(&[1; 4080]);
            assert!(r.is_ok(), "{r:?}");
        }
    }
}

/// A panic on the maintenance thread.
#[test]
fn h32_a_panic_in_maintenance_answers_everybody() {
    let vfs = HookVfs::new(".qwal");
    let r = in_time(move || {
        let (wal, _) = vfs.open_wal(small());
        for _ in 0..5 {
            wal.append_blocking(&[1; 900]).unwrap();
        }
        vfs.panics.store(true, Ordering::SeqCst);
        for i in 0..100 {
            if let Err(e) = wal.append_blocking(&[1; 900]) {
                return format!("{i}: {e}");
            }
        }
        "all".into()
    });
    assert!(r.is_some(), "hung");
}

fn on_a_full_disk() -> (MemVfs, Wal) {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    disk.quota(Some(disk.used() + (16 << 10)), false);
    settle(&wal);
    wal.append_blocking(b"x").unwrap();
    settle(&wal);
    (disk, wal)
}

/// Leaving for the reserve breaks what a permit was promised.
#[test]
fn a_permit_holds_though_the_log_could_move_to_the_reserve() {
    let (_disk, wal) = on_a_full_disk();
    let mut reader = wal.read(Lsn::new(1), ReadBound::Durable);
    reader.next().unwrap().unwrap();
    let permit = wal.reserve(4000).wait().unwrap();
    wal.truncate_prefix(next(&wal)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    settle(&wal);
    let staged = permit.stage(Batch::new().record(&[1; 3900]), Ack::Durable);
    assert!(staged.is_ok(), "{:?}", staged.map(|_| ()));
}

/// Two permits while the log stands in the reserve.
#[test]
fn two_permits_hold_in_the_reserve() {
    let (_disk, wal) = on_a_full_disk();
    wal.truncate_prefix(next(&wal)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    settle(&wal);
    let a = wal.reserve(1000).wait().unwrap();
    let _b = wal.reserve(1000).wait().unwrap();
    let staged = a.stage(Batch::new().record(&[1; 900]), Ack::Durable);
    assert!(staged.is_ok(), "{:?}", staged.map(|_| ()));
}

/// Writes are taken while damage is being accepted.
#[test]
fn a_write_during_the_acceptance_of_damage_is_refused() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    let (g, vote) = (group(1), Slot::new(0).unwrap());
    wal.commit_blocking(Batch::new().meta(g, vote, b"term 1")).unwrap();
    roll(&wal, 1);
    wal.commit_blocking(Batch::new().meta(g, vote, b"term 2 has the vote")).unwrap();
    roll(&wal, 2);
    drop(wal);
    let second = segments(&disk)[1].clone();
    let bytes = disk.contents(&second).unwrap();
    let at = bytes.windows(6).position(|w| w == b"term 2").unwrap() as u64;
    flip(&disk, &second, at);
    disk.remove(&dir().join("RESERVE")).unwrap();
    let vfs = HookVfs::over(disk.clone(), "RESERVE");
    let (wal, report) = vfs.open_wal(manual().recovery(Recovery::Salvage));
    let clone = wal.clone();
    let (tx, rx) = mpsc::channel();
    vfs.set(move || {
        let r = clone.stage(Batch::new().meta(g, Slot::new(1).unwrap(), b"other"), Ack::Durable);
        tx.send(format!("{:?}", r.map(|s| s.lsn()))).unwrap();
    });
    wal.accept_damage(&report).unwrap().wait().unwrap();
    assert!(rx.try_recv().unwrap().contains("Damaged"), "refused until it is accepted");
    drop(wal);
    let (wal, _) = open_with(&disk, manual()).unwrap();
    let health = wal.stream(g).health();
    assert_ne!(health, Health::Intact, "its cell was lost: {:?}", wal.stream(g).meta(vote));
}

/// What `Prealloc::Reserve` reserves.
#[test]
fn a_reserved_segment_has_its_blocks() {
    use std::os::unix::fs::MetadataExt;
    let tmp = tempfile::tempdir().unwrap();
    let config = Config::embedded().prealloc(Prealloc::Reserve).build().unwrap();
    let (wal, _) = Wal::open_on(Arc::new(StdVfs), tmp.path(), config, None).unwrap();
    wal.append_blocking(b"x").unwrap();
    let meta = std::fs::metadata(tmp.path().join("00000000000000000001.qwal")).unwrap();
    assert!(
        meta.blocks() * 512 >= meta.len(),
        "{} of {} bytes allocated",
        meta.blocks() * 512,
        meta.len()
    );
}

//! Dropped futures, and a file system that panics.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use quorate_wal::vfs::{DirItem, MemVfs, OpenMode, Vfs, VfsFile, VfsLock};
use quorate_wal::{Ack, Lsn};

use crate::rig::{block_on, open, records};
use crate::sync_errors::guarded;

/// Panics in `sync_data` once armed.
#[derive(Debug)]
pub(crate) struct Panicking {
    disk: MemVfs,
    pub(crate) armed: Arc<AtomicBool>,
    pub(crate) gate: Arc<Gate>,
}

/// Holds `sync_data` back while closed; then it fails.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.state.lock().unwrap().0 = true;
    }

    /// Waits until a sync stands before the gate.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock().unwrap();
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    fn pass(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if !state.0 {
            return Ok(());
        }
        state.1 = true;
        self.changed.notify_all();
        while state.0 {
            state = self.changed.wait(state).unwrap();
        }
        Err(io::Error::other("planted"))
    }
}

impl Panicking {
    pub(crate) fn new(disk: MemVfs) -> Self {
        Self { disk, armed: Arc::new(AtomicBool::new(false)), gate: Arc::default() }
    }
}

#[derive(Debug)]
struct PanickingFile(Arc<dyn VfsFile>, Arc<AtomicBool>, Arc<Gate>);

impl Vfs for Panicking {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(PanickingFile(file, self.armed.clone(), self.gate.clone())))
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

impl VfsFile for PanickingFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        assert!(!self.1.load(Ordering::SeqCst), "planted");
        self.2.pass()?;
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

#[test]
fn h33_a_dropped_future_loses_nothing_and_frees_its_waker() {
    guarded("drop", || {
        let (wal, _) = open(&MemVfs::new());
        for polled in [false, true] {
            let mut last = Lsn::ZERO;
            for _ in 0..20 {
                let staged = wal.stage(&records(&[b"x"]), Ack::Durable).unwrap();
                last = staged.lsn();
                let mut staged = pin!(staged);
                if polled {
                    let mut cx = Context::from_waker(Waker::noop());
                    // Ready or not: it is dropped either way.
                    let _: Poll<_> = staged.as_mut().poll(&mut cx);
                }
            }
            block_on(wal.durable(last)).unwrap();
        }
        assert_eq!(wal.stats().waiters, 0, "no waker stays behind");
        assert_eq!(wal.get(Lsn::new(40)).unwrap(), &b"x"[..]);
    });
}

#[test]
fn a_dropped_reservation_gives_its_room_back() {
    let (wal, _) = open(&MemVfs::new());
    for _ in 0..100 {
        drop(wal.reserve(4000).wait().unwrap());
        drop(wal.reserve(4000));
    }
    let permit = wal.reserve(4000).wait().unwrap();
    let staged = permit.stage(&records(&[&[1; 3900]]), Ack::Durable).unwrap();
    staged.wait().unwrap();
}

#[test]
fn who_waits_for_a_number_nobody_staged_keeps_nobody_busy() {
    // By hand: the turns end.
    let (wal, _) = crate::rig::open_with(&MemVfs::new(), crate::rig::manual()).unwrap();
    let mut waiting = pin!(wal.durable(Lsn::new(9)));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    wal.append_blocking(b"x").unwrap();
    drop(wal.stage(&records(&[b"y"]), Ack::Durable).unwrap());
    let turns = (0..100).take_while(|_| wal.turn() == quorate_wal::Turn::Again).count();
    assert!(turns < 20, "{turns} turns and no end");
    for _ in 0..7 {
        wal.append_blocking(b"z").unwrap();
    }
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_permit_is_never_busy() {
    guarded("permits", || {
        let (wal, _) = open(&MemVfs::new());
        for i in 0..400_u64 {
            let size = usize::try_from(i * 37 % 3500).unwrap();
            let batch = records(&[&vec![1; size]]);
            let permit = wal.reserve(u32::try_from(batch.bytes()).unwrap()).wait().unwrap();
            // Others take what room they can get in between.
            for _ in 0..8 {
                drop(wal.stage(&records(&[&[2; 1500]]), Ack::Staged));
            }
            drop(permit.stage(&batch, Ack::Staged).unwrap());
        }
    });
}

#[test]
fn many_tasks_and_threads_share_groups() {
    guarded("mixed", || {
        let disk = MemVfs::new();
        let (wal, _) = open(&disk);
        let threads: Vec<_> = (0..8_u8)
            .map(|t| {
                let wal = wal.clone();
                std::thread::spawn(move || {
                    for i in 0..200_u8 {
                        append_and_read(&wal, [t, i], t % 2 == 0);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(wal.marks().durable, Lsn::new(1600));
        drop(wal);
        assert_eq!(open(&disk).1.durable, Lsn::new(1600));
    });
}

fn append_and_read(wal: &quorate_wal::Wal, record: [u8; 2], blocking: bool) {
    let lsn = if blocking {
        wal.append_blocking(&record).unwrap()
    } else {
        block_on(wal.append(&record)).unwrap()
    };
    assert!(wal.marks().durable >= lsn);
    assert_eq!(wal.get(lsn).unwrap()[..], record);
}

#[test]
fn handles_and_futures_cross_threads() {
    fn crosses<T: Send>(_: &T) {}
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let (wal, _) = open(&MemVfs::new());
    is_shared(&wal);
    is_shared(&wal.stream(crate::rig::group(1)));
    crosses(&wal.append(b"x"));
    crosses(&wal.commit(&records(&[b"x"])));
    crosses(&wal.durable(Lsn::new(1)));
    crosses(&wal.reserve(1));
    crosses(&wal.read(Lsn::new(1), quorate_wal::ReadBound::Durable));
    crosses(&wal.shutdown());
}

//! Failing writes and syncs at every call site of a script: the log stops, everybody gets an
//! answer, and what was acknowledged is there afterwards (G7, H10, H17, H18).

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake};
use std::time::Duration;

use quorate_wal::vfs::{FsyncFailure, MemVfs, OpKind};
use quorate_wal::{Ack, Lsn, Wal, WriteError};

use crate::cancel::Panicking;
use crate::rig::{block_on, dir, open_with, records, small};

mod phases;
mod sites;

/// Runs `work` on another thread; a hang is a failure, not a wait for ever.
pub(crate) fn guarded<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (send, receive) = mpsc::channel();
    let handle = std::thread::spawn(move || drop(send.send(work())));
    match receive.recv_timeout(Duration::from_secs(20)) {
        Ok(value) => {
            handle.join().unwrap();
            value
        }
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: a call hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match handle.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("{what}: no answer"),
        },
    }
}

/// After the log has stopped: every call answers, none with Ok, and `durable` stays.
pub(crate) fn stays_stopped(wal: &Wal) {
    let durable = wal.marks().durable;
    for _ in 0..3 {
        assert!(wal.append_blocking(b"late").is_err(), "sticky");
        assert!(block_on(wal.append(b"late")).is_err(), "sticky");
        assert!(matches!(wal.sync(), Err(WriteError::Poisoned(_))), "sticky");
        assert!(wal.wait_durable(Lsn::new(1 << 40)).is_err(), "answered");
    }
    assert_eq!(wal.marks().durable, durable, "durable does not move");
    wal.wait_durable(durable).unwrap();
}

#[test]
fn h17_a_failed_sync_is_never_retried_into_an_ok() {
    for model in [FsyncFailure::MarkClean, FsyncFailure::DropPages, FsyncFailure::KeepDirty] {
        let disk = MemVfs::new();
        disk.fsync_failure(model);
        // By hand: nothing in the background syncs meanwhile.
        let by_hand = quorate_wal::Driver::manual(|| {});
        let (wal, _) = open_with(&disk, small().driver(by_hand)).unwrap();
        wal.append_blocking(b"kept").unwrap();
        let staged = wal.stage(&records(&[b"?"]), Ack::Durable).unwrap();
        disk.fail_nth(OpKind::SyncData, 1, ErrorKind::Other);
        let syncs = disk.count(OpKind::SyncData);
        let doubt = staged.wait().unwrap_err();
        assert_eq!(doubt.lsns.from.as_u64(), 2);
        stays_stopped(&wal);
        assert_eq!(disk.count(OpKind::SyncData), syncs + 1, "no second sync");
        let writes = disk.count(OpKind::Write);
        drop(wal);
        assert_eq!(disk.count(OpKind::Write), writes, "nothing is written any more");
    }
}

#[test]
fn h18_every_waiter_is_answered_when_the_log_stops() {
    guarded("waiters", || {
        let vfs = Panicking::new(MemVfs::new());
        let gate = vfs.gate.clone();
        let config = small().build().unwrap();
        let (wal, _) = Wal::open_on(Arc::new(vfs), dir(), config, None).unwrap();
        wal.append_blocking(b"kept").unwrap();
        // The background work of the first roll is done: the next sync is the leader's.
        while wal.stats().prepared < 1 || wal.stats().marks < 2 {
            std::thread::yield_now();
        }
        gate.close();
        let blocking = |record: &'static [u8]| {
            let wal = wal.clone();
            std::thread::spawn(move || wal.append_blocking(record))
        };
        let leader = blocking(b"leads");
        gate.reached();
        // A commit is held before its sync: whoever comes now waits.
        let parked = [blocking(b"waits"), blocking(b"waits too")];
        let mut tasks: Vec<Pin<Box<dyn Future<Output = bool> + Send>>> = Vec::new();
        for ack in [Ack::Durable, Ack::Written] {
            let staged = wal.stage(&records(&[b"?"]), ack).unwrap();
            tasks.push(Box::pin(async move { staged.await.is_err() }));
        }
        let later = wal.clone();
        tasks.push(Box::pin(async move { later.durable(Lsn::new(99)).await.is_err() }));
        let waiting: Vec<_> = tasks.into_iter().map(Waiting::new).collect();
        let lsn_waiter = {
            let wal = wal.clone();
            std::thread::spawn(move || wal.wait_durable(Lsn::new(99)))
        };
        gate.open();
        assert!(leader.join().unwrap().is_err());
        for parked in parked {
            assert!(parked.join().unwrap().is_err());
        }
        assert!(lsn_waiter.join().unwrap().is_err());
        for waiting in waiting {
            waiting.finish();
        }
        assert!(block_on(wal.clone().shutdown()).is_err());
    });
}

/// A future that was polled once, and is polled again only when it was woken.
struct Waiting {
    task: Pin<Box<dyn Future<Output = bool> + Send>>,
    woken: Arc<Woken>,
}

struct Woken(std::thread::Thread, AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0.unpark();
    }
}

impl Waiting {
    fn new(mut task: Pin<Box<dyn Future<Output = bool> + Send>>) -> Self {
        let woken = Arc::new(Woken(std::thread::current(), AtomicBool::new(false)));
        let waker = woken.clone().into();
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        Self { task, woken }
    }

    fn finish(mut self) {
        while !self.woken.1.load(Ordering::SeqCst) {
            std::thread::park();
        }
        assert!(block_on(self.task.as_mut()), "answered with an error");
    }
}

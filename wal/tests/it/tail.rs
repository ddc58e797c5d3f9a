//! Following the log: each record once, woken by the right mark, an end only when there is one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_core::Stream;
use quorate_wal::vfs::{MemVfs, OpKind};
use quorate_wal::{Ack, Driver, Lsn, ReadBound, ReadError, Recovery, Tailer, Turn, Wal};

use crate::rig::{block_on, open, open_with, records, segments, small};
use crate::sync_errors::guarded;

/// Counts how often it is woken.
#[derive(Debug, Default)]
struct Bell(AtomicU64);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell::default());
    (Arc::clone(&bell), bell.into())
}

fn poll(tail: &mut Tailer, waker: &Waker) -> Poll<Option<Result<u64, ReadError>>> {
    let next = tail.poll_next(&mut Context::from_waker(waker));
    next.map(|next| next.map(|read| read.map(|record| record.lsn.as_u64())))
}

fn is_next(tail: &mut Tailer, lsn: u64) -> bool {
    matches!(poll(tail, Waker::noop()), Poll::Ready(Some(Ok(found))) if found == lsn)
}

async fn all_of(mut tail: Tailer) -> Vec<u64> {
    let mut seen = Vec::new();
    while let Some(read) = tail.next().await {
        seen.push(read.unwrap().lsn.as_u64());
    }
    seen
}

/// Appends at every level, with rolls and operations of streams in between, then shuts down.
fn write_and_close(wal: Wal) -> Vec<u64> {
    let mut expected = Vec::new();
    for i in 0..1500_u64 {
        let batch = records(&[&[i as u8; 60], &[2; 10]]);
        let ack = [Ack::Durable, Ack::Written, Ack::Staged][(i % 3) as usize];
        let staged = loop {
            match wal.stage(&batch, ack) {
                Ok(staged) => break staged,
                Err(error) => {
                    assert!(error.is_retryable(), "{error}");
                    drop(wal.reserve(batch.bytes() as u32).wait().unwrap());
                }
            }
        };
        let last = staged.wait().unwrap().as_u64();
        expected.extend([last - 1, last]);
        if i % 7 == 0 {
            let mut other = quorate_wal::Batch::new();
            other.extend(crate::rig::group(1), 1 + i / 7, 1, 1, b"block");
            wal.commit_blocking(&other).unwrap();
        }
        if i % 5 == 0 {
            wal.advance_high(wal.marks().durable).unwrap();
        }
    }
    wal.sync().unwrap().wait().unwrap();
    wal.advance_high(wal.marks().durable).unwrap();
    wal.shutdown().wait().unwrap();
    expected
}

#[test]
fn every_bound_sees_every_record_once_and_then_the_end() {
    guarded("tail", || {
        let (wal, _) = open(&MemVfs::new());
        let follow = |bound| {
            let tail = wal.tail(Lsn::ZERO, bound);
            std::thread::spawn(move || block_on(all_of(tail)))
        };
        let tails = [ReadBound::Durable, ReadBound::High, ReadBound::Written].map(follow);
        let expected = write_and_close(wal);
        for tail in tails {
            assert_eq!(tail.join().unwrap(), expected);
        }
    });
}

#[test]
fn each_bound_is_woken_by_its_own_mark() {
    let (wal, _) = open(&MemVfs::new());
    let (durable_bell, durable_waker) = bell();
    let (high_bell, high_waker) = bell();
    let (written_bell, written_waker) = bell();
    let mut durable = wal.tail(Lsn::new(1), ReadBound::Durable);
    let mut high = wal.tail(Lsn::new(1), ReadBound::High);
    let mut written = wal.tail(Lsn::new(1), ReadBound::Written);
    assert!(poll(&mut durable, &durable_waker).is_pending());
    assert!(poll(&mut high, &high_waker).is_pending());
    assert!(poll(&mut written, &written_waker).is_pending());
    wal.stage(&records(&[b"w"]), Ack::Written).unwrap().wait().unwrap();
    assert_eq!((written_bell.rung(), durable_bell.rung(), high_bell.rung()), (1, 0, 0));
    assert!(is_next(&mut written, 1));
    wal.sync().unwrap().wait().unwrap();
    assert_eq!((durable_bell.rung(), high_bell.rung()), (1, 0));
    assert!(is_next(&mut durable, 1));
    wal.advance_high(Lsn::new(1)).unwrap();
    assert_eq!(high_bell.rung(), 1);
    assert!(is_next(&mut high, 1));
    assert_eq!(high.position(), Lsn::new(2));
}

#[test]
fn a_tailer_causes_no_commit_and_no_idle_turns() {
    let (wal, _) = open(&MemVfs::new());
    let (_, waker) = bell();
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    assert!(poll(&mut tail, &waker).is_pending());
    wal.append_blocking(b"1").unwrap();
    assert!(is_next(&mut tail, 1));
    assert!(poll(&mut tail, &waker).is_pending());
    wal.append_blocking(b"2").unwrap();
    let stats = wal.stats();
    assert_eq!((stats.groups, stats.syncs), (2, 2));
}

#[test]
fn it_goes_on_at_the_low_mark_when_that_has_passed_by() {
    let (wal, _) = open(&MemVfs::new());
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    for _ in 0..10 {
        wal.append_blocking(b"x").unwrap();
    }
    wal.truncate_prefix(Lsn::new(6)).unwrap();
    let read = poll(&mut tail, Waker::noop());
    assert!(matches!(read, Poll::Ready(Some(Err(ReadError::Truncated { low: 6 })))), "{read:?}");
    assert!(is_next(&mut tail, 6));
}

#[test]
fn a_hole_is_told_once_and_passed() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for n in 0..6_u8 {
        wal.append_blocking(&[n; 100]).unwrap();
    }
    wal.shutdown().wait().unwrap();
    let path = &segments(&disk)[0];
    let at = disk.contents(path).unwrap().windows(100).position(|w| w == [2; 100]).unwrap();
    disk.flip(path, at as u64 * 8).unwrap();
    let (wal, _) = open_with(&disk, small().recovery(Recovery::Salvage)).unwrap();
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    assert!(is_next(&mut tail, 1) && is_next(&mut tail, 2));
    let read = poll(&mut tail, Waker::noop());
    let Poll::Ready(Some(Err(ReadError::Lost { lsns }))) = read else { panic!("{read:?}") };
    assert!(lsns.contains(Lsn::new(3)));
    assert!(is_next(&mut tail, 4));
}

#[test]
fn h33_a_dropped_next_lets_its_waker_go() {
    let (wal, _) = open(&MemVfs::new());
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    {
        let mut next = Box::pin(tail.next());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Future::poll(next.as_mut(), &mut cx).is_pending());
        assert_eq!(wal.stats().waiters, 1);
    }
    assert_eq!(wal.stats().waiters, 0);
    wal.append_blocking(b"x").unwrap();
    assert!(is_next(&mut tail, 1), "nothing was lost");
    assert!(poll(&mut tail, Waker::noop()).is_pending());
    drop(tail);
    assert_eq!((wal.stats().waiters, wal.stats().readers), (0, 0));
}

#[test]
fn it_ends_when_the_log_stops_after_what_is_durable() {
    let disk = MemVfs::new();
    // Without threads: nobody else syncs, and so meets the fault.
    let (wal, _) = open_with(&disk, small().driver(Driver::manual(|| {}))).unwrap();
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    wal.append_blocking(b"safe").unwrap();
    let (bell, waker) = bell();
    assert!(is_next(&mut tail, 1));
    assert!(poll(&mut tail, &waker).is_pending());
    while wal.turn() == Turn::Again {}
    disk.fail_nth(OpKind::SyncData, 1, std::io::ErrorKind::Other);
    wal.append_blocking(b"lost").unwrap_err();
    assert_eq!(bell.rung(), 1, "nobody is left waiting");
    assert!(matches!(poll(&mut tail, &waker), Poll::Ready(None)));
    let mut late = wal.tail(Lsn::new(1), ReadBound::Durable);
    assert!(is_next(&mut late, 1), "what is durable can still be read");
    assert!(matches!(poll(&mut late, &waker), Poll::Ready(None)));
}

#[test]
fn it_is_a_stream() {
    let (wal, _) = open(&MemVfs::new());
    wal.append_blocking(b"x").unwrap();
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(record))) = Stream::poll_next(Pin::new(&mut tail), &mut cx) else {
        panic!("one record is there");
    };
    assert_eq!(&record.bytes[..], b"x");
    assert!(Stream::poll_next(Pin::new(&mut tail), &mut cx).is_pending());
}

#[test]
fn the_reader_over_the_limit_is_refused_and_let_in_later() {
    let (wal, _) = open(&MemVfs::new());
    wal.append_blocking(b"x").unwrap();
    let mut open: Vec<_> = (0..1024).map(|_| wal.read(Lsn::new(1), ReadBound::Durable)).collect();
    assert_eq!(wal.stats().readers, 1024);
    let mut refused = wal.read(Lsn::new(1), ReadBound::Durable);
    assert!(matches!(refused.next(), Some(Err(ReadError::TooManyReaders { max: 1024 }))));
    assert!(refused.next().is_none());
    let mut tail = wal.tail(Lsn::new(1), ReadBound::Durable);
    let read = poll(&mut tail, Waker::noop());
    assert!(matches!(read, Poll::Ready(Some(Err(ReadError::TooManyReaders { .. })))), "{read:?}");
    open.pop();
    assert!(is_next(&mut tail, 1));
    assert!(open[0].next().unwrap().is_ok());
}

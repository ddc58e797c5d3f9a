//! What is staged and not waited for is written after a while: by threads, and by a host that
//! turns the log only when it is woken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, Driver, Lsn, ReadBound, Wal};

use crate::rig::{block_on, group, open_with, records, settle, small};
use crate::sync_errors::guarded;

#[test]
fn threads_write_what_nobody_waits_for_again_and_again() {
    guarded("flush", || {
        let config = small().flush_staged(Duration::from_millis(1));
        let (wal, _) = open_with(&MemVfs::new(), config).unwrap();
        for _ in 0..3 {
            let lsn = wal.stage(&records(&[b"nobody waits"]), Ack::Staged).unwrap().detach();
            // Who follows the log asks for nothing.
            let record = block_on(wal.tail(lsn, ReadBound::Written).next()).unwrap();
            assert_eq!(record.unwrap().lsn, lsn);
        }
    });
}

/// One thing that is to be done without anybody waiting for it.
fn ask(wal: &Wal, n: u64) {
    let mut batch = records(&[&[n as u8; 300]]);
    match n % 5 {
        0 | 1 => drop(wal.stage(&batch, Ack::Staged).unwrap()),
        2 => drop(wal.stage(&batch, Ack::Written).unwrap()),
        3 => drop(wal.stage(batch.extend(group(n % 3), n, 1, 1, b"block"), Ack::Durable).unwrap()),
        _ => {
            wal.truncate_prefix(wal.marks().durable).unwrap();
            batch.clear();
            batch.drop_stream(group(0)).drop_stream(group(1)).drop_stream(group(2));
            drop(wal.stage(&batch, Ack::Staged).unwrap());
        }
    }
}

#[test]
fn a_host_that_turns_only_when_woken_misses_nothing() {
    let due = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&due);
    let driver = Driver::manual(move || told.store(true, SeqCst));
    let (wal, _) = open_with(&MemVfs::new(), small().driver(driver)).unwrap();
    let host = || {
        while due.swap(false, SeqCst) {
            settle(&wal);
        }
    };
    settle(&wal);
    for n in 1..600 {
        ask(&wal, n);
        host();
        let marks = wal.marks();
        assert_eq!(marks.written, marks.staged, "{n}: something staged was forgotten");
    }
    let stats = wal.stats();
    assert!(stats.rolls > 5 && stats.recycled > 5, "preparation and reclaim by wakes alone");
    assert!(wal.marks().low > Lsn::new(400));
}

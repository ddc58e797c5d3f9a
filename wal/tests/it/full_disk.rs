//! A full disk is a refusal (G10): the log opens, reads and truncates; appends resume.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, AppendError, Lsn, OpenError, Wal, WriteError};

use crate::rig::{group, manual, open_with, records, say, settle, small};
use crate::sync_errors::guarded;

fn config() -> quorate_wal::ConfigBuilder {
    small().prepare_retry(Duration::from_millis(10))
}

/// Appends until the disk is full; how many were acknowledged.
fn fill(wal: &Wal, what: &str) -> (u64, Option<AppendError>) {
    for n in 0..200_u64 {
        match wal.append_blocking(&[n as u8; 300]) {
            Ok(lsn) => assert_eq!(lsn.as_u64(), n + 1, "{what}"),
            Err(e) => return (n, Some(e)),
        }
    }
    (200, None)
}

/// Some file systems write the holder into LOCK; a margin.
const LOCK_TEXT: u64 = 16;
/// Records of the sweep's script: two segments of them.
const RECORDS: u64 = 4;
const LEN: usize = 3500;

/// The script, up to the first refusal.
fn script(wal: &Wal, what: &str) -> (u64, Option<AppendError>) {
    for n in 0..RECORDS {
        settle(wal);
        match wal.append_blocking(&[n as u8; LEN]) {
            Ok(lsn) => assert_eq!(lsn.as_u64(), n + 1, "{what}"),
            Err(e) => return (n, Some(e)),
        }
    }
    (RECORDS, None)
}

/// How a quota ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    NoRoomToCreate,
    ResumedByReclaiming,
    ResumedWithMoreQuota,
    Enough,
}

fn sweep(quota: u64, at_sync: bool) -> Fate {
    let what = format!("quota {quota} at_sync {at_sync}");
    let disk = MemVfs::new();
    disk.quota(Some(quota), at_sync);
    let (wal, _) = match open_with(&disk, manual()) {
        Ok(opened) => opened,
        Err(OpenError::NoSpace { .. }) => {
            disk.quota(None, false);
            let (wal, report) = open_with(&disk, manual()).unwrap();
            assert!(report.created, "{what}: the creation is completed");
            wal.append_blocking(b"x").unwrap();
            return Fate::NoRoomToCreate;
        }
        Err(other) => panic!("{what}: {other:?}"),
    };
    let (n, error) = script(&wal, &what);
    let refused = matches!(error, Some(AppendError::Refused(WriteError::NoSpace { .. })));
    assert!(error.is_none() || refused, "{what}: a full disk is a definite refusal: {error:?}");
    for lsn in 1..=n {
        assert_eq!(wal.get(Lsn::new(lsn)).unwrap().len(), LEN, "{what}: reads work");
    }
    drop(wal);
    let (wal, report) = open_with(&disk, manual()).unwrap();
    assert_eq!(report.durable, Lsn::new(n), "{what}: nothing acknowledged is lost");
    if error.is_none() {
        return Fate::Enough;
    }
    // Both truncations work on the full disk; reclaiming makes room, and appends resume.
    if n > 0 {
        wal.truncate_suffix(Lsn::new(n)).unwrap().wait().unwrap();
        wal.truncate_prefix(Lsn::new(n + 1)).unwrap();
        assert_eq!(wal.marks().low, Lsn::new(n + 1), "{what}");
    }
    for turn in 0..40 {
        settle(&wal);
        match wal.append_blocking(&[1; LEN]) {
            Ok(lsn) => {
                assert!(lsn.as_u64() > n, "{what}");
                let more = turn >= 20;
                return if more { Fate::ResumedWithMoreQuota } else { Fate::ResumedByReclaiming };
            }
            Err(AppendError::Refused(WriteError::NoSpace { .. })) => {}
            Err(other) => panic!("{what}: {other:?}"),
        }
        if turn == 19 {
            // Less than two segments fit: then only more room helps.
            disk.quota(None, false);
            wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64() + 1)).unwrap();
            // What wakes preparation without a clock is a reclaim, or somebody who asks.
            drop(wal.reserve(LEN as u32).wait());
        }
    }
    panic!("{what}: appends do not resume");
}

/// Appends until it works again; every try in between is a definite refusal.
fn resume(wal: &Wal) -> Lsn {
    loop {
        match wal.append_blocking(&[1; 300]) {
            Ok(lsn) => return lsn,
            Err(AppendError::Refused(WriteError::NoSpace { .. })) => std::thread::yield_now(),
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Every quota from nothing to one byte more than the script needs, refused at the write and, as
/// with delayed allocation, at the sync.
#[test]
fn quota_sweep() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, manual()).unwrap();
    assert!(script(&wal, "without a quota").1.is_none());
    assert!(wal.stats().rolls >= 1);
    let total = disk.used() + LOCK_TEXT;
    drop(wal);
    let next = AtomicU64::new(0);
    let worker = || {
        let mut mine: BTreeMap<(bool, Fate), u64> = BTreeMap::new();
        let quotas = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        for quota in quotas.take_while(|&quota| quota <= total + 1) {
            for at_sync in [false, true] {
                *mine.entry((at_sync, sweep(quota, at_sync))).or_default() += 1;
            }
        }
        mine
    };
    let (mut sums, more) = std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        (worker(), other.join().unwrap())
    });
    for (key, n) in more {
        *sums.entry(key).or_insert(0) += n;
    }
    let tried: u64 = sums.values().sum();
    say(&format!("quotas tried: {tried}, 0 to {} bytes, at the write and at the sync", total + 1));
    say(&format!("(at sync, how it ended): {sums:?}"));
    assert_eq!(tried, 2 * (total + 2));
    for at_sync in [false, true] {
        assert!(sums.contains_key(&(at_sync, Fate::NoRoomToCreate)), "{sums:?}");
        assert!(sums.contains_key(&(at_sync, Fate::Enough)), "{sums:?}");
    }
    let resumed = |(_, fate): &(bool, Fate)| *fate == Fate::ResumedByReclaiming;
    assert!(sums.keys().any(resumed), "{sums:?}");
}

#[test]
fn streams_can_be_cut_on_a_full_disk() {
    guarded("streams", || {
        let disk = MemVfs::new();
        let (wal, _) = open_with(&disk, config()).unwrap();
        let mut next = 1;
        wal.append_blocking(b"x").unwrap();
        disk.quota(Some(3 * (16 << 10) + 8192 + 16), false);
        let mut batch = quorate_wal::Batch::new();
        loop {
            batch.clear();
            batch.extend(group(1), next, 1, 1, &[1; 500]);
            match wal.commit_blocking(&batch) {
                Ok(_) => next += 1,
                Err(AppendError::Refused(WriteError::NoSpace { .. })) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        batch.clear();
        batch.keep_from(group(1), next);
        let staged = wal.stage(&batch, Ack::Durable).unwrap();
        staged.wait().unwrap();
        wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64() + 1)).unwrap();
        assert!(resume(&wal) > Lsn::new(next));
        assert_eq!(wal.stream(group(1)).bounds(), next..next);
    });
}

#[test]
fn log_bytes_max_is_a_full_disk_of_ones_own() {
    guarded("limit", || {
        let disk = MemVfs::new();
        let config = || config().log_bytes_max(4 * (16 << 10));
        let (wal, _) = open_with(&disk, config()).unwrap();
        let (n, error) = fill(&wal, "log_bytes_max");
        assert!(matches!(error, Some(AppendError::Refused(WriteError::NoSpace { .. }))));
        // Four segments, the reserve in use as a fifth, and the next reserve.
        assert!(disk.used() <= 6 * (16 << 10) + 8192 + 64);
        wal.truncate_prefix(Lsn::new(n)).unwrap();
        resume(&wal);
        drop(records(&[]));
    });
}

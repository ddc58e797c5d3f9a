//! A full disk is a refusal (G10): the log opens, reads and truncates; appends resume.

use std::time::Duration;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Ack, AppendError, Lsn, OpenError, Wal, WriteError};

use crate::rig::{group, open_with, records, small};
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

fn sweep(quota: u64, at_sync: bool) -> &'static str {
    let what = format!("quota {quota} at_sync {at_sync}");
    let disk = MemVfs::new();
    disk.quota(Some(quota), at_sync);
    let (wal, _) = match open_with(&disk, config()) {
        Ok(opened) => opened,
        Err(OpenError::NoSpace { .. }) => {
            disk.quota(None, false);
            let (wal, report) = open_with(&disk, config()).unwrap();
            assert!(report.created, "{what}: the creation is completed");
            wal.append_blocking(b"x").unwrap();
            return "no room to create";
        }
        Err(other) => panic!("{what}: {other:?}"),
    };
    let (n, error) = fill(&wal, &what);
    let refused = matches!(error, Some(AppendError::Refused(WriteError::NoSpace { .. })));
    assert!(error.is_none() || refused, "{what}: a full disk is a definite refusal: {error:?}");
    for lsn in 1..=n {
        assert_eq!(wal.get(Lsn::new(lsn)).unwrap().len(), 300, "{what}: reads work");
    }
    drop(wal);
    let (wal, report) = open_with(&disk, config()).unwrap();
    assert_eq!(report.durable, Lsn::new(n), "{what}: nothing acknowledged is lost");
    if error.is_none() {
        return "enough";
    }
    // Both truncations work on the full disk; reclaiming makes room, and appends resume.
    wal.truncate_suffix(Lsn::new(n)).unwrap().wait().unwrap();
    wal.truncate_prefix(Lsn::new(n)).unwrap();
    if at_sync {
        disk.quota(None, false);
    }
    let resumed = if wal.stats().segments > 1 || at_sync {
        resume(&wal)
    } else {
        // A single segment can only be given back after a roll, and there is no room for that.
        disk.quota(None, false);
        resume(&wal)
    };
    assert!(resumed.as_u64() > n, "{what}");
    "resumed"
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

#[test]
fn quota_sweep() {
    guarded("sweep", || {
        let mut seen = std::collections::BTreeMap::new();
        for at_sync in [false, true] {
            for quota in (0..140_000).step_by(977) {
                *seen.entry(sweep(quota, at_sync)).or_insert(0) += 1;
            }
        }
        println!("{seen:?}");
        assert!(seen.len() == 3, "{seen:?}");
    });
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

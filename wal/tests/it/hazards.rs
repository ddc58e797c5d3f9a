//! Hazards of the design (§11) that concern what is built, one test each, by number: recovery,
//! and the writing side. `hazards_more.rs` has formats, streams and files.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpKind, Vfs};
use quorate_wal::{
    Ack, AppendError, Batch, Config, DamageKind, Evidence, FailedOp, Lsn, OpenError, Tail, Wal,
};

use crate::damage::{place_of, sample};
use crate::rig::{block_on, dir, open, open_with, records, segments, small};
use crate::sync_errors::guarded;

/// Offset of the frame that holds `bytes`: its header begins 40 bytes and a little before.
pub(crate) const FRAME_HEADER: usize = 40;

/// A killed log of single appends, each acknowledged on its own; the records.
pub(crate) fn singles(n: u8) -> (MemVfs, Vec<Vec<u8>>) {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let all: Vec<Vec<u8>> = (0..n).map(|i| vec![i + 1; 200]).collect();
    for record in &all {
        wal.append_blocking(record).unwrap();
    }
    (disk.kill(), all)
}

/// Overwrites a range of the file that holds `needle`, relative to where it stands.
pub(crate) fn smash(disk: &MemVfs, needle: &[u8], from: isize, with: &[u8]) {
    let (path, at) = place_of(disk, needle);
    let mut bytes = disk.contents(&path).unwrap();
    let at = at.checked_add_signed(from).unwrap();
    bytes[at..at + with.len()].copy_from_slice(with);
    disk.set_contents(&path, &bytes).unwrap();
}

pub(crate) fn corruption(disk: &MemVfs) -> quorate_wal::RecoveryReport {
    match open_with(disk, small()) {
        Err(OpenError::Corruption(report)) => *report,
        Err(other) => panic!("{other:?}"),
        Ok((_, report)) => panic!("opened: {report:?}"),
    }
}

#[test]
fn h01_rot_in_acknowledged_data_is_not_a_torn_tail() {
    let (disk, all) = singles(5);
    smash(&disk, &all[2], 50, &[0xee]);
    let report = corruption(&disk);
    assert_eq!(report.damage[0].lost, quorate_wal::LsnSpan::new(Lsn::new(3), Some(Lsn::new(3))));
    assert!(matches!(report.damage[0].evidence, Evidence::Frame { .. }));
}

#[test]
fn h02_a_torn_unacknowledged_batch_opens() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"kept").unwrap();
    let staged = wal.stage(&records(&[&[7; 3000]]), Ack::Written).unwrap();
    staged.wait().unwrap();
    let mut torn = 0;
    for state in disk.crash_states(200) {
        let (wal, report) = open(&state);
        assert!(report.damage.is_empty());
        assert_eq!(&wal.get(Lsn::new(1)).unwrap()[..], b"kept");
        torn += u64::from(report.tail != Tail::Clean);
    }
    assert!(torn > 50, "{torn}");
}

#[test]
fn h03_a_zeroed_region_is_not_the_end() {
    let (disk, all) = singles(5);
    smash(&disk, &all[1], -43, &[0; 300]);
    assert_eq!(corruption(&disk).damage[0].lost.from, Lsn::new(2));
}

#[test]
fn h04_discarded_frames_never_come_back() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"kept").unwrap();
    // Two groups, neither synced; the first one is torn, the second survives whole.
    for byte in [1, 2] {
        wal.stage(&records(&[&[byte; 600]]), Ack::Written).unwrap().wait().unwrap();
    }
    let state = disk.kill();
    smash(&state, &[1; 600], 0, &[0; 600]);
    for life in 0..3_u8 {
        let (wal, report) = open(&state);
        assert!(report.damage.is_empty(), "{report:?}");
        let lsn = wal.append_blocking(&[10 + life; 600]).unwrap();
        assert_eq!(lsn, Lsn::new(2 + u64::from(life)), "discarded numbers are given again");
        for record in wal.read(Lsn::new(1), quorate_wal::ReadBound::Durable) {
            assert_ne!(record.unwrap().bytes[0], 2, "an old frame is back");
        }
    }
}

#[test]
fn h04_a_torn_tail_is_not_written_over() {
    let disk = MemVfs::new();
    let config = || small().driver(quorate_wal::Driver::manual(|| {}));
    let (wal, _) = open_with(&disk, config()).unwrap();
    wal.append_blocking(b"kept").unwrap();
    for byte in [1, 2] {
        wal.stage(&records(&[&[byte; 600]]), Ack::Written).unwrap().wait().unwrap();
    }
    let torn = disk.kill();
    smash(&torn, &[1; 600], 0, &[0; 300]);
    // The same record again: written over the torn group, the first sector alone would make it
    // whole, and what stands behind it would continue it.
    let (wal, report) = open_with(&torn, config()).unwrap();
    assert_eq!(report.durable, Lsn::new(1));
    wal.stage(&records(&[&[1; 600]]), Ack::Written).unwrap().wait().unwrap();
    for state in torn.crash_states(64) {
        let (wal, _) = open_with(&state, config()).unwrap();
        for record in wal.read(Lsn::new(1), quorate_wal::ReadBound::Durable) {
            assert_ne!(record.unwrap().bytes[0], 2, "an old frame is back");
        }
    }
}

#[test]
fn h04_a_clean_end_of_an_earlier_life_hides_nothing() {
    let disk = MemVfs::new();
    let config = || small().driver(quorate_wal::Driver::manual(|| {}));
    let (wal, _) = open_with(&disk, config()).unwrap();
    wal.append_blocking(b"kept").unwrap();
    wal.shutdown().wait().unwrap();
    let (wal, _) = open_with(&disk, config()).unwrap();
    for byte in 1..4 {
        drop(wal.stage(&records(&[&[byte; 900]]), Ack::Staged).unwrap());
    }
    wal.stage(&records(&[b"last"]), Ack::Written).unwrap().wait().unwrap();
    // The old End survived, and later parts of the new group: that is torn, not clean.
    let tails = disk.crash_states(200).into_iter();
    let torn = tails
        .filter(|state| matches!(open_with(state, config()).unwrap().1.tail, Tail::Torn { .. }))
        .count();
    assert!(torn > 0, "no torn tail among the states of a torn group");
}

#[test]
fn h05_a_frame_of_another_life_is_not_accepted() {
    // The same first record in two logs: all but the salt is equal.
    let make = |second: bool, entropy: bool| {
        let disk = MemVfs::new();
        if entropy {
            disk.entropy().unwrap();
        }
        let (wal, _) = open(&disk);
        wal.append_blocking(b"first").unwrap();
        if second {
            wal.append_blocking(&[9; 64]).unwrap();
        }
        drop(wal);
        disk
    };
    let (donor, victim) = (make(true, true), make(false, false));
    let (_, at) = place_of(&donor, &[9; 64]);
    let path = segments(&donor).remove(0);
    let (from, to) = (at - FRAME_HEADER - 3, at + 64 + 8 + FRAME_HEADER);
    let stolen = donor.contents(&path).unwrap()[from..to].to_vec();
    let mut bytes = victim.contents(&path).unwrap();
    bytes[from..to].copy_from_slice(&stolen);
    victim.set_contents(&path, &bytes).unwrap();
    match open_with(&victim, small()) {
        Ok((_, report)) => assert_eq!(report.durable, Lsn::new(1), "an invented record"),
        Err(OpenError::Corruption(report)) => assert!(report.durable <= Lsn::new(1)),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn h06_an_io_error_is_no_verdict() {
    let (disk, _) = singles(5);
    for nth in 1..20 {
        let disk = disk.kill();
        disk.fail_nth(OpKind::Read, nth, ErrorKind::Other);
        match open_with(&disk, small()) {
            Ok((_, report)) => assert_eq!(report.durable, Lsn::new(5)),
            Err(OpenError::Io { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
        disk.clear_faults();
        assert_eq!(open(&disk).1.durable, Lsn::new(5));
    }
}

#[test]
fn h07_holes_are_refused_by_default() {
    let (disk, all) = singles(5);
    smash(&disk, &all[2], 0, &[0]);
    let config = Config::server().segment_bytes(16 << 10).batch_bytes_max(4096);
    let config = config.staged_bytes_max(8192).build().unwrap();
    let opened = Wal::open_on(Arc::new(disk), dir(), config, None);
    assert!(matches!(opened, Err(OpenError::Corruption(_))));
}

#[test]
fn h08_recovery_is_a_function_of_the_bytes() {
    let (disk, all) = singles(8);
    smash(&disk, &all[3], 0, &[0]);
    let reports: Vec<_> = (0..5).map(|_| corruption(&disk.kill())).collect();
    assert!(reports.windows(2).all(|r| r[0].damage == r[1].damage && r[0].tail == r[1].tail));
}

#[test]
fn h09_recovered_bytes_are_made_durable_before_they_are_reported() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(b"kept").unwrap();
    wal.stage(&records(&[b"only written"]), Ack::Written).unwrap().wait().unwrap();
    // The process dies, the page cache lives: the record is recovered and reported durable.
    let killed = disk.kill();
    let (_wal, report) = open(&killed);
    assert_eq!(report.durable, Lsn::new(2));
    assert!(report.anchored_bytes > 0);
    for state in killed.crash_states(64) {
        assert_eq!(open(&state).1.durable, Lsn::new(2));
    }
}

#[test]
fn h11_an_unknown_record_stops_the_open_and_loses_nothing() {
    // A record of a later version, with a good checksum: the open must not end the log there.
    let (disk, bytes) = crate::golden::log_with_payload(&[99, 0, 0], 1);
    let before = bytes;
    match open_with(&disk, small()) {
        Err(OpenError::Unsupported { what: "record kind", found: 99 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.contents(&segments(&disk)[0]).unwrap(), before, "nothing touched");
}

#[test]
fn h12_damage_to_the_last_group_is_reported() {
    let (disk, all) = singles(5);
    smash(&disk, &all[4], 0, &[0]);
    let (_, report) = open(&disk);
    let Tail::Unverifiable { lsns } = report.tail else { panic!("hidden: {report:?}") };
    assert_eq!((lsns.from, lsns.to), (Lsn::new(5), Some(Lsn::new(5))));
    // A mark, or a caller who knows, turns it into proof.
    let expecting = small().expect_durable(Lsn::new(5));
    let Err(OpenError::Corruption(report)) = open_with(&disk.kill(), expecting) else {
        panic!("the caller's knowledge counts");
    };
    assert_eq!(report.damage[0].evidence, Evidence::Caller { lsn: Lsn::new(5) });
    let refusing = small().tail(quorate_wal::TailPolicy::Refuse);
    let (disk, all) = singles(5);
    smash(&disk, &all[4], 0, &[0]);
    assert!(matches!(open_with(&disk, refusing), Err(OpenError::Unverifiable(_))));
}

#[test]
fn h13_a_damaged_first_group_of_a_segment_is_not_hidden_by_the_clean_end_before() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let mut n = 0;
    while wal.stats().rolls < 2 {
        wal.append_blocking(&[1; 500]).unwrap();
        n += 1;
    }
    let disk = disk.kill();
    // Link and first record of the new segment: its first group.
    let path = segments(&disk)[1].clone();
    let mut bytes = disk.contents(&path).unwrap();
    bytes[4096..4200].fill(0xaa);
    disk.set_contents(&path, &bytes).unwrap();
    match open_with(&disk, small()) {
        Ok((_, report)) => {
            let Tail::Unverifiable { lsns } = report.tail else { panic!("hidden: {report:?}") };
            assert_eq!(lsns.from, Lsn::new(n));
        }
        Err(OpenError::Corruption(report)) => assert_eq!(report.damage[0].lost.from, Lsn::new(n)),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn h14_a_span_is_not_closed_too_early() {
    let (disk, all) = singles(6);
    // Frames 3 to 5 are hit, the last is whole: its claim proves 3 to 5.
    smash(&disk, &all[2], 0, &[0]);
    smash(&disk, &all[3], -40, &[0; 100]);
    smash(&disk, &all[4], 7, &[0]);
    let lost: Vec<_> = corruption(&disk).damage.iter().map(|d| d.lost).collect();
    for lsn in 3..=5 {
        assert!(lost.iter().any(|span| span.contains(Lsn::new(lsn))), "{lsn} in {lost:?}");
    }
    assert!(!lost.iter().any(|span| span.contains(Lsn::new(6)) || span.contains(Lsn::new(2))));
    // Frames 4 to 6 and the End are hit, nothing whole follows: the span has no end before them.
    let (disk, all) = singles(6);
    let (wal, _) = open(&disk);
    wal.shutdown().wait().unwrap();
    smash(&disk, &all[5], isize::try_from(all[5].len()).unwrap(), &[0; 60]);
    for record in &all[3..] {
        smash(&disk, record, -40, &[0; 60]);
    }
    let lost: Vec<_> = corruption(&disk).damage.iter().map(|d| d.lost).collect();
    for lsn in 4..=6 {
        assert!(lost.iter().any(|span| span.contains(Lsn::new(lsn))), "{lsn} in {lost:?}");
    }
}

#[test]
fn h15_a_missing_last_segment_is_noticed() {
    let sample = sample(true);
    let all = segments(&sample.disk);
    for path in &all {
        let disk = sample.disk.kill();
        disk.remove(path).unwrap();
        let report = corruption(&disk);
        assert!(report.damage.iter().any(|d| d.kind == DamageKind::MissingSegment), "{report:?}");
    }
}

#[test]
fn h16_numbers_do_not_restart_when_everything_is_reclaimed() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for _ in 0..100 {
        wal.append_blocking(&[1; 500]).unwrap();
    }
    wal.truncate_prefix(Lsn::new(101)).unwrap();
    let wal = guarded("reclaim", move || {
        while wal.stats().unlinked + wal.stats().recycled < 3 {
            std::thread::yield_now();
        }
        wal
    });
    wal.shutdown().wait().unwrap();
    for life in 0..3 {
        let (wal, report) = open(&disk);
        assert!(report.first > Lsn::new(50), "{report:?}");
        assert_eq!(wal.append_blocking(b"next").unwrap(), Lsn::new(101 + life));
        assert!(segments(&disk)[0] > dir().join("00000000000000000003.qwal"));
    }
}

#[test]
fn h19_a_new_segment_is_named_durably_before_it_is_used() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for i in 0..100_u64 {
        wal.append_blocking(&[1; 400]).unwrap();
        if i % 9 == 0 {
            assert_eq!(open(&disk.crash(i)).1.durable, Lsn::new(i + 1));
        }
    }
    assert!(wal.stats().rolls > 2);
}

#[test]
fn h20_the_first_segment_and_the_parents_are_named_durably() {
    let disk = MemVfs::new();
    let deep = Path::new("a/b/c/log");
    let config = small().build().unwrap();
    let (wal, _) = Wal::open_on(Arc::new(disk.clone()), deep, config.clone(), None).unwrap();
    wal.append_blocking(b"x").unwrap();
    for seed in 0..40 {
        let state = disk.crash(seed);
        let (_, report) = Wal::open_on(Arc::new(state), deep, config.clone(), None).unwrap();
        assert!(!report.created, "the log is gone");
        assert_eq!(report.durable, Lsn::new(1));
    }
}

#[test]
fn h21_a_file_is_synced_before_it_gets_its_name() {
    // Whatever the cut leaves during preparation, a named segment has a sound header.
    for changes in 1..60 {
        let disk = MemVfs::new();
        disk.power_off_after(changes);
        drop(open_with(&disk, small()));
        for seed in 0..8 {
            let (_, report) = open(&disk.crash(seed));
            assert!(report.damage.is_empty() && report.repaired == 0, "{report:?}");
        }
    }
}

#[test]
fn h22_the_old_segment_is_durable_before_a_frame_of_the_next_can_be() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    // Never durable, across rolls: every state must be a prefix, none corrupt.
    let mut seen = 0_u8;
    while wal.stats().rolls < 3 {
        let staged = wal.stage(&records(&[&[seen; 700]]), Ack::Written);
        match staged {
            Ok(staged) => drop(staged.wait().unwrap()),
            Err(_) => std::thread::yield_now(),
        }
        seen = seen.wrapping_add(1);
        for seed in 0..4 {
            assert!(open(&disk.crash(seed)).1.damage.is_empty());
        }
    }
}

#[test]
fn h23_each_acknowledgement_moves_the_durable_position_of_the_next_frame() {
    let (disk, all) = singles(6);
    // Each frame is proven by the next: damage to any but the last is proven damage.
    for (i, record) in all.iter().enumerate().take(5) {
        let disk = disk.kill();
        smash(&disk, record, 0, &[0]);
        let report = corruption(&disk);
        let Evidence::Frame { durable_off, .. } = report.damage[0].evidence else { panic!() };
        let (_, next) = place_of(&disk, &all[i + 1]);
        assert!(durable_off as usize > next - FRAME_HEADER - 8 - 200 - 8, "{report:?}");
    }
}

#[test]
fn h24_a_mark_claims_only_what_was_synced() {
    let disk = MemVfs::new();
    let config = || small().mark_idle(std::time::Duration::from_millis(1));
    let (wal, _) = open_with(&disk, config()).unwrap();
    wal.append_blocking(b"synced").unwrap();
    guarded("marks", move || {
        for i in 0..200_u64 {
            wal.stage(&records(&[&[3; 700]]), Ack::Written).map(|s| s.wait().unwrap()).ok();
            if i % 7 == 0 {
                wal.append_blocking(b"synced").unwrap();
            }
            // Whatever a mark says now, no crash makes it a lie.
            assert!(open_with(&disk.crash(i), config()).unwrap().1.damage.is_empty());
            std::thread::yield_now();
        }
        assert!(wal.stats().marks > 3);
    });
}

#[test]
fn h25_names_are_made_durable_before_a_listing_is_trusted() {
    let disk = MemVfs::new();
    drop(open(&disk));
    let killed = disk.kill();
    let syncs = killed.count(OpKind::SyncDir);
    let lists = killed.count(OpKind::List);
    killed.fail_nth(OpKind::SyncDir, 1, ErrorKind::Other);
    assert!(matches!(open_with(&killed, small()), Err(OpenError::Io { .. })));
    assert_eq!(killed.count(OpKind::SyncDir), syncs + 1);
    assert_eq!(killed.count(OpKind::List), lists + 1, "only the look whether it is a log");
}

#[test]
fn h27_short_and_interrupted_writes_are_completed() {
    let disk = MemVfs::new();
    disk.short_writes(true);
    disk.interrupts(true);
    let (wal, _) = open(&disk);
    for i in 0..60_u8 {
        wal.append_blocking(&[i; 900]).unwrap();
    }
    drop(wal);
    disk.clear_faults();
    let (wal, report) = open(&disk);
    assert_eq!((report.durable, report.tail), (Lsn::new(60), Tail::Clean));
    assert_eq!(wal.get(Lsn::new(60)).unwrap()[..], [59; 900]);
}

#[test]
fn h28_a_group_of_thousands_of_batches_is_one_write() {
    let disk = MemVfs::new();
    let config = Config::embedded().flush_staged(std::time::Duration::from_secs(10));
    let config = config.mark_idle(std::time::Duration::ZERO);
    let (wal, _) = open_with(&disk, config).unwrap();
    wal.append_blocking(b"first").unwrap();
    let stats = wal.stats();
    let one = records(&[b"r"]);
    for _ in 0..5000 {
        let _: Lsn = wal.stage(&one, Ack::Staged).unwrap().detach();
    }
    wal.append_blocking(b"last").unwrap();
    let now = wal.stats();
    assert_eq!((now.groups - stats.groups, now.syncs - stats.syncs), (1, 1));
    assert_eq!(now.group_batches[11], 1, "5,001 batches in one group");
    assert_eq!(wal.marks().durable, Lsn::new(5002));
}

#[test]
fn h29_a_failed_preparation_leaves_no_hole_and_no_loop() {
    guarded("preparation", || {
        let disk = MemVfs::new();
        let config = || small().prepare_retry(std::time::Duration::from_millis(10));
        let (wal, _) = open_with(&disk, config()).unwrap();
        wal.append_blocking(b"first").unwrap();
        disk.quota(Some(disk.used()), false);
        while wal.append_blocking(&[1; 700]).is_ok() {}
        disk.quota(None, false);
        let mut n = 0;
        while n < 50 {
            match wal.append_blocking(&[2; 700]) {
                Ok(_) => n += 1,
                Err(AppendError::Refused(_)) => std::thread::yield_now(),
                Err(other) => panic!("{other:?}"),
            }
        }
        drop(wal);
        let names = segments(&disk);
        let report = open(&disk).1;
        assert!(report.damage.is_empty() && names.len() > 2, "{report:?}");
    });
}

#[test]
fn h30_a_full_disk_at_restart_opens() {
    let (disk, _) = singles(5);
    disk.quota(Some(disk.used()), false);
    let (wal, report) = open(&disk);
    assert_eq!(report.durable, Lsn::new(5));
    assert_eq!(wal.get(Lsn::new(1)).unwrap().len(), 200);
}

#[test]
fn h31_the_manifest_is_never_without_a_sound_slot() {
    let disk = MemVfs::new();
    let config = small().mark_idle(std::time::Duration::from_millis(1));
    let (wal, _) = open_with(&disk, config).unwrap();
    for i in 0..150 {
        wal.append_blocking(&[1; 500]).unwrap();
        std::thread::yield_now();
        for seed in 0..3 {
            let (_, report) = open(&disk.crash(i * 3 + seed));
            assert!(report.damage.is_empty());
        }
    }
}

#[test]
fn h32_a_panic_on_the_commit_path_answers_everybody() {
    guarded("panic", || {
        let disk = MemVfs::new();
        let vfs = crate::cancel::Panicking::new(disk);
        let armed = vfs.armed.clone();
        let config = small().build().unwrap();
        let (wal, _) = Wal::open_on(Arc::new(vfs), dir(), config, None).unwrap();
        wal.append_blocking(b"kept").unwrap();
        armed.store(true, std::sync::atomic::Ordering::SeqCst);
        let Err(AppendError::InDoubt(doubt)) = wal.append_blocking(b"?") else { panic!() };
        assert_eq!(doubt.cause.op, FailedOp::CommitPanic);
        assert!(block_on(wal.append(b"late")).is_err());
        let mut batch = Batch::new();
        assert!(wal.commit_blocking(batch.record(b"late")).is_err());
    });
}

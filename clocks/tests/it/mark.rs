//! Mark files: crashes, rot, other handles, failures of the disk.

use crate::slot_disk::{Crash, Disk, Loss, Tear, all_tears};
use quorate_clocks::testing::{MARK_FILE_BYTES, SlotMark};
use quorate_clocks::{
    DurableMark, FileMark, MarkDamage, MarkError, MarkFalls, MarkKind, MarkOp, MemoryMark,
    SlotError,
};
use std::path::PathBuf;

const KIND: MarkKind = MarkKind::User;

fn open(disk: Disk) -> Result<SlotMark<Disk>, MarkError> {
    SlotMark::open(disk, PathBuf::from("mark"), KIND)
}

/// The bytes of a file that was raised to each of `values`.
fn raised(values: &[u64]) -> Vec<u8> {
    let disk = Disk::new(vec![0; MARK_FILE_BYTES]);
    let handle = disk.clone();
    let mut mark = SlotMark::create(disk, PathBuf::from("mark"), KIND).unwrap();
    for value in values {
        mark.raise(*value).unwrap();
    }
    handle.durable()
}

/// What a machine finds that crashed in operation `crash.op` of three raises, and which values it
/// may find; `None` if the raises need fewer operations.
fn crash_in_raises(crash: Crash) -> Option<(Vec<u8>, [u64; 2])> {
    let disk = Disk::new(raised(&[]));
    let handle = disk.clone();
    let mut mark = open(disk).unwrap();
    handle.crash_at(crash);
    let mut acknowledged = 0;
    for value in [7, 8, 1 << 40] {
        if mark.raise(value).is_err() {
            return Some((handle.durable(), [acknowledged, value]));
        }
        acknowledged = value;
    }
    None
}

/// H26, torn slots: every crash point of three raises, every torn write, and every crash point and
/// torn write of the opening that follows.
#[test]
fn h26_no_crash_lowers_a_mark() {
    let (mut crashes, mut repair_crashes) = (0_u64, 0_u64);
    for op in 0.. {
        let mut reached = false;
        for tear in all_tears() {
            let Some((bytes, allowed)) = crash_in_raises(Crash { op, tear }) else { break };
            reached = true;
            crashes += 1;
            let mark = open(Disk::new(bytes.clone())).unwrap();
            assert!(allowed.contains(&mark.get()), "{op} {tear:?}: {} found", mark.get());
            repair_crashes += crash_in_open(&bytes, allowed);
        }
        if !reached {
            assert_eq!(op, 12, "three raises of two writes and two syncs");
            break;
        }
    }
    crate::support::say(format_args!(
        "crash points of raises: {crashes}, of openings: {repair_crashes}"
    ));
    assert!(crashes >= 500 && repair_crashes >= 500);
}

/// An opening that is torn leaves what was acknowledged or what it found, and the mark rises from
/// there.
fn crash_in_open(bytes: &[u8], allowed: [u64; 2]) -> u64 {
    let mut crashes = 0;
    for op in 0.. {
        for tear in all_tears() {
            let disk = Disk::new(bytes.to_vec());
            let handle = disk.clone();
            handle.crash_at(Crash { op, tear });
            if open(disk).is_ok() {
                assert!(op == 4 || op == 6, "two or three writes and syncs, not {op} operations");
                return crashes;
            }
            crashes += 1;
            let again = Disk::new(handle.durable());
            let handle = again.clone();
            let mut mark = open(again).unwrap();
            assert!(allowed.contains(&mark.get()), "open, {op} {tear:?}: {}", mark.get());
            let next = mark.get() + 1;
            mark.raise(next).unwrap();
            assert_eq!(open(Disk::new(handle.durable())).unwrap().get(), next);
        }
    }
    crashes
}

/// A few tears of each sort.
fn some_tears() -> [Tear; 6] {
    let garbage = |seed, sector| Tear::Garbage { seed, sector };
    let parts = [Tear::First(12), Tear::Last(20)];
    [Tear::Nothing, Tear::All, parts[0], parts[1], garbage(1, false), garbage(2, true)]
}

/// A write that fails never came to the cache, so nothing of it is on the disk either.
fn losses_of(op: u64) -> Vec<Loss> {
    if op.is_multiple_of(2) {
        return vec![Loss::Dropped(Tear::Nothing)];
    }
    some_tears().into_iter().map(Loss::Dropped).chain([Loss::Killed]).collect()
}

/// Crashes in each operation of `run` over `disk()` with each tear, and opens what is left.
fn each_crash(disk: impl Fn() -> Disk, run: impl Fn(Disk) -> bool, check: impl Fn(u64)) -> u64 {
    let mut crashes = 0;
    for op in 0.. {
        for tear in all_tears() {
            let disk = disk();
            disk.crash_at(Crash { op, tear });
            if run(disk.clone()) {
                return crashes;
            }
            crashes += 1;
            let after = open(Disk::new(disk.durable()));
            check(after.unwrap_or_else(|error| panic!("{op} {tear:?}: {error}")).get());
        }
    }
    crashes
}

/// H26, a failed sync: the pages look written, and the disk has something else. What `open`
/// returned from that cache is durable all the same, in both slots.
#[test]
fn h26_a_reopened_mark_does_not_rest_on_the_page_cache() {
    let mut crashes = 0;
    for op in 0..4 {
        for loss in losses_of(op) {
            let poisoned = || {
                let disk = Disk::new(raised(&[1]));
                let mut mark = open(disk.clone()).unwrap();
                disk.lose_at(op, loss);
                assert!(matches!(mark.raise(2), Err(MarkError::Poisoned { .. })));
                disk
            };
            let returned = open(poisoned()).unwrap().get();
            assert!([1, 2].contains(&returned));
            // A power cut at once.
            let disk = poisoned();
            drop(open(disk.clone()).unwrap());
            assert_eq!(open(Disk::new(disk.durable())).unwrap().get(), returned, "{op} {loss:?}");
            // One during the next raise.
            for crash_op in 0..4 {
                for tear in all_tears() {
                    let disk = poisoned();
                    let mut mark = open(disk.clone()).unwrap();
                    disk.crash_at(Crash { op: crash_op, tear });
                    assert!(mark.raise(3).is_err());
                    let after = open(Disk::new(disk.durable())).unwrap().get();
                    let at = format!("{op} {loss:?}, then {crash_op} {tear:?}");
                    assert!((returned..=3).contains(&after), "{at}: {after} after {returned}");
                    crashes += 1;
                }
            }
        }
    }
    crate::support::say(format_args!("crash points: {crashes}"));
    assert!(crashes >= 3_000);
}

/// H26, openings that fail: after each of their operations, with each loss, in the same boot, a
/// crash of the next opening leaves one whole slot with what was acknowledged.
#[test]
fn h26_openings_that_fail_leave_a_whole_slot() {
    let mut crashes = 0;
    let mut starts = vec![([1, 1], raised(&[1]))];
    for op in 0..4 {
        for tear in some_tears() {
            let disk = Disk::new(raised(&[1]));
            let mut mark = open(disk.clone()).unwrap();
            disk.crash_at(Crash { op, tear });
            assert!(mark.raise(2).is_err());
            starts.push(([1, 2], disk.durable()));
        }
    }
    for (allowed, bytes) in &starts {
        for op in 0..6 {
            for loss in losses_of(op) {
                let failed = || {
                    let disk = Disk::new(bytes.clone());
                    disk.lose_at(op, loss);
                    drop(open(disk.clone()));
                    disk
                };
                crashes += each_crash(
                    failed,
                    |disk| open(disk).is_ok(),
                    |value| {
                        assert!(allowed.contains(&value), "{op} {loss:?}: {value}");
                    },
                );
            }
        }
    }
    crate::support::say(format_args!("crash points: {crashes}"));
    assert!(crashes >= 10_000);
}

/// H26, rotten slots: each byte of a complete file, changed in each bit, cleared and filled.
#[test]
fn h26_no_rotten_byte_lowers_a_mark() {
    let whole = raised(&[3, 9]);
    let mut tried = 0_u64;
    for at in 0..whole.len() {
        let ways = (0..8).map(|bit| whole[at] ^ 1 << bit).chain([0, 0xFF]);
        for byte in ways.filter(|byte| *byte != whole[at]) {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            let disk = Disk::new(bytes);
            let handle = disk.clone();
            let mut mark = open(disk).unwrap_or_else(|e| panic!("byte {at} = {byte:#x}: {e}"));
            assert_eq!(mark.get(), 9, "byte {at} = {byte:#x}");
            let in_a_slot = at % 512 < 32;
            assert_eq!(mark.stats().repairs, u64::from(in_a_slot), "byte {at}");
            // Both slots are whole again, and equal.
            let after = handle.durable();
            assert_eq!(after[..32], after[512..544], "byte {at}");
            assert_eq!(after[8..16], whole[8..16], "byte {at} is not repaired");
            assert!(in_a_slot || after[at] == byte, "byte {at} is no slot's");
            mark.raise(10).unwrap();
            tried += 1;
        }
    }
    crate::support::say(format_args!("rot positions: {}, rotten files: {tried}", whole.len()));
    assert!(tried >= 1_000);
}

/// Rot after a raise, in either slot: whatever one slot loses, the other has.
#[test]
fn a_raise_is_in_both_slots() {
    for slot in [0, 512] {
        let mut bytes = raised(&[3, 9]);
        bytes[slot + 8] ^= 0xFF;
        assert_eq!(open(Disk::new(bytes)).unwrap().get(), 9, "slot at {slot} is rotten");
    }
}

/// H26, a failed sync or write: the handle says no more, and the file opens again.
#[test]
fn h26_a_failed_sync_poisons() {
    for op in 0..4 {
        let disk = Disk::new(raised(&[5]));
        let handle = disk.clone();
        let mut mark = open(disk).unwrap();
        handle.fail_at(op);
        let error = mark.raise(6).unwrap_err();
        let expected = if op % 2 == 0 { MarkOp::Write } else { MarkOp::Sync };
        assert!(matches!(&error, MarkError::Poisoned { op, .. } if *op == expected), "{error}");
        assert!(!error.is_retryable() && !error.is_corruption());
        assert_eq!(mark.get(), 5);
        // The disk is well again, and still no raise may be believed.
        for value in [5, 6, 7] {
            assert!(matches!(mark.raise(value), Err(MarkError::Poisoned { .. })));
        }
        assert_eq!((mark.get(), mark.stats().raises), (5, 0));
        let mut again = open(Disk::new(handle.durable())).unwrap();
        assert!([5, 6].contains(&again.get()), "{}", again.get());
        again.raise(7).unwrap();
    }
}

#[test]
fn h26_a_second_handle_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    let mut mark = FileMark::create_new(&path, KIND).unwrap();
    mark.raise(4).unwrap();
    let refused = |opened: Result<FileMark, MarkError>| match opened.unwrap_err() {
        error @ MarkError::Locked { .. } => assert!(error.is_retryable()),
        other => panic!("{other}"),
    };
    refused(FileMark::open(&path, KIND));
    refused(FileMark::open_or_create(&path, KIND));
    mark.raise(5).unwrap();
    drop(mark);
    assert_eq!(FileMark::open(&path, KIND).unwrap().get(), 5);
}

#[test]
fn a_missing_file_is_not_created_by_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    let error = FileMark::open(&path, KIND).unwrap_err();
    assert!(matches!(&error, MarkError::NotFound { path: p } if *p == path), "{error}");
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    assert_eq!(FileMark::open_or_create(&path, KIND).unwrap().get(), 0);
    assert_eq!(FileMark::open(&path, KIND).unwrap().get(), 0);
}

#[test]
fn an_existing_file_is_not_created_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    FileMark::create_new(&path, KIND).unwrap().raise(4).unwrap();
    let error = FileMark::create_new(&path, KIND).unwrap_err();
    assert!(matches!(error, MarkError::Exists { .. }));
    assert_eq!(FileMark::open_or_create(&path, KIND).unwrap().get(), 4);
}

/// A creation that died leaves a file under another name, which the next one finishes.
#[test]
fn an_unfinished_creation_is_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    for left_behind in [&b""[..], b"QMRK", &[0xAB; 5_000]] {
        std::fs::write(dir.path().join("mark.new"), left_behind).unwrap();
        assert!(matches!(FileMark::open(&path, KIND), Err(MarkError::NotFound { .. })));
        let mut mark = FileMark::open_or_create(&path, KIND).unwrap();
        mark.raise(1).unwrap();
        drop(mark);
        assert_eq!(FileMark::open(&path, KIND).unwrap().get(), 1);
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn creators_that_race_make_one_mark() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    for _ in 0..20 {
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| FileMark::open_or_create(&path, KIND))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|mark| mark.is_ok()).count(), 1);
        for error in made.iter().filter_map(|mark| mark.as_ref().err()) {
            assert!(matches!(error, MarkError::Locked { .. }), "{error}");
        }
        drop(made);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    FileMark::create_new(&path, MarkKind::Horizon).unwrap().raise(4).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = FileMark::open(&path, MarkKind::Generation).unwrap_err();
    let MarkError::Kind { expected, found, .. } = &error else { panic!("{error}") };
    assert_eq!((*expected, *found), (MarkKind::Generation, 2));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

fn damage(bytes: &[u8]) -> MarkDamage {
    let disk = Disk::new(bytes.to_vec());
    let handle = disk.clone();
    let error = open(disk).unwrap_err();
    assert!(error.is_corruption() && !error.is_retryable(), "{error}");
    assert_eq!(handle.durable(), bytes, "a corrupt file is left as it is");
    let MarkError::Corrupt { damage, .. } = error else { panic!("{error}") };
    damage
}

#[test]
fn corrupt_files_are_refused_with_what_is_wrong() {
    for length in [0, 31, 512, MARK_FILE_BYTES - 1, MARK_FILE_BYTES + 1] {
        let mut bytes = raised(&[4]);
        bytes.resize(length, 0);
        assert_eq!(damage(&bytes), MarkDamage::Length { bytes: length as u64 });
    }
    // All zero is no mark of value 0.
    let magic = Some(SlotError::Magic { found: 0 });
    let zero = damage(&[0; MARK_FILE_BYTES]);
    assert_eq!(zero, MarkDamage::Slots { first: magic, second: magic });
    // Both slots rotten.
    let mut bytes = raised(&[4]);
    bytes[8] ^= 1;
    bytes[512 + 16] ^= 1;
    let MarkDamage::Slots { first: Some(a), second: Some(b) } = damage(&bytes) else { panic!() };
    assert!(matches!((a, b), (SlotError::Checksum { .. }, SlotError::Checksum { .. })));
}

/// Slots put together from two files.
fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    [&first[..512], &second[512..]].concat()
}

#[test]
fn slots_that_contradict_each_other_are_refused() {
    // The later slot holds the smaller value: sequence 2 has 5, sequence 1 has 9.
    let (fell, rose) = (raised(&[4, 5]), raised(&[9]));
    let expected = MarkDamage::Contradiction { first: (2, 5), second: (1, 9) };
    assert_eq!(damage(&pair(&fell, &rose)), expected);
    let expected = MarkDamage::Contradiction { first: (1, 9), second: (2, 5) };
    assert_eq!(damage(&pair(&rose, &fell)), expected);
    // One age, two values.
    let expected = MarkDamage::Contradiction { first: (1, 9), second: (1, 8) };
    assert_eq!(damage(&pair(&rose, &raised(&[8]))), expected);
    // The later slot holds the larger value: taken, whichever it is.
    for bytes in [pair(&raised(&[4, 5]), &raised(&[4])), pair(&raised(&[4]), &raised(&[4, 5]))] {
        let mark = open(Disk::new(bytes)).unwrap();
        assert_eq!((mark.get(), mark.stats().repairs), (5, 1));
    }
}

/// A slot of a later version is whole: it must not be "repaired" from the other one.
#[test]
fn slots_of_a_later_version_are_refused() {
    let sealed = |edit: fn(&mut [u8])| {
        let mut bytes = raised(&[4]);
        edit(&mut bytes[512..]);
        let sum = crate::slot_disk::crc32(&bytes[512..540]).to_le_bytes();
        bytes[540..544].copy_from_slice(&sum);
        damage(&bytes)
    };
    let second = Some(SlotError::Version { found: 2 });
    assert_eq!(sealed(|slot| slot[4] = 2), MarkDamage::Slots { first: None, second });
    let second = Some(SlotError::Reserved { found: 1 });
    assert_eq!(sealed(|slot| slot[24] = 1), MarkDamage::Slots { first: None, second });
}

#[test]
fn marks_do_not_fall_and_may_stand_still() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = FileMark::create_new(dir.path().join("mark"), KIND).unwrap();
    let mut memory = MemoryMark::new(0);
    memory.raise(5).unwrap();
    file.raise(5).unwrap();
    let falls = MarkFalls::check(5, 4).unwrap_err();
    assert_eq!(memory.raise(4), Err(falls));
    assert!(matches!(file.raise(4), Err(MarkError::Falls(f)) if f == falls));
    memory.raise(5).unwrap();
    file.raise(5).unwrap();
    assert_eq!((memory.get(), file.get(), file.stats().raises), (5, 5, 1));
    let mark: &mut dyn DurableMark<Error = MarkError> = &mut file;
    mark.raise(u64::MAX).unwrap();
    assert!(mark.raise(0).is_err());
    assert_eq!(mark.get(), u64::MAX);
}

/// The last sequence number is not passed: equal ones would hide which slot is newer.
#[test]
fn a_mark_that_is_used_up_says_so() {
    let mut bytes = raised(&[4]);
    for slot in [0, 512] {
        bytes[slot + 16..slot + 24].fill(0xFF);
        let sum = crate::slot_disk::crc32(&bytes[slot..slot + 28]).to_le_bytes();
        bytes[slot + 28..slot + 32].copy_from_slice(&sum);
    }
    let mut mark = open(Disk::new(bytes)).unwrap();
    assert!(matches!(mark.raise(5), Err(MarkError::Exhausted { .. })));
    assert_eq!(mark.get(), 4);
}

/// Nothing that has the name is replaced, not even a symbolic link to nothing; what cannot be asked
/// about is not taken for absent.
#[cfg(unix)]
#[test]
fn a_creation_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mark");
    std::os::unix::fs::symlink(dir.path().join("unmounted/mark"), &path).unwrap();
    let error = FileMark::create_new(&path, KIND).unwrap_err();
    assert!(matches!(error, MarkError::Exists { .. }), "{error}");
    let error = FileMark::open_or_create(&path, KIND).unwrap_err();
    assert!(matches!(error, MarkError::NotFound { .. }), "{error}");
    assert!(std::fs::symlink_metadata(&path).unwrap().is_symlink());
    // A name below a file: the question fails.
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = FileMark::create_new(dir.path().join("file/mark"), KIND).unwrap_err();
    assert!(matches!(error, MarkError::Io { op: MarkOp::Open, .. }), "{error}");
    // The unfinished file is not written through a symbolic link.
    let (other, target) = (dir.path().join("other"), dir.path().join("target"));
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("other.new")).unwrap();
    let error = FileMark::create_new(&other, KIND).unwrap_err();
    assert!(matches!(error, MarkError::Io { op: MarkOp::Open, .. }), "{error}");
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}

/// A creator that died between its two names: the second one goes, and never leads to the mark.
#[cfg(unix)]
#[test]
fn a_second_name_of_a_mark_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let name = |name: &str| dir.path().join(name);
    FileMark::create_new(name("mark"), KIND).unwrap().raise(4).unwrap();
    let link = || std::fs::hard_link(name("mark"), name("mark.new")).unwrap();
    link();
    assert_eq!(FileMark::open(name("mark"), KIND).unwrap().get(), 4);
    assert!(!name("mark.new").exists());
    link();
    std::fs::rename(name("mark"), name("moved")).unwrap();
    assert_eq!(FileMark::create_new(name("mark"), KIND).unwrap().get(), 0);
    assert_eq!(FileMark::open(name("moved"), KIND).unwrap().get(), 4);
    assert!(!name("mark.new").exists());
}

/// Which operation failed, and what the system said.
#[test]
fn errors_of_the_file_system_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let error = FileMark::create_new(dir.path().join("no/mark"), KIND).unwrap_err();
    assert!(matches!(error, MarkError::Io { op: MarkOp::Open, .. }), "{error}");
    let error = FileMark::open(dir.path(), KIND).unwrap_err();
    assert!(matches!(error, MarkError::Io { op: MarkOp::Open, .. }), "{error}");
    assert!(std::error::Error::source(&error).is_some() && error.is_retryable());
    // A disk that fails while a slot is repaired.
    let mut bytes = raised(&[4]);
    bytes[8] ^= 1;
    for (op, expected) in [(0, MarkOp::Write), (1, MarkOp::Sync)] {
        let disk = Disk::new(bytes.clone());
        disk.clone().fail_at(op);
        let error = open(disk).unwrap_err();
        assert!(matches!(&error, MarkError::Io { op, .. } if *op == expected), "{error}");
    }
}

/// The rig's own check: a write without a sync is not on the disk.
#[test]
fn the_rig_loses_what_was_not_synced() {
    use quorate_clocks::testing::SlotFile;
    let mut disk = Disk::new(vec![0; 4]);
    disk.write_at(1, &[7]).unwrap();
    let lost = disk.clone();
    lost.crash_at(Crash { op: 0, tear: Tear::Nothing });
    assert!(disk.sync().is_err());
    assert_eq!(lost.durable(), [0, 0, 0, 0]);
}

//! Each fault: what it does, what it leaves, when it counts.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use quorate_sim::{CrashDisk, DiskConfig, DiskFault, DiskLimit, FaultCount, FsyncFailure, SimDisk};
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};

fn disk() -> SimDisk {
    SimDisk::new(3, DiskConfig::default())
}

fn create(disk: &SimDisk, name: &str) -> Arc<dyn VfsFile> {
    disk.vfs().open(name.as_ref(), OpenMode::CreateNew).unwrap()
}

/// A file of so many bytes of 1, all of it durable.
fn durable(disk: &SimDisk, bytes: usize) -> Arc<dyn VfsFile> {
    let file = create(disk, "f");
    file.write_at(&vec![1; bytes], 0).unwrap();
    file.sync_all().unwrap();
    disk.vfs().sync_dir("".as_ref()).unwrap();
    file
}

fn first(file: &dyn VfsFile, offset: u64) -> u8 {
    let mut byte = [0];
    file.read_at(&mut byte, offset).unwrap();
    byte[0]
}

#[track_caller]
fn counts(count: FaultCount, injected: u64, effective: u64) {
    assert_eq!((count.injected, count.effective), (injected, effective));
}

/// What shows of a write of 2 over 1 whose sync failed: at once, without the cache, after a power
/// cut, and after a second sync and a power cut.
#[test]
fn a_failed_sync_leaves_what_its_model_leaves() {
    let table = [
        (FsyncFailure::MarkClean, [2, 1, 1, 1]),
        (FsyncFailure::DropPages, [1, 1, 1, 1]),
        (FsyncFailure::KeepDirty, [2, 2, 1, 2]),
    ];
    for (model, expected) in table {
        let disk = disk();
        let file = durable(&disk, 600);
        disk.inject(DiskFault::SyncError(model));
        file.write_at(&[2; 600], 0).unwrap();
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        let seen = first(&*file, 0);
        let after = disk.snapshot();
        after.crash(CrashDisk::LoseUnsynced);
        let lost = after.read_durable("f").unwrap()[0];
        file.sync_data().unwrap();
        let synced = disk.snapshot();
        synced.crash(CrashDisk::LoseUnsynced);
        let kept = synced.read_durable("f").unwrap()[0];
        file.drop_cache().unwrap();
        assert_eq!([seen, first(&*file, 0), lost, kept], expected, "{model:?}");
        counts(disk.stats().sync_errors, 1, 1);
        // Written again it is durable with the next sync, whatever happened before.
        file.write_at(&[3; 600], 0).unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.read_durable("f").unwrap(), [3; 600], "{model:?}");
    }
}

/// A file that grew: the size is lost with the pages.
#[test]
fn a_failed_sync_of_a_grown_file_loses_its_size() {
    for (model, seen) in [
        (FsyncFailure::MarkClean, 1100),
        (FsyncFailure::DropPages, 600),
        (FsyncFailure::KeepDirty, 1100),
    ] {
        let disk = disk();
        let file = durable(&disk, 600);
        disk.inject(DiskFault::SyncError(model));
        file.write_at(&[2; 500], 600).unwrap();
        file.sync_all().unwrap_err();
        assert_eq!((file.len().unwrap(), model), (seen, model));
        assert_eq!(disk.read_durable("f").unwrap().len(), 600);
    }
}

#[test]
fn a_lying_sync_syncs_nothing() {
    let disk = disk();
    let file = durable(&disk, 100);
    disk.inject(DiskFault::LyingSync);
    file.sync_data().unwrap();
    counts(disk.stats().lying_syncs, 1, 0);
    file.write_at(&[2; 100], 0).unwrap();
    create(&disk, "g");
    for _ in 0..2 {
        disk.inject(DiskFault::LyingSync);
    }
    file.sync_data().unwrap();
    disk.vfs().sync_dir("".as_ref()).unwrap();
    counts(disk.stats().lying_syncs, 3, 2);
    // Another file has something to sync, this one has not; of one without a name nothing is left.
    let clean = create(&disk, "clean");
    disk.inject(DiskFault::LyingSync);
    clean.sync_data().unwrap();
    counts(disk.stats().lying_syncs, 4, 2);
    clean.write_at(b"x", 0).unwrap();
    disk.vfs().rename("clean".as_ref(), "named anew".as_ref()).unwrap();
    disk.inject(DiskFault::LyingSync);
    clean.sync_all().unwrap();
    counts(disk.stats().lying_syncs, 5, 3);
    disk.vfs().remove("named anew".as_ref()).unwrap();
    disk.inject(DiskFault::LyingSync);
    clean.sync_all().unwrap();
    counts(disk.stats().lying_syncs, 6, 3);
    disk.crash(CrashDisk::LoseUnsynced);
    assert_eq!(disk.read_durable("f").unwrap(), [1; 100]);
    assert_eq!(disk.files().len(), 1);
}

#[test]
fn an_unreadable_part_is_readable_when_it_was_written_again() {
    let disk = disk();
    let file = durable(&disk, 4096);
    let range = 1000..1010;
    assert!(disk.inject(DiskFault::ReadError { file: "f".into(), range }));
    counts(disk.stats().read_errors, 1, 0);
    first(&*file, 999);
    for _ in 0..2 {
        let error = file.read_at(&mut [0; 2], 999).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(5));
    }
    counts(disk.stats().read_errors, 1, 1);
    // It is the medium's: a crash and another name do not help.
    disk.vfs().rename("f".as_ref(), "g".as_ref()).unwrap();
    disk.crash(CrashDisk::KeepAll);
    let file = disk.vfs().open("g".as_ref(), OpenMode::Write).unwrap();
    assert!(file.read_at(&mut [0; 20], 1005).is_err());
    file.write_at(&[7; 10], 1000).unwrap();
    assert_eq!(file.read_at(&mut [0; 4096], 0).unwrap(), 4096);
    assert!(!disk.inject(DiskFault::ReadError { file: "f".into(), range: 0..1 }), "no such file");
    assert_eq!(disk.stats().skipped, 1);
}

#[test]
fn rot_counts_when_it_is_read() {
    let disk = disk();
    let file = durable(&disk, 8192);
    file.write_at(&[2; 4096], 0).unwrap();
    file.sync_data().unwrap();
    assert!(disk.inject(DiskFault::BitFlip { file: "f".into(), bit: 8 * 5000 + 1 }));
    assert!(disk.inject(DiskFault::ZeroSector) && disk.inject(DiskFault::StaleSector));
    assert!(!disk.inject(DiskFault::BitFlip { file: "f".into(), bit: 1 << 40 }), "beyond the end");
    let stats = disk.stats();
    for count in [stats.bit_flips, stats.zero_sectors, stats.stale_sectors] {
        counts(count, 1, 0);
    }
    assert_eq!(stats.skipped, 1);
    let mut bytes = vec![9; 8192];
    file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes[5000] & 2, 2, "flipped");
    let zeros = bytes.iter().filter(|byte| **byte == 0).count();
    let old = bytes[..4096].iter().filter(|byte| **byte == 1).count();
    // The older write shows, or, where there was none, the zeros from before the first.
    assert!((zeros + old) / 511 == 2 && old.is_multiple_of(512), "{zeros} {old}");
    let stats = disk.stats();
    for count in [stats.bit_flips, stats.zero_sectors, stats.stale_sectors] {
        counts(count, 1, 1);
    }
    disk.crash(CrashDisk::Random);
    assert_eq!(disk.read_durable("f").unwrap(), bytes, "it is on the medium");
    assert!(!SimDisk::new(1, DiskConfig::default()).inject(DiskFault::ZeroSector), "empty");
}

#[test]
fn writes_are_cut_and_go_astray() {
    let disk = disk();
    let file = durable(&disk, 2048);
    disk.inject(DiskFault::ShortWrite);
    disk.inject(DiskFault::Misdirect { sectors: 2 });
    assert_eq!(file.write_at(b"x", 0).unwrap(), 1, "a byte cannot be cut");
    counts(disk.stats().short_writes, 1, 0);
    let n = file.write_at(&[2; 512], 512).unwrap();
    assert!((1..512).contains(&n));
    counts(disk.stats().short_writes, 1, 1);
    file.write_at(&[3; 512], 512).unwrap();
    counts(disk.stats().misdirects, 1, 1);
    file.sync_data().unwrap();
    assert_eq!((first(&*file, 512), first(&*file, 1536)), (3, 1), "the cache has it right");
    disk.crash(CrashDisk::LoseUnsynced);
    let bytes = disk.read_durable("f").unwrap();
    assert_eq!((bytes[512], bytes[1024], bytes[1536], bytes[2047]), (2, 1, 3, 3));
    assert!(!disk.inject(DiskFault::Misdirect { sectors: 0 }), "that is where it belongs");
}

#[test]
fn a_full_disk_says_so_at_the_write_or_at_the_sync() {
    for delayed in [false, true] {
        let config = DiskConfig::ssd().delayed_allocation(delayed).capacity_bytes(1 << 20);
        let disk = SimDisk::new(1, config.build().unwrap());
        let file = durable(&disk, 4096);
        disk.inject(DiskFault::NoSpace { capacity_bytes: 6000 });
        counts(disk.stats().no_space, 1, 0);
        let full = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::StorageFull);
        file.write_at(&[2; 4096], 0).unwrap();
        if delayed {
            file.write_at(&[2; 4096], 4096).unwrap();
            full(file.sync_data().unwrap_err());
            full(file.sync_data().unwrap_err());
        } else {
            assert_eq!(file.write_at(&[2; 4096], 4096).unwrap(), 6000 - 4096, "what fits");
            full(file.write_at(b"x", 6000).unwrap_err());
            full(file.set_len(7000).unwrap_err());
        }
        counts(disk.stats().no_space, 1, 1);
        // The next process meets the same disk, until it heals.
        disk.crash(CrashDisk::KeepAll);
        let file = disk.vfs().open("f".as_ref(), OpenMode::Write).unwrap();
        let room = || file.write_at(&[3; 4096], 4096 * 4).and_then(|_| file.sync_data());
        assert!(delayed || room().is_err());
        disk.heal();
        room().unwrap();
        let bytes = vec![0; 2 << 20];
        let too_much = file.write_at(&bytes, 0).and_then(|n| {
            if n == bytes.len() { file.sync_data() } else { Err(ErrorKind::StorageFull.into()) }
        });
        full(too_much.unwrap_err());
        counts(disk.stats().no_space, 1, 1);
    }
}

#[test]
fn time_passes_with_operations_and_stalls() {
    let disk = disk();
    let file = create(&disk, "f");
    assert_eq!(disk.take_cost(), Duration::from_micros(20));
    file.write_at(&[1; 1000], 0).unwrap();
    file.read_at(&mut [0; 500], 0).unwrap();
    assert_eq!(disk.take_cost(), Duration::from_nanos(41_500));
    let before = disk.stats().busy;
    for _ in 0..3 {
        disk.inject(DiskFault::Stall(Duration::from_secs(1)));
    }
    counts(disk.stats().stalls, 3, 0);
    file.sync_data().unwrap();
    let cost = disk.take_cost();
    assert!(cost >= Duration::from_micros(3_000_200) && cost <= Duration::from_micros(3_010_000));
    assert_eq!(disk.stats().busy - before, cost);
    counts(disk.stats().stalls, 3, 3);
    file.sync_data().unwrap();
    assert!(disk.take_cost() < Duration::from_secs(1));
    disk.inject(DiskFault::Stall(Duration::from_secs(1)));
    disk.heal();
    file.len().unwrap();
    assert_eq!(disk.take_cost(), Duration::ZERO);
}

#[test]
fn faults_wait_in_their_order_and_not_without_end() {
    let disk = disk();
    let file = durable(&disk, 10);
    disk.inject(DiskFault::LyingSync);
    disk.inject(DiskFault::SyncError(FsyncFailure::KeepDirty));
    disk.crash(CrashDisk::KeepAll);
    assert!(file.sync_data().is_err(), "a dead process");
    let file = disk.vfs().open("f".as_ref(), OpenMode::Write).unwrap();
    assert!(file.sync_data().is_ok() && file.sync_data().is_err() && file.sync_data().is_ok());
    let taken = (0..5000).filter(|_| disk.inject(DiskFault::ShortWrite)).count();
    assert_eq!((taken, disk.stats().skipped), (1024, 5000 - 1024));
    disk.heal();
    assert_eq!(file.write_at(&[1; 100], 0).unwrap(), 100);
}

#[test]
fn limits_of_the_simulation_have_a_type() {
    let config = DiskConfig::instant().file_bytes_max(1 << 30).stored_bytes_max(1 << 20);
    let disk = SimDisk::new(1, config.build().unwrap());
    let file = create(&disk, "f");
    file.set_len(1 << 30).unwrap();
    assert_eq!(disk.limit(), None, "what nobody wrote is not stored");
    let error = file.write_at(b"x", 1 << 30).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    let limit = error.get_ref().and_then(|e| e.downcast_ref::<DiskLimit>()).unwrap();
    assert_eq!(*limit, DiskLimit::File { found: (1 << 30) + 1, max: 1 << 30 });
    // Writing the same place for long is not much to store.
    for _ in 0..2_000 {
        file.write_at(&[1; 4096], 0).unwrap();
    }
    let error = (0..1_000).find_map(|n| file.write_at(&[1; 4096], n * 4096).err()).unwrap();
    let limit = *error.get_ref().and_then(|e| e.downcast_ref::<DiskLimit>()).unwrap();
    assert!(matches!(limit, DiskLimit::Stored { max: 1_048_576, .. }) && limit.is_retryable());
    file.set_len(0).unwrap();
    file.write_at(&[1; 4096], 0).unwrap();
}

//! The conformance list over both file systems, and the fidelity of `MemVfs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_wal::vfs::{
    DirOrder, FsyncFailure, MemVfs, OpKind, OpenMode, StdVfs, Vfs, conformance,
};

#[test]
fn mem_vfs_conforms() {
    conformance::run(&|| {
        let disk = MemVfs::new();
        disk.create_dir_all(Path::new("d")).unwrap();
        (Arc::new(disk), PathBuf::from("d"))
    });
}

#[test]
fn std_vfs_conforms() {
    let root = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    conformance::run(&|| {
        count.set(count.get() + 1);
        let dir = root.path().join(count.get().to_string());
        StdVfs.create_dir_all(&dir).unwrap();
        (Arc::new(StdVfs), dir)
    });
}

fn synced_file(disk: &MemVfs) -> Arc<dyn quorate_wal::vfs::VfsFile> {
    disk.create_dir_all(Path::new("d")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    let file = disk.open(Path::new("d/f"), OpenMode::CreateNew).unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    file.write_at(&[1; 2048], 0).unwrap();
    file.sync_data().unwrap();
    file
}

#[test]
fn a_power_cut_leaves_any_subset_of_unsynced_sectors() {
    let disk = MemVfs::new();
    let file = synced_file(&disk);
    file.write_at(&[2; 2048], 0).unwrap();
    let mut seen: Vec<Vec<u8>> = disk
        .crash_states(64)
        .iter()
        .map(|d| d.contents(Path::new("d/f")).unwrap().chunks(512).map(|s| s[0]).collect())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 16, "four sectors, each old or new");
}

#[test]
fn a_name_survives_only_if_its_directory_was_synced() {
    let disk = MemVfs::new();
    synced_file(&disk);
    disk.open(Path::new("d/g"), OpenMode::CreateNew).unwrap().sync_all().unwrap();
    let present = |d: &MemVfs| d.contents(Path::new("d/g")).is_ok();
    let states = disk.crash_states(16);
    assert!(states.iter().any(present) && !states.iter().all(present));
    disk.sync_dir(Path::new("d")).unwrap();
    assert!(disk.crash_states(16).iter().all(present));
}

#[test]
fn failed_syncs_follow_their_model() {
    for (model, cached, later) in [
        (FsyncFailure::MarkClean, 2, 1),
        (FsyncFailure::DropPages, 1, 1),
        (FsyncFailure::KeepDirty, 2, 2),
    ] {
        let disk = MemVfs::new();
        let file = synced_file(&disk);
        disk.fsync_failure(model);
        disk.fail_nth(OpKind::SyncData, 1, std::io::ErrorKind::Other);
        file.write_at(&[2; 512], 0).unwrap();
        file.sync_data().unwrap_err();
        assert_eq!(disk.contents(Path::new("d/f")).unwrap()[0], cached, "{model:?}");
        file.sync_data().unwrap();
        let medium = disk.crash(0).contents(Path::new("d/f")).unwrap();
        assert_eq!(medium[0], later, "{model:?}");
    }
}

#[test]
fn a_quota_refuses_at_the_write_or_at_the_sync() {
    let disk = MemVfs::new();
    let file = synced_file(&disk);
    disk.quota(Some(2048 + 100), false);
    assert_eq!(file.write_at(&[0; 512], 2048).unwrap(), 100, "short at the brim");
    let full = file.write_at(&[0; 512], 2148).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    disk.quota(Some(2048), true);
    file.write_at(&[0; 512], 2048).unwrap();
    assert_eq!(file.sync_data().unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

fn file(disk: &MemVfs, name: &str) -> Arc<dyn quorate_wal::vfs::VfsFile> {
    disk.open(Path::new(name), OpenMode::CreateNew).unwrap()
}

/// Which of the names each crash state has.
fn survivors(disk: &MemVfs, max: usize) -> Vec<String> {
    let mut seen: Vec<String> = disk
        .crash_states(max)
        .iter()
        .map(|state| {
            let mut names: Vec<String> = state
                .list(Path::new(""))
                .unwrap()
                .iter()
                .map(|item| item.name.to_string_lossy().into_owned())
                .collect();
            names.sort();
            names.join(" ")
        })
        .collect();
    seen.sort();
    seen.dedup();
    seen
}

#[test]
fn names_survive_as_a_prefix_or_in_any_combination_that_can_be() {
    let make = |order| {
        let disk = MemVfs::new();
        disk.dir_order(order);
        file(&disk, "old");
        disk.sync_dir(Path::new("")).unwrap();
        file(&disk, "tmp");
        disk.rename(Path::new("tmp"), Path::new("new")).unwrap();
        disk.remove(Path::new("old")).unwrap();
        disk
    };
    let ordered = survivors(&make(DirOrder::Ordered), 99);
    assert_eq!(ordered, ["new", "new old", "old", "old tmp"]);
    // Also the removal alone; never the rename without what it renames.
    let reordered = survivors(&make(DirOrder::Reordered), 99);
    assert_eq!(reordered, ["", "new", "new old", "old", "old tmp", "tmp"]);
    // A crashed and a killed disk keep the order.
    let disk = make(DirOrder::Reordered).kill();
    assert_eq!(survivors(&disk, 99).len(), 6);
}

#[test]
fn a_replaced_name_shows_the_old_or_the_new_file_and_never_none() {
    for order in [DirOrder::Ordered, DirOrder::Reordered] {
        let disk = MemVfs::new();
        disk.dir_order(order);
        file(&disk, "name").write_at(b"old", 0).unwrap();
        let old = disk.open(Path::new("name"), OpenMode::Write).unwrap();
        old.sync_all().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        let new = file(&disk, "tmp");
        new.write_at(b"new", 0).unwrap();
        new.sync_all().unwrap();
        disk.rename(Path::new("tmp"), Path::new("name")).unwrap();
        let found: Vec<_> =
            disk.crash_states(99).iter().map(|d| d.contents(Path::new("name")).unwrap()).collect();
        assert!(found.iter().all(|bytes| bytes == b"old" || bytes == b"new"), "{found:?}");
        assert!(found.contains(&b"old".to_vec()) && found.contains(&b"new".to_vec()));
    }
}

#[test]
fn few_units_are_tried_in_all_combinations_and_many_in_the_telling_ones() {
    let disk = MemVfs::new();
    let file = synced_file(&disk);
    file.write_at(&[2; 1024], 0).unwrap();
    disk.open(Path::new("d/g"), OpenMode::CreateNew).unwrap();
    assert_eq!(disk.crash_states(4096).len(), 8, "two sectors and a name");
    assert_eq!(disk.crash_states(3).len(), 3, "spread evenly");
    // 40 sectors: no repetition, and the telling ones are among them.
    file.write_at(&[3; 20 * 1024], 0).unwrap();
    let states: Vec<Vec<u8>> = disk
        .crash_states(300)
        .iter()
        .map(|d| d.contents(Path::new("d/f")).unwrap().chunks(512).map(|s| s[0]).collect())
        .collect();
    assert_eq!(states.len(), 300);
    let new = |state: &Vec<u8>| state.iter().filter(|&&s| s == 3).count();
    assert!(states.iter().any(|s| new(s) == 0) && states.iter().any(|s| new(s) == 40));
    assert!(states.iter().filter(|s| new(s) == 1).count() > 20, "only one");
    assert!(states.iter().filter(|s| new(s) == 39).count() > 20, "all but one");
    let prefix = |s: &Vec<u8>| s.iter().take_while(|&&b| b == 3).count() == new(s);
    assert!(states.iter().filter(|s| prefix(s)).count() > 20, "prefixes");
}

#[test]
fn a_directory_without_its_own_name_takes_its_files_along() {
    let disk = MemVfs::new();
    disk.create_dir_all(Path::new("a/b")).unwrap();
    file(&disk, "a/b/f").sync_all().unwrap();
    disk.sync_dir(Path::new("a/b")).unwrap();
    disk.sync_dir(Path::new("a")).unwrap();
    let states = disk.crash_states(9);
    let gone = states.iter().filter(|d| d.contents(Path::new("a/b/f")).is_err());
    assert_eq!(gone.count(), 1, "the name of `a` was never synced");
    disk.sync_dir(Path::new("")).unwrap();
    assert!(disk.crash_states(9).iter().all(|d| d.contents(Path::new("a/b/f")).is_ok()));
}

#[test]
fn faults_have_numbers_and_are_taken_back() {
    let disk = MemVfs::new();
    let file = file(&disk, "f");
    disk.fail_nth_errno(OpKind::Write, 2, 5);
    file.write_at(b"a", 0).unwrap();
    assert_eq!(file.write_at(b"b", 0).unwrap_err().raw_os_error(), Some(5));
    file.write_at(b"c", 0).unwrap();
    assert_eq!((disk.count(OpKind::Write), disk.contents(Path::new("f")).unwrap()[0]), (3, b'c'));
    disk.fail_nth(OpKind::SyncAll, 1, std::io::ErrorKind::TimedOut);
    disk.clear_faults();
    file.sync_all().unwrap();
    disk.short_writes(true);
    disk.short_reads(true);
    assert_eq!(file.write_at(&[7; 1000], 0).unwrap(), 501);
    assert_eq!(file.read_at(&mut [0; 501], 0).unwrap(), 501, "a sector and less comes whole");
    file.write_at(&[7; 512], 501).unwrap();
    assert_eq!(file.read_at(&mut [0; 1000], 0).unwrap(), 501);
    disk.interrupts(true);
    let interrupted = |r: std::io::Result<usize>| {
        usize::from(r.is_err_and(|e| e.kind() == std::io::ErrorKind::Interrupted))
    };
    let writes: usize = (0..4).map(|_| interrupted(file.write_at(b"x", 0))).sum();
    let reads: usize = (0..4).map(|_| interrupted(file.read_at(&mut [0], 0))).sum();
    assert_eq!((writes, reads), (2, 2));
    disk.clear_faults();
    disk.power_off_after(1);
    file.write_at(b"last", 0).unwrap();
    assert!(file.write_at(b"late", 0).is_err() && file.read_at(&mut [0], 0).is_err());
    assert!(file.sync_data().is_err());
}

#[test]
fn every_operation_is_logged_and_the_log_is_bounded() {
    let disk = MemVfs::new();
    file(&disk, "unlogged");
    disk.log_operations(4);
    let f = file(&disk, "f");
    f.write_at(&[1; 10], 3).unwrap();
    disk.fail_nth(OpKind::SyncData, 1, std::io::ErrorKind::Other);
    f.sync_data().unwrap_err();
    let log = disk.operations();
    assert_eq!(log.len(), 3);
    assert_eq!((log[1].kind, log[1].offset, log[1].bytes), (OpKind::Write, 3, 10));
    assert_eq!((log[2].kind, log[2].error), (OpKind::SyncData, Some(std::io::ErrorKind::Other)));
    assert_eq!(log[2].path, Path::new("f"));
    f.set_len(5).unwrap();
    f.drop_cache().unwrap();
    let kinds: Vec<_> = disk.operations().iter().map(|op| op.kind).collect();
    let newest = [OpKind::Write, OpKind::SyncData, OpKind::SetLen, OpKind::DropCache];
    assert_eq!(kinds, newest);
}

#[test]
fn rot_is_on_the_medium_and_in_the_cache() {
    let disk = MemVfs::new();
    let path = Path::new("d/f");
    let file = synced_file(&disk);
    let both = |what: &str| {
        let cached = disk.contents(path).unwrap();
        assert_eq!(disk.crash(1).contents(path).unwrap(), cached, "{what}");
        cached
    };
    disk.flip(path, 8 * 700 + 3).unwrap();
    assert_eq!(both("flip")[700], 1 ^ 8);
    disk.zero(path, 100..200).unwrap();
    assert_eq!(both("zero")[99..201], [&[1][..], &[0; 100], &[1]].concat());
    disk.randomize(path, 0..50, 7).unwrap();
    let noise = both("randomize");
    disk.randomize(path, 0..50, 7).unwrap();
    assert_eq!(both("the same noise"), noise);
    file.write_at(&[9; 512], 1024).unwrap();
    file.sync_data().unwrap();
    assert!(disk.stale_sector(path, 2).unwrap(), "a lost write");
    assert_eq!(both("stale")[1024], 1);
    assert!(!disk.stale_sector(path, 2).unwrap(), "there is only one past");
    file.write_at(&[8; 512], 1536).unwrap();
    file.sync_data().unwrap();
    disk.misdirect((path, 3), (path, 0)).unwrap();
    let bytes = both("misdirect");
    assert_eq!((bytes[0], bytes[1536]), (8, 1));
    disk.copy((path, 0), (path, 600), 4).unwrap();
    assert_eq!(both("copy")[599..605], [1, 8, 8, 8, 8, 1]);
    disk.truncate(path, 1000).unwrap();
    assert_eq!(both("truncate").len(), 1000);
    disk.extend(path, &[5; 24]).unwrap();
    assert_eq!(both("extend")[1000..], [5; 24]);
    let other = Path::new("d/g");
    disk.open(other, OpenMode::CreateNew).unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    disk.swap(path, other).unwrap();
    assert_eq!((both("swap").len(), disk.contents(other).unwrap().len()), (0, 1024));
    disk.delete(other).unwrap();
    assert!(disk.crash_states(9).iter().all(|d| d.contents(other).is_err()));
    assert!(disk.flip(path, 0).is_err() && disk.zero(path, 5..6).is_err());
    assert!(disk.truncate(path, 1).is_err() && disk.flip(other, 0).is_err());
}

#[test]
fn dropping_the_cache_shows_what_a_failed_sync_lost() {
    let disk = MemVfs::new();
    let path = Path::new("d/f");
    let file = synced_file(&disk);
    disk.fail_nth(OpKind::SyncData, 1, std::io::ErrorKind::Other);
    file.write_at(&[2; 512], 0).unwrap();
    file.sync_data().unwrap_err();
    file.write_at(&[3; 512], 512).unwrap();
    assert_eq!(disk.contents(path).unwrap()[0], 2, "marked clean, still cached");
    file.drop_cache().unwrap();
    let bytes = disk.contents(path).unwrap();
    assert_eq!((bytes[0], bytes[512]), (1, 3), "clean pages are read anew, dirty ones stay");
}

#[test]
fn a_killed_process_leaves_its_files_and_frees_its_locks() {
    let disk = MemVfs::new();
    let file = synced_file(&disk);
    let _held = disk.lock(Path::new("d/LOCK")).unwrap();
    file.write_at(&[4; 4], 0).unwrap();
    let killed = disk.kill();
    killed.lock(Path::new("d/LOCK")).unwrap();
    assert_eq!(killed.contents(Path::new("d/f")).unwrap()[0], 4);
    // Killed is not synced: a power cut may still take it.
    assert!(killed.crash_states(9).iter().any(|d| d.contents(Path::new("d/f")).unwrap()[0] == 1));
    // Who holds the old disk writes into the past.
    file.write_at(&[5; 4], 0).unwrap();
    assert_eq!(killed.contents(Path::new("d/f")).unwrap()[0], 4);
}

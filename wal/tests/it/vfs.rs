//! The conformance list over both file systems, and the fidelity of `MemVfs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_wal::vfs::{FsyncFailure, MemVfs, OpKind, OpenMode, StdVfs, Vfs, conformance};

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

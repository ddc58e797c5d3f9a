//! Hazards of the disk.

#![expect(clippy::unwrap_used, reason = "tests stop at the first surprise")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use quorate_sim::{CrashDisk, DiskConfig, DiskFault, FsyncFailure, SimDisk, SimVfs};
use quorate_wal::vfs::{OpenMode, Vfs, VfsFile};
use quorate_wal::{Config, Wal};

fn disk() -> SimDisk {
    SimDisk::new(7, DiskConfig::default())
}

fn create(vfs: &SimVfs, name: &str) -> std::io::Result<Arc<dyn VfsFile>> {
    vfs.open(name.as_ref(), OpenMode::CreateNew)
}

/// A node whose destructor tidies up: the kind that hides bugs.
struct Tidy {
    vfs: SimVfs,
    file: Arc<dyn VfsFile>,
    refused: Arc<std::sync::Mutex<Vec<bool>>>,
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let tried = [
            self.file.write_at(b"tidied", 0).map(|_| ()),
            self.file.sync_all(),
            self.file.set_len(0),
            self.vfs.rename("f".as_ref(), "g".as_ref()),
            self.vfs.remove("f".as_ref()),
            self.vfs.sync_dir("".as_ref()),
            create(&self.vfs, "h").map(|_| ()),
            self.vfs.lock("LOCK".as_ref()).map(|_| ()),
            self.vfs.create_dir_all("d".as_ref()),
            self.file.read_at(&mut [0], 0).map(|_| ()),
            self.vfs.entropy().map(|_| ()),
        ];
        self.refused.lock().unwrap().extend(tried.iter().map(Result::is_err));
    }
}

/// H7: destructors of a killed node write to the disk.
#[test]
fn h07_destructors_of_a_dead_process_come_to_nothing() {
    for how in [CrashDisk::KeepAll, CrashDisk::LoseUnsynced, CrashDisk::Random] {
        let disk = disk();
        let vfs = disk.vfs();
        let file = create(&vfs, "f").unwrap();
        file.write_at(b"text", 0).unwrap();
        file.sync_all().unwrap();
        vfs.sync_dir("".as_ref()).unwrap();
        let refused = Arc::default();
        let node = Tidy { vfs, file, refused: Arc::clone(&refused) };
        disk.crash(how);
        let (files, hash) = (disk.files(), disk.trace_hash());
        drop(node);
        assert_eq!(*refused.lock().unwrap(), [true; 11]);
        assert_eq!((disk.files(), disk.trace_hash()), (files, hash), "nothing happened");
        assert_eq!(disk.read_durable("f").unwrap(), b"text");
        assert_eq!(disk.stats().after_death, 11);
    }
    // A real one: a log that is dropped alive syncs what was staged; dropped dead it does not.
    let disk = disk();
    let config = Config::embedded().segment_bytes(64 << 10).batch_bytes_max(16 << 10);
    let (wal, _) =
        Wal::open_on(Arc::new(disk.vfs()), Path::new("log"), config.build().unwrap(), None)
            .unwrap();
    let staged = wal.stage(quorate_wal::Batch::new().record(b"x"), quorate_wal::Ack::Durable);
    disk.crash(CrashDisk::LoseUnsynced);
    let before = disk.files();
    drop(staged);
    drop(wal);
    assert_eq!(disk.files(), before);
}

/// H8: crashes only between events never tear a write sequence.
#[test]
fn h08_a_crash_in_the_middle_of_a_handler_tears_its_writes() {
    // Two blocks that are only right together, written by one handler.
    let handler = |vfs: &SimVfs| -> std::io::Result<()> {
        let file = vfs.open("f".as_ref(), OpenMode::Write)?;
        file.write_at(&[2; 512], 0)?;
        file.write_at(&[2; 512], 512)?;
        file.sync_data()
    };
    let start = || {
        let disk = disk();
        let file = create(&disk.vfs(), "f").unwrap();
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync_all().unwrap();
        disk.vfs().sync_dir("".as_ref()).unwrap();
        disk
    };
    let blocks = |disk: &SimDisk| {
        let bytes = disk.read_durable("f").unwrap();
        (bytes[0], bytes[512])
    };
    let (mut between, mut inside) = (BTreeSet::new(), BTreeSet::new());
    for how in [CrashDisk::LoseUnsynced, CrashDisk::KeepAll] {
        for done in [false, true] {
            let disk = start();
            if done {
                handler(&disk.vfs()).unwrap();
            }
            disk.crash(how);
            between.insert(blocks(&disk));
        }
        for n in 1.. {
            let disk = start();
            disk.crash_at_operation(n);
            let finished = handler(&disk.vfs()).is_ok();
            assert_eq!(disk.is_dying(), !finished);
            if finished {
                break;
            }
            inside.extend(disk.crash_states(99).map(|state| blocks(&state)));
        }
    }
    assert_eq!(between, BTreeSet::from([(1, 1), (2, 2)]), "the bug would never be found");
    assert_eq!(inside, BTreeSet::from([(1, 1), (1, 2), (2, 1), (2, 2)]));
}

/// H9: directory entries treated as durable with the file.
#[test]
fn h09_a_name_is_not_durable_with_its_file() {
    let disk = disk();
    let vfs = disk.vfs();
    vfs.create_dir_all("d".as_ref()).unwrap();
    let file = create(&vfs, "d/f").unwrap();
    file.write_at(b"text", 0).unwrap();
    file.sync_all().unwrap();
    let losing = || disk.crash_states(99).filter(|d| d.read_durable("d/f").is_err()).count();
    assert!(losing() > 0, "neither the file nor its directory has a name");
    vfs.sync_dir("d".as_ref()).unwrap();
    assert!(losing() > 0, "the directory has none");
    vfs.sync_dir("".as_ref()).unwrap();
    assert_eq!(losing(), 0);
    // The same for a rename and a removal, and a rename does not bring the data along.
    vfs.rename("d/f".as_ref(), "d/g".as_ref()).unwrap();
    file.write_at(b"TEXT", 0).unwrap();
    let found: BTreeSet<_> = disk
        .crash_states(99)
        .map(|d| (d.files()[0].0.clone(), d.read_durable(&d.files()[0].0).unwrap()[0]))
        .collect();
    assert_eq!(found.len(), 4, "each name with each content: {found:?}");
    vfs.remove("d/g".as_ref()).unwrap();
    file.sync_all().unwrap();
    assert!(disk.crash_states(99).any(|d| !d.files().is_empty()), "the removal may be lost");
}

/// H10: fsync error modelled as "try again".
#[test]
fn h10_a_sync_that_succeeds_after_a_failed_one_proves_nothing() {
    let retried = |model| {
        let disk = disk();
        let file = create(&disk.vfs(), "f").unwrap();
        disk.vfs().sync_dir("".as_ref()).unwrap();
        disk.inject(DiskFault::SyncError(model));
        file.write_at(b"text", 0).unwrap();
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        disk.crash(CrashDisk::LoseUnsynced);
        disk.read_durable("f").unwrap()
    };
    assert_eq!(retried(FsyncFailure::MarkClean), b"", "the pages were marked clean");
    assert_eq!(retried(FsyncFailure::DropPages), b"", "the pages were dropped");
    assert_eq!(retried(FsyncFailure::KeepDirty), b"text", "the one model where it works");
}

/// H29: memory grows with virtual time, here with closed files, old lives and endless traces.
#[test]
fn h29_closed_files_and_old_lives_take_no_memory() {
    let config = DiskConfig::instant().stored_bytes_max(1 << 20).build().unwrap();
    let disk = SimDisk::new(7, config);
    let mut dead = Vec::new();
    for life in 0..400_u32 {
        let vfs = disk.vfs();
        for n in 0..4 {
            // 64 KiB in each: without forgetting, 1 MiB were reached in the fourth life.
            let name = format!("{life}-{n}");
            let file = create(&vfs, &name).unwrap();
            file.write_at(&vec![1; 64 << 10], 0).unwrap();
            file.sync_all().unwrap();
            vfs.sync_dir("".as_ref()).unwrap();
            vfs.remove(name.as_ref()).unwrap();
            // One of four stays open, and its process dies with it.
            if n == 0 {
                dead.push(file);
            }
        }
        vfs.sync_dir("".as_ref()).unwrap();
        disk.crash(if life % 2 == 0 { CrashDisk::KeepAll } else { CrashDisk::Random });
    }
    assert_eq!((disk.limit(), disk.files()), (None, vec![]));
    assert!(dead.iter().all(|file| file.len().is_err()));
    assert!(disk.trace_tail(usize::MAX).lines().count() <= 64);
    // Nor does a process that never syncs, nor one that never closes a name.
    let file = create(&disk.vfs(), "f").unwrap();
    for n in 0..200_000_u64 {
        file.write_at(b"again and again", n % 100).unwrap();
    }
    for _ in 0..5_000 {
        create(&disk.vfs(), "g").unwrap();
        disk.vfs().remove("g".as_ref()).unwrap();
    }
    let units = disk.snapshot().crash(CrashDisk::KeepAll).units;
    assert!(units < 60_000, "{units}");
    assert_eq!(disk.limit(), None);
}

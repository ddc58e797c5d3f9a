//! Processes come and go; the disk stays.

use std::io::ErrorKind;

use quorate_sim::{CrashDisk, DirModel, DiskConfig, DiskFault, SimDisk, SimVfs};
use quorate_wal::vfs::{OpenMode, Vfs};

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(seed, DiskConfig::default())
}

/// A process that puts a record into a file, by the book.
fn store(vfs: &SimVfs, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    vfs.create_dir_all("d".as_ref())?;
    vfs.sync_dir("".as_ref())?;
    let new = std::path::Path::new("d/new");
    let file = vfs.open(new, OpenMode::CreateNew)?;
    file.write_at(bytes, 0)?;
    file.sync_all()?;
    vfs.rename(new, &std::path::Path::new("d").join(name))?;
    vfs.sync_dir("d".as_ref())
}

#[test]
fn a_process_dies_at_each_of_its_operations() {
    let whole = disk(1);
    store(&whole.vfs(), "f", b"text").unwrap();
    let operations = whole.operations();
    assert_eq!(operations, 7);
    for n in 1..=operations {
        let disk = disk(1);
        disk.crash_at_operation(n);
        store(&disk.vfs(), "f", b"text").unwrap_err();
        assert!(disk.is_dying());
        assert!(disk.vfs().list("".as_ref()).is_err(), "dying, it cannot even look");
        assert_eq!(disk.operations(), n);
        // What it had done is there, and nothing of what it had not.
        let killed = disk.snapshot();
        killed.crash(CrashDisk::KeepAll);
        let files = killed.files();
        let names: Vec<_> =
            files.iter().map(|(path, len)| (path.to_str().unwrap(), *len)).collect();
        let expected: &[(&str, u64)] = match n {
            1..=3 => &[],
            4 => &[("d/new", 0)],
            5 | 6 => &[("d/new", 4)],
            _ => &[("d/f", 4)],
        };
        assert_eq!(names, expected, "died at {n}");
        for state in disk.crash_states(999) {
            // Never a name with half a text.
            let found = state.read_durable("d/f");
            assert!(found.is_err() || found.unwrap() == b"text", "died at {n}");
        }
    }
    whole.crash_at_operation(1);
    assert_eq!(whole.stats().crashes_at_operation.effective, 0, "not reached yet");
    whole.crash(CrashDisk::LoseUnsynced);
    assert!(!whole.is_dying() && whole.vfs().list("d".as_ref()).is_ok());
    assert_eq!(whole.read_durable("d/f").unwrap(), b"text");
}

#[test]
fn locks_end_with_their_process() {
    let disk = disk(1);
    let vfs = disk.vfs();
    let held = vfs.lock("LOCK".as_ref()).unwrap();
    assert_eq!(vfs.lock("LOCK".as_ref()).unwrap_err().kind(), ErrorKind::WouldBlock);
    disk.crash(CrashDisk::KeepAll);
    let next = disk.vfs();
    let mine = next.lock("LOCK".as_ref()).unwrap();
    drop(held);
    assert!(next.lock("LOCK".as_ref()).is_err(), "the dead process does not free it");
    drop(mine);
    next.lock("LOCK".as_ref()).unwrap();
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed: u64| {
        let disk = disk(seed);
        let vfs = disk.vfs();
        let entropy = vfs.entropy().unwrap();
        store(&vfs, "f", b"text").unwrap();
        vfs.open("g".as_ref(), OpenMode::CreateNew).unwrap().write_at(&[7; 3000], 0).unwrap();
        let report = disk.crash(CrashDisk::Random);
        (entropy, disk.take_cost(), disk.stats(), disk.trace_hash(), report, disk.files())
    };
    assert_eq!(run(1), run(1));
    let hashes: std::collections::BTreeSet<_> = (0..50).map(|seed| run(seed).4.lost).collect();
    assert!(hashes.len() > 4, "seeds lose different things: {hashes:?}");
}

#[test]
fn the_hash_tells_what_was_done_apart() {
    let hash = |act: &dyn Fn(&SimDisk)| {
        let disk = disk(1);
        let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew).unwrap();
        file.write_at(b"text", 0).unwrap();
        act(&disk);
        disk.trace_hash()
    };
    let write = |disk: &SimDisk, bytes: &[u8], at: u64| {
        let file = disk.vfs().open("f".as_ref(), OpenMode::Write).unwrap();
        let _ = file.write_at(bytes, at);
    };
    let mut hashes = vec![
        hash(&|_| ()),
        hash(&|disk| write(disk, b"a", 0)),
        hash(&|disk| write(disk, b"b", 0)),
        hash(&|disk| write(disk, b"a", 1)),
        hash(&|disk| write(disk, b"aa", 0)),
        hash(&|disk| assert_eq!(disk.crash(CrashDisk::KeepAll).lost, 0)),
        hash(&|disk| disk.vfs().rename("f".as_ref(), "g".as_ref()).unwrap()),
        hash(&|disk| drop(disk.vfs().rename("g".as_ref(), "f".as_ref()))),
        hash(&|disk| {
            disk.inject(DiskFault::NoSpace { capacity_bytes: 0 });
            write(disk, b"a", 9);
        }),
    ];
    let all = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), all);
}

#[test]
fn the_trace_shows_the_newest_operations() {
    let config = DiskConfig::ssd().trace_operations_max(3).build().unwrap();
    let disk = SimDisk::new(1, config);
    store(&disk.vfs(), "f", b"text").unwrap();
    disk.vfs().remove("nothing".as_ref()).unwrap_err();
    let expected = "6 Rename d/new 0+0\n\
                    7 SyncDir d 0+0\n\
                    8 Remove nothing 0+0: entity not found\n";
    assert_eq!(disk.trace_tail(99), expected);
    assert_eq!(disk.trace_tail(1), expected.lines().last().unwrap().to_owned() + "\n");
    let quiet = SimDisk::new(1, DiskConfig::ssd().trace_operations_max(0).build().unwrap());
    store(&quiet.vfs(), "f", b"text").unwrap();
    quiet.vfs().remove("nothing".as_ref()).unwrap_err();
    assert_eq!((quiet.trace_tail(9), quiet.trace_hash()), (String::new(), disk.trace_hash()));
}

#[test]
fn snapshots_and_crash_states_disturb_nobody() {
    let config = DiskConfig::ssd().dir_model(DirModel::Reordered).build().unwrap();
    let disk = SimDisk::new(1, config);
    let vfs = disk.vfs();
    let file = vfs.open("f".as_ref(), OpenMode::CreateNew).unwrap();
    file.write_at(b"text", 0).unwrap();
    let snapshot = disk.snapshot();
    let mut states = disk.crash_states(99);
    file.write_at(b"TEXT", 0).unwrap();
    vfs.remove("f".as_ref()).unwrap();
    assert_eq!(snapshot.files(), [("f".into(), 4)]);
    assert!(states.all(|state| state.files().len() <= 1));
    // A state is a disk like others: it lives, crashes and fails.
    let state = snapshot.crash_states(99).last().unwrap();
    assert_eq!(state.read_durable("f").unwrap(), b"text");
    state.inject(DiskFault::StaleSector);
    state.vfs().remove("f".as_ref()).unwrap();
    state.crash(CrashDisk::LoseUnsynced);
    assert_eq!(state.files().len(), 1);
    file.write_at(b"still mine", 0).unwrap();
}

#[test]
fn threads_may_share_it() {
    let disk = disk(1);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let vfs = disk.vfs();
            scope.spawn(move || {
                let name = format!("f{n}");
                let file = vfs.open(name.as_ref(), OpenMode::CreateNew).unwrap();
                for at in 0..100 {
                    file.write_at(&[n; 100], at * 100).unwrap();
                    file.sync_data().unwrap();
                }
            });
        }
    });
    assert_eq!(disk.files().iter().map(|(_, len)| *len).collect::<Vec<_>>(), [10_000; 4]);
    assert_eq!(disk.stats().writes, 400);
}

//! What a power cut may leave of a disk in memory, state by state.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_wal::vfs::{DirOrder, MemVfs, OpenMode, Vfs, VfsFile};

const F: &str = "f";

fn create(disk: &MemVfs, name: &str) -> Arc<dyn VfsFile> {
    disk.open(Path::new(name), OpenMode::CreateNew).unwrap()
}

/// A durable file of so many bytes of 1.
fn durable(disk: &MemVfs, bytes: usize) -> Arc<dyn VfsFile> {
    let file = create(disk, F);
    file.write_at(&vec![1; bytes], 0).unwrap();
    file.sync_all().unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    file
}

/// The first byte of each sector, for every state.
fn sectors(disk: &MemVfs) -> BTreeSet<Vec<u8>> {
    let states = disk.power_cut().states(4096);
    assert!(states.is_exhaustive());
    let heads = |bytes: Vec<u8>| bytes.chunks(512).map(|sector| sector[0]).collect();
    states.map(|left| heads(left.disk.contents(Path::new(F)).unwrap())).collect()
}

#[test]
fn a_sector_keeps_the_old_the_first_or_the_second_write() {
    let disk = MemVfs::new();
    let file = durable(&disk, 512);
    file.write_at(&[2; 512], 0).unwrap();
    file.write_at(&[3; 512], 0).unwrap();
    assert_eq!(sectors(&disk), BTreeSet::from([vec![1], vec![2], vec![3]]));
    assert_eq!((disk.power_cut().units(), disk.power_cut().count()), (2, Some(3)));
    // The second image of a sector has what the first write put into it.
    let disk = MemVfs::new();
    let file = durable(&disk, 512);
    file.write_at(&[2; 1], 0).unwrap();
    file.write_at(&[3; 1], 1).unwrap();
    let found: BTreeSet<Vec<u8>> = disk
        .crash_states(99)
        .iter()
        .map(|d| d.contents(Path::new(F)).unwrap()[..2].to_vec())
        .collect();
    assert_eq!(found, BTreeSet::from([vec![1, 1], vec![2, 1], vec![2, 3]]));
}

#[test]
fn a_size_comes_apart_from_what_is_in_it() {
    let disk = MemVfs::new();
    let file = durable(&disk, 512);
    file.write_at(&[2; 1024], 512).unwrap();
    let all = [&[1][..], &[1, 0], &[1, 2], &[1, 0, 0], &[1, 0, 2], &[1, 2, 0], &[1, 2, 2]];
    assert_eq!(sectors(&disk), all.iter().map(|state| state.to_vec()).collect());
    // Cut and grown again: nothing of what was cut comes back into the last size.
    file.set_len(512).unwrap();
    file.set_len(1536).unwrap();
    let states = sectors(&disk);
    assert_eq!(states, all.iter().map(|state| state.to_vec()).collect());
    let whole = disk.power_cut();
    let last = whole.nth(whole.count().unwrap() - 1).unwrap();
    assert_eq!(last.lost, 0);
    assert_eq!(last.disk.contents(Path::new(F)).unwrap()[512..], [0; 1024]);
}

#[test]
fn a_torn_sector_has_pieces_of_64_bytes() {
    let disk = MemVfs::new();
    let file = durable(&disk, 512);
    file.write_at(&[2; 512], 0).unwrap();
    assert_eq!(disk.power_cut().units(), 1);
    disk.torn_sectors(true);
    assert_eq!((disk.power_cut().units(), disk.power_cut().count()), (8, Some(256)));
    let states = disk.crash_states(300);
    let torn = |d: &MemVfs| {
        let bytes = d.contents(Path::new(F)).unwrap();
        bytes.chunks(64).all(|piece| piece.iter().all(|byte| *byte == piece[0]))
    };
    assert!(states.iter().all(torn));
    assert_eq!(states[0].crash_states(9).len(), 1, "the crash left nothing unsynced");
}

#[test]
fn lost_sectors_of_a_grown_file_may_show_what_was_removed() {
    let disk = MemVfs::new();
    disk.stale_blocks(true);
    create(&disk, "old").write_at(&[9; 2048], 0).unwrap();
    disk.remove(Path::new("old")).unwrap();
    let file = durable(&disk, 512);
    file.write_at(&[2; 512], 512).unwrap();
    assert_eq!(sectors(&disk), BTreeSet::from([vec![1], vec![1, 0], vec![1, 2], vec![1, 9]]));
    // An overwritten sector keeps its own old bytes.
    file.sync_data().unwrap();
    file.write_at(&[3; 512], 512).unwrap();
    assert_eq!(sectors(&disk), BTreeSet::from([vec![1, 2], vec![1, 3]]));
    // Cut blocks are given up as well; the next life goes on with them.
    file.set_len(512).unwrap();
    file.sync_data().unwrap();
    let disk = disk.kill();
    let file = disk.open(Path::new(F), OpenMode::Write).unwrap();
    file.set_len(0).unwrap();
    file.sync_data().unwrap();
    file.write_at(&[4; 512], 0).unwrap();
    assert!(sectors(&disk).contains(&vec![1]), "{:?}", sectors(&disk));
}

#[test]
fn a_misdirected_write_shows_after_the_crash() {
    let disk = MemVfs::new();
    let file = durable(&disk, 1024);
    disk.misdirect_write(1);
    file.write_at(&[2; 512], 0).unwrap();
    assert_eq!(disk.contents(Path::new(F)).unwrap()[..512], [2; 512]);
    assert_eq!(sectors(&disk), BTreeSet::from([vec![1, 1], vec![1, 2]]));
    file.sync_data().unwrap();
    // Beyond the end, or before the beginning, it is lost; but the file is as long as it was said.
    for sectors in [9, -9] {
        disk.misdirect_write(sectors);
        file.write_at(&[3; 512], 1024).unwrap();
        file.sync_data().unwrap();
    }
    assert_eq!(sectors(&disk), BTreeSet::from([vec![1, 2, 0]]));
}

#[test]
fn every_state_has_its_number() {
    for order in [DirOrder::Ordered, DirOrder::Reordered] {
        let disk = MemVfs::new();
        disk.dir_order(order);
        durable(&disk, 512).write_at(&[2; 1500], 10).unwrap();
        create(&disk, "g");
        create(&disk, "h");
        let cut = disk.power_cut();
        let count = cut.count().unwrap();
        let show = |disk: &MemVfs| {
            let text = |(path, _): (PathBuf, u64)| (disk.contents(&path).unwrap(), path);
            disk.files().into_iter().map(text).collect::<Vec<_>>()
        };
        let numbered: Vec<_> = (0..count).map(|n| show(&cut.nth(n).unwrap().disk)).collect();
        assert!(cut.nth(count).is_none());
        assert_eq!(numbered.iter().collect::<BTreeSet<_>>().len(), numbered.len(), "no two alike");
        let listed: Vec<_> = disk.power_cut().states(4096).map(|left| show(&left.disk)).collect();
        assert_eq!(listed, numbered);
        let few: Vec<_> = disk.power_cut().states(5).map(|left| show(&left.disk)).collect();
        assert_eq!((few.len(), &few[0]), (5, &numbered[0]));
        assert_eq!(few.last(), numbered.last(), "spread over all of them");
        for max in [1, 2, numbered.len() - 1] {
            let some = disk.power_cut().states(max);
            assert!(!some.is_exhaustive());
            assert_eq!(some.count(), max);
        }
        assert_eq!(show(&cut.nothing_kept().disk), numbered[0]);
        assert_eq!(cut.nothing_kept().lost, cut.units());
        // Each of them is drawn sooner or later.
        let drawn: BTreeSet<_> = (0..20_000).map(|seed| show(&disk.crash(seed))).collect();
        assert_eq!(drawn, numbered.into_iter().collect());
    }
}

#[test]
fn what_is_in_a_file_without_a_name_makes_no_states() {
    let disk = MemVfs::new();
    create(&disk, F).write_at(&[1; 1024], 0).unwrap();
    let states = disk.power_cut().states(99);
    let found: Vec<_> = states.map(|left| left.disk.contents(Path::new(F)).ok()).collect();
    assert_eq!(found.len(), 8, "seven with the name, one without");
    assert_eq!(found.iter().filter(|content| content.is_none()).count(), 1);
    // One of two states is not all of them.
    let disk = MemVfs::new();
    create(&disk, F);
    assert!(!disk.power_cut().states(1).is_exhaustive());
    assert!(disk.power_cut().states(2).is_exhaustive());
}

#[test]
fn files_that_nobody_can_reach_are_forgotten() {
    let disk = MemVfs::new();
    let kept = create(&disk, "kept");
    kept.write_at(&[1; 4096], 0).unwrap();
    for _ in 0..10_000 {
        let file = create(&disk, "temporary");
        file.write_at(&[2; 4096], 0).unwrap();
        drop(file);
        disk.remove(Path::new("temporary")).unwrap();
    }
    assert!(disk.stored() < 5_000 * 4096, "never synced: {}", disk.stored());
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(disk.stored(), 4096);
    // An open file stays until it is closed, a name until its removal is durable.
    disk.remove(Path::new("kept")).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    assert_eq!(kept.len().unwrap(), 4096);
    drop(kept);
    assert_eq!(disk.stored(), 0);
    drop(durable(&disk, 100));
    disk.remove(Path::new(F)).unwrap();
    assert!(disk.crash_states(9).iter().any(|d| d.contents(Path::new(F)).is_ok()));
    let id = disk.crash_states(1)[0].file_id(Path::new(F)).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    create(&disk, F);
    assert_ne!(disk.file_id(Path::new(F)).unwrap(), id, "a number is given once");
}

#[test]
fn what_is_durable_can_be_read_beside_what_is_seen() {
    let disk = MemVfs::new();
    disk.create_dir_all(Path::new("d")).unwrap();
    let path = Path::new("d/f");
    let file = create(&disk, "d/f");
    file.write_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("d")).unwrap();
    assert!(disk.durable_contents(path).is_err(), "the directory has no name yet");
    disk.sync_dir(Path::new("")).unwrap();
    file.write_at(b"NEW", 0).unwrap();
    assert_eq!(disk.durable_contents(path).unwrap(), b"new");
    disk.remove(path).unwrap();
    assert_eq!(disk.durable_contents(path).unwrap(), b"new");
    assert_eq!(disk.files(), []);
}

//! Hazards of the design (§11), continued: files, format, streams and truncation.

use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpKind, OpenMode, Vfs, VfsFile};
use quorate_wal::{
    Ack, Batch, Health, Lsn, OpenError, ReadBound, ReadError, Slot, Tail, Wal, WriteError,
};

use crate::damage::place_of;
use crate::hazards::{FRAME_HEADER, corruption, singles, smash};
use crate::rig::{Rng, dir, group, open, open_with, records, segments, small};
use crate::sync_errors::guarded;

/// Appends until the log has rolled `rolls` times.
fn roll(wal: &Wal, rolls: u64) {
    let to = wal.stats().rolls + rolls;
    while wal.stats().rolls < to {
        wal.append_blocking(&[0xab; 900]).unwrap();
    }
}

/// Waits until the maintenance thread has deleted segments.
fn reclaimed(wal: &Wal, least: u64) {
    let wal = wal.clone();
    guarded("reclaim", move || {
        while wal.stats().unlinked + wal.stats().recycled < least {
            std::thread::yield_now();
        }
    });
}

#[test]
fn h34_a_short_leftover_is_removed_not_used() {
    let (disk, _) = singles(3);
    for name in ["00000000000000000009.qwal.tmp", "MANIFEST.tmp"] {
        let file = disk.open(&dir().join(name), OpenMode::CreateNew).unwrap();
        file.write_at(&[0; 77], 0).unwrap();
    }
    let (wal, report) = open(&disk);
    assert!(report.foreign.is_empty() && report.damage.is_empty());
    roll(&wal, 3);
    drop(wal);
    let left = disk.list(dir()).unwrap();
    assert!(left.iter().all(|i| i.name != "MANIFEST.tmp"), "{left:?}");
    assert!(segments(&disk).iter().all(|p| disk.contents(p).unwrap().len() == 16 << 10));
}

#[test]
fn h35_a_segment_is_announced_before_it_is_used() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for i in 0..60 {
        wal.append_blocking(&[1; 700]).unwrap();
        let manifest = disk.contents(&dir().join("MANIFEST")).unwrap();
        let newest = |at: usize| u64::from_le_bytes(manifest[at + 48..at + 56].try_into().unwrap());
        let announced = newest(0).max(newest(4096));
        for (n, path) in segments(&disk).iter().enumerate() {
            let used = disk.contents(path).unwrap()[4096 + 40..].iter().any(|&b| b != 0);
            assert!(!used || (n as u64) < announced, "append {i}: segment {n}");
        }
    }
}

#[test]
fn h36_a_wild_length_allocates_nothing_and_is_damage() {
    let (disk, all) = singles(4);
    // stored_len of the second frame; its header starts 43 bytes before the record's bytes.
    smash(&disk, &all[1], -43 + 8, &[0xff; 4]);
    assert_eq!(corruption(&disk).damage[0].lost.from, Lsn::new(2));
    // A good checksum over a wild length: the frame is refused by its bounds.
    let (disk, _) = crate::golden::log_with_payload(&[1, 0xff, 0xff, 0xff, 0xff, 0x0f], 1);
    let (_, report) = open(&disk);
    assert!(matches!(report.tail, Tail::Unverifiable { .. }), "{report:?}");
}

#[test]
fn h37_zeros_are_no_frame_and_no_header() {
    let (disk, _) = singles(1);
    let path = segments(&disk)[0].clone();
    disk.set_contents(&path, &vec![0; 16 << 10]).unwrap();
    let report = corruption(&disk);
    assert!(!report.damage.is_empty());
    let manifest = dir().join("MANIFEST");
    let (disk, _) = singles(1);
    disk.set_contents(&manifest, &[0; 8192]).unwrap();
    assert_eq!(corruption(&disk).damage[0].kind, quorate_wal::DamageKind::Manifest);
}

#[test]
fn h38_an_unknown_codec_is_refused() {
    let (disk, bytes) = crate::golden::log_with_flags(1);
    match open_with(&disk, small()) {
        Err(OpenError::Unsupported { what: "frame flags", found: 1 }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.contents(&segments(&disk)[0]).unwrap(), bytes, "nothing touched");
}

#[test]
fn h39_a_payload_that_imitates_frames_is_a_payload() {
    let (disk, _) = singles(3);
    let image = disk.contents(&segments(&disk)[0]).unwrap();
    let (wal, _) = open(&disk);
    // Whole frames of this very log, as records: they stand at another offset.
    for at in (4096..6000).step_by(8) {
        wal.append_blocking(&image[at..at + 300]).unwrap();
    }
    let n = wal.marks().durable.as_u64();
    drop(wal);
    let (wal, report) = open(&disk.kill());
    assert_eq!((report.durable.as_u64(), report.tail), (n, Tail::Clean));
    drop(wal);
    // Also behind damage, where headers are searched for.
    let needle = &image[4096 + 40 * 8..][..300];
    let copy = disk.kill();
    let path = &segments(&copy)[1];
    let mut bytes = copy.contents(path).unwrap();
    let at = bytes.windows(300).position(|w| w == needle).unwrap();
    bytes[at - 44..at].fill(0);
    copy.set_contents(path, &bytes).unwrap();
    let report = corruption(&copy);
    let lost = report.damage[0].lost;
    assert_eq!(lost.to, Some(lost.from), "the hole ends at the next real frame");
}

#[test]
fn h41_foreign_files_and_odd_names_are_left_alone() {
    let (disk, _) = singles(3);
    let odd = ["notes.txt", "1.qwal", "0000000000000000000a.qwal", "99999999999999999999.qwal"];
    for name in odd {
        disk.open(&dir().join(name), OpenMode::CreateNew).unwrap();
    }
    disk.create_dir_all(&dir().join("sub")).unwrap();
    let (wal, report) = open(&disk);
    assert_eq!(report.foreign.len(), odd.len() + 1, "{report:?}");
    assert_eq!(report.durable, Lsn::new(3));
    drop(wal);
    assert!(odd.iter().all(|name| disk.contents(&dir().join(name)).is_ok()));
}

#[test]
fn h42_a_frame_copied_within_the_file_is_not_accepted() {
    let (disk, all) = singles(4);
    let (path, from) = place_of(&disk, &all[1]);
    let (_, to) = place_of(&disk, &all[3]);
    let mut bytes = disk.contents(&path).unwrap();
    bytes.copy_within(from - FRAME_HEADER - 3..from + 205, to - FRAME_HEADER - 3);
    disk.set_contents(&path, &bytes).unwrap();
    let (wal, report) = open(&disk);
    assert!(matches!(report.tail, Tail::Unverifiable { .. }), "{report:?}");
    assert_eq!(report.durable, Lsn::new(3));
    assert!(wal.get(Lsn::new(4)).is_err());
}

#[test]
fn h43_a_truncated_suffix_stays_truncated() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for i in 0..10_u8 {
        wal.append_blocking(&[i]).unwrap();
    }
    wal.truncate_suffix(Lsn::new(6)).unwrap().wait().unwrap();
    let new = wal.append_blocking(b"new").unwrap();
    assert_eq!(new, Lsn::new(12), "numbers are not given out again");
    let left = |wal: &Wal| -> Vec<u64> {
        wal.read(Lsn::new(1), ReadBound::Durable).map(|r| r.unwrap().lsn.as_u64()).collect()
    };
    for seed in 0..20 {
        let (wal, _) = open(&disk.crash(seed));
        assert_eq!(left(&wal), [1, 2, 3, 4, 5, 12]);
        assert!(matches!(wal.get(Lsn::new(7)), Err(ReadError::NotARecord(_))));
        assert!(matches!(wal.get(Lsn::new(11)), Err(ReadError::NotARecord(_))));
    }
}

#[test]
fn h44_the_table_equals_its_replay_after_every_truncation() {
    let disk = MemVfs::new();
    // Carried blocks would be staged and not yet durable when the disk is cut off.
    let (wal, _) = open_with(&disk, small().carry_live_percent_max(0)).unwrap();
    let g = group(1);
    let mut rng = Rng(44);
    for i in 0..150_u64 {
        let mut batch = Batch::new();
        let bounds = wal.stream(g).bounds();
        match rng.below(4) {
            0 if bounds.end > bounds.start => {
                let first = bounds.start + rng.below(bounds.end - bounds.start);
                batch.replace(g, first, 3, i, &[1; 60]);
            }
            1 => {
                batch.keep_from(g, bounds.start + rng.below(4));
            }
            _ => {
                batch.extend(g, bounds.end, 2, i, &[2; 90]);
            }
        }
        wal.commit_blocking(&batch).unwrap();
        let state = disk.crash(i);
        let (again, _) = open_with(&state, small().carry_live_percent_max(0)).unwrap();
        let (a, b) = (wal.stream(g), again.stream(g));
        assert_eq!((a.bounds(), a.blocks()), (b.bounds(), b.blocks()), "step {i}");
    }
}

#[test]
fn h45_nothing_is_deleted_before_the_low_mark_is_durable() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    roll(&wal, 3);
    let keep = wal.marks().durable;
    wal.truncate_prefix(keep).unwrap();
    reclaimed(&wal, 2);
    for seed in 0..30 {
        let (wal, report) = open(&disk.crash(seed));
        assert!(report.damage.is_empty());
        assert_eq!(wal.marks().low, keep);
        assert!(wal.get(keep).is_ok());
    }
    // The manifest fails: the log stops, no file is gone.
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    roll(&wal, 2);
    let before = segments(&disk).len();
    let removes = disk.count(OpKind::Remove);
    disk.power_off_after(2);
    wal.truncate_prefix(wal.marks().durable).unwrap();
    drop(wal);
    assert!(disk.count(OpKind::Remove) <= removes + 1 && segments(&disk.kill()).len() >= before);
    assert!(open(&disk.crash(1)).1.damage.is_empty());
}

#[test]
fn h47_metadata_is_not_lost_with_its_segment() {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, small().carry_live_percent_max(0)).unwrap();
    let (g, vote) = (group(1), Slot::new(0).unwrap());
    wal.commit_blocking(Batch::new().meta(g, vote, b"term 7")).unwrap();
    roll(&wal, 3);
    wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64() + 1)).unwrap();
    wal.sync().unwrap().wait().unwrap();
    roll(&wal, 1);
    let gone = wal.stats().unlinked + wal.stats().recycled;
    assert_eq!(gone, 0, "the first segment holds the only copy of the vote");
    let held = wal.lagging(1);
    assert_eq!((held[0].stream, held[0].bytes), (g, 6));
    // Written anew elsewhere, the old segments go, and the newest value stays.
    wal.commit_blocking(Batch::new().meta(g, vote, b"term 8")).unwrap();
    roll(&wal, 1);
    reclaimed(&wal, 3);
    for seed in 0..10 {
        let (wal, _) = open(&disk.crash(seed));
        assert_eq!(wal.stream(g).meta(vote).unwrap(), &b"term 8"[..]);
        assert_eq!(wal.stream(g).health(), Health::Intact);
    }
}

#[test]
fn h47_the_low_mark_of_an_empty_stream_is_not_lost_with_its_segment() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let g = group(1);
    wal.commit_blocking(Batch::new().extend(g, 1, 10, 1, b"entries")).unwrap();
    wal.commit_blocking(Batch::new().keep_from(g, 11)).unwrap();
    roll(&wal, 3);
    wal.truncate_prefix(wal.marks().durable).unwrap();
    wal.sync().unwrap().wait().unwrap();
    reclaimed(&wal, 1);
    assert!(wal.stats().carried > 0, "the mark was written again before its segment went");
    let (wal, _) = open(&disk.crash(3));
    assert_eq!(wal.stream(g).bounds(), 11..11);
}

#[test]
fn h48_an_idle_stream_that_pins_the_log_is_named() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.commit_blocking(Batch::new().extend(group(5), 1, 1, 1, &[0; 123])).unwrap();
    roll(&wal, 3);
    let lagging = wal.lagging(1);
    assert_eq!(lagging.len(), 1);
    assert_eq!((lagging[0].segment, lagging[0].stream, lagging[0].bytes), (1, group(5), 123));
    wal.commit_blocking(Batch::new().drop_stream(group(5))).unwrap();
    assert!(wal.lagging(1).is_empty());
}

#[test]
fn h49_a_conflict_inside_a_block_cuts_it() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let g = group(1);
    wal.commit_blocking(Batch::new().extend(g, 1, 10, 1, b"0123456789")).unwrap();
    wal.commit_blocking(Batch::new().replace(g, 4, 2, 2, b"ab")).unwrap();
    for wal in [wal, open(&disk.kill()).0] {
        let mut out = Vec::new();
        assert_eq!(wal.stream(g).read(1..6, 1 << 20, &mut out).unwrap(), 6);
        assert_eq!(
            (out[0].live.clone(), out[0].count, &out[0].bytes[..]),
            (1..4, 10, &b"0123456789"[..])
        );
        assert_eq!((out[1].live.clone(), out[1].tag), (4..6, 2));
    }
}

#[test]
fn h51_a_reader_keeps_its_segment() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    roll(&wal, 3);
    let mut reader = wal.read(Lsn::new(1), ReadBound::Durable);
    reader.next().unwrap().unwrap();
    let end = wal.marks().durable;
    wal.truncate_prefix(end).unwrap();
    wal.sync().unwrap().wait().unwrap();
    wal.append_blocking(b"more").unwrap();
    assert_eq!(wal.stats().unlinked + wal.stats().recycled, 0, "pinned");
    drop(reader);
    reclaimed(&wal, 1);
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::Truncated { .. })));
}

#[test]
fn h53_the_lock_is_exclusive_and_its_file_stays() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    assert!(matches!(open_with(&disk, small()), Err(OpenError::Locked { .. })));
    wal.shutdown().wait().unwrap();
    assert!(disk.contents(&dir().join("LOCK")).is_ok());
    drop(open(&disk));
    // On the real file system, also within one process; the holder is named.
    let root = tempfile::tempdir().unwrap();
    let config = small().build().unwrap();
    let (_wal, _) = Wal::open(root.path(), config.clone()).unwrap();
    match Wal::open(root.path(), config) {
        Err(OpenError::Locked { holder }) => assert_eq!(holder, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[test]
fn h53_a_child_process_does_not_keep_the_lock() {
    let root = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(root.path(), small().build().unwrap()).unwrap();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    wal.shutdown().wait().unwrap();
    let again = Wal::open(root.path(), small().build().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(again.is_ok(), "{again:?}");
}

#[test]
fn h55_dropping_the_last_handle_stores_what_was_staged() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    drop(wal.stage(&records(&[b"staged"]), Ack::Staged).unwrap());
    drop(wal);
    for seed in 0..10 {
        assert_eq!(open(&disk.crash(seed)).1.durable, Lsn::new(1));
    }
}

#[test]
fn h56_durable_means_synced_and_sync_syncs() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    for i in 0..30_u64 {
        let before = disk.count(OpKind::SyncData);
        if i % 3 == 0 {
            wal.stage(&records(&[b"w"]), Ack::Written).unwrap().wait().unwrap();
            assert!(wal.marks().durable < wal.marks().written);
            wal.sync().unwrap().wait().unwrap();
        } else {
            wal.append_blocking(b"d").unwrap();
        }
        assert!(disk.count(OpKind::SyncData) > before);
        assert_eq!(wal.marks().durable, Lsn::new(i + 1));
        assert_eq!(open(&disk.crash(i)).1.durable, Lsn::new(i + 1));
    }
}

#[test]
fn a_damaged_frame_on_read_is_an_error_and_the_log_stays_open() {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    wal.append_blocking(&[5; 300]).unwrap();
    let (path, at) = place_of(&disk, &[5; 300]);
    let file: Arc<dyn VfsFile> = disk.open(&path, OpenMode::Write).unwrap();
    file.write_at(&[6], at as u64).unwrap();
    assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::Corruption(_))));
    let mut reader = wal.read(Lsn::new(1), ReadBound::Durable);
    assert!(matches!(reader.next(), Some(Err(ReadError::Corruption(_)))));
    assert!(reader.next().is_none());
    assert_eq!(wal.stats().verify_failures, 2);
    file.write_at(&[5], at as u64).unwrap();
    assert!(wal.get(Lsn::new(1)).is_ok());
    wal.append_blocking(b"goes on").unwrap();
    assert!(!matches!(wal.sync(), Err(WriteError::Poisoned(_))));
}

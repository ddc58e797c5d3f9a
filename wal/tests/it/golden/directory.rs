//! Directories that version 1 wrote, checked in: every later version opens them and shows the
//! same. What was written once is not written again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_wal::vfs::{MemVfs, OpenMode, StdVfs, Vfs};
use quorate_wal::{
    Align, Batch, ConfigBuilder, Health, Lsn, Prealloc, ReadError, Recovery, RecoveryReport,
    Replayed, Slot, Tail, Wal,
};

use super::{golden, hex};
use crate::reference::{Answer, Files, Item, read};
use crate::rig::{dir, group, manual, open_with, records, segments, settle};

fn home(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn config() -> ConfigBuilder {
    manual().carry_live_percent_max(50)
}

fn aligned() -> ConfigBuilder {
    manual().align(Align::Bytes512).prealloc(Prealloc::Grow)
}

fn roll(wal: &Wal, seed: u8) {
    let rolls = wal.stats().rolls;
    while wal.stats().rolls == rolls {
        wal.append_blocking(&[seed; 900]).unwrap();
        settle(wal);
    }
}

/// A log with every kind of record and frame that has no alignment.
fn make() -> MemVfs {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, config()).unwrap();
    let (g, gone, vote) = (group(300), group(301), Slot::new(3).unwrap());
    let mut batch = Batch::new();
    batch.record(b"first").extend(g, 7, 4, 5, b"four").meta(g, vote, b"m").keep_from(g, 8);
    wal.commit_blocking(batch.extend(gone, 1, 1, 1, b"dropped").meta(gone, vote, b"x")).unwrap();
    wal.commit_blocking(Batch::new().drop_stream(gone)).unwrap();
    roll(&wal, 1);
    // What is left of the first segment is carried, and its file given back.
    wal.truncate_prefix(Lsn::new(wal.marks().durable.as_u64())).unwrap();
    wal.sync().unwrap().wait().unwrap();
    settle(&wal);
    assert!(wal.stats().carried >= 2 && wal.stats().recycled + wal.stats().unlinked > 0);
    wal.commit_blocking(Batch::new().replace(g, 10, 2, 6, b"conflict").record(b"")).unwrap();
    let cut = wal.append_blocking(b"cut off").unwrap();
    wal.truncate_suffix(cut).unwrap().wait().unwrap();
    wal.advance_high(wal.marks().durable).unwrap();
    wal.commit_blocking(Batch::new().record(b"with a hint").extend(gone, 1, 1, 1, b"new")).unwrap();
    wal.commit_blocking(Batch::new().drop_stream(gone).keep_from(g, 8)).unwrap();
    let hurt = wal.append_blocking(&[0x5a; 50]).unwrap();
    wal.append_blocking(b"behind the hole").unwrap();
    wal.shutdown().wait().unwrap();
    // One record rots, and that is accepted.
    for path in segments(&disk) {
        let bytes = disk.contents(&path).unwrap();
        if let Some(at) = bytes.windows(50).position(|w| w == [0x5a; 50]) {
            disk.flip(&path, at as u64 * 8).unwrap();
        }
    }
    let (wal, report) = open_with(&disk, config().recovery(Recovery::Salvage)).unwrap();
    assert!(report.damage.len() == 1 && report.damage[0].lost.contains(hurt), "{report:?}");
    wal.accept_damage(&report).unwrap().wait().unwrap();
    settle(&wal);
    wal.commit_blocking(&records(&[b"last", b"of all"])).unwrap();
    wal.shutdown().wait().unwrap();
    disk
}

fn make_aligned() -> MemVfs {
    let disk = MemVfs::new();
    let (wal, _) = open_with(&disk, aligned()).unwrap();
    for n in 1..=3_u8 {
        wal.append_blocking(&vec![n; 100 * usize::from(n)]).unwrap();
    }
    wal.shutdown().wait().unwrap();
    disk
}

fn shown(bytes: &[u8]) -> String {
    let head = bytes[..bytes.len().min(16)].escape_ascii();
    format!("{} bytes, crc {:08x}: {head}", bytes.len(), super::crc(bytes))
}

/// Opens; everything that replay shows, a line each.
fn listing(vfs: Arc<dyn Vfs>, dir: &Path, config: ConfigBuilder) -> (Wal, RecoveryReport, String) {
    let mut out = String::new();
    let mut visit = |op: Replayed<'_>| {
        let line = match op {
            Replayed::Record { lsn, bytes } => format!("{lsn} record {}", shown(bytes)),
            Replayed::Cut { lsn, from } => format!("{lsn} cut from {from}"),
            Replayed::Block { lsn, stream, replace, carried, first, count, tag, bytes } => format!(
                "{lsn} block of {stream} {first}+{count} tag {tag} replace {replace} carried \
                 {carried:?}: {}",
                shown(bytes)
            ),
            Replayed::Meta { lsn, stream, slot, bytes } => {
                format!("{lsn} meta of {stream} slot {slot}: {}", shown(bytes))
            }
            Replayed::Dropped { lsn, stream } => format!("{lsn} drop of {stream}"),
            Replayed::KeepFrom { stream, low } => format!("keep of {stream} from {low}"),
            _ => return,
        };
        writeln!(out, "{line}").unwrap();
    };
    let config = config.build().unwrap();
    let (wal, report) = Wal::open_on(vfs, dir, config, Some(&mut visit)).unwrap();
    (wal, report, out)
}

/// Writes a directory and its listing, unless they are there.
fn write(name: &str, disk: &MemVfs, config: ConfigBuilder) {
    let home = home(name);
    assert!(!home.exists(), "{} is never written again", home.display());
    std::fs::create_dir_all(&home).unwrap();
    for item in disk.list(dir()).unwrap() {
        // An open makes LOCK and RESERVE itself.
        if item.name != "LOCK" && item.name != "RESERVE" {
            let bytes = disk.contents(&dir().join(&item.name)).unwrap();
            std::fs::write(home.join(&item.name), bytes).unwrap();
        }
    }
    let (_, _, text) = listing(Arc::new(disk.kill()), dir(), config);
    std::fs::write(home.with_extension("txt"), text).unwrap();
}

/// With `QUORATE_WRITE_GOLDEN` the directories are written; without, what would be written today
/// is only held to open clean.
#[test]
fn write_the_golden_directories() {
    let logs = [("v1", make(), config()), ("v1-aligned", make_aligned(), aligned())];
    for (name, disk, config) in logs {
        if std::env::var_os("QUORATE_WRITE_GOLDEN").is_some() {
            write(name, &disk, config);
        } else {
            let (_, report, text) = listing(Arc::new(disk), dir(), config);
            assert!(report.tail == Tail::Clean && text.lines().count() >= 3, "{report:?}");
        }
    }
}

/// The checked-in directory, in memory and on the real file system.
fn copies(name: &str) -> (MemVfs, tempfile::TempDir) {
    let (disk, temp) = (MemVfs::new(), tempfile::tempdir().unwrap());
    disk.create_dir_all(dir()).unwrap();
    let mut total = 0;
    for entry in std::fs::read_dir(home(name)).unwrap() {
        let entry = entry.unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        total += bytes.len();
        let path = dir().join(entry.file_name());
        disk.open(&path, OpenMode::CreateNew).unwrap();
        disk.set_contents(&path, &bytes).unwrap();
        std::fs::write(temp.path().join(entry.file_name()), bytes).unwrap();
    }
    assert!(total <= 100 << 10, "{total} bytes");
    (disk, temp)
}

/// Opens both copies: Clean, equal to the listing, and a log like any other.
fn opens_as_listed(name: &str, config: fn() -> ConfigBuilder, look: fn(&Wal, &RecoveryReport)) {
    let expected = std::fs::read_to_string(home(name).with_extension("txt")).unwrap();
    let (disk, temp) = copies(name);
    let places: [(Arc<dyn Vfs>, &Path); 2] =
        [(Arc::new(disk), dir()), (Arc::new(StdVfs), temp.path())];
    for (vfs, dir) in places {
        let (wal, report, found) = listing(Arc::clone(&vfs), dir, config());
        assert_eq!(found, expected, "{name}");
        assert_eq!((report.tail, report.repaired, report.created), (Tail::Clean, 0, false));
        assert!(report.damage.is_empty() && report.foreign.is_empty(), "{report:?}");
        look(&wal, &report);
        settle(&wal);
        let new = wal.append_blocking(b"by a later version").unwrap();
        assert_eq!(new.as_u64(), report.durable.as_u64() + 1);
        drop(wal);
        let (wal, report, _) = listing(vfs, dir, config());
        assert_eq!((report.durable, report.damage.len()), (new, 0));
        look(&wal, &report);
    }
}

#[test]
fn version_1_is_read() {
    opens_as_listed("v1", config, |wal, report| {
        let (g, vote) = (wal.stream(group(300)), Slot::new(3).unwrap());
        assert_eq!((g.bounds(), g.meta(vote).as_deref()), (8..12, Some(&b"m"[..])));
        assert_eq!((g.tag(9), g.tag(10), g.tag(11)), (Some(5), Some(6), Some(6)));
        let mut blocks = Vec::new();
        assert_eq!(g.read(8..12, 1 << 20, &mut blocks).unwrap(), 12);
        assert_eq!((&blocks[0].bytes[..], blocks[0].live.clone()), (&b"four"[..], 8..10));
        assert_eq!((&blocks[1].bytes[..], blocks[1].live.clone()), (&b"conflict"[..], 10..12));
        assert!(wal.stream(group(301)).bounds().is_empty());
        assert!(matches!(g.health(), Health::Intact | Health::Uncertain { .. }));
        let [hole] = report.accepted[..] else { panic!("one hole: {report:?}") };
        assert!(matches!(wal.get(hole.from), Err(ReadError::Lost { .. })));
        let behind = Lsn::new(hole.to.unwrap().as_u64() + 1);
        assert_eq!(&wal.get(behind).unwrap()[..], b"behind the hole");
    });
    // Nothing of the format is missing.
    let Answer::Read(reading) = read(&Files::of(&copies("v1").0), 0) else { panic!() };
    let has = |is: fn(&Item) -> bool| reading.items.iter().any(|(_, item)| is(item));
    assert!(has(|i| matches!(i, Item::Record(_))) && has(|i| matches!(i, Item::Meta { .. })));
    assert!(has(|i| matches!(i, Item::Block { replace: true, .. })));
    assert!(has(|i| matches!(i, Item::Block { replace: false, .. })));
    assert!(has(|i| matches!(i, Item::Cut(_))) && has(|i| matches!(i, Item::High)));
    assert!(has(|i| matches!(i, Item::Hole { .. })) && has(|i| matches!(i, Item::KeepMain(_))));
    assert!(
        has(|i| matches!(i, Item::KeepStream { .. })) && has(|i| matches!(i, Item::Drop { .. }))
    );
}

#[test]
fn version_1_with_alignment_is_read() {
    opens_as_listed("v1-aligned", aligned, |wal, _| {
        for n in 1..=3_u8 {
            let expected = vec![n; 100 * usize::from(n)];
            assert_eq!(wal.get(Lsn::new(n.into())).unwrap()[..], expected[..]);
        }
    });
    let disk = copies("v1-aligned").0;
    let bytes = disk.contents(&segments(&disk)[0]).unwrap();
    let (mut at, mut kinds) = (4096, Vec::new());
    while bytes[at + 4] != 3 {
        kinds.push(bytes[at + 4]);
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        at += 40 + len.next_multiple_of(8);
    }
    assert!(kinds.contains(&4) && at.is_multiple_of(512), "{kinds:?} {at}");
}

/// What was carried and what was accepted, as `FORMAT.md` shows it.
#[test]
fn vectors_of_carried_records_and_holes() {
    let (disk, golden) = (copies("v1").0, golden());
    let all: String = segments(&disk).iter().map(|p| hex(&disk.contents(p).unwrap())).collect();
    for name in ["record_extend_carried", "record_meta_carried", "record_hole"] {
        assert!(all.contains(&golden[name]), "{name}");
    }
}

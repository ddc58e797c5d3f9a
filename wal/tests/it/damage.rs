//! Damage to every place of a log: never a panic, never a silent loss, never an invented record.

pub(crate) mod matrix;
pub(crate) mod oracle;
pub(crate) mod places;
pub(crate) mod rot;
pub(crate) mod specimen;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{
    Ack, Batch, DamageKind, Evidence, Health, Lsn, LsnSpan, OpenError, ReadBound, ReadError,
    Recovery, RecoveryReport, Slot, Tail, Wal,
};

use crate::rig::{Rng, dir, group, manual, open, open_with, records, segments, settle, small};

/// A log with three segments, records, streams and metadata; what it must hold.
pub(crate) struct Sample {
    pub(crate) disk: MemVfs,
    pub(crate) records: Vec<(u64, Vec<u8>)>,
    pub(crate) blocks: Vec<(u64, u64, Vec<u8>)>,
    pub(crate) last: u64,
}

pub(crate) fn sample(closed: bool) -> Sample {
    let disk = MemVfs::new();
    let (wal, _) = open(&disk);
    let (mut records, mut blocks) = (Vec::new(), Vec::new());
    let mut batch = Batch::new();
    let mut last = 0;
    for i in 0..40_u64 {
        batch.clear();
        let record = vec![i as u8; 150 + i as usize * 5];
        let block = vec![!(i as u8); 100];
        batch.record(&record).extend(group(i % 2), 1 + i / 2, 1, i, &block);
        if i % 10 == 0 {
            batch.meta(group(0), Slot::new(0).unwrap(), &i.to_le_bytes());
        }
        let permit = wal.reserve(batch.bytes() as u32).wait().unwrap();
        let staged = permit.stage(&batch, Ack::Durable).unwrap();
        let first = staged.lsns().from.as_u64();
        records.push((first, record));
        blocks.push((i % 2, first + 1, block));
        last = staged.wait().unwrap().as_u64();
    }
    assert!(wal.stats().rolls >= 2, "three segments");
    if closed {
        wal.shutdown().wait().unwrap();
        return Sample { disk, records, blocks, last };
    }
    let disk = disk.kill();
    Sample { disk, records, blocks, last }
}

/// What an open may do to acknowledged data.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) clean: u64,
    pub(crate) repaired: u64,
    pub(crate) unverifiable: u64,
    pub(crate) corruption: u64,
}

impl Sample {
    /// Opens a damaged copy and holds it against the truth (G4, G6, G13).
    pub(crate) fn judge(&self, disk: &MemVfs, what: &str, seen: &mut Outcomes) {
        match open_with(disk, manual()) {
            Ok((wal, report)) => {
                let lost = match report.tail {
                    Tail::Unverifiable { lsns } => {
                        seen.unverifiable += 1;
                        vec![lsns]
                    }
                    _ => Vec::new(),
                };
                seen.repaired += u64::from(report.repaired > 0);
                seen.clean += u64::from(lost.is_empty() && report.repaired == 0);
                self.compare(&wal, &lost, what);
            }
            Err(OpenError::Corruption(report)) => {
                seen.corruption += 1;
                assert!(!report.damage.is_empty(), "{what}: corruption names a place");
                self.salvage(disk, &report, what);
            }
            Err(other) => panic!("{what}: {other:?}"),
        }
    }

    fn salvage(&self, disk: &MemVfs, strict: &RecoveryReport, what: &str) {
        let (wal, report) = open_with(disk, manual().recovery(Recovery::Salvage)).unwrap();
        assert_eq!(report.damage, strict.damage, "{what}: the same verdict twice");
        let mut lost: Vec<LsnSpan> = report.damage.iter().map(|d| d.lost).collect();
        if let Tail::Unverifiable { lsns } = report.tail {
            lost.push(lsns);
        }
        self.compare(&wal, &lost, what);
        assert!(
            matches!(wal.append_blocking(b"x"), Err(quorate_wal::AppendError::Refused(_))),
            "{what}: writes wait for acceptance"
        );
    }

    /// Every record is there and equal, or named; nothing else is.
    fn compare(&self, wal: &Wal, lost: &[LsnSpan], what: &str) {
        let is_lost = |lsn: u64| lost.iter().any(|span| span.contains(Lsn::new(lsn)));
        for (lsn, bytes) in &self.records {
            match wal.get(Lsn::new(*lsn)) {
                Ok(found) => assert_eq!(&found[..], &bytes[..], "{what}: record {lsn}"),
                Err(e) => assert!(is_lost(*lsn), "{what}: record {lsn} silently lost: {e}"),
            }
        }
        for record in wal.read(Lsn::new(1), ReadBound::Written) {
            match record {
                Ok(record) => {
                    let known = self.records.iter().find(|(l, _)| *l == record.lsn.as_u64());
                    let known = known.unwrap_or_else(|| panic!("{what}: {record:?} invented"));
                    assert_eq!(&record.bytes[..], &known.1[..], "{what}");
                }
                Err(ReadError::Lost { lsns }) => assert!(is_lost(lsns.from.as_u64()), "{what}"),
                Err(e) => panic!("{what}: {e}"),
            }
        }
        for id in 0..2 {
            self.compare_stream(wal, id, lost, what);
        }
    }

    fn compare_stream(&self, wal: &Wal, id: u64, lost: &[LsnSpan], what: &str) {
        let stream = wal.stream(group(id));
        let is_lost = |lsn: u64| lost.iter().any(|span| span.contains(Lsn::new(lsn)));
        let mine: Vec<_> = self.blocks.iter().filter(|b| b.0 == id).collect();
        let mut gone = false;
        for (i, (_, lsn, bytes)) in mine.iter().enumerate() {
            let index = 1 + i as u64;
            let mut out = Vec::new();
            match stream.read(index..index + 1, 1 << 20, &mut out) {
                Ok(next) => {
                    assert_eq!((next, &out[0].bytes[..]), (index + 1, &bytes[..]), "{what}");
                }
                Err(e) => {
                    assert!(is_lost(*lsn), "{what}: block {index} of {id} silently lost: {e}");
                    gone = true;
                }
            }
        }
        let closed = lost.iter().all(|span| span.to.is_some());
        if gone && closed && !lost.is_empty() && !matches!(stream.health(), Health::Gap { .. }) {
            // The last blocks may be in an unverifiable tail, which is no hole.
            let tail_only = lost.iter().all(|s| s.to.is_some_and(|to| to.as_u64() >= self.last));
            let uncertain = matches!(stream.health(), Health::Uncertain { .. });
            assert!(tail_only || uncertain, "{what}: stream {id} is not intact");
        }
    }
}

fn files(disk: &MemVfs) -> Vec<std::path::PathBuf> {
    let mut files = segments(disk);
    files.push(dir().join("MANIFEST"));
    files
}

#[test]
fn every_byte_of_a_closed_log_may_flip() {
    let sample = sample(true);
    let mut seen = Outcomes::default();
    let mut rng = Rng(1);
    for path in files(&sample.disk) {
        let len = sample.disk.contents(&path).unwrap().len() as u64;
        // A third of them by default; the matrix aims at every field besides.
        for byte in (0..len).step_by(3) {
            let bit = byte * 8 + rng.below(8);
            let disk = sample.disk.kill();
            disk.flip(&path, bit).unwrap();
            sample.judge(&disk, &format!("{} bit {bit}", path.display()), &mut seen);
        }
    }
    println!("{seen:?}");
    assert!(seen.corruption > 1000 && seen.repaired > 50 && seen.clean > 1000, "{seen:?}");
}

#[test]
fn a_missing_file_is_named() {
    let sample = sample(true);
    let mut seen = Outcomes::default();
    for path in files(&sample.disk) {
        let disk = sample.disk.kill();
        quorate_wal::vfs::Vfs::remove(&disk, &path).unwrap();
        sample.judge(&disk, &format!("without {}", path.display()), &mut seen);
    }
    assert_eq!(seen.corruption, files(&sample.disk).len() as u64, "{seen:?}");
}

/// The offset of the frame that holds record `lsn`, found by its bytes.
pub(crate) fn place_of(disk: &MemVfs, bytes: &[u8]) -> (std::path::PathBuf, usize) {
    for path in segments(disk) {
        let content = disk.contents(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|w| w == bytes) {
            return (path, at);
        }
    }
    panic!("not found");
}

#[test]
fn the_report_names_exactly_what_is_lost_and_the_bit() {
    let sample = sample(true);
    let (lsn, bytes) = &sample.records[20];
    let (path, at) = place_of(&sample.disk, bytes);
    sample.disk.flip(&path, at as u64 * 8 + 3).unwrap();
    let Err(OpenError::Corruption(report)) = open_with(&sample.disk, small()) else {
        panic!("damage is refused");
    };
    let [damage] = &report.damage[..] else { panic!("one place: {report:?}") };
    assert_eq!(damage.kind, DamageKind::Payload);
    // The batch of the record has one frame of its own: two or three numbers.
    let to = damage.lost.to.unwrap().as_u64();
    assert!(damage.lost.from.as_u64() == *lsn && to - lsn <= 2, "{damage}");
    assert!(!matches!(damage.evidence, Evidence::Structure), "{damage}");
    let bit = damage.single_bit.unwrap();
    assert_eq!(u64::from(damage.offset) * 8 + bit, at as u64 * 8 + 3, "{damage}");
}

#[test]
fn accepted_damage_stays_accepted_and_the_log_goes_on() {
    let sample = sample(true);
    let (path, at) = place_of(&sample.disk, &sample.records[20].1);
    sample.disk.flip(&path, at as u64 * 8).unwrap();
    let salvage = || small().recovery(Recovery::Salvage);
    let (wal, report) = open_with(&sample.disk, salvage()).unwrap();
    assert!(matches!(wal.stream(group(1)).health(), Health::Intact | Health::Gap { .. }));
    wal.accept_damage(&report).unwrap().wait().unwrap();
    let new = wal.commit_blocking(&records(&[b"after"])).unwrap();
    assert!(new.as_u64() > sample.last, "numbers are not used again");
    let health = wal.stream(group(0)).health();
    drop(wal);
    for _ in 0..2 {
        let (wal, report) = open(&sample.disk);
        assert!(report.damage.is_empty() && report.accepted.len() == 1, "{report:?}");
        assert_eq!(&wal.get(new).unwrap()[..], b"after");
        let lost = report.accepted[0].from;
        assert!(matches!(wal.get(lost), Err(ReadError::Lost { .. })));
        assert_eq!(wal.stream(group(0)).health(), health, "health does not heal by itself");
    }
}

/// Salvage, accept, append, open again, twice: what was appended is there, what was lost stays
/// named, what was there stays, and nothing is spliced in.
fn live_on(sample: &Sample, disk: &MemVfs, what: &str) -> bool {
    let (wal, report) = match open_with(disk, manual().recovery(Recovery::Salvage)) {
        Ok(opened) => opened,
        Err(other) => panic!("{what}: {other:?}"),
    };
    if report.damage.is_empty() {
        return false;
    }
    wal.accept_damage(&report).unwrap().wait().unwrap();
    settle(&wal);
    let new = wal.append_blocking(b"after").unwrap();
    drop(wal);
    for _ in 0..2 {
        let (wal, again) = match open_with(disk, manual()) {
            Ok(opened) => opened,
            Err(other) => panic!("{what}: accepted, and refused again: {other:?}\n{report:?}"),
        };
        assert_eq!(&wal.get(new).unwrap()[..], b"after", "{what}");
        let mut lost: Vec<LsnSpan> = report.damage.iter().map(|d| d.lost).collect();
        if let Tail::Unverifiable { lsns } = report.tail {
            lost.push(lsns);
        }
        for (lsn, bytes) in &sample.records {
            match wal.get(Lsn::new(*lsn)) {
                Ok(found) => assert!(found[..] == bytes[..] || Lsn::new(*lsn) == new, "{what}"),
                Err(e) => {
                    assert!(lost.iter().any(|s| s.contains(Lsn::new(*lsn))), "{what}: {e}");
                }
            }
        }
        assert!(again.accepted.len() <= report.damage.len(), "{what}");
        settle(&wal);
        wal.append_blocking(b"more").unwrap();
    }
    true
}

#[test]
fn a_log_lives_on_after_any_damage_was_accepted() {
    let mut lived = 0;
    for sample in [sample(true), sample(false)] {
        for path in files(&sample.disk) {
            let disk = sample.disk.kill();
            quorate_wal::vfs::Vfs::remove(&disk, &path).unwrap();
            lived += u64::from(live_on(&sample, &disk, &format!("without {}", path.display())));
            let len = sample.disk.contents(&path).unwrap().len();
            for at in (0..len).step_by(61) {
                let disk = sample.disk.kill();
                let mut bytes = disk.contents(&path).unwrap();
                let end = len.min(at + 1 + at % 300);
                bytes[at..end].fill(0x5a);
                disk.set_contents(&path, &bytes).unwrap();
                let what = format!("{} from {at} to {end}", path.display());
                lived += u64::from(live_on(&sample, &disk, &what));
            }
        }
    }
    assert!(lived > 300, "{lived}");
}

#[test]
fn a_stream_untouched_by_damage_is_proven_intact_and_the_hit_one_has_a_gap() {
    let sample = sample(true);
    // Block 20 belongs to stream 0; damage its frame. Stream 1 has later records.
    let (path, at) = place_of(&sample.disk, &sample.blocks[20].2);
    sample.disk.flip(&path, at as u64 * 8).unwrap();
    let (wal, report) = open_with(&sample.disk, small().recovery(Recovery::Salvage)).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(wal.stream(group(0)).health(), Health::Gap { missing: 11..12 });
    assert_eq!(wal.stream(group(1)).health(), Health::Intact);
    assert!(matches!(wal.stream(group(9)).health(), Health::Uncertain { .. }));
}

#[test]
fn sound_frames_with_any_payload_never_panic() {
    // Checksums are right, contents are not: what a defect elsewhere, or malice, could write.
    let mut rng = Rng(3);
    let (mut opened, mut refused) = (0, 0);
    let seeds: [&[u8]; 6] = [
        &[1, 3, 1, 2, 3],
        &[2, 0, 1, 7, 0, 1, 1, 1, 2, 9, 9],
        &[3, 0, 1, 7, 0, 3, 1, 9],
        &[6, 1, 1, 1, 1, 1],
        &[16, 1, 7, 5],
        &[5, 1],
    ];
    for round in 0..6000_usize {
        let mut payload = seeds[round % seeds.len()].to_vec();
        for _ in 0..rng.below(4) {
            let at = rng.below(payload.len() as u64) as usize;
            payload[at] = rng.next() as u8;
        }
        if rng.below(5) == 0 {
            let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
            let at = rng.below(payload.len() as u64) as usize;
            payload.splice(at..at, huge);
        }
        let (disk, _) = crate::golden::log_with_payload(&payload, rng.below(2) as u32);
        match open_with(&disk, manual()) {
            Ok((wal, _)) => {
                opened += 1;
                for record in wal.read(Lsn::new(1), ReadBound::Written) {
                    drop(record);
                }
                for id in wal.streams(1) {
                    let stream = wal.stream(id);
                    drop(stream.read(stream.bounds(), 1 << 20, &mut Vec::new()));
                }
                drop(wal.append_blocking(b"goes on"));
            }
            Err(OpenError::Unsupported { .. }) => refused += 1,
            Err(other) => panic!("{payload:02x?}: {other:?}"),
        }
    }
    assert!(opened > 1000 && refused > 100, "{opened} {refused}");
}

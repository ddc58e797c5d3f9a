//! Both readers, over the same images.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_wal::vfs::{MemVfs, Vfs};
use quorate_wal::{Damage, Lsn, OpenError, Recovery, RecoveryReport, Tail};

use super::{Answer, End, Files, Hurt, Item, read};
use crate::damage::matrix::shapes;
use crate::damage::oracle::open_seeing;
use crate::damage::places::Map;
use crate::damage::rot::KINDS;
use crate::damage::specimen::{Shape, Specimen, Wrote};
use crate::rig::{Rng, dir, manual, say};

/// How often which verdict was found by both.
#[derive(Debug, Default)]
struct Counts {
    clean: u64,
    torn: u64,
    unverifiable: u64,
    corruption: u64,
    holes: u64,
    accepted: u64,
}

impl Counts {
    fn sum(&self) -> u64 {
        self.clean + self.torn + self.unverifiable + self.corruption
    }
}

fn hurt(damage: &Damage) -> Hurt {
    Hurt {
        segment: damage.segment,
        offset: damage.offset.into(),
        kind: damage.kind,
        from: damage.lost.from.as_u64(),
        to: damage.lost.to.map(Lsn::as_u64),
    }
}

fn end(tail: Tail) -> End {
    match tail {
        Tail::Torn { from } => End::Torn(from.as_u64()),
        Tail::Unverifiable { lsns } => {
            End::Unverifiable(lsns.from.as_u64(), lsns.to.map(Lsn::as_u64))
        }
        _ => End::Clean,
    }
}

/// Holds the two answers about one image against each other.
fn agree(disk: &MemVfs, what: &str, counts: &mut Counts) {
    let answer = read(&Files::of(disk), 0);
    let (opened, mut seen) = open_seeing(disk, manual());
    let (wal, report): (_, RecoveryReport) = match opened {
        Ok((wal, report)) => (Some(wal), report),
        Err(OpenError::Corruption(strict)) => {
            let (opened, again) = open_seeing(disk, manual().recovery(Recovery::Salvage));
            let (wal, report) = opened.unwrap();
            assert_eq!(report.damage, strict.damage, "{what}");
            seen = again;
            (Some(wal), report)
        }
        Err(OpenError::Unsupported { .. }) => {
            assert!(matches!(answer, Answer::Refused), "{what}: {answer:?}");
            return;
        }
        Err(other) => panic!("{what}: {other:?}"),
    };
    let reading = match answer {
        Answer::Read(reading) => reading,
        Answer::New if report.created => return,
        other => panic!("{what}: the reference says {other:?}, the log {report:?}"),
    };
    let mut damage: Vec<Hurt> = report.damage.iter().map(hurt).collect();
    // Behind a hole without an end the next number is the crate's own choice.
    for (mine, theirs) in damage.iter_mut().zip(&reading.damage) {
        if theirs.segment == 0 && theirs.to.is_none() && mine.kind == theirs.kind {
            mine.clone_from(theirs);
        }
    }
    assert_eq!(damage, reading.damage, "{what}: {report:?}");
    assert_eq!(report.accepted.len(), reading.accepted.len(), "{what}: {report:?}");
    assert_eq!(report.repaired, reading.repaired, "{what}: {report:?}");
    assert_eq!(end(report.tail), reading.end, "{what}: {report:?}");
    let low = wal.as_ref().map_or(1, |wal| wal.marks().low.as_u64());
    assert_eq!(low, reading.low, "{what}: low marks");
    let mut expected: Vec<(u64, Wrote)> = Vec::new();
    for (lsn, item) in reading.items {
        let wrote = match item {
            Item::Record(bytes) if lsn >= low => Wrote::Record(bytes),
            Item::Block { id, first, bytes, .. } => Wrote::Block { stream: id, first, bytes },
            Item::Meta { id, slot, bytes, .. } => Wrote::Meta { stream: id, slot, bytes },
            _ => continue,
        };
        expected.push((lsn, wrote));
    }
    seen.retain(|lsn, wrote| *lsn >= low || !matches!(wrote, Wrote::Record(_)));
    assert!(seen.into_iter().eq(expected), "{what}: other records: {report:?}");
    counts.holes += report.damage.iter().filter(|d| !d.lost.is_empty()).count() as u64;
    counts.accepted += report.accepted.len() as u64;
    *match (report.damage.is_empty(), report.tail) {
        (false, _) => &mut counts.corruption,
        (true, Tail::Clean) => &mut counts.clean,
        (true, Tail::Torn { .. }) => &mut counts.torn,
        (true, _) => &mut counts.unverifiable,
    } += 1;
    drop(wal);
}

/// Whether every file is there and not shorter than it was.
fn whole(disk: &MemVfs, map: &Map) -> bool {
    let now: BTreeMap<_, _> =
        disk.list(dir()).unwrap().into_iter().map(|item| (item.name, item.bytes)).collect();
    map.files.iter().all(|(path, bytes)| {
        path.file_name().and_then(|name| now.get(name)).is_some_and(|n| *n >= bytes.len() as u64)
    })
}

/// One image of a specimen: up to three damages, sometimes on a log whose damage was accepted.
fn one(specimen: &Specimen, map: &Map, seed: u64, counts: &mut Counts) {
    let mut rng = Rng(seed);
    let disk = specimen.disk.kill();
    let mut what = format!("QUORATE_SEED={seed} {:?}", specimen.shape);
    let wild = rng.below(40);
    for _ in 0..rng.below(4) {
        let place = &map.places[usize::try_from(rng.below(map.places.len() as u64)).unwrap()];
        let rot = KINDS[usize::try_from(rng.below(KINDS.len() as u64)).unwrap()];
        let rare = place.group != "whole file" || wild == 0;
        if rare && rot.fits(place) && whole(&disk, map) {
            what = format!("{what}\n{}", rot.apply(&disk, map, place, &mut rng));
        }
    }
    if wild == 1 {
        // Accept what is there, write on, and look at that.
        let (opened, _) = open_seeing(&disk, manual().recovery(Recovery::Salvage));
        let (wal, report) = opened.unwrap();
        if !report.damage.is_empty() {
            wal.accept_damage(&report).unwrap().wait().unwrap();
        }
        wal.append_blocking(b"goes on").unwrap();
        agree(&disk.kill(), &what, counts);
        return;
    }
    agree(&disk, &what, counts);
}

fn run(shape: Shape, which: std::ops::Range<u64>) -> Counts {
    let mut counts = Counts::default();
    let specimen = Specimen::make(shape);
    let map = Map::of(&specimen);
    for n in which {
        one(&specimen, &map, shape.seed << 20 | n, &mut counts);
    }
    counts
}

#[test]
fn reference_agrees_on_damaged_torn_and_healthy_images() {
    let read = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    if let Some(seed) = read("QUORATE_SEED") {
        let round = (seed >> 20) / 1000;
        let shape = shapes(round).into_iter().find(|s| s.seed == seed >> 20).unwrap();
        run(shape, seed & 0xf_ffff..(seed & 0xf_ffff) + 1);
        return;
    }
    let rounds = read("QUORATE_SEEDS").unwrap_or(1).max(1);
    let all: Vec<Shape> = (0..rounds).flat_map(|round| shapes(500 + round)).collect();
    let (next, sums) = (AtomicUsize::new(0), Mutex::new(Counts::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(shape) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = run(*shape, 0..290);
                    let mut sums = sums.lock().unwrap();
                    sums.clean += found.clean;
                    sums.torn += found.torn;
                    sums.unverifiable += found.unverifiable;
                    sums.corruption += found.corruption;
                    sums.holes += found.holes;
                    sums.accepted += found.accepted;
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    say(&format!("both readers agree on {} images: {sums:?}", sums.sum()));
    assert!(sums.sum() >= 20_000 * rounds, "{sums:?}");
    let each = [sums.clean, sums.torn, sums.unverifiable, sums.corruption, sums.holes];
    assert!(each.iter().chain([&sums.accepted]).all(|&n| n > 100), "vacuous: {sums:?}");
}

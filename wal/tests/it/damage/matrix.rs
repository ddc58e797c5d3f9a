//! The damage matrix: kinds of rot × places × shapes of logs, held against the books.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::oracle::{Faults, Judge, Verdict};
use super::places::{Class, Map, Place};
use super::rot::{KINDS, Rot};
use super::specimen::{Content, Ending, Shape, Size, Specimen};
use crate::rig::{Rng, say};

/// Damages for each shape; 72 shapes.
const EACH: u64 = 320;

const CLASSES: [Class; 5] =
    [Class::Proven, Class::LastGroup, Class::Unacked, Class::Discarded, Class::Unused];

/// Shapes of one round.
pub(crate) fn shapes(round: u64) -> Vec<Shape> {
    let mut all = Vec::new();
    for size in [Size::Small, Size::Batch, Size::Large] {
        for content in [Content::Main, Content::Stream, Content::Mixed] {
            for ending in [Ending::Closed, Ending::Killed, Ending::Written, Ending::Cut] {
                for reclaimed in [false, true] {
                    let seed = round * 1000 + all.len() as u64;
                    all.push(Shape { size, content, ending, reclaimed, seed });
                }
            }
        }
    }
    all
}

#[derive(Debug, Default)]
struct Sums {
    done: u64,
    cells: BTreeMap<(&'static str, Rot), u64>,
    verdicts: BTreeMap<(Class, Verdict), u64>,
    positions: BTreeMap<(Class, &'static str), u64>,
    faults: Faults,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        for (key, n) in other.cells {
            *self.cells.entry(key).or_default() += n;
        }
        for (key, n) in other.verdicts {
            *self.verdicts.entry(key).or_default() += n;
        }
        for (key, n) in other.positions {
            *self.positions.entry(key).or_default() += n;
        }
        self.faults.silent.extend(other.faults.silent);
        self.faults.splices.extend(other.faults.splices);
        self.faults.false_corruption.extend(other.faults.false_corruption);
        self.faults.wrong_spans.extend(other.faults.wrong_spans);
        self.faults.lost_writes += other.faults.lost_writes;
    }

    fn print(&self) {
        let groups: Vec<&str> = {
            let mut all: Vec<&str> = self.cells.keys().map(|(group, _)| *group).collect();
            all.dedup();
            all
        };
        let kinds: Vec<String> = KINDS.iter().map(|kind| format!("{kind:?}")).collect();
        say(&format!("| damages | {} |", kinds.join(" | ")));
        for group in groups {
            let row: Vec<String> = KINDS
                .iter()
                .map(|kind| self.cells.get(&(group, *kind)).map_or(String::new(), u64::to_string))
                .collect();
            say(&format!("| {group} | {} |", row.join(" | ")));
        }
        for class in
            [Class::Proven, Class::LastGroup, Class::Unacked, Class::Discarded, Class::Unused]
        {
            let row: Vec<String> = self
                .verdicts
                .iter()
                .filter(|((c, _), _)| *c == class)
                .map(|((_, verdict), n)| format!("{verdict:?} {n}"))
                .chain(
                    self.positions
                        .iter()
                        .filter(|((c, _), _)| *c == class)
                        .map(|((_, position), n)| format!("{position} {n}")),
                )
                .collect();
            say(&format!("| worst byte {class:?} | {} |", row.join(", ")));
        }
        let f = &self.faults;
        say(&format!(
            "{} damages: silent {}, splices {}, false corruption {}, wrong spans {} \
             (records whose only write a device lost without a trace: {})",
            self.done,
            f.silent.len(),
            f.splices.len(),
            f.false_corruption.len(),
            f.wrong_spans.len(),
            f.lost_writes,
        ));
    }
}

/// One damage, wholly given by its seed.
fn one(specimen: &Specimen, map: &Map, seed: u64, sums: &mut Sums) {
    let mut rng = Rng(seed);
    let (place, rot) = loop {
        let place = choose(map, &mut rng);
        let rot = KINDS[pick(&mut rng, KINDS.len())];
        if rot.fits(place) {
            break (place, rot);
        }
    };
    let disk = specimen.disk.kill();
    let what = rot.apply(&disk, map, place, &mut rng);
    let Some(mut judge) = Judge::new(specimen, map, &disk, &what) else { return };
    let verdict = judge.judge(&disk, seed);
    sums.done += 1;
    *sums.cells.entry((place.group, rot)).or_default() += 1;
    let worst = judge.touched.last().copied().unwrap_or(Class::Unused);
    *sums.verdicts.entry((worst, verdict)).or_default() += 1;
    *sums.positions.entry((worst, position(map, &place.path))).or_default() += 1;
    let mut faults = judge.faults;
    for text in [&mut faults.silent, &mut faults.splices, &mut faults.false_corruption]
        .into_iter()
        .chain([&mut faults.wrong_spans])
        .flatten()
    {
        *text = format!(
            "{:?}\n{text}\nQUORATE_SEED={seed} cargo test -p quorate-wal --test it \
             damage::matrix::",
            specimen.shape
        );
    }
    sums.add(Sums { faults, ..Sums::default() });
}

/// A place; most are fields of frames, so kinds of place and what bytes mean are drawn, too.
fn choose<'a>(map: &'a Map, rng: &mut Rng) -> &'a Place {
    let class_of = |place: &Place| map.classes[&place.path][place.range.start];
    let by: Vec<&Place> = match rng.below(3) {
        0 => map.places.iter().collect(),
        1 => {
            let groups: BTreeSet<&str> = map.places.iter().map(|place| place.group).collect();
            let group = groups.iter().nth(pick(rng, groups.len())).copied().unwrap_or_default();
            map.places.iter().filter(|place| place.group == group).collect()
        }
        _ => {
            let class = CLASSES[pick(rng, CLASSES.len())];
            map.places.iter().filter(|place| class_of(place) == class).collect()
        }
    };
    if by.is_empty() { choose(map, rng) } else { by[pick(rng, by.len())] }
}

/// Where the file stands among its kind.
fn position(map: &Map, path: &Path) -> &'static str {
    let segments: Vec<_> = map.files.keys().filter(|path| !path.ends_with("MANIFEST")).collect();
    match segments.iter().position(|segment| *segment == path) {
        None => "manifest",
        Some(0) => "first",
        Some(n) if n + 1 == segments.len() => "last",
        Some(_) => "middle",
    }
}

fn pick(rng: &mut Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap()
}

/// Of a shape: its number in the upper bits, the damage in the lower ones.
fn run(shape: Shape, which: std::ops::Range<u64>) -> Sums {
    let mut sums = Sums::default();
    let specimen = Specimen::make(shape);
    let map = Map::of(&specimen);
    for n in which {
        one(&specimen, &map, shape.seed << 20 | n, &mut sums);
    }
    sums
}

/// The damage of a seed that a failure printed.
fn one_of(seed: u64) -> Sums {
    let round = (seed >> 20) / 1000;
    let shape = shapes(round).into_iter().find(|s| s.seed == seed >> 20).unwrap();
    run(shape, seed & 0xf_ffff..(seed & 0xf_ffff) + 1)
}

#[test]
fn damage_is_never_silent() {
    let read = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    if let Some(seed) = read("QUORATE_SEED") {
        let sums = one_of(seed);
        assert!(sums.faults.is_empty(), "{:#?}", sums.faults);
        return;
    }
    let rounds = read("QUORATE_SEEDS").unwrap_or(1).max(1);
    let all: Vec<Shape> = (0..rounds).flat_map(shapes).collect();
    let (next, sums) = (AtomicUsize::new(0), Mutex::new(Sums::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(shape) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = run(*shape, 0..EACH);
                    sums.lock().unwrap().add(found);
                }
            });
        }
    });
    let sums = sums.into_inner().unwrap();
    sums.print();
    let f = &sums.faults;
    let lists = [&f.silent, &f.splices, &f.false_corruption, &f.wrong_spans];
    for fault in lists.into_iter().flat_map(|list| list.iter().take(5)) {
        say(fault);
    }
    assert!(sums.faults.is_empty(), "{} faults", sums.faults.all().count());
    assert!(sums.done >= 20_000 * rounds, "only {} damages", sums.done);
    for class in CLASSES {
        assert!(sums.verdicts.keys().any(|(c, _)| *c == class), "no damage to {class:?}");
    }
    for verdict in [Verdict::Intact, Verdict::Torn, Verdict::Unverifiable, Verdict::Corruption] {
        assert!(sums.verdicts.keys().any(|(_, v)| *v == verdict), "never {verdict:?}");
    }
}

/// Damages that once were judged wrongly: a reader that ended silently where a hole began at the
/// first kept segment; a lost write beside a hole, which the oracle took for a wrong span; logs
/// that went on below a segment that was gone, and were refused again; a segment without its
/// Link inside a hole, refused when what was before it had been given back.
#[test]
fn damages_of_the_past() {
    for seed in [
        53_477_399,
        1_123_025_147,
        6_356_467_740,
        11_590_959_132,
        5_253_365_856,
        5_253_365_994,
        7_379_878_098,
    ] {
        let sums = one_of(seed);
        assert!(sums.done == 1 && sums.faults.is_empty(), "{:#?}", sums.faults);
    }
}

#[test]
fn an_undamaged_specimen_is_whole() {
    for shape in shapes(7) {
        let specimen = Specimen::make(shape);
        let (opened, seen) =
            super::oracle::open_seeing(&specimen.disk.kill(), crate::rig::manual());
        let (_, report) = opened.unwrap();
        assert!(report.damage.is_empty() && report.repaired == 0, "{shape:?}: {report:?}");
        for (lsn, wrote) in specimen.wrote.range(specimen.low..=specimen.acked) {
            assert_eq!(seen.get(lsn), Some(wrote), "{shape:?}");
        }
        let map = Map::of(&specimen);
        assert!(map.files.len() >= 4, "three segments and MANIFEST");
    }
}

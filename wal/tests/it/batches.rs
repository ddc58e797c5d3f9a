//! Batches of stream operations beside a naive model that applies them one by one: the same
//! answer, and the same streams afterwards, whether the operations come sorted by stream or not.

use std::collections::BTreeMap;

use quorate_wal::vfs::MemVfs;
use quorate_wal::{Batch, Slot, Wal};

use crate::rig::{Replay, Rng, group, manual, open_with, seeds, settle};

const ROUNDS: u64 = 40;
const STREAMS: u64 = 4;

#[derive(Clone, Debug, Default)]
struct Stream {
    bounded: bool,
    low: u64,
    next: u64,
    tags: BTreeMap<u64, u64>,
    cells: BTreeMap<u8, u8>,
}

#[derive(Clone, Debug)]
enum Does {
    Put { replace: bool, first: u64, count: u32, tag: u64 },
    Keep(u64),
    Drop,
    Meta(u8, u8),
}

type Model = BTreeMap<u64, Stream>;

/// Whether the operation follows the rules.
fn apply(model: &mut Model, id: u64, does: &Does) -> bool {
    let s = model.entry(id).or_default();
    match *does {
        Does::Put { replace, first, count, tag } => {
            if !s.bounded {
                (s.bounded, s.low, s.next) = (true, first, first);
            }
            let fits = first >= s.low && first <= s.next && (replace || first == s.next);
            if !fits {
                return false;
            }
            s.next = first + u64::from(count);
            s.tags.retain(|index, _| *index < first);
            s.tags.extend((first..s.next).map(|index| (index, tag)));
        }
        Does::Keep(low) => {
            s.low = if s.bounded { s.low.max(low) } else { low };
            (s.bounded, s.next) = (true, s.next.max(s.low));
            let low = s.low;
            s.tags.retain(|index, _| *index >= low);
        }
        Does::Drop => *s = Stream::default(),
        Does::Meta(slot, value) => drop(s.cells.insert(slot, value)),
    }
    true
}

/// Nearly always within the rules.
fn draw(rng: &mut Rng, s: &Stream, tag: u64) -> Does {
    let aside = rng.below(12);
    let near = |index: u64| match aside {
        0 => index + 1,
        1 => index.saturating_sub(1),
        _ => index,
    };
    let count = 1 + u32::try_from(rng.below(3)).unwrap();
    match rng.below(10) {
        0..=4 => Does::Put { replace: false, first: near(s.next), count, tag },
        5..=6 => {
            let first = near(s.low + rng.below(s.next - s.low + 1));
            Does::Put { replace: true, first, count, tag }
        }
        7 => Does::Keep(near(s.low + rng.below(s.next - s.low + 3))),
        8 if rng.below(3) == 0 => Does::Drop,
        _ => Does::Meta(rng.below(3) as u8, rng.next() as u8),
    }
}

fn batch_of(ops: &[(u64, Does)]) -> Batch {
    let mut batch = Batch::new();
    for (id, does) in ops {
        let id = group(*id);
        match *does {
            Does::Put { replace: false, first, count, tag } => {
                batch.extend(id, first, count, tag, b"xx")
            }
            Does::Put { first, count, tag, .. } => batch.replace(id, first, count, tag, b"yy"),
            Does::Keep(low) => batch.keep_from(id, low),
            Does::Drop => batch.drop_stream(id),
            Does::Meta(slot, value) => batch.meta(id, Slot::new(slot).unwrap(), &[value]),
        };
    }
    batch
}

fn same(wal: &Wal, model: &Model, when: &str) {
    for id in 0..STREAMS {
        let (log, s) = (wal.stream(group(id)), model.get(&id).cloned().unwrap_or_default());
        assert_eq!(log.bounds(), s.low..s.next, "{when}: stream {id}");
        for index in s.low.saturating_sub(1)..s.next + 2 {
            assert_eq!(log.tag(index), s.tags.get(&index).copied(), "{when}: {id} at {index}");
        }
        for slot in 0..3 {
            let cell = log.meta(Slot::new(slot).unwrap());
            assert_eq!(cell.as_deref(), s.cells.get(&slot).map(std::slice::from_ref), "{when}");
        }
    }
}

#[test]
fn batches_do_what_their_operations_do_one_by_one() {
    let (mut taken, mut refused, mut sorted) = (0, 0, 0);
    let seeds = seeds(150);
    let is_campaign = seeds.len() > 1;
    for seed in seeds {
        let _replay = Replay { test: "batches::", seed };
        let mut rng = Rng(seed);
        let disk = MemVfs::new();
        let (mut wal, _) = open_with(&disk, manual()).unwrap();
        let mut model = Model::new();
        for round in 0..ROUNDS {
            let mut shadow = model.clone();
            let mut ops: Vec<(u64, Does)> = (0..=rng.below(6))
                .map(|n| {
                    let id = rng.below(STREAMS);
                    let does = draw(&mut rng, shadow.entry(id).or_default(), round * 10 + n + 1);
                    apply(&mut shadow, id, &does);
                    (id, does)
                })
                .collect();
            if rng.below(2) == 0 {
                ops.sort_by_key(|(id, _)| *id);
                sorted += 1;
            }
            let mut after = model.clone();
            let follows = ops.iter().all(|(id, does)| apply(&mut after, *id, does));
            let answer = wal.commit_blocking(&batch_of(&ops));
            assert_eq!(answer.is_ok(), follows, "{ops:?}: {answer:?}\n{model:?}");
            if follows {
                (model, taken) = (after, taken + 1);
            } else {
                refused += 1;
            }
            same(&wal, &model, &format!("{ops:?}"));
            settle(&wal);
            if rng.below(12) == 0 {
                drop(wal);
                wal = open_with(&disk, manual()).unwrap().0;
                same(&wal, &model, "after a reopen");
            }
        }
    }
    let enough = taken > refused && refused > 100 && sorted > 100;
    assert!(enough || !is_campaign, "{taken} {refused} {sorted}");
}

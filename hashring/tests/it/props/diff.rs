//! G8: what a diff says, applied to the old placement, gives the new one: rings and range maps.

use crate::random::{self, Random, seeds};
use quorate_hashring::{
    Diff, NodeId, RangeId, RangeMap, Ring, RingConfig, Rules, Segment, Segmented, diff,
};

/// The nodes of a segment, by id.
fn row<P: Segmented>(placement: &P, segment: &Segment<'_, P::Bound>) -> Vec<NodeId> {
    let ids = placement.node_ids();
    let mut row: Vec<NodeId> =
        segment.replicas.iter().map(|at| ids[usize::from(at.value())]).collect();
    row.sort_unstable();
    row
}

/// The row at a point.
fn row_at<P: Segmented>(placement: &P, point: &P::Bound) -> Vec<NodeId> {
    let mut segments = placement.segments();
    let holds = |segment: &Segment<'_, P::Bound>| {
        segment.start <= *point && segment.end.as_ref().is_none_or(|end| point < end)
    };
    row(placement, &segments.find(holds).unwrap())
}

fn applied<B: Ord>(mut row: Vec<NodeId>, diff: &Diff<B>, point: &B) -> Vec<NodeId> {
    let holds =
        |start: &B, end: &Option<B>| start <= point && end.as_ref().is_none_or(|end| point < end);
    let before = row.clone();
    for one in diff.moves.iter().filter(|one| holds(&one.start, &one.end)) {
        let mut holders = one.holders.clone();
        holders.sort_unstable();
        assert_eq!(holders, before, "all holders are named");
        assert!(one.from.is_none_or(|from| row.contains(&from)), "it replaces who is there");
        row.retain(|node| Some(*node) != one.from);
        assert!(!row.contains(&one.to), "it is there already");
        row.push(one.to);
    }
    for one in diff.drops.iter().filter(|one| holds(&one.start, &one.end)) {
        assert!(row.contains(&one.node));
        row.retain(|node| *node != one.node);
    }
    row.sort_unstable();
    row
}

/// Compares at the start of each segment of either side: in between nothing changes.
fn check<P: Segmented>(old: &P, new: &P, seed: u64) -> Diff<P::Bound> {
    let changes = diff(old, new).unwrap();
    for point in old.segments().chain(new.segments()).map(|segment| segment.start) {
        let found = applied(row_at(old, &point), &changes, &point);
        assert_eq!(found, row_at(new, &point), "seed {seed} at {point:?}");
    }
    let bounds = |placement: &P| -> Vec<P::Bound> {
        placement.segments().map(|segment| segment.start).collect()
    };
    // What moves begins and ends where a segment does.
    let known = [bounds(old), bounds(new)];
    let is_known = |bound: &P::Bound| known.iter().any(|all| all.binary_search(bound).is_ok());
    for one in &changes.moves {
        assert!(is_known(&one.start) && one.end.as_ref().is_none_or(is_known), "seed {seed}");
    }
    changes
}

const SHAPE: [usize; 4] = [0, 3, 0, 0];

#[test]
fn five_thousand_pairs_of_rings() {
    let (mut moves, mut drops, mut grown) = (0, 0, 0);
    for seed in seeds(5_000) {
        let random = &mut Random::new(seed);
        let count = 2 + random.below(5);
        let before = random::topology(random, count, SHAPE, &[1, 2]);
        let edits = 1 + random.below(3);
        let after = random::edited(random, &before, edits, SHAPE, &[0, 1, 2]);
        let rules = Rules::new(u8::try_from(1 + random.below(3)).unwrap()).allow_short();
        let rules = if random.once_in(2) {
            rules.at_most_soft(quorate_hashring::Level::Zone, 1)
        } else {
            rules
        };
        let config = RingConfig::default().vnodes(u16::try_from(1 + random.below(3)).unwrap());
        let [old, new] =
            [&before, &after].map(|topology| Ring::build(topology, &rules, &config).unwrap());
        let changes = check(&old, &new, seed);
        moves += changes.moves.len();
        grown += changes.moves.iter().filter(|one| one.from.is_none()).count();
        drops += changes.drops.len();
        assert!(diff(&old, &old.rebuild(&before).unwrap()).unwrap().is_empty());
    }
    println!("{moves} moves, {grown} of them more replicas, {drops} drops");
    assert!((grown > 0 && drops > 0) || seeds(5_000).count() < 1_000);
}

/// Up to `steps` changes of a map, by whatever is where a random key lies.
fn changed(random: &mut Random, from: &RangeMap, steps: usize, next_id: &mut u64) -> RangeMap {
    let mut map = from.clone();
    for _ in 0..steps {
        let at = [u8::try_from(random.below(6)).unwrap(), u8::try_from(random.below(3)).unwrap()];
        let at = &at[..random.below(3)];
        let range = map.locate(at).clone();
        let next = match random.below(4) {
            0 | 1 => map.split(range.id, range.epoch, at, RangeId::new(*next_id)),
            2 => match range.end.as_ref().map(|end| map.locate(end)) {
                Some(right) => map.merge((range.id, range.epoch), (right.id, right.epoch)),
                None => continue,
            },
            _ => {
                let mut row: Vec<NodeId> = (1..=6).map(NodeId::new).collect();
                let length = 1 + random.below(3);
                while row.len() > length {
                    row.swap_remove(random.below(row.len()));
                }
                map.reassign(range.id, range.epoch, &row)
            }
        };
        // A split at the start of a range, or a merge of ranges on different nodes.
        let Ok(next) = next else { continue };
        *next_id += 1;
        map = next;
    }
    map
}

#[test]
fn five_thousand_pairs_of_range_maps() {
    let (mut moves, mut drops, mut grown) = (0, 0, 0);
    for seed in seeds(5_000) {
        let random = &mut Random::new(seed);
        let mut next_id = 1;
        let begin = RangeMap::new(RangeId::new(0), &[NodeId::new(1), NodeId::new(2)]).unwrap();
        let old = changed(random, &begin, 12, &mut next_id);
        // Half of the time from another beginning: other bounds, other ids, other epochs.
        let from = if random.once_in(2) { &old } else { &begin };
        let new = changed(random, from, 12, &mut next_id);
        let changes = check(&old, &new, seed);
        moves += changes.moves.len();
        grown += changes.moves.iter().filter(|one| one.from.is_none()).count();
        drops += changes.drops.len();
        assert!(diff(&old, &old).unwrap().is_empty());
    }
    println!("{moves} moves, {grown} of them more replicas, {drops} drops");
    assert!((grown > 0 && drops > 0) || seeds(5_000).count() < 1_000);
}

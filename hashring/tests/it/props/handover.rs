//! Diffs of random placements, plans under random limits, views as bytes.

use super::codec::mutated;
use crate::clusters::id;
use crate::random::{self, Random, seeds};
use quorate_hashring::{
    Assign, DecodeError, Diff, KeyHash, Level, Locate, MoveId, NodeId, Partition, PartitionTable,
    PlanLimits, Planner, Quorum, Replicate, Ring, RingConfig, Rules, Segment, Segmented, Source,
    Stage, Topology, Transition, View, diff,
};
use std::collections::BTreeMap;

/// The nodes at a point, sorted.
fn row_at<P: Segmented<Bound = u64>>(placement: &P, point: u64) -> Vec<NodeId> {
    let holds = |segment: &Segment<'_, u64>| {
        segment.start <= point && segment.end.is_none_or(|end| point < end)
    };
    let segment = placement.segments().find(holds).unwrap();
    let name = |at: &quorate_hashring::NodeIdx| placement.node_ids()[usize::from(at.value())];
    let mut row: Vec<NodeId> = segment.replicas.iter().map(name).collect();
    row.sort_unstable();
    row
}

/// Applies a diff to the old row at a point.
fn applied(old: &[NodeId], diff: &Diff<u64>, point: u64) -> Vec<NodeId> {
    let holds = |start: u64, end: Option<u64>| start <= point && end.is_none_or(|end| point < end);
    let mut row = old.to_vec();
    for one in diff.moves.iter().filter(|one| holds(one.start, one.end)) {
        let mut holders = one.holders.clone();
        holders.sort_unstable();
        assert_eq!(holders, old, "all holders are named");
        row.retain(|node| Some(*node) != one.from);
        assert!(!row.contains(&one.to));
        row.push(one.to);
    }
    for one in diff.drops.iter().filter(|one| holds(one.start, one.end)) {
        assert!(row.contains(&one.node));
        row.retain(|node| *node != one.node);
    }
    row.sort_unstable();
    row
}

/// G8, at the bounds of all segments of both.
fn check<P, Q>(old: &P, new: &Q, seed: u64) -> Diff<u64>
where
    P: Segmented<Bound = u64>,
    Q: Segmented<Bound = u64>,
{
    let diff = diff(old, new).unwrap();
    let starts = old.segments().chain(new.segments()).map(|segment| segment.start);
    for start in starts.collect::<Vec<_>>() {
        for point in [start, start.wrapping_sub(1)] {
            let row = applied(&row_at(old, point), &diff, point);
            assert_eq!(row, row_at(new, point), "seed {seed} at {point:#x}");
        }
    }
    assert_are_joined(&diff, seed);
    diff
}

/// Ids are positions, and no two neighbours could be one.
fn assert_are_joined(diff: &Diff<u64>, seed: u64) {
    type Change<'a> = (Vec<(Option<NodeId>, NodeId)>, Vec<NodeId>, &'a [NodeId]);
    let mut groups: BTreeMap<u64, (Option<u64>, Change<'_>)> = BTreeMap::new();
    for (at, one) in diff.moves.iter().enumerate() {
        assert_eq!(one.id.value() as usize, at, "seed {seed}");
        let empty = (one.end, (Vec::new(), Vec::new(), &*one.holders));
        groups.entry(one.start).or_insert(empty).1.0.push((one.from, one.to));
    }
    for one in &diff.drops {
        let empty = (one.end, (Vec::new(), Vec::new(), &[][..]));
        groups.entry(one.start).or_insert(empty).1.1.push(one.node);
    }
    let groups: Vec<_> = groups.into_iter().collect();
    for pair in groups.windows(2) {
        let ((_, (end, before)), (start, (_, after))) = (&pair[0], &pair[1]);
        // A change of drops only does not tell its holders.
        let tells = !before.0.is_empty() && !after.0.is_empty();
        assert!(*end != Some(*start) || before != after || !tells, "seed {seed} at {start:#x}");
    }
}

/// A table of random rows over the topology.
fn rows(random: &mut Random, topology: &Topology, rules: &Rules, bits: u8) -> PartitionTable {
    let all: Vec<NodeId> = topology.nodes().iter().map(|node| node.id()).collect();
    let full = usize::from(rules.replicas()).min(all.len());
    let mut rows: Vec<Vec<NodeId>> = Vec::new();
    for _ in 0..1 << bits {
        let mut row = Vec::new();
        while row.len() < if random.once_in(4) { 1 + random.below(full) } else { full } {
            let node = *random.pick(&all);
            if !row.contains(&node) {
                row.push(node);
            }
        }
        let again = random.once_in(2).then(|| rows.last().cloned()).flatten();
        rows.push(again.unwrap_or(row));
    }
    PartitionTable::from_rows(topology, rules, KeyHash::default(), &rows).unwrap()
}

const SHAPE: [usize; 4] = [0, 3, 0, 0];
const WEIGHTS: &[u16] = &[0, 1, 2];

#[test]
fn a_diff_applied_to_the_old_table_gives_the_new_one() {
    let (mut grown, mut dropped) = (0, 0);
    for seed in seeds(5_000) {
        let random = &mut Random::new(seed);
        let count = 2 + random.below(7);
        let before = random::topology(random, count, SHAPE, WEIGHTS);
        let after = random::edited(random, &before, 2, SHAPE, WEIGHTS);
        let rules = Rules::new(u8::try_from(1 + random.below(3)).unwrap()).allow_short();
        let bits = [u8::try_from(random.below(5)).unwrap(), u8::try_from(random.below(5)).unwrap()];
        let old = rows(random, &before, &rules, bits[0]);
        let new = match Assign::new(&after, &rules).partition_bits(bits[0]).previous(&old).solve() {
            Ok(solved) if random.once_in(2) => solved.into_table(),
            _ => rows(random, &after, &rules, bits[1]),
        };
        let diff = check(&old, &new, seed);
        grown += diff.moves.iter().filter(|one| one.from.is_none()).count();
        dropped += diff.drops.len();
        assert!(check(&old, &old, seed).is_empty());
    }
    assert!((grown > 0 && dropped > 0) || seeds(5_000).count() < 100);
}

#[test]
fn a_diff_applied_to_the_old_ring_gives_the_new_one() {
    for seed in seeds(1_000) {
        let random = &mut Random::new(seed);
        let count = 3 + random.below(5);
        let before = random::topology(random, count, SHAPE, &[1, 2]);
        let after = random::edited(random, &before, 2, SHAPE, &[1, 2]);
        let rules = Rules::new(2).allow_short();
        let ring = |topology| {
            let vnodes = RingConfig::default().vnodes(4);
            Ring::build(topology, &rules, &vnodes).unwrap()
        };
        check(&ring(&before), &ring(&after), seed);
        // Another kind over the same hashes.
        let table = rows(random, &after, &rules, 3);
        check(&ring(&before), &table, seed);
    }
}

/// Who goes is replaced by who comes in its zone, as far as there is one.
#[test]
fn pairs_stay_in_their_zone() {
    let mut nodes = Topology::builder();
    for (node, zone) in [(1, "a"), (2, "b"), (3, "c"), (4, "c"), (5, "b"), (6, "d")] {
        nodes = nodes.node(quorate_hashring::Node::new(id(node)).at(Level::Zone, zone));
    }
    let topology = nodes.build().unwrap();
    let table = |row: &[u64]| {
        let rows = [row.iter().copied().map(id).collect()];
        let rules = Rules::new(3);
        PartitionTable::from_rows(&topology, &rules, KeyHash::default(), &rows).unwrap()
    };
    let pairs = |old: &[u64], new: &[u64]| -> Vec<(u64, u64)> {
        let moves = diff(&table(old), &table(new)).unwrap().moves;
        moves.iter().map(|one| (one.from.unwrap().value(), one.to.value())).collect()
    };
    assert_eq!(pairs(&[1, 2, 3], &[4, 5, 6]), [(3, 4), (2, 5), (1, 6)]);
    assert_eq!(pairs(&[1, 2, 3], &[6, 2, 4]), [(1, 6), (3, 4)]);
    assert_eq!(pairs(&[1, 2, 3], &[6, 4, 1]), [(2, 6), (3, 4)]);
}

/// A planner, and what a test knows of it.
struct Plan {
    planner: Planner<u64>,
    nodes: Vec<NodeId>,
    /// Moves under way: where they begin, who receives, who sends.
    running: BTreeMap<MoveId, (u64, NodeId, Vec<NodeId>)>,
    ready: Vec<NodeId>,
    down: Vec<NodeId>,
    incoming: usize,
    outgoing: usize,
    total: usize,
    attempts_max: usize,
    /// Orders from one replica, and from a quorum.
    slots: u64,
    quorums: u64,
}

impl Plan {
    fn new(random: &mut Random, moves: &Diff<u64>, nodes: Vec<NodeId>) -> Self {
        let limit = |random: &mut Random| u16::try_from(1 + random.below(4)).unwrap();
        let (incoming, outgoing, total) = (limit(random), limit(random), 2 * limit(random));
        let attempts_max = limit(random);
        let limits = PlanLimits::default().incoming(incoming).outgoing(outgoing).total(total);
        let limits = limits.attempts_max(attempts_max);
        Self {
            planner: Planner::new(moves, Quorum::Majority, limits).unwrap(),
            nodes,
            running: BTreeMap::new(),
            ready: Vec::new(),
            down: Vec::new(),
            incoming: usize::from(incoming),
            outgoing: usize::from(outgoing),
            total: usize::from(total),
            attempts_max: usize::from(attempts_max),
            slots: 0,
            quorums: 0,
        }
    }

    /// Something happens; nothing fails any more once it is calm.
    fn step(&mut self, random: &mut Random, is_calm: bool) {
        let node = *random.pick(&self.nodes);
        match random.below(12) {
            0 if !self.ready.contains(&node) => {
                self.ready.push(node);
                self.planner.source_ready(node);
            }
            1 if !is_calm && self.down.len() < 2 && !self.down.contains(&node) => {
                self.down.push(node);
                self.planner.node_down(node);
            }
            2 if !self.down.is_empty() => self.planner.node_up(self.down.swap_remove(0)),
            3..6 => match self.running.pop_first() {
                Some((id, _)) if random.once_in(3) && !is_calm => self.planner.failed(id).unwrap(),
                Some((id, _)) => self.planner.done(id).unwrap(),
                None => {}
            },
            _ => self.order(),
        }
    }

    fn order(&mut self) {
        let Some(order) = self.planner.poll_order() else { return };
        let one = &order.what;
        let senders = match &order.source {
            Source::Slot(from) => {
                self.slots += 1;
                assert_eq!(one.from, Some(*from));
                vec![*from]
            }
            Source::Quorum { nodes, need } => {
                self.quorums += 1;
                let direct = one.from.filter(|from| self.ready.contains(from));
                assert!(direct.is_none_or(|from| self.down.contains(&from)));
                let len = one.holders.len();
                assert_eq!(usize::from(*need), len - (len / 2 + 1) + 1);
                assert!(nodes.len() >= usize::from(*need));
                assert!(nodes.iter().all(|node| one.holders.contains(node)));
                nodes.clone()
            }
            _ => panic!("an unknown source"),
        };
        let usable = |node: &NodeId| self.ready.contains(node) && !self.down.contains(node);
        assert!(senders.iter().all(usable) && !self.down.contains(&one.to));
        let mut others = self.running.values();
        assert!(others.all(|(start, ..)| *start != one.start), "one per segment");
        assert!((order.attempt as usize) < self.attempts_max);
        self.running.insert(one.id, (one.start, one.to, senders));
    }

    fn check(&self, seed: u64, moves: usize) {
        assert!(self.running.len() <= self.total);
        for node in &self.nodes {
            let running = || self.running.values();
            let incoming = running().filter(|(_, to, _)| to == node).count();
            let outgoing = running().filter(|(_, _, senders)| senders.contains(node)).count();
            assert!(incoming <= self.incoming && outgoing <= self.outgoing, "seed {seed}");
        }
        let progress = self.planner.progress();
        assert_eq!(progress.running as usize, self.running.len());
        let sum = progress.waiting + progress.running + progress.done + progress.stuck;
        assert_eq!(sum as usize, moves);
    }
}

#[test]
fn plans_keep_their_limits_at_every_step() {
    let (mut stuck, mut quorums, mut slots) = (0, 0, 0);
    for seed in seeds(400) {
        let random = &mut Random::new(seed);
        let count = 5 + random.below(5);
        let topology = random::topology(random, count, SHAPE, WEIGHTS);
        let rules = Rules::new(3).allow_short();
        let (old, new) = (rows(random, &topology, &rules, 5), rows(random, &topology, &rules, 5));
        let moves = diff(&old, &new).unwrap();
        let nodes: Vec<NodeId> = topology.nodes().iter().map(|node| node.id()).collect();
        let mut plan = Plan::new(random, &moves, nodes);
        for step in 0..4_000 {
            plan.step(random, step >= 600);
            plan.check(seed, moves.moves.len());
        }
        // In the end everything is done, but for what failed too often.
        let planner = &mut plan.planner;
        let left = planner.progress();
        assert_eq!(left.waiting + left.running, 0, "seed {seed}: {left:?}");
        assert_eq!(planner.is_finished(), planner.is_stuck().is_none());
        for id in planner.is_stuck().unwrap_or_default().to_vec() {
            stuck += 1;
            planner.done(id).unwrap();
        }
        assert!(planner.is_finished());
        quorums += plan.quorums;
        slots += plan.slots;
    }
    assert!((stuck > 0 && quorums > 0 && slots > 0) || seeds(400).count() < 100);
}

/// Some view in the middle of a change, or behind one.
fn some_view(random: &mut Random) -> View {
    let count = 4 + random.below(5);
    let topology = random::topology(random, count, SHAPE, WEIGHTS);
    let rules = Rules::new(2).allow_short();
    let bits = u8::try_from(random.below(4)).unwrap();
    let solve = |topology: &Topology| {
        Assign::new(topology, &rules).partition_bits(bits).solve().unwrap().into_table()
    };
    let first = View::initial(solve(&topology));
    let weights = &[1, 2, 3];
    let other = topology.nodes().iter().fold(topology.to_builder(), |nodes, node| {
        nodes.reweigh(node.id(), quorate_hashring::Weight::units(*random.pick(weights)))
    });
    let next = solve(&other.build().unwrap());
    let Ok(mut transition) = Transition::begin(&first, next, Quorum::Majority) else {
        return first.doubled().unwrap();
    };
    let mut view = first;
    for _ in 0..random.below(5) {
        if random.once_in(5) {
            let _ = transition.abort();
        }
        if let Some(next) = transition.poll_view() {
            transition.committed(&next).unwrap();
            view = next;
        }
        for node in topology.nodes() {
            transition.handle_ack(node.id(), view.epoch());
        }
        for one in transition.moves().moves.clone() {
            let _ = transition.handle_copied(one.id);
        }
    }
    view
}

#[test]
fn views_come_back_as_they_were_and_only_as_they_were() {
    let (mut stages, mut accepted, mut refused) = (BTreeMap::new(), 0, 0);
    for seed in seeds(1_500) {
        let random = &mut Random::new(seed);
        let view = some_view(random);
        *stages.entry(view.stage()).or_insert(0) += 1;
        let bytes = view.encode();
        let back = View::decode(&bytes, None).unwrap();
        assert_eq!((&back, back.digest()), (&view, view.digest()), "seed {seed}");
        assert_eq!(back.encode(), bytes);
        for at in 0..view.table().partitions() {
            let p = Partition::new(u16::try_from(at).unwrap());
            assert_eq!(back.route_to(p), view.route_to(p));
        }
        for _ in 0..30 {
            let bytes = mutated(random, &bytes);
            match View::decode(&bytes, None) {
                Ok(view) => {
                    assert_eq!(view.encode(), bytes, "seed {seed}");
                    accepted += 1;
                    // Whatever was accepted can be gone on with.
                    let _ = Transition::resume(&view, Quorum::Majority, &[]);
                    let _ = view.doubled();
                }
                Err(error) => {
                    refused += u32::from(matches!(error, DecodeError::Invalid { .. }));
                }
            }
        }
    }
    println!("stages {stages:?}, mutations accepted {accepted}, breaking a rule {refused}");
    let all = [Stage::Settled, Stage::Copying, Stage::Switched, Stage::Reverting];
    assert!(all.iter().all(|stage| stages.contains_key(stage)) || seeds(1_500).count() < 500);
}

/// Routes name exactly the rows of the stage, whatever the table.
#[test]
fn routes_follow_the_table_of_stages() {
    for seed in seeds(500) {
        let random = &mut Random::new(seed);
        let view = some_view(random);
        for hash in [0, random.next(), random.next(), u64::MAX] {
            let route = view.route_at(hash);
            let new = view.table().replicas_at(hash);
            assert_eq!(route.write.new, new);
            assert_eq!(view.partition_epoch(route.partition), Some(route.tag));
            assert!(route.tag <= view.epoch());
            let changes = view.changed().contains(&route.partition);
            assert_eq!(!route.write.old.is_empty(), changes);
            let reads_old = matches!(view.stage(), Stage::Copying | Stage::Reverting);
            let expected = if changes && reads_old { route.write.old } else { new };
            assert_eq!(route.read, expected, "seed {seed}");
            if view.stage() != Stage::Settled {
                assert_eq!(route.tag == view.epoch(), changes);
            }
            assert!(view.table().topology().node(route.read[0]).is_some());
        }
    }
}

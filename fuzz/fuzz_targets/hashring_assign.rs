//! Clusters, rules and changes from bytes: no panic, rows keep the rules and loads their targets,
//! moves are what they are said to be, and solving again moves nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_hashring::{
    Assign, AssignError, Assignment, Level, Locate, Node, NodeId, NodeIdx, PartitionTable,
    Primaries, Replicate, Rules, Segmented, Topology, Weight, diff,
};

/// Bytes one after the other, then zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let (&first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        first
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.next() % bound
    }
}

fn cluster(bytes: &mut Bytes<'_>) -> Option<Topology> {
    let mut builder = Topology::builder();
    let mut id = 0;
    for _ in 0..=bytes.below(12) {
        let (what, place) = (bytes.next(), bytes.next());
        id += 1 + u64::from(what & 3);
        let weight = match what >> 2 & 7 {
            0 => 0,
            7 => u32::from(bytes.next()) << 24 | 1,
            small => u32::from(small) << 15,
        };
        builder = builder.node(
            Node::new(NodeId::new(id))
                .weight(Weight::from_raw(weight))
                .at(Level::Region, ["", "r"][usize::from(place & 1)])
                .at(Level::Zone, ["a", "b", "c", "d"][usize::from(place >> 1 & 3)])
                .at(Level::Rack, ["", "1", "2", "3"][usize::from(place >> 3 & 3)]),
        );
    }
    builder.build().ok()
}

fn rules(bytes: &mut Bytes<'_>) -> Rules {
    let mut rules = Rules::new(1 + bytes.below(4));
    for level in Level::ALL {
        let (how, most) = (bytes.next(), 1 + bytes.below(3));
        rules = match how % 4 {
            0 => rules.at_most(level, most),
            1 => rules.at_most_soft(level, most),
            _ => rules,
        };
    }
    if bytes.next() & 1 == 0 { rules } else { rules.allow_short() }
}

fn keeps_rules(table: &PartitionTable) {
    let (topology, rules) = (table.topology(), table.rules());
    for segment in table.segments() {
        let row = segment.replicas;
        assert!(!row.is_empty() && row.len() <= usize::from(rules.replicas()));
        for (at, node) in row.iter().enumerate() {
            assert!(!row[..at].contains(node), "twice in {row:?}");
            assert!(!topology.node(*node).expect("it is there").weight_of().is_zero());
            for level in Level::ALL {
                let Some((most, false)) = rules.cap(level) else { continue };
                let domain = |at: &NodeIdx| topology.domain(*at, level);
                let held = row.iter().filter(|other| domain(other) == domain(node)).count();
                assert!(held <= usize::from(most), "{held} in one {level}: {row:?}");
            }
        }
    }
}

/// Each load is the floor or the ceiling of its target.
fn is_fair(solved: &Assignment) {
    for node in solved.report().nodes() {
        let (num, den) = node.target();
        let (low, high) = (num / u128::from(den), num.div_ceil(u128::from(den)));
        assert!((low..=high).contains(&node.load()), "{node:?}");
    }
}

/// The problem of coming from a table to the fairest one on these nodes.
fn change<'a>(after: &'a Topology, table: &'a PartitionTable, how: Primaries) -> Assign<'a> {
    Assign::new(after, table.rules()).previous(table).primaries(how)
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Bytes(data);
    let how = bytes.next();
    let bits = how & 7;
    let bits = bits.min(6);
    let primaries = if how & 8 == 0 { Primaries::Balance } else { Primaries::Keep };
    let rules = rules(&mut bytes);
    let (Some(before), Some(after)) = (cluster(&mut bytes), cluster(&mut bytes)) else { return };
    let first = Assign::new(&before, &rules).partition_bits(bits).primaries(primaries);
    let Ok(first) = first.solve() else { return };
    keeps_rules(first.table());
    is_fair(&first);

    let Ok(whole) = change(&after, first.table(), primaries).solve() else { return };
    keeps_rules(whole.table());
    is_fair(&whole);
    assert!(whole.is_complete() && whole.moves() >= whole.load_bound());
    let moved = diff(first.table(), whole.table()).expect("one space");
    let rows = |start: u64, end: Option<u64>| {
        let end = end.map_or(1_u128 << 64, u128::from);
        (end - u128::from(start)) >> (64 - bits)
    };
    let moves: u128 = moved.moves.iter().map(|one| rows(one.start, one.end)).sum();
    assert_eq!(moves, u128::from(whole.moves()));
    let again = change(&after, whole.table(), primaries).solve().expect("as before");
    assert_eq!((again.moves(), again.table()), (0, whole.table()));

    // In rounds it takes as many moves, and comes to as fair a table.
    let mut budget = 4 + u32::from(how >> 4);
    let (mut table, mut sum) = (first.into_table(), 0);
    loop {
        let round = match change(&after, &table, primaries).moves_max(budget).solve() {
            // Rows of nodes that are gone cannot wait for one another.
            Err(AssignError::BudgetTooSmall { least }) if least > budget => {
                budget = least;
                continue;
            }
            round => round.expect("feasible"),
        };
        assert!(round.moves() <= budget);
        sum += round.moves();
        if round.is_complete() {
            is_fair(&round);
            break;
        }
        assert!(round.moves() > 0);
        table = round.into_table();
    }
    assert_eq!(sum, whole.moves());

    // A tolerance never takes more moves.
    let loose = change(&after, &table, primaries).imbalance_ppm(200_000).solve().expect("feasible");
    keeps_rules(loose.table());
    assert!(loose.moves() <= change(&after, &table, primaries).solve().expect("feasible").moves());
});

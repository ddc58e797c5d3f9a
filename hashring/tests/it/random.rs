//! Seeded numbers, and clusters and rules made of them.

use quorate_hashring::{Level, Node, NodeId, Rules, Topology, Weight};

/// splitmix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// How many seeds to run: `QUORATE_SEEDS`, else `normal`. One alone: `QUORATE_SEED`.
pub(crate) fn seeds(normal: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(one) = number("QUORATE_SEED") {
        return one..one + 1;
    }
    0..number("QUORATE_SEEDS").unwrap_or(normal)
}

/// A node somewhere in at most `zones` zones of `racks` racks and `hosts` hosts.
pub(crate) fn node(random: &mut Random, id: u64, shape: [usize; 4], weights: &[u16]) -> Node {
    let mut node = Node::new(NodeId::new(id)).weight(Weight::units(*random.pick(weights)));
    for (level, count) in Level::ALL.into_iter().zip(shape) {
        if count > 0 {
            node = node.at(level, &format!("{level}{}", random.below(count)));
        }
    }
    node
}

/// A topology of `count` nodes with distinct ids below four times as many.
pub(crate) fn topology(
    random: &mut Random,
    count: usize,
    shape: [usize; 4],
    weights: &[u16],
) -> Topology {
    let mut ids: Vec<u64> = (1..=count as u64 * 4).collect();
    let mut builder = Topology::builder();
    for at in 0..count {
        let id = ids.swap_remove(random.below(ids.len()));
        let weights = if at == 0 { &[1] } else { weights };
        builder = builder.node(node(random, id, shape, weights));
    }
    builder.build().unwrap()
}

/// Another topology: some nodes leave, come, weigh or stand elsewhere.
pub(crate) fn edited(
    random: &mut Random,
    from: &Topology,
    edits: usize,
    shape: [usize; 4],
    weights: &[u16],
) -> Topology {
    let mut builder = from.to_builder();
    for _ in 0..edits {
        let nodes = builder.clone().build().map_or(Vec::new(), |now| now.nodes().to_vec());
        let Some(some) = nodes.get(random.below(nodes.len().max(1))) else { break };
        let next = builder.clone();
        let next = match random.below(4) {
            0 => next.remove(some.id()),
            1 => next.reweigh(some.id(), Weight::units(*random.pick(weights))),
            2 => next.remove(some.id()).node(node(random, some.id().value(), shape, weights)),
            _ => {
                let new = nodes.iter().map(|node| node.id().value()).max().unwrap_or(0) + 1;
                next.node(node(random, new, shape, weights))
            }
        };
        if next.clone().build().is_ok() {
            builder = next;
        }
    }
    builder.build().unwrap()
}

/// Rules over some levels of a shape.
pub(crate) fn rules(random: &mut Random, replicas: usize, shape: [usize; 4], soft: bool) -> Rules {
    let mut rules = Rules::new(u8::try_from(replicas).unwrap());
    for (level, count) in Level::ALL.into_iter().zip(shape) {
        if count == 0 || random.once_in(3) {
            continue;
        }
        let most = u8::try_from(1 + random.below(replicas)).unwrap();
        rules = if soft && random.once_in(2) {
            rules.at_most_soft(level, most)
        } else {
            rules.at_most(level, most)
        };
    }
    rules
}

//! Lane P3: rings of 160 and of 2,560 tokens a node.

use crate::keys::{Keys, cluster, table};
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{Locate, Ring, RingConfig, Rules};
use std::hash::{BuildHasher, Hash, Hasher};

/// A ring of the crate of that name, 160 entries a node.
pub(crate) fn hashring(nodes: u64) -> hashring::HashRing<(u16, u16)> {
    let mut ring = hashring::HashRing::new();
    ring.batch_add(entries(nodes, 160));
    ring
}

fn entries(nodes: u64, vnodes: u16) -> Vec<(u16, u16)> {
    let nodes = 0..nodes as u16;
    nodes.flat_map(|node| (0..vnodes).map(move |vnode| (node, vnode))).collect()
}

/// A node as conhash wants it.
#[derive(Clone)]
struct Named(u64);

impl conhash::Node for Named {
    fn name(&self) -> String {
        self.0.to_string()
    }
}

/// Passes the last number written on: for peers that take a hash only by way of a hasher.
#[derive(Clone, Default)]
pub(crate) struct Given(u64);

impl Hasher for Given {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl BuildHasher for Given {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

/// A token of a node.
#[derive(Clone, Copy)]
struct Token(u64, u16);

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

pub(crate) fn owner(lines: &mut Table) {
    let topology = cluster(100, 1);
    let floor = table(&topology, 12, 1);
    for (vnodes, name, most) in [(160, "16 k", 2.0), (2_560, "256 k", 4.0)] {
        let config = RingConfig::default().vnodes(vnodes);
        let ring = Ring::build(&topology, &Rules::new(1), &config).expect("feasible");
        let (mut a, mut b) = (Keys::new(), Keys::new());
        let mut all: Vec<Keys> = (0..6).map(|_| Keys::new()).collect();
        let [c, d, e, f, g, h] = &mut all[..] else { unreachable!("six") };
        let hashring = {
            let mut ring = hashring::HashRing::new();
            ring.batch_add(entries(100, vnodes));
            ring
        };
        let hash_ring = hash_ring::HashRing::new(
            (0..100_u16).collect(),
            isize::try_from(vnodes).expect("small"),
        );
        let mut conhash = conhash::ConsistentHash::new();
        (0..100).for_each(|id| conhash.add(&Named(id), usize::from(vnodes)));
        let mut coordinator = hashring_coordinator::HashRing::new(0, usize::from(vnodes));
        coordinator.batch_add((0..100_u16).collect());
        let probing = mpchash::HashRing::new();
        (0..100_u16).for_each(|id| probing.add(id));
        let nodes =
            (0..100_u16).map(|id| consistent_hash::Node::new(id).quantity(usize::from(vnodes)));
        let consistent = consistent_hash::StaticHashRing::new(consistent_hash::DefaultHash, nodes);
        let third = |peer| Target::Of(peer, 1.0 / 3.0);
        lines.measure(Lane {
            name: &format!("P3 owner on a ring of {name} tokens"),
            ours: Candidate::each("ours", || ring.owner(a.next())),
            floor: Candidate::each("table (P1)", || floor.owner(b.next())),
            peers: vec![
                Candidate::each("hashring", || hashring.get(c.next()).copied()),
                Candidate::each("hash_ring", || hash_ring.get_node(d.next_text()).copied()),
                Candidate::each("conhash", || conhash.get(e.next()).map(|node| node.0)),
                Candidate::each("hashring_coordinator", || coordinator.get(f.next()).len()),
                Candidate::each("mpchash (23 probes, 100 tokens)", || {
                    probing.node(g.next()).map(|token| *token.node())
                }),
                Candidate::each("consistent_hash", || {
                    consistent.calc_candidates(h.next()).next().map(|node| node.key)
                }),
            ],
            targets: [Target::OfFloor(most)].into_iter().chain((0..6).map(third)).collect(),
        });
        given(lines, name, &ring, &floor);
    }
}

/// The same ring with the hash given, where a peer can take one.
fn given(lines: &mut Table, name: &str, ring: &Ring, floor: &quorate_hashring::PartitionTable) {
    let mut peer = hashring::HashRing::with_hasher(Given::default());
    let owners = ring.tokens().iter().zip(ring.owners());
    peer.batch_add(owners.map(|(&token, owner)| Token(token, owner.value())).collect());
    let (mut a, mut b, mut c) = (Keys::new(), Keys::new(), Keys::new());
    for _ in 0..65_536 {
        let hash = a.next_hash();
        let theirs = peer.get(&Token(hash, 0)).map(|token| token.1);
        assert_eq!(Some(ring.owner_at(hash).value()), theirs, "not the same ring");
    }
    lines.measure(Lane {
        name: &format!("P3 the same, hash given, {name} tokens"),
        ours: Candidate::each("ours", || ring.owner_at(a.next_hash())),
        floor: Candidate::each("table, hash given", || floor.owner_at(b.next_hash())),
        peers: vec![Candidate::each("hashring", || {
            peer.get(&Token(c.next_hash(), 0)).map(|token| token.1)
        })],
        targets: vec![Target::OfPeer(1.0 / 3.0)],
    });
}

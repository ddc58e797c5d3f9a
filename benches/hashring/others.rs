//! Lanes P4, P11 and P13: bucket functions, key ranges, rendezvous.

use crate::keys::{Keys, cluster};
use crate::rings::Given;
use quorate_benches::{Candidate, Lane, Table, Target};
use quorate_hashring::{
    Epoch, KeyHash, Locate, NodeId, RangeId, RangeMap, Rendezvous, Topology, Weight, jump,
};
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hash};
use std::num::NonZeroU32;
use std::ops::Bound;

/// P4: 10, a thousand and a million buckets.
pub(crate) fn buckets(lines: &mut Table) {
    for count in [10_u32, 1_000, 1_000_000] {
        let buckets = NonZeroU32::new(count).expect("not zero");
        let bare = jumphash::CustomJumpHasher::new(Given::default());
        let mut all: Vec<Keys> = (0..5).map(|_| Keys::new()).collect();
        let [a, b, c, d, e] = &mut all[..] else { unreachable!("five") };
        for _ in 0..10_000 {
            let hash = a.next_hash();
            assert_eq!(jump(hash, buckets), bare.slot(&hash, count), "another function");
        }
        let whole = jumphash::JumpHasher::new_with_keys(1, 2);
        lines.measure(Lane {
            name: &format!("P4 jump, {count} buckets"),
            ours: Candidate::each("ours", || jump(a.next_hash(), buckets)),
            floor: Candidate::each("jumphash's loop", || bare.slot(&b.next_hash(), count)),
            peers: vec![
                Candidate::each("jumphash with its SipHash", || whole.slot(&c.next_hash(), count)),
                Candidate::each("fliphash", || {
                    fliphash::fliphash_64(d.next_hash(), ..=u64::from(count) - 1)
                }),
                Candidate::each("consistent-choose-k, k = 1", || {
                    let mut hasher = std::hash::DefaultHasher::new();
                    e.next_hash().hash(&mut hasher);
                    consistent_choose_k::ConsistentChooseKHasher::new_with_k(
                        hasher,
                        count as usize,
                        1,
                    )
                    .into_samples()
                }),
            ],
            targets: vec![Target::OfFloor(1.05)],
        });
    }
}

const RANGES: u64 = 100_000;

/// A key of 32 bytes, in the order of its number.
fn key(number: u64) -> [u8; 32] {
    let mut key = *b"table/0007/row/0000000000000000/";
    let digits = format!("{number:016}");
    key[15..31].copy_from_slice(digits.as_bytes());
    key
}

/// P11: 100,000 ranges, keys of 32 bytes.
pub(crate) fn ranges(lines: &mut Table) {
    let node = [NodeId::new(1)];
    let mut map = RangeMap::new(RangeId::new(0), &node).expect("one node");
    let mut tree: BTreeMap<Vec<u8>, u64> = BTreeMap::from([(Vec::new(), 0)]);
    let mut peer = rangemap::RangeMap::<Vec<u8>, u64>::new();
    let start = |id: u64| if id == 0 { Vec::new() } else { key(id * 1_000).to_vec() };
    let mut epoch = Epoch::new(1);
    for id in 1..RANGES {
        let left = RangeId::new(id - 1);
        map = map.split(left, epoch, &start(id), RangeId::new(id)).expect("inside");
        epoch = map.get(RangeId::new(id)).expect("just made").epoch;
        tree.insert(start(id), id);
    }
    for id in 0..RANGES {
        let end = if id + 1 == RANGES { vec![0xFF; 33] } else { start(id + 1) };
        peer.insert(start(id)..end, id);
    }
    let keys: Vec<[u8; 32]> =
        (0..65_536_u64).map(|i| key(i.wrapping_mul(0x9E37_79B9) % (RANGES * 1_000))).collect();
    let find = |key: &[u8]| {
        let below = tree.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        *below.last().expect("the first is empty").1
    };
    let find_back = |key: &[u8]| {
        let mut below = tree.range::<[u8], _>((Bound::Unbounded, Bound::Included(key)));
        *below.next_back().expect("the first is empty").1
    };
    for key in &keys[..50] {
        assert_eq!(map.locate(key).id.value(), find(key));
    }
    let owned: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
    let step = |at: &mut usize| {
        *at = (*at + 1) % keys.len();
        *at
    };
    let (mut a, mut b, mut c) = (0, 0, 0);
    lines.measure(Lane {
        name: "P11 range of a key, 100,000 ranges",
        ours: Candidate::each("ours", || map.locate(&keys[step(&mut a)]).id),
        floor: Candidate::each("BTreeMap<Vec<u8>, _>", || find_back(&keys[step(&mut b)])),
        peers: vec![Candidate::each("rangemap", || peer.get(&owned[step(&mut c)]).copied())],
        targets: vec![Target::OfFloor(0.8)],
    });
    let half = key(50_000_500);
    let at = map.locate(&half).clone();
    lines.measure(Lane {
        name: "P11 split, a new map each time",
        ours: Candidate::each("ours", || {
            map.split(at.id, at.epoch, &half, RangeId::new(RANGES + 1)).expect("inside")
        }),
        floor: Candidate::each("clone of the BTreeMap", || tree.clone()),
        peers: Vec::new(),
        targets: vec![Target::OfFloor(0.02)],
    });
}

/// A node of another weight, as hrw-hash wants it.
#[derive(Hash, PartialEq, Eq)]
struct Heavy(u64, usize);

impl hrw_hash::HrwNode for Heavy {
    fn capacity(&self) -> usize {
        self.1
    }
}

type Peer = hrw_hash::HrwNodes<u64, BuildHasherDefault<hrw_hash::DefaultHasher>>;

/// P13: 100 nodes of equal and of mixed weights.
pub(crate) fn rendezvous(lines: &mut Table) {
    let equal = cluster(100, 1);
    let mut mixed = equal.to_builder();
    for id in 1..=100 {
        mixed = mixed.reweigh(NodeId::new(id), Weight::units(weight(id)));
    }
    let mixed = mixed.build().expect("the same nodes");
    let hrw: Peer = hrw_hash::HrwNodes::new(1..=100_u64);
    let heavy = hrw_hash::HrwNodes::new((1..=100).map(|id| Heavy(id, usize::from(weight(id)))));
    let mut nodes = rendezvous_hash::RendezvousNodes::default();
    for id in 1..=100_u64 {
        nodes.insert(rendezvous_hash::IdNode::new(id));
    }
    let mut weighted = rendezvous_hash::RendezvousNodes::default();
    for id in 1..=100_u64 {
        let capacity = rendezvous_hash::Capacity::new(f64::from(weight(id))).expect("positive");
        let node = rendezvous_hash::IdNode::new(id);
        weighted.insert(rendezvous_hash::WeightedNode::new(node, capacity));
    }
    let mut all: Vec<Keys> = (0..8).map(|_| Keys::new()).collect();
    let [a, b, c, d, e, f, g, h] = &mut all[..] else { unreachable!("eight") };
    let fifth = |peer| Target::Of(peer, 0.2);
    let (ours, salts) = (Rendezvous::new(&equal, KeyHash::default()), salts(&equal));
    lines.measure(Lane {
        name: "P13 rendezvous, 100 nodes of equal weight",
        ours: Candidate::each("ours", || ours.owner(a.next())),
        floor: Candidate::each("100 × mix", || best(&salts, b.next_hash())),
        peers: vec![
            Candidate::each("hrw-hash", || hrw.sorted(c.next()).next().copied()),
            Candidate::each("rendezvous_hash", || {
                nodes.calc_candidates(d.next()).next().map(|node| **node)
            }),
        ],
        targets: vec![Target::OfFloor(1.5), fifth(0), fifth(1)],
    });
    let ours = Rendezvous::new(&mixed, KeyHash::default());
    lines.measure(Lane {
        name: "P13 rendezvous, 100 nodes of mixed weights",
        ours: Candidate::each("ours", || ours.owner(e.next())),
        floor: Candidate::each("100 × mix", || best(&salts, f.next_hash())),
        peers: vec![
            Candidate::each("hrw-hash", || heavy.sorted(g.next()).next().map(|node| node.0)),
            Candidate::each("rendezvous_hash", || {
                weighted.calc_candidates(h.next()).next().map(|node| *node.node)
            }),
        ],
        targets: vec![Target::OfFloor(4.0), fifth(0), fifth(1)],
    });
}

fn weight(id: u64) -> u16 {
    1 + (id % 4) as u16
}

fn salts(topology: &Topology) -> Vec<u64> {
    let ids = topology.nodes().iter().map(|node| node.id().value());
    ids.map(|id| xxhash_rust::xxh3::xxh3_64(&id.to_le_bytes())).collect()
}

/// The floor: the best of one mixed number for each node.
fn best(salts: &[u64], hash: u64) -> usize {
    let mix = |mut x: u64| {
        x ^= x >> 30;
        x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x ^= x >> 27;
        x = x.wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    };
    let mut best = (0, 0);
    for (at, salt) in salts.iter().enumerate() {
        let score = mix(hash ^ salt);
        if score > best.0 {
            best = (score, at);
        }
    }
    best.1
}

//! Keys and clusters that all lanes use.

use quorate_hashring::{Assign, Level, Node, NodeId, PartitionTable, Rules, Topology};
use xxhash_rust::xxh3::xxh3_64;

/// Keys of 16 bytes, gone through in circles.
pub(crate) struct Keys {
    keys: Vec<[u8; 16]>,
    texts: Vec<String>,
    hashes: Vec<u64>,
    at: usize,
}

/// So many that no branch predictor learns them by heart.
const KEYS: usize = 65_536;

impl Keys {
    pub(crate) fn new() -> Self {
        let text = |i: usize| format!("user/{:011}", i * 7_919);
        let texts: Vec<String> = (0..KEYS).map(text).collect();
        let keys: Vec<[u8; 16]> =
            texts.iter().map(|text| text.as_bytes().try_into().expect("16 bytes")).collect();
        let hashes = keys.iter().map(|key| xxh3_64(key)).collect();
        Self { keys, texts, hashes, at: 0 }
    }

    fn step(&mut self) -> usize {
        self.at = (self.at + 1) % KEYS;
        self.at
    }

    pub(crate) fn next(&mut self) -> &[u8; 16] {
        let at = self.step();
        &self.keys[at]
    }

    /// The same keys as owned text, for interfaces that want that.
    pub(crate) fn next_text(&mut self) -> String {
        let at = self.step();
        self.texts[at].clone()
    }

    pub(crate) fn next_hash(&mut self) -> u64 {
        let at = self.step();
        self.hashes[at]
    }
}

/// Nodes 1 to `count`, round the zones.
pub(crate) fn cluster(count: u64, zones: u64) -> Topology {
    let mut builder = Topology::builder();
    for id in 1..=count {
        let zone = format!("zone {}", id % zones);
        builder = builder.node(Node::new(NodeId::new(id)).at(Level::Zone, &zone));
    }
    builder.build().expect("distinct ids")
}

pub(crate) fn table(topology: &Topology, bits: u8, replicas: u8) -> PartitionTable {
    let rules = Rules::new(replicas);
    Assign::new(topology, &rules).partition_bits(bits).solve().expect("feasible").into_table()
}

//! Three nodes, a random workload, random faults; then peace, in which everything must end.

use super::node::{How, Node, Shared};
use super::oracle::{Id, Oracle, Totals};
use crate::support::*;
use quorate_transport::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NODES: u64 = 3;
const TURNS: u32 = 250;

pub struct World {
    seed: u64,
    random: u64,
    net: Net,
    nodes: Vec<Node>,
    /// Whose components do not read now.
    deaf: [bool; NODES as usize],
    lives: u64,
    next_id: Id,
    oracle: Shared,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            net: Net::new(),
            nodes: Vec::new(),
            deaf: [false; NODES as usize],
            lives: 1,
            next_id: 1,
            oracle: Arc::new(Mutex::new(Oracle::default())),
        };
        for n in 1..=NODES {
            let node = world.start(n);
            world.nodes.push(node);
        }
        world
    }

    fn start(&self, n: u64) -> Node {
        let peers = (1..=NODES).filter(|peer| *peer != n).map(node);
        let seed = self.seed ^ self.lives << 32 ^ n << 16;
        Node::start(&self.net, identity(n, self.lives), seed, peers)
    }

    /// A number below `n`. (xorshift64*)
    fn dice(random: &mut u64, n: u64) -> u64 {
        *random ^= *random >> 12;
        *random ^= *random << 25;
        *random ^= *random >> 27;
        (random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn below(&mut self, n: u64) -> u64 {
        Self::dice(&mut self.random, n)
    }

    /// A node and another one.
    fn pair(&mut self) -> (usize, NodeId) {
        let from = self.below(NODES);
        let to = (from + 1 + self.below(NODES - 1)) % NODES;
        (from as usize, node(to + 1))
    }

    fn lane(&mut self) -> Lane {
        Lane::ALL[self.below(3) as usize]
    }

    fn id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id - 1
    }

    pub fn run(mut self) -> Totals {
        for _ in 0..TURNS {
            for _ in 0..1 + self.below(4) {
                self.act();
            }
            if self.below(12) == 0 {
                self.disturb();
            }
            let pause = Duration::from_millis(self.below(60));
            self.turn(pause);
        }
        self.make_peace();
        self.check_liveness();
        self.finish()
    }

    fn act(&mut self) {
        let (from, to) = self.pair();
        let (id, lane) = (self.id(), self.lane());
        let oracle = self.oracle.clone();
        match self.below(20) {
            0..8 => {
                let len = self.below(2_000) as usize;
                self.nodes[from].send(&oracle, to, lane, id, len);
            }
            8..10 => {
                let len = self.below(1_000) as usize;
                self.nodes[from].send_datagram(&oracle, to, id, len);
            }
            10..18 => {
                let how = How {
                    lane,
                    len: self.below(500) as usize,
                    within: Duration::from_millis(1 + self.below(3_000)),
                    idempotent: self.below(3) == 0,
                    patience: if self.below(10) == 0 { 2 } else { u32::MAX },
                };
                self.nodes[from].call(&oracle, to, id, how);
            }
            18 => {
                let len = self.below(3 << 20) as usize;
                self.nodes[from].stream(&oracle, to, id, len);
            }
            _ => self.nodes[from].watch(to),
        }
    }

    fn disturb(&mut self) {
        let (a, b) = self.pair();
        match self.below(8) {
            0 | 1 => {
                self.net.network.cut(node(a as u64 + 1), b);
                self.oracle.lock().unwrap().totals.cuts += 1;
            }
            2 | 3 => self.heal_all(),
            4 => self.restart(a),
            5 => {
                self.deaf[a] = !self.deaf[a];
                self.oracle.lock().unwrap().totals.deaf_phases += 1;
            }
            6 => self.rage(a),
            _ => self.nodes[a].calm(),
        }
    }

    fn rage(&mut self, a: usize) {
        let rates = [(); 8].map(|_| if self.below(2) == 0 { 0 } else { self.below(60) as u16 });
        self.nodes[a].rage(rates);
    }

    fn heal_all(&self) {
        for (a, b) in [(1, 2), (1, 3), (2, 3)] {
            self.net.network.heal(node(a), node(b));
        }
    }

    /// The new life takes the name over before the old one is gone: it dies as a zombie.
    fn restart(&mut self, at: usize) {
        self.lives += 1;
        let young = self.start(at as u64 + 1);
        let old = std::mem::replace(&mut self.nodes[at], young);
        let mut oracle = self.oracle.lock().unwrap();
        oracle.totals.restarts += 1;
        old.count(&mut oracle.totals);
        drop(oracle);
        drop(old);
        self.net.rt.run();
    }

    /// Components and callers get a turn, then time passes.
    fn turn(&mut self, pause: Duration) -> bool {
        let mut busy = false;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if !self.deaf[at] {
                node.serve(&self.oracle, &mut |n| Self::dice(&mut self.random, n));
            }
            busy |= node.work();
        }
        self.net.rt.advance(pause);
        busy
    }

    /// Without faults everything that was begun ends.
    fn make_peace(&mut self) {
        self.heal_all();
        self.deaf = [false; NODES as usize];
        self.nodes.iter().for_each(Node::calm);
        for _ in 0..2_000 {
            if !self.turn(Duration::from_millis(100)) {
                break;
            }
        }
        assert!(!self.turn(Duration::ZERO), "something never ends");
        for node in &self.nodes {
            assert_eq!(node.inflight(), 0, "G13: a slot leaked");
        }
    }

    /// In peace every node reaches every other.
    fn check_liveness(&mut self) {
        for from in 0..NODES {
            for to in (0..NODES).filter(|to| *to != from) {
                let reached = (0..50).any(|_| self.is_answered(from as usize, node(to + 1)));
                assert!(reached, "{from} does not reach {to} in peace");
            }
        }
    }

    /// Whether one more call is answered.
    fn is_answered(&mut self, from: usize, to: NodeId) -> bool {
        let before = self.oracle.lock().unwrap().answered();
        let (id, oracle) = (self.id(), self.oracle.clone());
        let how = How {
            lane: Lane::Data,
            len: 1,
            within: Duration::from_secs(5),
            idempotent: false,
            patience: u32::MAX,
        };
        self.nodes[from].call(&oracle, to, id, how);
        while self.turn(Duration::from_millis(50)) {}
        self.oracle.lock().unwrap().answered() > before
    }

    fn finish(self) -> Totals {
        let mut oracle = self.oracle.lock().unwrap();
        for node in &self.nodes {
            node.count(&mut oracle.totals);
        }
        let oracle = std::mem::take(&mut *oracle);
        oracle.finish()
    }
}

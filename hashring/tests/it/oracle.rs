//! Judges of the solver that share nothing with it: fair targets from the definition of a
//! lexicographically optimal base, by trying all sets of nodes; and a minimum cost flow on an
//! explicit graph by Bellman and Ford.

use quorate_hashring::{Level, NodeIdx, Topology};

/// The largest replica count per domain at each level; `None`: no rule.
pub(crate) type Caps = [Option<u32>; 4];

/// Nodes and domains as the judges see them.
pub(crate) struct Cluster {
    pub(crate) weights: Vec<u64>,
    /// For each node its domain at each level.
    pub(crate) domains: Vec<[u16; 4]>,
}

impl Cluster {
    pub(crate) fn new(topology: &Topology) -> Self {
        let indexes =
            (0..topology.nodes().len()).map(|at| NodeIdx::new(u16::try_from(at).unwrap()));
        let domain = |at: NodeIdx| Level::ALL.map(|level| topology.domain(at, level).unwrap());
        Self {
            weights: topology.nodes().iter().map(|n| u64::from(n.weight_of().raw())).collect(),
            domains: indexes.map(domain).collect(),
        }
    }

    /// The most replicas that a set of nodes can hold of `partitions` partitions.
    fn rank(&self, set: u32, caps: Caps, replicas: u32, partitions: u32) -> u64 {
        u64::from(partitions) * u64::from(self.held(set, 0, caps).min(replicas))
    }

    /// The most replicas of one partition that nodes of a set can hold, seen from a level in.
    fn held(&self, set: u32, level: usize, caps: Caps) -> u32 {
        if level == 4 {
            return set.count_ones();
        }
        let mut left = set;
        let mut total = 0;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let mut part = 0;
            for node in 0..self.domains.len() {
                if left >> node & 1 == 1 && self.domains[node][level] == self.domains[first][level]
                {
                    part |= 1 << node;
                }
            }
            left &= !part;
            total += self.held(part, level + 1, caps).min(caps[level].unwrap_or(u32::MAX));
        }
        total
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The fair load of each node as a fraction in lowest terms: again and again the set whose rank
/// per weight is the least (of several the largest) gets exactly that, and is contracted.
pub(crate) fn fair_targets(
    cluster: &Cluster,
    caps: Caps,
    replicas: u32,
    partitions: u32,
) -> Vec<(u128, u128)> {
    let nodes = cluster.weights.len();
    let active: u32 = (0..nodes).filter(|&n| cluster.weights[n] > 0).map(|n| 1 << n).sum();
    let rank = |set: u32| cluster.rank(set, caps, replicas, partitions);
    let weight = |set: u32| {
        (0..nodes).filter(|n| set >> n & 1 == 1).map(|n| cluster.weights[n]).sum::<u64>()
    };
    let mut targets = vec![(0, 1); nodes];
    let mut done = 0_u32;
    while done != active {
        let free = active & !done;
        let mut best: Option<(u64, u64, u32)> = None;
        let mut set = free;
        while set != 0 {
            let (load, per) = (rank(set | done) - rank(done), weight(set));
            let better = best.is_none_or(|(least, least_per, chosen)| {
                let (a, b) =
                    (u128::from(load) * u128::from(least_per), u128::from(least) * u128::from(per));
                a < b || a == b && set.count_ones() > chosen.count_ones()
            });
            if better {
                best = Some((load, per, set));
            }
            set = (set - 1) & free;
        }
        let (load, per, set) = best.unwrap();
        for node in (0..nodes).filter(|n| set >> n & 1 == 1) {
            let (num, den) =
                (u128::from(load) * u128::from(cluster.weights[node]), u128::from(per));
            let by = gcd(num, den).max(1);
            targets[node] = (num / by, den / by);
        }
        done |= set;
    }
    targets
}

/// A flow network with costs.
struct Network {
    /// From, to, room, cost; each edge is followed by its reverse.
    edges: Vec<(usize, usize, i64, i64)>,
    vertices: usize,
}

impl Network {
    fn edge(&mut self, from: usize, to: usize, room: i64, cost: i64) {
        self.edges.push((from, to, room, cost));
        self.edges.push((to, from, 0, -cost));
        self.vertices = self.vertices.max(from + 1).max(to + 1);
    }

    /// Sends as much as fits from 0 to 1, cheapest first. Returns how much, and what it costs.
    fn send(&mut self) -> (i64, i64) {
        let (mut sent, mut cost) = (0, 0);
        loop {
            let (distance, via) = self.bellman_ford();
            if distance[1] == i64::MAX {
                return (sent, cost);
            }
            let mut room = i64::MAX;
            let mut at = 1;
            while at != 0 {
                room = room.min(self.edges[via[at]].2);
                at = self.edges[via[at]].0;
            }
            at = 1;
            while at != 0 {
                self.edges[via[at]].2 -= room;
                self.edges[via[at] ^ 1].2 += room;
                at = self.edges[via[at]].0;
            }
            sent += room;
            cost += room * distance[1];
        }
    }

    fn bellman_ford(&self) -> (Vec<i64>, Vec<usize>) {
        let mut distance = vec![i64::MAX; self.vertices];
        let mut via = vec![usize::MAX; self.vertices];
        distance[0] = 0;
        let mut changed = true;
        while changed {
            changed = false;
            for (number, &(from, to, room, cost)) in self.edges.iter().enumerate() {
                if room > 0 && distance[from] != i64::MAX && distance[from] + cost < distance[to] {
                    distance[to] = distance[from] + cost;
                    via[to] = number;
                    changed = true;
                }
            }
        }
        (distance, via)
    }
}

/// More than all moves of an instance together: what it is worth that a node reaches its least.
const URGENT: i64 = 1_000_000;

/// The fewest new placements of any rows within the loads and caps; none if there are no such rows.
pub(crate) fn fewest_moves(
    cluster: &Cluster,
    caps: Caps,
    replicas: u32,
    previous: &[Vec<usize>],
    loads: &[(u32, u32)],
) -> Option<i64> {
    let nodes = cluster.weights.len();
    let mut net = Network { edges: Vec::new(), vertices: 2 };
    for (node, &(low, high)) in loads.iter().enumerate() {
        net.edge(2 + node, 1, i64::from(low), -URGENT);
        net.edge(2 + node, 1, i64::from(high - low), 0);
    }
    for row in previous {
        let partition = net.vertices.max(2 + nodes);
        let mut next = partition + 1;
        net.edge(0, partition, i64::from(replicas), 0);
        // For each ruled level the vertex of each domain in this partition.
        let mut vertices: Vec<((usize, u16), usize)> = Vec::new();
        for node in (0..nodes).filter(|&node| loads[node].1 > 0) {
            let mut from = partition;
            for (level, cap) in caps.iter().enumerate() {
                let Some(cap) = *cap else { continue };
                let key = (level, cluster.domains[node][level]);
                let known = vertices.iter().find(|(other, _)| *other == key).map(|(_, at)| *at);
                let at = known.unwrap_or_else(|| {
                    net.edge(from, next, i64::from(cap), 0);
                    vertices.push((key, next));
                    next += 1;
                    next - 1
                });
                from = at;
            }
            net.edge(from, 2 + node, 1, i64::from(!row.contains(&node)));
        }
    }
    let (sent, cost) = net.send();
    let low: i64 = loads.iter().map(|&(low, _)| i64::from(low)).sum();
    let whole = sent == i64::from(replicas) * previous.len() as i64;
    let moves = cost + low * URGENT;
    (whole && moves < URGENT / 2).then_some(moves)
}

/// The fewest changes of primaries with each node between floor and ceiling of its part.
pub(crate) fn fewest_primary_changes(
    rows: &[Vec<usize>],
    before: &[Option<usize>],
    nodes: usize,
) -> i64 {
    let replicas = rows[0].len();
    let mut net = Network { edges: Vec::new(), vertices: 2 };
    for node in 0..nodes {
        let load = rows.iter().filter(|row| row.contains(&node)).count();
        let (low, high) = (load / replicas, load.div_ceil(replicas));
        net.edge(2 + node, 1, low as i64, -URGENT);
        net.edge(2 + node, 1, (high - low) as i64, 0);
    }
    for (at, row) in rows.iter().enumerate() {
        let partition = 2 + nodes + at;
        net.edge(0, partition, 1, 0);
        for &node in row {
            net.edge(partition, 2 + node, 1, i64::from(before[at] != Some(node)));
        }
    }
    let (sent, cost) = net.send();
    assert_eq!(sent, rows.len() as i64);
    let low: i64 = (0..nodes)
        .map(|node| (rows.iter().filter(|row| row.contains(&node)).count() / replicas) as i64)
        .sum();
    cost + low * URGENT
}

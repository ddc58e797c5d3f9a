//! Cheapest paths in a residual graph, again and again, with potentials that keep every reduced
//! cost at zero or above (Ahuja, Magnanti, Orlin: successive shortest paths).

use alloc::vec::Vec;

/// A vertex of the graph.
pub(crate) type State = u32;

const FAR: u32 = u32::MAX;
const NOWHERE: State = State::MAX;

/// A residual graph: where one unit can go next, and where it may stop.
pub(crate) trait Residual {
    /// Calls `visit` with each state that a unit can go to, and what that step costs.
    fn steps(&self, from: State, visit: &mut impl FnMut(State, i32));

    /// What it costs to stop here; none where a unit cannot stop.
    fn stop(&self, at: State) -> Option<i32>;

    /// The states where a unit could stop.
    fn stops(&self) -> impl Iterator<Item = State>;
}

/// The working memory of searches over one graph.
pub(crate) struct Search {
    /// Added up along a path they cancel but at its ends, so cheapest paths stay cheapest.
    potentials: Vec<i32>,
    distances: Vec<u32>,
    before: Vec<State>,
    touched: Vec<State>,
    /// States by distance: distances are small whole numbers.
    buckets: Vec<Vec<State>>,
    path: Vec<State>,
}

/// The nearest end that a search has seen.
struct End {
    at: State,
    distance: u32,
}

impl Search {
    pub(crate) fn new(states: usize) -> Self {
        Self {
            potentials: alloc::vec![0; states],
            distances: alloc::vec![FAR; states],
            before: alloc::vec![NOWHERE; states],
            touched: Vec::new(),
            buckets: Vec::new(),
            path: Vec::new(),
        }
    }

    /// The cheapest path from any of `starts` to a state where a unit may stop, first state first.
    /// None if there is none that costs less than `below`.
    pub(crate) fn cheapest(
        &mut self,
        graph: &impl Residual,
        starts: &[State],
        below: Option<i32>,
    ) -> Option<&[State]> {
        let potential = |at: State| self.potentials[at as usize];
        let source = starts.iter().map(|&at| potential(at)).max()?;
        let cost = |at: State| graph.stop(at).map(|cost| cost + potential(at));
        let sink = graph.stops().filter_map(cost).min()?;
        // A path of cost c has the reduced length c + source − sink.
        let limit = match below {
            Some(below) => u32::try_from(below + source - sink).ok()?,
            None => FAR,
        };
        for &at in starts {
            let distance = (source - self.potentials[at as usize]).unsigned_abs();
            if distance < limit && distance < self.distances[at as usize] {
                self.reach(at, distance, NOWHERE);
            }
        }
        let end = self.settle(graph, sink, limit);
        if let Some(end) = &end {
            self.trace(end.at);
            self.shift(end.distance);
        }
        self.forget();
        end.map(|_| &self.path[..])
    }

    /// Goes through the states by distance until none can be nearer than the best end. An end is
    /// looked for when a state is reached, not when it is settled: most searches stop in the
    /// first bucket.
    fn settle(&mut self, graph: &impl Residual, sink: i32, limit: u32) -> Option<End> {
        let mut best: Option<End> = None;
        let mut bound = limit;
        for at in 0..self.touched.len() {
            self.consider(graph, self.touched[at], sink, &mut bound, &mut best);
        }
        let mut distance = 0;
        let mut reached: Vec<(State, u32)> = Vec::new();
        while distance < self.buckets.len() && (distance as u64) < u64::from(bound) {
            let Some(from) = self.buckets[distance].pop() else {
                distance += 1;
                continue;
            };
            if self.distances[from as usize] as usize != distance {
                continue; // reached again on a shorter way
            }
            let base =
                self.potentials[from as usize] + crate::width::to_u32(distance).cast_signed();
            graph.steps(from, &mut |to, cost| {
                let length = base + cost - self.potentials[to as usize];
                debug_assert!(length >= crate::width::to_u32(distance).cast_signed());
                let length = length.unsigned_abs();
                if length < self.distances[to as usize] && length < bound {
                    reached.push((to, length));
                }
            });
            for (to, length) in reached.drain(..) {
                if length < self.distances[to as usize] {
                    self.reach(to, length, from);
                    self.consider(graph, to, sink, &mut bound, &mut best);
                }
            }
        }
        best
    }

    fn reach(&mut self, at: State, distance: u32, before: State) {
        if self.distances[at as usize] == FAR {
            self.touched.push(at);
        }
        self.distances[at as usize] = distance;
        self.before[at as usize] = before;
        let bucket = distance as usize;
        if self.buckets.len() <= bucket {
            self.buckets.resize_with(bucket + 1, Vec::new);
        }
        self.buckets[bucket].push(at);
    }

    fn consider(
        &self,
        graph: &impl Residual,
        at: State,
        sink: i32,
        bound: &mut u32,
        best: &mut Option<End>,
    ) {
        let Some(cost) = graph.stop(at) else { return };
        let rest = (cost + self.potentials[at as usize] - sink).unsigned_abs();
        let rest = if crate::plant::planted("m14_end_with_stale_potential") { 0 } else { rest };
        let distance = self.distances[at as usize] + rest;
        if distance < *bound {
            *bound = distance;
            *best = Some(End { at, distance });
        }
    }

    fn trace(&mut self, end: State) {
        self.path.clear();
        let mut at = end;
        while at != NOWHERE {
            self.path.push(at);
            at = self.before[at as usize];
        }
        self.path.reverse();
    }

    /// Afterwards every step of the path, forth and back, has the reduced cost zero.
    fn shift(&mut self, end: u32) {
        for &at in &self.touched {
            let distance = self.distances[at as usize];
            if distance < end {
                self.potentials[at as usize] -= (end - distance).cast_signed();
            }
        }
    }

    fn forget(&mut self) {
        for at in self.touched.drain(..) {
            self.distances[at as usize] = FAR;
        }
        for bucket in &mut self.buckets {
            bucket.clear();
        }
    }
}

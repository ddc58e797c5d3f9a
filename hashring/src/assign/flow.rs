//! Fewest moves: keep what may stay, then fill what is missing along cheapest residual paths, then
//! shift loads within their intervals as long as that saves a move.
//!
//! The graph: a partition leads to the ruled domains and nodes in which it may still place a
//! replica; a node leads back to the domain of each partition it holds, which then must place that
//! replica elsewhere. Placing costs one, unless the previous row had the node; taking away gives
//! the cost back. A minimum cost flow is a table with the fewest new placements.

use super::Problem;
use super::groups::ROOT;
use super::search::{Residual, Search, State};
use super::target::Interval;
use crate::NodeIdx;
use crate::table::VACANT;
use crate::width::{to_u16, to_u32};
use alloc::vec::Vec;

/// Rows with the fewest new placements for any loads within the intervals. `loads` is where to
/// begin, `load_bound` the moves that loads alone force.
pub(crate) fn fewest_moves(
    problem: &Problem<'_>,
    previous: &[NodeIdx],
    loads: Vec<u32>,
    load_bound: u32,
) -> Vec<NodeIdx> {
    let mut flow = Flow::new(problem, previous, loads);
    flow.keep();
    let mut search = Search::new(flow.states());
    flow.fill(&mut search);
    if flow.moves() > load_bound && !crate::plant::planted("m13_no_transfer_step") {
        flow.transfer(&mut search);
    }
    flow.rows
}

struct Flow<'a> {
    problem: &'a Problem<'a>,
    previous: &'a [NodeIdx],
    rows: Vec<NodeIdx>,
    /// For each partition and group, how many replicas it has in there.
    counts: Vec<u8>,
    /// For each node the places (positions in `rows`) that it holds.
    held: Vec<Vec<u32>>,
    /// For each place its position in the list of its node.
    position: Vec<u32>,
    /// The most that each node may hold: first its load, then the end of its interval.
    high: Vec<u32>,
}

impl<'a> Flow<'a> {
    fn new(problem: &'a Problem<'a>, previous: &'a [NodeIdx], high: Vec<u32>) -> Self {
        let places = previous.len();
        Self {
            problem,
            previous,
            rows: alloc::vec![VACANT; places],
            counts: alloc::vec![0; problem.partitions as usize * problem.groups.len()],
            held: high.iter().map(|&load| Vec::with_capacity(load as usize + 1)).collect(),
            position: alloc::vec![0; places],
            high,
        }
    }

    /// Keeps previous replicas in the order of the rows, while their nodes and domains have room.
    fn keep(&mut self) {
        for partition in 0..self.problem.partitions as usize {
            let row = partition * self.problem.width;
            for place in row..row + self.problem.width {
                let node = self.previous[place];
                if node != VACANT && self.may_keep(partition, usize::from(node.value())) {
                    self.place(partition, usize::from(node.value()));
                }
            }
        }
    }

    fn may_keep(&self, partition: usize, node: usize) -> bool {
        let groups = &self.problem.groups;
        self.load(node) < self.high[node]
            && groups
                .path(node)
                .all(|at| self.counts[partition * groups.len() + at] < groups.group(at).cap)
    }

    /// Fills each row by one unit at a time; a unit may push others on.
    fn fill(&mut self, search: &mut Search) {
        for partition in 0..self.problem.partitions as usize {
            let root = partition * self.problem.groups.len() + ROOT;
            while usize::from(self.counts[root]) < self.problem.replicas() {
                let Some(path) = search.cheapest(self, &[to_u32(root)], None) else {
                    debug_assert!(false, "the rules allow loads that sum to all places");
                    return;
                };
                self.apply(path);
            }
        }
    }

    /// Moves one unit of load from a node that may hold less to one that may hold more, as long as
    /// that makes a new placement needless. With none left there is no cheaper table for any loads
    /// within the intervals.
    fn transfer(&mut self, search: &mut Search) {
        let intervals: &[Interval] = &self.problem.intervals;
        self.high = intervals.iter().map(|interval| interval.high).collect();
        let mut starts: Vec<State> = Vec::new();
        // Each path saves a move at least.
        for _ in 0..self.moves() {
            let above = |node: &usize| self.load(*node) > intervals[*node].low;
            starts.clear();
            starts.extend((0..self.held.len()).filter(above).map(|node| self.state(node)));
            let Some(path) = search.cheapest(self, &starts, Some(0)) else { return };
            self.apply(path);
        }
    }

    /// Takes away along the path first, so that rows have room for what is placed.
    fn apply(&mut self, path: &[State]) {
        for step in path.windows(2) {
            if let (Vertex::Node(node), Vertex::Row(partition, _)) =
                (self.vertex(step[0]), self.vertex(step[1]))
            {
                self.take(partition, node);
            }
        }
        for step in path.windows(2) {
            if let (Vertex::Row(partition, _), Vertex::Node(node)) =
                (self.vertex(step[0]), self.vertex(step[1]))
            {
                self.place(partition, node);
            }
        }
    }

    fn place(&mut self, partition: usize, node: usize) {
        let row = partition * self.problem.width;
        let vacant = self.rows[row..row + self.problem.width].iter().position(|&at| at == VACANT);
        debug_assert!(vacant.is_some(), "a row has a place for each of its replicas");
        let place = row + vacant.unwrap_or(0);
        self.rows[place] = NodeIdx::new(to_u16(node));
        self.position[place] = to_u32(self.held[node].len());
        self.held[node].push(to_u32(place));
        for at in self.problem.groups.path(node) {
            self.counts[partition * self.problem.groups.len() + at] += 1;
        }
    }

    fn take(&mut self, partition: usize, node: usize) {
        let row = partition * self.problem.width;
        let holds = |&at: &NodeIdx| usize::from(at.value()) == node;
        let place = self.rows[row..row + self.problem.width].iter().position(holds);
        debug_assert!(place.is_some(), "a node gives back what it holds");
        let place = row + place.unwrap_or(0);
        self.rows[place] = VACANT;
        let position = self.position[place] as usize;
        self.held[node].swap_remove(position);
        if let Some(&moved) = self.held[node].get(position) {
            self.position[moved as usize] = to_u32(position);
        }
        for at in self.problem.groups.path(node) {
            self.counts[partition * self.problem.groups.len() + at] -= 1;
        }
    }

    fn load(&self, node: usize) -> u32 {
        to_u32(self.held[node].len())
    }

    /// New placements so far.
    fn moves(&self) -> u32 {
        super::new_placements(&self.rows, self.previous, self.problem.width)
    }

    fn states(&self) -> usize {
        self.counts.len() + self.held.len()
    }

    fn state(&self, node: usize) -> State {
        to_u32(self.counts.len() + node)
    }

    fn vertex(&self, state: State) -> Vertex {
        let state = state as usize;
        match state.checked_sub(self.counts.len()) {
            Some(node) => Vertex::Node(node),
            None => {
                let groups = self.problem.groups.len();
                Vertex::Row(state / groups, state % groups)
            }
        }
    }

    fn row(&self, partition: usize) -> &[NodeIdx] {
        &self.rows[partition * self.problem.width..][..self.problem.width]
    }

    /// What it costs that a partition is on a node.
    fn cost(&self, partition: usize, node: NodeIdx) -> i32 {
        let row = &self.previous[partition * self.problem.width..][..self.problem.width];
        i32::from(!row.contains(&node) && !crate::plant::planted("m12_fill_ignores_costs"))
    }

    /// A replica of the partition that is to stand in a group: on a node of it, in a group inside
    /// that has room, or, if the group gives one up for it, anywhere around.
    fn steps_of_row(&self, partition: usize, at: usize, visit: &mut impl FnMut(State, i32)) {
        let groups = &self.problem.groups;
        let states = partition * groups.len();
        let group = groups.group(at);
        for &child in &group.children {
            if self.counts[states + child] < groups.group(child).cap {
                visit(to_u32(states + child), 0);
            }
        }
        let row = self.row(partition);
        for &node in &group.members {
            let index = NodeIdx::new(to_u16(node));
            if !row.contains(&index) {
                visit(self.state(node), self.cost(partition, index));
            }
        }
        if let Some(parent) = group.parent
            && self.counts[states + at] > 0
        {
            visit(to_u32(states + parent), 0);
        }
    }
}

impl Residual for Flow<'_> {
    fn steps(&self, from: State, visit: &mut impl FnMut(State, i32)) {
        match self.vertex(from) {
            Vertex::Row(partition, group) => self.steps_of_row(partition, group, visit),
            // It may give up any partition it holds; that then looks in its own group.
            Vertex::Node(node) => {
                let group = self.problem.groups.of(node);
                let index = NodeIdx::new(to_u16(node));
                for &place in &self.held[node] {
                    let partition = place as usize / self.problem.width;
                    let state = to_u32(partition * self.problem.groups.len() + group);
                    visit(state, -self.cost(partition, index));
                }
            }
        }
    }

    fn stop(&self, at: State) -> Option<i32> {
        match self.vertex(at) {
            Vertex::Node(node) if self.load(node) < self.high[node] => Some(0),
            _ => None,
        }
    }

    fn stops(&self) -> impl Iterator<Item = State> {
        let room = |node: &usize| self.load(*node) < self.high[*node];
        (0..self.held.len()).filter(room).map(|node| self.state(node))
    }
}

/// What a state stands for.
enum Vertex {
    /// A partition with a replica to place somewhere in a group.
    Row(usize, usize),
    Node(usize),
}

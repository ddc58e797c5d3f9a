//! The real objects behind a state. Each is built anew from the part of the state that describes
//! it, asked, and its answer kept: equal parts are asked once.

use super::set::Memo;
use super::state::{COPIED, NODES, Setup, State};
use quorate_hashring::{
    Epoch, Gate, KeyHash, MoveId, Node, NodeId, NodeIdx, Outcome, Partition, PartitionTable,
    PlanLimits, Planner, Quorum, Rules, Source, Stage, Topology, Transition, View,
};

const P: Partition = Partition::new(0);

/// What a gate answers.
#[derive(Clone, Copy)]
pub(super) struct GateAnswer {
    /// The position of the acknowledged epoch.
    pub(super) acked: u8,
    pub(super) may_drop: bool,
}

/// What the authority answers.
#[derive(Clone, Copy)]
pub(super) struct AuthorityAnswer {
    /// The number of the view that may be committed next.
    pub(super) next: Option<u8>,
    /// The nodes that may be copied from, bit by bit.
    pub(super) ready: u8,
}

/// One way to copy a move: from one node, or from so many of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) of: usize,
    pub(super) to: usize,
    pub(super) from: u8,
    pub(super) need: u8,
}

pub(super) struct Real {
    tables: Vec<PartitionTable>,
    /// All views that any run published; a view's number is its position.
    views: Vec<View>,
    /// For each view the numbers of those that led to it, itself last.
    chains: Vec<Vec<u8>>,
    gates: Memo<GateAnswer>,
    admits: Memo<bool>,
    authorities: Memo<AuthorityAnswer>,
    tallies: Memo<bool>,
    ways: Memo<usize>,
    receivers: Memo<usize>,
    ways_found: Vec<Vec<Way>>,
}

pub(super) fn node(number: usize) -> NodeId {
    NodeId::new(number as u64 + 1)
}

impl Real {
    pub(super) fn new(setup: &Setup) -> Self {
        let nodes = (0..NODES).map(|at| Node::new(node(at)));
        let topology = nodes.fold(Topology::builder(), |all, one| all.node(one)).build().unwrap();
        let table = |row: &Vec<u64>| {
            let row = vec![row.iter().map(|at| NodeId::new(at + 1)).collect()];
            PartitionTable::from_rows(&topology, &Rules::new(3), KeyHash::default(), &row).unwrap()
        };
        let tables: Vec<PartitionTable> = setup.rows.iter().map(table).collect();
        Self {
            views: vec![View::initial(tables[0].clone())],
            tables,
            chains: vec![vec![0]],
            gates: Memo::new(),
            admits: Memo::new(),
            authorities: Memo::new(),
            tallies: Memo::new(),
            ways: Memo::new(),
            receivers: Memo::new(),
            ways_found: Vec::new(),
        }
    }

    /// The position of a view in its own chain.
    pub(super) fn position(&self, view: u8) -> u8 {
        u8::try_from(self.chains[usize::from(view)].len() - 1).unwrap()
    }

    pub(super) fn stage(&self, view: u8) -> Stage {
        self.views[usize::from(view)].stage()
    }

    /// The number of the view at a position of the chain that leads to `committed`.
    pub(super) fn at(&self, committed: u8, position: u8) -> u8 {
        self.chains[usize::from(committed)][usize::from(position)]
    }

    fn view(&self, number: u8) -> &View {
        &self.views[usize::from(number)]
    }

    /// The number of a view that follows `parent`.
    fn number(&mut self, parent: u8, view: View) -> u8 {
        if let Some(known) = self.views.iter().position(|known| *known == view) {
            return u8::try_from(known).unwrap();
        }
        let number = u8::try_from(self.views.len()).unwrap();
        let mut chain = self.chains[usize::from(parent)].clone();
        chain.push(number);
        self.views.push(view);
        self.chains.push(chain);
        number
    }

    /// The gate of a node in this state, with its passes out.
    pub(super) fn gate(&mut self, state: &State, at: usize) -> GateAnswer {
        let (installed, passes) = (state.installed[at], state.passes(at));
        let here = self.at(state.committed, installed);
        let key = passes
            .iter()
            .fold((at as u64) << 8 | u64::from(here), |key, pass| key << 8 | u64::from(*pass));
        if let Some(answer) = self.gates.find(key) {
            return answer;
        }
        let chain = &self.chains[usize::from(here)];
        let view = |position: u8| self.view(chain[usize::from(position)]).clone();
        let first = passes.iter().find(|pass| **pass > 0).map_or(installed, |pass| pass - 1);
        let gate = Gate::new(node(at), view(first));
        let mut out = Vec::new();
        for pass in passes.into_iter().filter(|pass| *pass > 0) {
            let view = view(pass - 1);
            let tag = view.partition_epoch(P).unwrap();
            gate.install(view).unwrap();
            out.push(gate.admit(P, tag).unwrap());
        }
        gate.install(view(installed)).unwrap();
        let acked = u8::try_from(gate.acked().value() - 1).unwrap();
        let answer = GateAnswer { acked, may_drop: gate.may_drop(P) };
        self.gates.insert(key, answer);
        answer
    }

    /// Whether a node with one view admits a request that goes by another.
    pub(super) fn admits(&mut self, at: usize, installed: u8, sender: u8) -> bool {
        let key = (at as u64) << 16 | u64::from(installed) << 8 | u64::from(sender);
        if let Some(answer) = self.admits.find(key) {
            return answer;
        }
        let gate = Gate::new(node(at), self.view(installed).clone());
        let answer = gate.admit(P, self.view(sender).partition_epoch(P).unwrap()).is_ok();
        self.admits.insert(key, answer);
        answer
    }

    /// Whether the operation of a coordinator with this view reached its quorum.
    pub(super) fn is_reached(&mut self, view: u8, done: u64, is_read: bool) -> bool {
        let key = u64::from(view) << 16 | done << 1 | u64::from(is_read);
        if let Some(answer) = self.tallies.find(key) {
            return answer;
        }
        let route = self.view(view).route_to(P).unwrap();
        let mut tally = match is_read {
            true => route.read_tally(Quorum::Majority),
            false => route.write.tally(Quorum::Majority),
        };
        for at in (0..NODES).filter(|at| done & 1 << at != 0) {
            let _ = tally.ack(NodeIdx::new(u16::try_from(at).unwrap()));
        }
        let answer = tally.outcome() == Outcome::Reached;
        self.tallies.insert(key, answer);
        answer
    }

    /// The nodes that a coordinator with this view asks.
    pub(super) fn asked(&self, view: u8, is_read: bool) -> u64 {
        let route = self.view(view).route_to(P).unwrap();
        let bit = |mask: u64, at: NodeIdx| mask | 1 << at.value();
        match is_read {
            true => route.read.iter().copied().fold(0, bit),
            false => route.write.nodes().fold(0, bit),
        }
    }

    /// The transition that the authority is in, as one that has just taken over would have it.
    fn transition(&self, state: &State) -> Option<Transition> {
        let view = self.view(state.committed);
        if view.stage() == Stage::Settled {
            return None;
        }
        let copied = (0..3).filter(|of| state.copies[*of] == COPIED);
        let copied: Vec<MoveId> =
            copied.map(|of| MoveId::new(u32::try_from(of).unwrap())).collect();
        let mut transition = Transition::resume(view, Quorum::Majority, &copied).unwrap();
        for (at, position) in state.acks.iter().enumerate() {
            transition.handle_ack(node(at), Epoch::new(u64::from(*position) + 1));
        }
        if state.aborting {
            transition.abort().unwrap();
        }
        Some(transition)
    }

    /// What the authority may do in this state.
    pub(super) fn authority(&mut self, state: &State) -> AuthorityAnswer {
        let copied = (0..3).fold(0, |mask, of| mask << 1 | u64::from(state.copies[of] == COPIED));
        let key = state
            .acks
            .iter()
            .fold(u64::from(state.committed), |key, ack| key << 4 | u64::from(*ack));
        let key = (key << 3 | copied) << 1 | u64::from(state.aborting);
        if let Some(answer) = self.authorities.find(key) {
            return answer;
        }
        let answer = match self.transition(state) {
            None => AuthorityAnswer { next: None, ready: 0 },
            Some(mut transition) => {
                let ready = (0..NODES).filter(|at| transition.is_source_ready(node(*at)));
                let ready = ready.fold(0, |mask, at| mask | 1 << at);
                let next = transition.poll_view();
                let next = next.map(|view| self.number(state.committed, view));
                AuthorityAnswer { next, ready }
            }
        };
        self.authorities.insert(key, answer);
        answer
    }

    /// The first view of the next transition.
    pub(super) fn begin(&mut self, state: &State) -> u8 {
        let table = self.tables[usize::from(state.begun) + 1].clone();
        let view = self.view(state.committed);
        let mut transition = Transition::begin(view, table, Quorum::Majority).unwrap();
        let copying = transition.poll_view().unwrap();
        self.number(state.committed, copying)
    }

    /// The node that receives a move, if it lets the copy in now: a copy goes through the gate of
    /// its receiver, with the tag of the view that has it copied.
    pub(super) fn receiver(&mut self, state: &State, of: usize) -> Option<usize> {
        let key = u64::from(state.committed) << 8 | of as u64;
        let to = self.receivers.find(key).unwrap_or_else(|| {
            let to = self.transition(state).unwrap().moves().moves[of].to;
            usize::try_from(to.value() - 1).unwrap()
        });
        self.receivers.insert_new(key, to);
        let chain = &self.chains[usize::from(state.committed)];
        let is_copying = |number: &&u8| self.stage(**number) == Stage::Copying;
        let copying = *chain.iter().rev().find(is_copying).unwrap();
        let here = self.at(state.committed, state.installed[to]);
        self.admits(to, here, copying).then_some(to)
    }

    /// Every way in which the planner may have the moves copied, whoever it takes for dead.
    pub(super) fn ways(&mut self, state: &State, ready: u8) -> Vec<Way> {
        let key = u64::from(state.committed) << 8 | u64::from(ready);
        if let Some(found) = self.ways.find(key) {
            return self.ways_found[found].clone();
        }
        let mut ways = Vec::new();
        let transition = self.transition(state).unwrap();
        for of in 0..transition.moves().moves.len() {
            for down in 0..1_u8 << NODES {
                let way = way(&transition, of, ready, down);
                ways.extend(way.filter(|way| !ways.contains(way)));
            }
        }
        self.ways.insert(key, self.ways_found.len());
        self.ways_found.push(ways.clone());
        ways
    }
}

/// How the planner has one move copied while some nodes are ready and some are down.
fn way(transition: &Transition, of: usize, ready: u8, down: u8) -> Option<Way> {
    let moves = transition.moves();
    let limits = PlanLimits::default();
    let mut planner = Planner::new(moves, Quorum::Majority, limits).unwrap();
    for other in moves.moves.iter().filter(|other| other.id.value() as usize != of) {
        planner.done(other.id).unwrap();
    }
    for at in 0..NODES {
        if ready & 1 << at != 0 {
            planner.source_ready(node(at));
        }
        if down & 1 << at != 0 {
            planner.node_down(node(at));
        }
    }
    let order = planner.poll_order()?;
    let number = |id: NodeId| usize::try_from(id.value() - 1).unwrap();
    let to = number(order.what.to);
    Some(match order.source {
        Source::Slot(from) => Way { of, to, from: 1 << number(from), need: 1 },
        Source::Quorum { nodes, need } => {
            let from = nodes.iter().fold(0, |mask, id| mask | 1 << number(*id));
            Way { of, to, from, need }
        }
        _ => panic!("a source that the model does not know"),
    })
}

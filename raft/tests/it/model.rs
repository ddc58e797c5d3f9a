//! Model checking of the real core, with stateright: every order of deliveries, losses,
//! repetitions, timeouts, slow writes and a crash, within bounds.
//!
//! # What a state is
//! For each node everything that decides what its core does next (`Raft::hash_behaviour` names
//! every field), its disk and the writes that are not durable; the set of messages under way; what
//! may still happen how often; what was committed, acknowledged and asked so far.
//!
//! # What is left out, and why that hides nothing
//! * Time. An election timeout is an action that is possible at any moment, so is a heartbeat;
//!   randomized timeouts do not matter then. Clocks move on by heartbeats alone.
//! * Losses. A message that is never delivered is lost, at no cost in states.
//! * Deliveries without any effect on node and network: they are losses.
//! * Messages of terms below the receiver's durable one: it drops them unseen, for ever.
//! * Two equal messages under way at once are one; that a message arrives again is an action.
//! * `PreVote` and `CheckQuorum` are off: they only take away elections, and leaders, that are
//!   possible here. Leases and sessions have models and simulations of their own.
//! * Writes are durable at once, unless a disk becomes slow: then each is an action, and a crash
//!   loses the rest. Application follows the commit index at once.
//!
//! How deep a run goes is bounded by the number of states it generates; `QUORATE_SEEDS` raises it.
//! It prints the depths, and where it was through with all the states there are.

mod flight;
mod node;
mod state;

use crate::group::{block, draft, nodes};
use node::{Disk, Node};
use quorate_raft::{Block, Config, HardState, LogId, LogIndex, Membership, Term};
use state::{Action, Broken, Change, Left, State};
use stateright::{Checker as _, Model, Path, Property};

/// How many times more states a thorough run generates.
const THOROUGH: usize = 20;

const NOTHING: Left = Left {
    campaigns: 0,
    proposals: 0,
    changes: 0,
    reads: 0,
    heartbeats: 0,
    crashes: 0,
    repeats: 0,
    stalls: 0,
};

/// A group with its bounds.
struct Group {
    config: Config,
    /// The members at the beginning of the log.
    founders: Membership,
    terms_max: u64,
    changes: &'static [Change],
    beginnings: Vec<State>,
}

impl Group {
    fn new(terms_max: u64) -> Self {
        // Small appends, so that large entries go one by one.
        let draft = draft().pre_vote(false).check_quorum(false).append_bytes_max(4 << 10);
        Self {
            config: draft.build().unwrap(),
            founders: Membership::of_voters(&nodes(&[1, 2, 3])),
            terms_max,
            changes: &[],
            beginnings: Vec::new(),
        }
    }

    fn fresh(&self, id: u64) -> Node {
        Node::start(&self.config, id, &self.members_of(id), Disk::default())
    }

    /// Node 4 knows of no group.
    fn members_of(&self, id: u64) -> Membership {
        if id == 4 { Membership::default() } else { self.founders.clone() }
    }

    fn beginning(mut self, mut state: State, left: Left) -> Self {
        state.left = left;
        self.beginnings.push(state);
        self
    }
}

impl Model for Group {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.beginnings.clone()
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(self.terms_max, self.changes, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(&action, |node| {
            let id = node.raft.id().value();
            Node::start(&self.config, id, &self.members_of(id), node.disk.clone())
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("at most one leader in a term", |_, s: &State| {
                s.broken != Some(Broken::ElectionSafety)
            }),
            Property::always("log matching", |_, s: &State| s.broken != Some(Broken::LogMatching)),
            Property::always("leader completeness", |_, s: &State| {
                s.broken != Some(Broken::LeaderCompleteness)
            }),
            Property::always("state machine safety", |_, s: &State| {
                s.broken != Some(Broken::StateMachineSafety)
            }),
            Property::always("committed entries are durable on a quorum", |_, s: &State| {
                s.broken != Some(Broken::NotOnAQuorum)
            }),
            Property::always("linearizable reads", |_, s: &State| {
                s.broken != Some(Broken::StaleRead)
            }),
            Property::always("invariants of a replica", |_, s: &State| {
                s.broken != Some(Broken::Invariant)
            }),
        ]
    }
}

/// Checks the parts of a model one after the other; each generates so many states (not all of them
/// different), more with `QUORATE_SEEDS`. Parts share no state: they differ in their bounds.
/// Returns what was explored.
fn check(name: &str, parts: Vec<Group>, generate: usize) -> String {
    let thorough = std::env::var_os("QUORATE_SEEDS").is_some();
    let (factor, least) = if thorough { (THOROUGH, 200_000) } else { (1, 20_000) };
    let (mut unique, mut depths) = (0, Vec::new());
    for part in parts {
        let limit = generate * factor;
        let checker = part.checker().threads(2).target_state_count(limit).spawn_bfs().join();
        unique += checker.unique_state_count();
        let all = if checker.state_count() < limit { " (all there are)" } else { "" };
        depths.push(format!("{}{all}", checker.max_depth()));
        if let Some((property, path)) = checker.discoveries().into_iter().next() {
            panic!("model {name}, counterexample to: {property}\n{}", told(path));
        }
    }
    assert!(unique >= least, "model {name} explored {unique} states, expected {least}");
    format!("model {name}: {unique} unique states, depths {}", depths.join(", "))
}

fn told(path: Path<State, Action>) -> String {
    let last = path.last_state().clone();
    let actions = path.into_actions();
    let lines = (1..).zip(&actions).map(|(n, action)| format!("{n:3}. {action:?}\n"));
    lines.collect::<String>() + &format!("then {last:#?}")
}

fn three(group: &Group) -> State {
    State::new((1..=3).map(|id| group.fresh(id)).collect(), 2)
}

/// Node `id` with these blocks on its disk, the first committed.
fn grown(group: &Group, id: u64, term: u64, blocks: &[Block]) -> Node {
    let hard = HardState::new(Term::new(term), None, LogIndex::new(1));
    let disk = Disk { hard, mark: None, blocks: blocks.to_vec() };
    Node::start(&group.config, id, &group.founders, disk)
}

/// Elections and replication: from nothing; and from logs that two leaders left diverged, whose
/// entries are too large for one append (as in figure 8 of the paper).
#[test]
fn model_elections_and_replication() {
    let group = Group::new(2);
    let left = Left { campaigns: 2, proposals: 2, crashes: 1, repeats: 1, stalls: 1, ..NOTHING };
    let from_nothing = three(&group);
    let broad = group.beginning(from_nothing, left);

    let group = Group::new(4);
    let large = |text: &str| "x".repeat(4 << 10) + text;
    let first = block(1, LogId::ZERO, &[""]);
    let old = block(1, LogId::new(1, 1), &[&large("old")]);
    let newer = block(2, LogId::new(1, 1), &[&large("newer")]);
    let logs = [vec![first.clone(), old], vec![first.clone(), newer], vec![first]];
    let diverged = (1..).zip(logs).map(|(id, log)| grown(&group, id, 2, &log)).collect();
    let diverged = State::new(diverged, 2);
    let deep = group.beginning(diverged, Left { campaigns: 2, ..NOTHING });
    println!("{}", check("elections and replication", vec![broad, deep], 40_000));
}

/// Membership: v(1 2 3) to v(1 2 4) at once, and one node at a time; broad, and, as a change takes
/// many steps, deep with nothing but a change and an election.
#[test]
fn model_membership() {
    let led = |changes: &'static [Change]| {
        let group = Group { changes, ..Group::new(2) };
        let state = State::new((1..=4).map(|id| group.fresh(id)).collect(), 0);
        (group, state.then(0, |node| node.raft.campaign(node.now).unwrap()))
    };
    let left = Left { campaigns: 1, proposals: 1, changes: 2, crashes: 1, repeats: 1, ..NOTHING };
    let (group, state) = led(&[Change::Replace, Change::Add, Change::Remove]);
    let broad = group.beginning(state, left);
    let (group, state) = led(&[Change::Replace]);
    let joint = group.beginning(state, Left { campaigns: 1, changes: 1, ..NOTHING });
    let (group, state) = led(&[Change::Add, Change::Remove]);
    let single = group.beginning(state, Left { campaigns: 1, changes: 2, ..NOTHING });
    println!("{}", check("membership", vec![broad, joint, single], 30_000));
}

/// Reads at any node while leadership moves.
#[test]
fn model_reads() {
    let led = || {
        let group = Group::new(2);
        let state = three(&group).then(0, |node| node.raft.campaign(node.now).unwrap());
        (group, state)
    };
    let left = Left {
        campaigns: 1,
        proposals: 2,
        reads: 2,
        crashes: 1,
        heartbeats: 1,
        stalls: 1,
        ..NOTHING
    };
    let (group, state) = led();
    let broad = group.beginning(state, left);
    let (group, state) = led();
    let left = Left { campaigns: 1, proposals: 1, reads: 1, heartbeats: 1, ..NOTHING };
    let deep = group.beginning(state, left);
    println!("{}", check("reads", vec![broad, deep], 40_000));
}

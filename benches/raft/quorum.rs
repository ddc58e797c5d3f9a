//! Lane P6: the commit index out of what each voter has. An operation is one acknowledgement: a
//! voter's value rises, and the commit index is asked for.
//!
//! Every contender finds the voter and counts as it does in its own core: ours in the
//! sorted members and by `quorum::committed`; `raft` by its `ProgressTracker` (hash maps); `openraft`
//! 0.10 by `VecProgress` of its `quorum-set`, which keeps the values sorted and counts only when
//! the result can change.

use crate::Bench;
use crate::pace::processor_time;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_raft::quorum;
use quorate_sim::Rng;
use quorate_transport::NodeId;
use quorum_set::{IdVal, VecProgress};
use raft07::eraftpb::{ConfChangeSingle, ConfChangeType};
use raft07::{Changer, ProgressTracker};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Duration;

/// Acknowledgements that are played again and again.
const ACKS: usize = 4_096;
const OURS: &str = "ours";
const RAFT: &str = "raft 0.7.0";
const ALONE: &str = "arithmetic alone";
const OPEN: &str = "openraft 0.10 (quorum-set)";

/// Voters of the two halves; the second is empty unless the change is joint.
struct Voters {
    name: &'static str,
    incoming: Vec<u64>,
    outgoing: Vec<u64>,
}

pub(crate) fn lane(bench: &mut Bench) {
    let simple = |name, n| Voters { name, incoming: (1..=n).collect(), outgoing: Vec::new() };
    let joint =
        Voters { name: "joint (5, 3)", incoming: (3..=7).collect(), outgoing: (1..=3).collect() };
    for voters in [simple("3", 3), simple("5", 5), simple("7", 7), joint] {
        of(bench, &voters);
    }
}

fn of(bench: &mut Bench, voters: &Voters) {
    let members: BTreeSet<u64> = voters.incoming.iter().chain(&voters.outgoing).copied().collect();
    let members: Vec<u64> = members.into_iter().collect();
    let mut rng = Rng::stream(7, "acknowledgements", members.len() as u64, 0);
    // Who acknowledges, and how many entries more.
    let acks: Vec<(u64, u64)> =
        (0..ACKS).map(|_| (members[rng.index(members.len())], rng.below(4))).collect();
    agree(voters, &members, &acks);
    let (mut ours, mut raft, mut open) =
        (Ours::new(voters, &members), tracker(voters), Open::new(voters));
    let mut alone = Alone::new(voters);
    let turn = bench.turn / 2;
    let rounds = take_turns(
        vec![
            played(OURS, turn, &acks, |id, more| ours.acknowledge(id, more)),
            played(RAFT, turn, &acks, |id, more| acknowledge(&mut raft, id, more)),
            played(OPEN, turn, &acks, |id, more| open.acknowledge(id, more)),
            played(ALONE, turn, &acks, |id, more| alone.acknowledge(id, more)),
        ],
        bench.rounds,
    );
    let lane = format!("P6 an acknowledgement and the commit index, {} voters", voters.name);
    let mut line = Line::new(&lane).value(&time(rounds.ns(OURS)), rounds.ns(OURS), "ns");
    for peer in [RAFT, OPEN] {
        line = line.peer(peer, &time(rounds.ns(peer)), rounds.ratio(peer, OURS));
    }
    let alone = rounds.ns(ALONE);
    line = line.note(&format!("without looking members up {}", time(alone)));
    bench.sheet.push(if voters.outgoing.is_empty() {
        line.goal("that ≤ 10 ns", alone <= 10.0)
    } else {
        line
    });
}

fn played<'a>(
    name: &str,
    turn: Duration,
    acks: &'a [(u64, u64)],
    mut acknowledge: impl FnMut(u64, u64) -> u64 + 'a,
) -> Contender<'a> {
    processor_time(name, turn, acks.len(), move || {
        for (id, more) in acks {
            black_box(acknowledge(*id, *more));
        }
    })
}

/// All three come to the same commit index after every acknowledgement.
fn agree(voters: &Voters, members: &[u64], acks: &[(u64, u64)]) {
    let (mut ours, mut raft, mut open) =
        (Ours::new(voters, members), tracker(voters), Open::new(voters));
    for (id, more) in acks {
        let committed = ours.acknowledge(*id, *more);
        assert_eq!(committed, acknowledge(&mut raft, *id, *more));
        assert_eq!(committed, open.acknowledge(*id, *more));
    }
}

/// As the core keeps its members: ascending by id, in structures of this size.
struct Member {
    id: NodeId,
    matched: u64,
    _rest: [u64; 16],
}

struct Ours {
    members: Vec<Member>,
    incoming: Vec<NodeId>,
    outgoing: Vec<NodeId>,
}

impl Ours {
    fn new(voters: &Voters, members: &[u64]) -> Self {
        let member = |id: &u64| Member { id: NodeId::new(*id), matched: 0, _rest: [0; 16] };
        let ids = |half: &[u64]| half.iter().map(|id| NodeId::new(*id)).collect();
        Self {
            members: members.iter().map(member).collect(),
            incoming: ids(&voters.incoming),
            outgoing: ids(&voters.outgoing),
        }
    }

    fn position(&self, id: NodeId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |member| member.id).ok()
    }

    fn acknowledge(&mut self, id: u64, more: u64) -> u64 {
        let at = self.position(NodeId::new(id)).expect("a member");
        self.members[at].matched += more;
        // As the core does: the next voter is usually the next member.
        let next = Cell::new(0);
        let matched = |id| {
            let guess = next.get();
            let is_right = self.members.get(guess).is_some_and(|member| member.id == id);
            let at = if is_right { Some(guess) } else { self.position(id) };
            next.set(at.map_or(0, |at| at + 1));
            at.map_or(0, |at| self.members[at].matched)
        };
        quorum::committed(&self.incoming, &self.outgoing, matched).expect("there are voters")
    }
}

/// The arithmetic with the values at hand.
struct Alone {
    matched: [u64; 8],
    incoming: Vec<NodeId>,
    outgoing: Vec<NodeId>,
}

impl Alone {
    fn new(voters: &Voters) -> Self {
        let Ours { incoming, outgoing, .. } = Ours::new(voters, &[]);
        Self { matched: [0; 8], incoming, outgoing }
    }

    fn acknowledge(&mut self, id: u64, more: u64) -> u64 {
        self.matched[id as usize & 7] += more;
        let matched = |id: NodeId| self.matched[id.value() as usize & 7];
        quorum::committed(&self.incoming, &self.outgoing, matched).expect("there are voters")
    }
}

fn tracker(voters: &Voters) -> ProgressTracker {
    let change = |id: u64, kind| {
        let mut change = ConfChangeSingle { node_id: id, ..ConfChangeSingle::default() };
        change.set_change_type(kind);
        change
    };
    let mut tracker = ProgressTracker::new(256);
    let first = if voters.outgoing.is_empty() { &voters.incoming } else { &voters.outgoing };
    for id in first {
        let add = [change(*id, ConfChangeType::AddNode)];
        let (conf, changes) = Changer::new(&tracker).simple(&add).expect("one voter more");
        tracker.apply_conf(conf, changes, 1);
    }
    if !voters.outgoing.is_empty() {
        let gone = voters.outgoing.iter().filter(|id| !voters.incoming.contains(id));
        let gone = gone.map(|id| change(*id, ConfChangeType::RemoveNode));
        let come = voters.incoming.iter().filter(|id| !voters.outgoing.contains(id));
        let come = come.map(|id| change(*id, ConfChangeType::AddNode));
        let all: Vec<_> = come.chain(gone).collect();
        let (conf, changes) = Changer::new(&tracker).enter_joint(true, &all).expect("a change");
        tracker.apply_conf(conf, changes, 1);
    }
    tracker
}

fn acknowledge(tracker: &mut ProgressTracker, id: u64, more: u64) -> u64 {
    tracker.get_mut(id).expect("a member").matched += more;
    tracker.maximal_committed_index().0
}

/// `openraft` counts over its membership's list of configurations, of which a joint one has two.
struct Open(VecProgress<IdVal<u64, u64>, Vec<BTreeSet<u64>>>);

impl Open {
    fn new(voters: &Voters) -> Self {
        let halves = [&voters.incoming, &voters.outgoing];
        let halves = halves.into_iter().filter(|half| !half.is_empty());
        let halves = halves.map(|half| half.iter().copied().collect()).collect();
        Self(VecProgress::new(halves, [], |id| IdVal::new(id, 0)))
    }

    fn acknowledge(&mut self, id: u64, more: u64) -> u64 {
        *self.0.update_entry_with(&id, |entry| entry.val += more).expect("a member")
    }
}

//! Members come and go: what clients ask, and what must hold of every membership there ever was.

use super::replica::{Replica, Step};
use quorate_raft::quorum::{VoteResult, vote};
use quorate_raft::{ConfChange, ConfOp, EntryKind, LogIndex, Membership, Role, Transition};
use quorate_sim::{Ctx, NodeId, Rng};
use std::collections::BTreeMap;

/// What a campaign with churn must have met.
pub(crate) const MUST_HAPPEN: [&str; 10] = [
    "membership changed",
    "joint phase entered",
    "joint phase left",
    "joint phase left by another leader",
    "learner promoted",
    "voter demoted",
    "leader removed",
    "change refused",
    "stranger refused",
    "newcomer caught up",
];

/// Nodes that a group with churn has beside its founders.
pub(crate) const SPARES: u64 = 2;

/// Every membership that came into force anywhere.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    by_index: BTreeMap<LogIndex, Membership>,
    /// Who led when the joint phase began.
    entered_under: Option<NodeId>,
}

impl Memberships {
    /// The newest one, or the founders.
    pub(crate) fn newest(&self, founders: &[NodeId]) -> Membership {
        let newest = self.by_index.values().next_back().cloned();
        newest.unwrap_or_else(|| Membership::of_voters(founders))
    }

    /// `next` is in force at some node: the same as everywhere, and no majority of it misses all
    /// majorities of the one before. True if it is new.
    fn on_change(&mut self, founders: &[NodeId], next: &Membership) -> Result<bool, String> {
        if let Some(known) = self.by_index.get(&next.index) {
            let same = known == next;
            return if same { Ok(false) } else { Err(format!("{known:?} and {next:?}")) };
        }
        let before = self.newest(founders);
        if before.index > next.index {
            return Err(format!("a change at {} is found out after {}", next.index, before.index));
        }
        if let Some(apart) = disjoint_quorums(&before, next) {
            return Err(format!("{before:?} and {next:?} decide apart: {apart:?}"));
        }
        self.by_index.insert(next.index, next.clone());
        Ok(true)
    }
}

/// Whether `id`s in the set decide in `m`.
pub(crate) fn decides(m: &Membership, holds: impl Fn(NodeId) -> bool) -> bool {
    vote(&m.voters, &m.outgoing, |id| Some(holds(id))) == VoteResult::Won
}

/// Nodes that decide in `a` while the others decide in `b`.
fn disjoint_quorums(a: &Membership, b: &Membership) -> Option<Vec<NodeId>> {
    let mut all = [a.all_voters(), b.all_voters()].concat();
    all.sort_unstable();
    all.dedup();
    (0_u32..1 << all.len()).find_map(|set| {
        let within =
            |id: NodeId| all.iter().position(|n| *n == id).is_some_and(|i| set >> i & 1 == 1);
        let apart = decides(a, within) && decides(b, |id| !within(id));
        apart.then(|| all.iter().copied().filter(|id| within(*id)).collect())
    })
}

impl Replica {
    /// An entry is reached by application: a change comes into force.
    pub(crate) fn activate(&mut self, ctx: &mut Ctx<'_>, entry: &quorate_raft::Entry<'_>) -> Step {
        if entry.kind != EntryKind::Conf {
            return Ok(());
        }
        let before = self.raft.membership().clone();
        let change = ConfChange::decode(entry.data).map_err(|error| error.to_string())?;
        let (now, index) = (ctx.now(), entry.id.index);
        self.raft.activate(now, index, &change).map_err(|why| format!("{change:?}: {why}"))?;
        let next = self.raft.membership().clone();
        let mut world = self.world.borrow_mut();
        if world.memberships.on_change(&self.setup.members, &next)? {
            ctx.reached("membership changed");
            let led = self.led_last;
            reached(ctx, &before, &next, led);
            if next.is_joint() {
                world.memberships.entered_under = led;
            } else if before.is_joint() && world.memberships.entered_under != led {
                ctx.reached("joint phase left by another leader");
            }
        }
        if !before.contains(self.id) && next.contains(self.id) {
            ctx.reached("newcomer caught up");
        }
        drop(world);
        // What the change made committed is decided by the new members.
        self.check_commit(ctx)
    }

    /// Asks for a change, as an operator would, or finishes one that waits for it.
    pub(crate) fn churn(&mut self, ctx: &mut Ctx<'_>) -> Step {
        let now = ctx.now();
        let last = self.raft.last().index;
        let promotion = self.raft.promotion_due(|matched| matched.value() + 20 >= last.value());
        let change = promotion.unwrap_or_else(|| self.drawn_change());
        if self.raft.propose_conf(now, &change, None).is_err() {
            ctx.reached("change refused");
        }
        self.after(ctx)
    }

    fn drawn_change(&mut self) -> ConfChange {
        if self.raft.membership().is_joint() && self.rng.flip() {
            return ConfChange::leave();
        }
        let ops = if self.rng.flip() { 1 } else { self.rng.between(2, 3) };
        let all = self.setup.members.len() as u64 + SPARES;
        let ops = (0..ops).map(|_| drawn_op(&mut self.rng, all)).collect();
        let transition = match self.rng.below(4) {
            0 => Transition::JointExplicit,
            1 => Transition::JointAuto,
            _ => Transition::Auto,
        };
        let mut change = ConfChange::new(ops).transition(transition);
        // A slow line must not be one that every majority needs, nor one beside a damaged disk.
        let voters_min = if self.setup.rots() { 5 } else { 3 };
        if let Ok(next) = self.raft.membership().changed(&change)
            && next.membership.voters.len() < voters_min
        {
            change = ConfChange::new(vec![ConfOp::Voter(drawn_node(&mut self.rng, all), None)]);
        }
        change
    }
}

fn drawn_node(rng: &mut Rng, all: u64) -> NodeId {
    NodeId::new(rng.between(1, all))
}

fn drawn_op(rng: &mut Rng, all: u64) -> ConfOp {
    let id = drawn_node(rng, all);
    match rng.below(8) {
        0..3 => ConfOp::Voter(id, None),
        3 => ConfOp::Learner(id, None),
        4 => {
            let replaces = rng.flip().then(|| drawn_node(rng, all));
            ConfOp::Promote { learner: id, replaces }
        }
        5 => ConfOp::Update(id),
        _ => ConfOp::Remove(id),
    }
}

fn reached(ctx: &mut Ctx<'_>, before: &Membership, next: &Membership, led: Option<NodeId>) {
    if next.is_joint() {
        ctx.reached("joint phase entered");
    } else if before.is_joint() {
        ctx.reached("joint phase left");
    }
    if before.learners.iter().any(|id| next.voters.contains(id)) {
        ctx.reached("learner promoted");
    }
    if next.learners.iter().any(|id| before.is_voter(*id)) {
        ctx.reached("voter demoted");
    }
    if led.is_some_and(|id| before.contains(id) && !next.contains(id)) {
        ctx.reached("leader removed");
    }
}

/// Whether the group has members that change: then removed nodes must not disturb, which takes
/// pre-votes and the check for a quorum.
pub(crate) fn drawn(seed: u64) -> bool {
    Rng::stream(seed, "churn", 0, 0).chance(500_000)
}

/// Whether `replica` leads.
pub(crate) fn leads(replica: &Replica) -> bool {
    replica.raft.role() == Role::Leader
}

//! Lease reads in the simulation: a share of the seeds serves them, on clocks that are as wrong as
//! they say. Promises are checked in true time, which no node knows; leases by the simulator's own
//! account of who believes to hold one.

use super::replica::{Setup, World};
use quorate_raft::{Append, Body, Config, ConfigDraft, Message, Raft, ReadDone, Term};
use quorate_sim::{Ctx, Exclusive, Monotonic, NodeId, Rng, Sim, SimTime};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const LEASE: &str = "lease";
const READING: Duration = Duration::from_nanos(1);

/// What must have happened in a campaign.
pub(crate) const MUST_HAPPEN: [&str; 5] = [
    "lease read served",
    "lease read refused",
    "lease read through a follower",
    "vote asked inside a promise",
    "forced vote inside a promise",
];

/// Whether the members of this seed's group serve leases.
pub(crate) fn drawn(seed: u64) -> bool {
    Rng::stream(seed, "leases", 0, 0).flip()
}

/// Whether the clocks of this seed are slewed by up to ten per cent, and say so.
pub(crate) fn extreme_clocks(seed: u64) -> bool {
    Rng::stream(seed, "clock rates", 0, 0).flip()
}

/// The settings of the group, and those that a member may have in one of its lives instead: no
/// leases, or a promise of another length.
pub(crate) fn configs(draft: &ConfigDraft, leases: bool) -> Vec<Config> {
    let leased = |t: u64| {
        let t = Duration::from_millis(t);
        draft.clone().lease(true).lease_slack(Duration::from_millis(2)).election_timeout(t)
    };
    let drafts =
        if leases { vec![leased(50), draft.clone(), leased(80)] } else { vec![draft.clone()] };
    drafts.into_iter().map(|draft| draft.build().unwrap()).collect()
}

/// The settings of one life.
pub(crate) fn config_of_a_life(setup: &Setup, rng: &mut Rng) -> Config {
    let other = setup.leases && rng.chance(150_000);
    let at = if other { rng.index(setup.configs.len()) } else { 0 };
    setup.configs[at].clone()
}

/// No two members believe at one moment that they lead alone.
pub(crate) fn watch(sim: &mut Sim) {
    sim.add_checker(Exclusive::new(LEASE));
}

/// What was promised to whom, in true time.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    /// Until when, by voter, and to a leader of which term.
    until: BTreeMap<NodeId, Vec<(SimTime, Term)>>,
    /// Candidates whom a leader asked to campaign.
    forced: BTreeSet<(NodeId, Term)>,
}

impl Promises {
    /// Whether `voter` has promised the leader of an older term to elect nobody in `term` yet.
    fn bind(&self, voter: NodeId, term: Term, at: SimTime) -> bool {
        let given = self.until.get(&voter).into_iter().flatten();
        given.into_iter().any(|(until, to)| at < *until && *to < term)
    }
}

/// One member's part.
#[derive(Debug, Default)]
pub(crate) struct Leasing {
    believed: Option<Monotonic>,
    /// When the message that is being handled arrived.
    arrived: Option<SimTime>,
}

impl Leasing {
    pub(crate) fn arrived(&mut self, ctx: &mut Ctx<'_>, world: &RefCell<World>, m: &Message) {
        let at = ctx.true_time();
        self.arrived = Some(at);
        let force = match &m.body {
            Body::Vote(ballot) | Body::PreVote(ballot) => ballot.force,
            _ => return,
        };
        if world.borrow().promises.bind(ctx.id(), m.term, at) {
            ctx.reached(if force { MUST_HAPPEN[4] } else { MUST_HAPPEN[3] });
        }
    }

    /// A message leaves: a promise counts from when the heartbeat came.
    pub(crate) fn sent(&self, ctx: &mut Ctx<'_>, world: &RefCell<World>, message: &Message) {
        if let (Body::HeartbeatResp { promise, .. }, Some(at)) = (&message.body, self.arrived)
            && !promise.is_zero()
        {
            let now = ctx.true_time();
            let world = &mut *world.borrow_mut();
            let given = world.promises.until.entry(ctx.id()).or_default();
            given.retain(|(until, _)| *until > now);
            given.push((at.saturating_add(*promise), message.term));
        }
    }

    /// Votes granted and asked for, at the moment when that was decided.
    pub(crate) fn check_votes(
        ctx: &mut Ctx<'_>,
        world: &RefCell<World>,
        append: &Append,
    ) -> Result<(), String> {
        let (id, at) = (ctx.id(), ctx.true_time());
        let promises = &mut world.borrow_mut().promises;
        for envelope in &append.gated {
            let (to, term) = (envelope.to, envelope.message.term);
            let candidate = match &envelope.message.body {
                Body::VoteResp { granted: true, .. } | Body::PreVoteResp { granted: true, .. } => {
                    to
                }
                Body::Vote(ballot) => {
                    if ballot.force {
                        promises.forced.insert((id, term));
                    }
                    id
                }
                _ => continue,
            };
            // The own vote of a forced candidate is drained with its requests.
            let asks =
                |e: &&quorate_raft::Envelope| matches!(&e.message.body, Body::Vote(b) if b.force);
            let forced = append.gated.iter().any(|e| asks(&e))
                || promises.forced.contains(&(candidate, term));
            if !forced && promises.bind(id, term, at) {
                return Err(format!("node {id} breaks its promise for {candidate} in term {term}"));
            }
        }
        Ok(())
    }

    /// After every step: what this member believes. `committed`: it has just committed something as
    /// the only one who may.
    pub(crate) fn believe(&mut self, ctx: &mut Ctx<'_>, raft: &Raft, committed: bool) {
        let now = ctx.now();
        let until = raft.lease_until().filter(|until| now <= *until);
        if committed || (until.is_some() && until != self.believed) {
            let until = until.unwrap_or(now).saturating_add(READING);
            ctx.believe(LEASE, 0, until);
        } else if until.is_none() && self.believed.is_some() {
            ctx.disown(LEASE, 0);
        }
        self.believed = until;
    }

    /// A read was answered by the lease: nothing may be committed anywhere that it does not see.
    pub(crate) fn check_read(
        ctx: &mut Ctx<'_>,
        world: &RefCell<World>,
        done: &ReadDone,
    ) -> Result<(), String> {
        let Ok(index) = done.result else { return Ok(()) };
        if !done.by_lease {
            return Ok(());
        }
        ctx.reached(MUST_HAPPEN[0]);
        let committed = world.borrow().observer.committed.len() as u64;
        if index.value() < committed {
            return Err(format!("lease read sees {index}, but {committed} entries are committed"));
        }
        Ok(())
    }
}

//! Elections of three nodes, one after the other: a leader of a term has the votes of a majority.

use super::slots::Slots;
use super::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;
use std::collections::BTreeSet;

const ASK: u64 = 1;
const VOTE: u64 = 2;
const MEMBERS: u64 = 3;

/// What is done wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mistake {
    None,
    /// The term is durable, the vote is not.
    VoteNotPersisted,
    /// A node with an empty disk takes itself for the member that it was.
    IdentityReused,
}

struct Voter {
    mistake: Mistake,
    slots: Slots,
    term: u64,
    voted: u64,
    votes: BTreeSet<NodeId>,
    rng: Rng,
    /// The next term begins.
    election: Monotonic,
    /// Those that have not voted are asked again.
    ask: Monotonic,
    /// It is the member that was installed.
    member: bool,
}

impl Voter {
    fn boot(ctx: &mut Ctx<'_>, mistake: Mistake) -> Self {
        let (mut slots, state) = Slots::open(&ctx.disk()).unwrap();
        let installed = ctx.incarnation().value() == 1;
        let member = installed || state.is_some() || mistake == Mistake::IdentityReused;
        let [term, voted] = state.map_or([0, 0], |words| words.try_into().unwrap());
        if installed {
            slots.save(&[0, 0]).unwrap();
        }
        let (rng, now) = (Rng::stream(ctx.seed(), "election", 0, 0), ctx.now());
        let (votes, election, ask) = (BTreeSet::new(), now.saturating_add(ms(1_000)), now);
        Self { mistake, slots, term, voted, votes, rng, election, ask, member }
    }

    fn save(&mut self) {
        let kept = if self.mistake == Mistake::VoteNotPersisted { 0 } else { self.voted };
        self.slots.save(&[self.term, kept]).unwrap();
    }

    fn is_candidate(&self, ctx: &Ctx<'_>) -> bool {
        self.voted == ctx.id().value()
    }

    fn stand(&mut self, ctx: &mut Ctx<'_>) {
        (self.term, self.voted) = (self.term + 1, ctx.id().value());
        self.votes = BTreeSet::from([ctx.id()]);
        self.save();
        // Everybody at nearly the same time, so that votes are split.
        self.election = ctx.now().saturating_add(ms(1_000 + self.rng.below(20)));
    }
}

impl Node for Voter {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let [kind, term] = unpack(&body).try_into().unwrap();
        if !self.member || term < self.term {
            return;
        }
        if term > self.term {
            (self.term, self.voted) = (term, 0);
            self.votes.clear();
        }
        let candidate = from.node.value();
        match kind {
            ASK if self.voted == 0 || self.voted == candidate => {
                self.voted = candidate;
                self.save();
                let _ = ctx.send(from.node, Lane::Data, CHANNEL, pack(&[VOTE, term]));
            }
            VOTE if self.is_candidate(ctx) => {
                self.votes.insert(from.node);
                if self.votes.len() as u64 * 2 > MEMBERS {
                    ctx.fact("leader", term, ctx.id().value().into());
                    ctx.reached("leader");
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        if !self.member {
            self.ask = ctx.now().saturating_add(ms(60_000));
            self.election = self.ask;
            return;
        }
        if self.election <= ctx.now() {
            self.stand(ctx);
        }
        self.ask = ctx.now().saturating_add(ms(100));
        if self.is_candidate(ctx) {
            let peers = (1..=MEMBERS).map(node).filter(|peer| !self.votes.contains(peer));
            for peer in peers.collect::<Vec<_>>() {
                let _ = ctx.send(peer, Lane::Data, CHANNEL, pack(&[ASK, self.term]));
            }
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.ask.min(self.election))
    }
}

pub(super) fn toy(mistake: Mistake) -> Toy {
    Toy::new(move |sim| {
        for id in 1..=MEMBERS {
            sim.add(node(id), move |ctx| Voter::boot(ctx, mistake));
        }
        sim.add_checker(AtMostOne::new("leader"));
    })
}

//! Five nodes, and the lowest that hears a majority leads: on both sides of a bridge there is one.
//! The correct one asks for the promise of a majority, which no two have at one time.

use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MEMBERS: u64 = 5;
const BEAT: u64 = 1;
const CLAIM: u64 = 2;
const PROMISE: u64 = 3;
/// A promise lasts so long; who has it counts on a little less.
const TERM: Duration = ms(1_000);
const MARGIN: Duration = ms(50);

struct Member {
    bug: bool,
    heard: BTreeMap<NodeId, Monotonic>,
    /// Whom it hears, and since when these.
    view: (BTreeSet<NodeId>, Monotonic),
    promised: Option<(NodeId, Monotonic)>,
    /// The claim that is under way: when it was made, and who has promised.
    claim: (u64, BTreeSet<NodeId>),
    next: Monotonic,
}

impl Member {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        let (heard, view, claim) = Default::default();
        let now = ctx.now();
        Self { bug, heard, view: (view, now), promised: None, claim: (0, claim), next: now }
    }

    fn promises(&mut self, now: Monotonic, to: NodeId) -> bool {
        let free = self.promised.is_none_or(|(other, until)| other == to || until <= now);
        if free {
            self.promised = Some((to, now.saturating_add(TERM)));
        }
        free
    }

    /// Whether it hears a majority, has heard just these for a while, and comes first of them.
    fn is_first(&mut self, id: NodeId, now: Monotonic) -> bool {
        self.heard.retain(|_, heard| now.since(*heard) < TERM);
        let seen: BTreeSet<_> = self.heard.keys().copied().collect();
        if seen != self.view.0 {
            self.view = (seen, now);
        }
        let (seen, since) = &self.view;
        let majority = (seen.len() as u64 + 1) * 2 > MEMBERS;
        majority && now.since(*since) > 2 * TERM && seen.iter().all(|other| *other > id)
    }

    fn lead(ctx: &mut Ctx<'_>, until: Monotonic) {
        ctx.believe("leader", 0, until);
        ctx.reached("leader");
    }

    fn to_all(ctx: &mut Ctx<'_>, message: &[u64]) {
        let id = ctx.id();
        for peer in (1..=MEMBERS).map(node).filter(|peer| *peer != id) {
            let _ = ctx.send_datagram(peer, CHANNEL, pack(message));
        }
    }
}

impl Node for Member {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: ChannelId, body: Bytes) {
        let now = ctx.now();
        match unpack(&body)[..] {
            [BEAT] => drop(self.heard.insert(from.node, now)),
            [CLAIM, at] if self.promises(now, from.node) => {
                let _ = ctx.send_datagram(from.node, CHANNEL, pack(&[PROMISE, at]));
            }
            [PROMISE, at] if at == self.claim.0 => {
                self.claim.1.insert(from.node);
                if self.claim.1.len() as u64 * 2 > MEMBERS {
                    Self::lead(ctx, Monotonic::from_nanos(at).saturating_add(TERM - MARGIN));
                }
            }
            _ => {}
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let (id, now) = (ctx.id(), ctx.now());
        self.next = now.saturating_add(ms(100));
        Self::to_all(ctx, &[BEAT]);
        if !self.is_first(id, now) {
            return;
        }
        if self.bug {
            Self::lead(ctx, now.saturating_add(ms(110))); // until the next look
        } else if self.promises(now, id) {
            self.claim = (now.as_nanos(), BTreeSet::from([id]));
            Self::to_all(ctx, &[CLAIM, now.as_nanos()]);
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Partition, Class::Duplicate, Class::ClockRate];
    super::campaign("bridge-two-leaders", bug, &classes, |bug| {
        Toy::new(move |sim| {
            for id in 1..=MEMBERS {
                sim.add(node(id), move |ctx| Member::boot(ctx, bug));
            }
            sim.add_checker(Exclusive::new("leader"));
        })
    })
    .require(&["leader"])
}

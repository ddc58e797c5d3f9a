//! Members that tell each other that they live. Who is silent for long is dead, and the dead are
//! told nothing any more: after a long partition both sides wait for the other one.

use crate::toys::{CHANNEL, Toy, ms, node};
use quorate_sim::*;
use std::collections::{BTreeMap, BTreeSet};

const MEMBERS: u64 = 3;
const SILENCE_MS: u64 = 3_000;

struct Member {
    bug: bool,
    peers: BTreeSet<NodeId>,
    heard: BTreeMap<NodeId, Monotonic>,
    next: Monotonic,
}

impl Member {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        let now = ctx.now();
        let peers: BTreeSet<_> = (1..=MEMBERS).map(node).filter(|peer| *peer != ctx.id()).collect();
        let heard = peers.iter().map(|peer| (*peer, now)).collect();
        Self { bug, peers, heard, next: now }
    }
}

impl Node for Member {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: ChannelId, _: Bytes) {
        self.peers.insert(from.node);
        self.heard.insert(from.node, ctx.now());
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        self.next = now.saturating_add(ms(200));
        let silence = ms(SILENCE_MS);
        self.heard.retain(|_, heard| now.since(*heard) < silence);
        if self.bug {
            self.peers.retain(|peer| self.heard.contains_key(peer));
        }
        for peer in &self.peers {
            let _ = ctx.send_datagram(*peer, CHANNEL, "alive");
        }
        if self.heard.len() as u64 + 1 == MEMBERS && ctx.id() == node(1) {
            ctx.reached("whole");
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Partition, Class::Loss, Class::Delay, Class::Pause];
    super::campaign("dead-forgotten", bug, &classes, |bug| {
        Toy::new(move |sim| {
            for id in 1..=MEMBERS {
                sim.add(node(id), move |ctx| Member::boot(ctx, bug));
            }
            sim.add_checker(Eventually::new("whole", ms(5_000)));
        })
    })
}

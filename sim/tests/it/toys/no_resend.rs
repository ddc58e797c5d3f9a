//! Entries of a log go to a follower over a lane, which loses nothing as long as its session lasts.

use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;

const WINDOW: u64 = 64;

struct Sender {
    bug: bool,
    newest: u64,
    acked: u64,
    next: Monotonic,
}

impl Sender {
    fn send(ctx: &mut Ctx<'_>, entry: u64) {
        let _ = ctx.send(node(2), Lane::Data, CHANNEL, pack(&[entry]));
    }
}

impl Node for Sender {
    fn on_message(&mut self, _: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, body: Bytes) {
        self.acked = self.acked.max(unpack(&body)[0]);
    }

    fn on_link(&mut self, ctx: &mut Ctx<'_>, event: &LinkEvent) {
        if matches!(event, LinkEvent::Up { .. }) && !self.bug {
            (self.acked + 1..=self.newest).for_each(|entry| Self::send(ctx, entry));
        }
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(50));
        if self.bug || self.newest < self.acked + WINDOW {
            self.newest += 1;
        }
        Self::send(ctx, self.newest);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

struct Follower {
    bug: bool,
    applied: u64,
}

impl Node for Follower {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let entry = unpack(&body)[0];
        if entry == self.applied + 1 || self.bug {
            self.applied = entry;
            ctx.fact("applied", entry, 0);
        }
        let _ = ctx.send(from.node, Lane::Data, CHANNEL, pack(&[self.applied]));
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Break, Class::Partition, Class::Delay, Class::Corrupt, Class::Slow];
    super::campaign("no-resend", bug, &classes, |bug| {
        Toy::new(move |sim| {
            sim.add(node(1), move |ctx| Sender { bug, newest: 0, acked: 0, next: ctx.now() });
            sim.add(node(2), move |_| Follower { bug, applied: 0 });
            sim.add_checker(Dense::new("applied"));
        })
    })
}

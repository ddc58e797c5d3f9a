//! A node that grants a lease to one of two others at a time, and those that ask for it.

use super::{CHANNEL, node, pack, unpack};
use crate::toys::ms;
use quorate_sim::*;
use std::time::Duration;

/// Grants the lease to whoever asks once it is free.
pub(super) struct Granter {
    lease: Duration,
    /// How long it waits until it takes the lease for free again.
    hold: Duration,
    held_until: Monotonic,
    fence: u64,
}

impl Node for Granter {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, from: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let now = ctx.now();
        if now < self.held_until {
            return;
        }
        self.held_until = now.saturating_add(self.hold);
        self.fence += 1;
        let asked_at = unpack(&body)[0];
        let ends_at = ctx.wall().saturating_add(self.lease).as_nanos();
        ctx.reached("granted");
        let _ = ctx.send(from.node, Lane::Data, CHANNEL, pack(&[asked_at, self.fence, ends_at]));
    }
}

/// What a holder is granted.
#[derive(Clone, Copy)]
pub(super) struct Grant {
    /// When it was asked for, on the holder's own clock: the lease began no earlier.
    pub(super) asked_at: Monotonic,
    pub(super) fence: u64,
    /// The granter's wall clock when it ends.
    pub(super) ends_at: WallTime,
}

/// What a holder makes of its lease.
pub(super) trait Holder: 'static {
    fn granted(&mut self, ctx: &mut Ctx<'_>, grant: Grant);
    /// 50 times a second.
    fn tick(&mut self, _: &mut Ctx<'_>) {}
    fn worked(&mut self, _: &mut Ctx<'_>, _fence: u64) {}
    /// Until when it needs no other.
    fn until(&self) -> Monotonic;
}

/// Asks for the lease as long as it has none.
struct Asks<H> {
    holder: H,
    next: Monotonic,
}

impl<H: Holder> Node for Asks<H> {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let [asked_at, fence, ends_at] = unpack(&body).try_into().unwrap();
        let asked_at = Monotonic::from_nanos(asked_at);
        let grant = Grant { asked_at, fence, ends_at: WallTime::from_nanos(ends_at) };
        self.holder.granted(ctx, grant);
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.holder.tick(ctx);
        let now = ctx.now();
        self.next = now.saturating_add(ms(20));
        if self.holder.until() <= now {
            let _ = ctx.send(node(1), Lane::Data, CHANNEL, pack(&[now.as_nanos()]));
        }
    }

    fn on_completion(&mut self, ctx: &mut Ctx<'_>, token: u64) {
        self.holder.worked(ctx, token);
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

/// Node 1 grants, nodes 2 and 3 hold.
pub(super) fn setup<H: Holder>(
    sim: &mut Sim,
    lease: Duration,
    hold: impl Fn(&mut Ctx<'_>) -> Duration + 'static,
    holder: fn() -> H,
) {
    sim.add(node(1), move |ctx| {
        let hold = hold(ctx);
        Granter { lease, hold, held_until: ctx.now(), fence: 0 }
    });
    for id in [2, 3] {
        sim.add(node(id), move |ctx| Asks { holder: holder(), next: ctx.now() });
    }
}

//! A client that has one number after the other stored, and says which ones it was told are.

use crate::toys::{CHANNEL, ms, node, pack};
use quorate_sim::{Bytes, CallError, CallToken, Ctx, Lane, Monotonic, Node, Sim};

pub(crate) struct Appender {
    key: u64,
    call: Option<CallToken>,
    next: Monotonic,
}

/// Client 11 of node 1.
pub(crate) fn add(sim: &mut Sim) {
    sim.add_client(node(11), |ctx| Appender { key: 0, call: None, next: ctx.now() });
}

impl Node for Appender {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(50));
        if self.call.is_none() {
            self.key += 1; // whatever came of the last one
            let body = pack(&[self.key]);
            self.call = Some(ctx.call(node(1), Lane::Data, CHANNEL, body, ms(500)));
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, _: CallToken, result: Result<Bytes, CallError>) {
        self.call = None;
        if result.is_ok() {
            ctx.fact("acked", self.key, 1);
        }
    }
}

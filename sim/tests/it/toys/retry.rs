//! Money moves from one account to the other; what is not answered is asked for again, and an
//! account that does not remember what it did does it again.

use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;
use std::collections::BTreeSet;

const OPENING: u64 = 1_000_000;
const TAKE: u64 = 1;
const PUT: u64 = 2;

struct Account {
    bug: bool,
    balance: u64,
    done: BTreeSet<u64>,
}

impl Account {
    fn boot(ctx: &mut Ctx<'_>, bug: bool) -> Self {
        ctx.fact("balance", ctx.id().value(), OPENING.into());
        Self { bug, balance: OPENING, done: BTreeSet::new() }
    }
}

impl Node for Account {
    fn on_call(
        &mut self,
        ctx: &mut Ctx<'_>,
        _: Peer,
        _: ChannelId,
        body: Bytes,
        call: InboundCall,
    ) {
        let [kind, transfer] = unpack(&body).try_into().unwrap();
        if self.done.insert(transfer) || self.bug {
            self.balance = if kind == TAKE { self.balance - 1 } else { self.balance + 1 };
            ctx.fact("balance", ctx.id().value(), self.balance.into());
        }
        ctx.reply(call, "done");
    }
}

/// One transfer after the other, each of two steps.
struct Teller {
    transfer: u64,
    step: u64,
    call: Option<CallToken>,
    next: Monotonic,
}

impl Node for Teller {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(40));
        if self.call.is_none() {
            let body = pack(&[self.step, self.transfer]);
            self.call = Some(ctx.call(node(self.step), Lane::Data, CHANNEL, body, ms(400)));
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn on_reply(&mut self, ctx: &mut Ctx<'_>, _: CallToken, result: Result<Bytes, CallError>) {
        self.call = None;
        match (result, self.step) {
            (Err(_), _) => {} // again
            (Ok(_), TAKE) => self.step = PUT,
            (Ok(_), _) => {
                ctx.fact("cut", 0, 0);
                ctx.reached("transferred");
                (self.step, self.transfer) = (TAKE, self.transfer + 1);
            }
        }
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Partition, Class::Break, Class::Pause, Class::Delay];
    super::campaign("retry-without-dedup", bug, &classes, |bug| {
        Toy::new(move |sim| {
            for id in [TAKE, PUT] {
                sim.add(node(id), move |ctx| Account::boot(ctx, bug));
            }
            sim.add_client(node(11), |ctx| Teller {
                transfer: 1,
                step: TAKE,
                call: None,
                next: ctx.now().saturating_add(ms(100)),
            });
            sim.add_checker(Conserved::new("balance", u128::from(2 * OPENING)));
        })
    })
    .require(&["transferred"])
}

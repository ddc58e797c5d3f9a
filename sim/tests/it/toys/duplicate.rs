//! Orders in datagrams, some of which arrive twice.

use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;
use std::collections::BTreeMap;

struct Orders {
    next: Monotonic,
    number: u64,
}

impl Node for Orders {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(20));
        self.number += 1;
        let _ = ctx.send_datagram(node(2), CHANNEL, pack(&[self.number]));
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

struct Shop {
    bug: bool,
    /// How often each order was carried out.
    times: BTreeMap<u64, u64>,
}

impl Node for Shop {
    fn on_datagram(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, body: Bytes) {
        let number = unpack(&body)[0];
        let times = self.times.entry(number).or_default();
        if *times == 0 || self.bug {
            *times += 1;
            ctx.fact("times", number, u128::from(*times));
        }
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Duplicate, Class::Reorder, Class::Loss, Class::Corrupt];
    super::campaign("duplicate-applied", bug, &classes, |bug| {
        Toy::new(move |sim| {
            sim.add(node(1), |ctx| Orders { next: ctx.now(), number: 0 });
            sim.add(node(2), move |_| Shop { bug, times: BTreeMap::new() });
            sim.add_checker(AtMostOne::new("times"));
        })
    })
}

//! Small campaigns with known ends.

use crate::toys::{self, CHANNEL, Toy, ms, node};
use quorate_sim::*;

/// Tells the other one ten times a second that it is there.
pub(super) struct Beat {
    to: NodeId,
    next: Monotonic,
}

impl Beat {
    pub(super) fn new(ctx: &mut Ctx<'_>, to: u64) -> Self {
        Self { to: node(to), next: ctx.now() }
    }
}

impl Node for Beat {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, _: Bytes) {
        ctx.reached("heard");
    }

    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        self.next = ctx.now().saturating_add(ms(100));
        let _ = ctx.send(self.to, Lane::Data, CHANNEL, "beat");
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }
}

pub(super) fn add_pair(sim: &mut Sim) {
    for (id, to) in [(1, 2), (2, 1)] {
        sim.add(node(id), move |ctx| Beat::new(ctx, to));
    }
}

/// Nothing is wrong with it.
pub(super) fn pair() -> Campaign<Toy> {
    let classes = [Class::Pause, Class::Partition, Class::Crash];
    toys::campaign("pair", true, &classes, |_| Toy::new(add_pair)).require(&["heard"]).seeds(40)
}

/// A node that panics in its third second.
struct Panics(Monotonic);

impl Node for Panics {
    fn on_timeout(&mut self, _: &mut Ctx<'_>) {
        panic!("the third second");
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.0)
    }
}

fn add_of_ring(sim: &mut Sim, id: u64) {
    sim.add(node(id), move |ctx| Beat::new(ctx, if id == 39 { 11 } else { id + 1 }));
}

/// From seed 13 on something is wrong; seed 13 takes longest, and those behind it are quick.
pub(super) fn from_thirteen() -> Campaign<Toy> {
    Campaign::new("from-thirteen", |seed| {
        Toy::new(move |sim| {
            for (id, to) in [(2, 3), (3, 2)] {
                sim.add(node(id), move |ctx| Beat::new(ctx, to));
            }
            if seed == 13 {
                (11..40).for_each(|id| add_of_ring(sim, id));
            }
            if seed >= 13 {
                let after = if seed == 13 { 3_000 } else { 1 };
                sim.add(node(1), move |ctx| Panics(ctx.now().saturating_add(ms(after))));
            }
        })
    })
    .swarm(Swarm::quiet().only(&[Class::Pause, Class::Delay]))
    .seeds(40)
}

/// The campaigns by name, for processes of their own.
pub(super) fn named(name: &str) -> Campaign<Toy> {
    match name {
        "pair" => pair(),
        "from-thirteen" => from_thirteen(),
        _ => {
            let planted = toys::ALL.iter().find(|planted| planted.name == name);
            (planted.unwrap().campaign)(true)
        }
    }
}

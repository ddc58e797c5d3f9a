//! A lease by two clocks that are taken to run at one rate.

use crate::toys::lease::{self, Grant, Holder};
use crate::toys::{Toy, ms};
use quorate_sim::*;

const LEASE_MS: u64 = 1_000;

struct Tenant {
    bug: bool,
    until: Monotonic,
}

impl Holder for Tenant {
    fn granted(&mut self, ctx: &mut Ctx<'_>, grant: Grant) {
        let lease = ms(LEASE_MS);
        let lease = if self.bug { lease } else { ctx.clock().drift().shrink(lease) };
        self.until = grant.asked_at.saturating_add(lease);
        ctx.believe("lease", 0, self.until);
    }

    fn until(&self) -> Monotonic {
        self.until
    }
}

fn tenant(bug: bool) -> Tenant {
    Tenant { bug, until: Monotonic::from_nanos(0) }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::ClockRate, Class::Pause, Class::Delay, Class::Clog];
    super::campaign("lease-ignores-drift", bug, &classes, |bug| {
        Toy::new(move |sim| {
            let holder = if bug { || tenant(true) } else { || tenant(false) };
            let hold = move |ctx: &mut Ctx<'_>| match bug {
                true => ms(LEASE_MS),
                false => ctx.clock().drift().stretch(ms(LEASE_MS)),
            };
            lease::setup(sim, ms(LEASE_MS), hold, holder);
            sim.add_checker(Exclusive::new("lease"));
        })
    })
    .config(|seed| SimConfig::lan(seed).extreme_clocks(true).build().unwrap())
    .require(&["granted"])
}

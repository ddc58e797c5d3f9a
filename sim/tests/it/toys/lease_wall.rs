//! A lease that ends at a time of the wall clock: somebody sets a clock back, and it does not.

use crate::toys::lease::{self, Grant, Holder};
use crate::toys::{Toy, ms};
use quorate_sim::*;

/// The granter waits for so much longer than the lease: more than clocks are usually apart.
const MARGIN_MS: u64 = 1_200;
const LEASE_MS: u64 = 1_000;

struct Tenant {
    bug: bool,
    until: Monotonic,
    ends_at: WallTime,
}

impl Holder for Tenant {
    fn granted(&mut self, ctx: &mut Ctx<'_>, grant: Grant) {
        if self.bug {
            self.ends_at = grant.ends_at;
            self.tick(ctx);
        } else {
            self.until = grant.asked_at.saturating_add(ms(LEASE_MS));
            ctx.believe("lease", 0, self.until);
        }
    }

    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        if self.bug && ctx.wall() < self.ends_at {
            self.until = ctx.now().saturating_add(ms(25)); // until the next look at the clock
            ctx.believe("lease", 0, self.until);
        }
    }

    fn until(&self) -> Monotonic {
        self.until
    }
}

fn tenant(bug: bool) -> Tenant {
    Tenant { bug, until: Monotonic::from_nanos(0), ends_at: WallTime::from_nanos(0) }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::ClockStep, Class::Pause, Class::Delay, Class::Break];
    super::campaign("lease-on-wall-clock", bug, &classes, |bug| {
        Toy::new(move |sim| {
            let holder = if bug { || tenant(true) } else { || tenant(false) };
            lease::setup(sim, ms(LEASE_MS), |_| ms(LEASE_MS + MARGIN_MS), holder);
            sim.add_checker(Exclusive::new("lease"));
        })
    })
    .require(&["granted"])
}

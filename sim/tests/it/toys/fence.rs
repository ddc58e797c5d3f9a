//! A lock whose holder may stand still between its last look at the clock and its write: only
//! who is written to can tell that another one holds the lock by now.

use crate::toys::lease::{self, Grant, Holder};
use crate::toys::{CHANNEL, Toy, ms, node, pack, unpack};
use quorate_sim::*;

const LEASE_MS: u64 = 500;

/// Takes what holders write.
struct Storage {
    bug: bool,
    newest: u64,
}

impl Node for Storage {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, body: Bytes) {
        let fence = unpack(&body)[0];
        if self.bug || fence > self.newest {
            self.newest = fence;
            ctx.fact("written", 0, fence.into());
            ctx.reached("written");
        }
    }
}

struct Writer {
    until: Monotonic,
}

impl Holder for Writer {
    fn granted(&mut self, ctx: &mut Ctx<'_>, grant: Grant) {
        self.until = grant.asked_at.saturating_add(ms(LEASE_MS));
        if ctx.now() < self.until {
            // There is time enough, or so it seems.
            ctx.complete_after(Cost::Fixed(ms(100)), grant.fence);
        }
    }

    fn worked(&mut self, ctx: &mut Ctx<'_>, fence: u64) {
        let _ = ctx.send(node(4), Lane::Data, CHANNEL, pack(&[fence]));
    }

    fn until(&self) -> Monotonic {
        self.until
    }
}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Pause, Class::Slow, Class::Clog, Class::Delay];
    super::campaign("lock-without-fence", bug, &classes, |bug| {
        Toy::new(move |sim| {
            let writer = || Writer { until: Monotonic::from_nanos(0) };
            lease::setup(sim, ms(LEASE_MS), |_| ms(LEASE_MS + 100), writer);
            sim.add(node(4), move |_| Storage { bug, newest: 0 });
            sim.add_checker(Monotone::new("written"));
        })
    })
    .require(&["written"])
}

//! Something that is done ten times a second. After a pause it is done once, and not once for
//! every tick that was missed.

use crate::toys::{CHANNEL, Toy, ms, node};
use quorate_sim::*;

const PERIOD_MS: u64 = 100;

struct Ticker {
    bug: bool,
    next: Monotonic,
    /// The last two times it was done.
    done: [Option<Monotonic>; 2],
}

impl Ticker {
    fn tick(&mut self, ctx: &mut Ctx<'_>) {
        self.done = [self.done[1], Some(ctx.now())];
        let _ = ctx.send(node(2), Lane::Data, CHANNEL, "tick");
    }
}

impl Node for Ticker {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        if self.bug {
            while self.next <= now {
                self.tick(ctx);
                self.next = self.next.saturating_add(ms(PERIOD_MS));
            }
        } else {
            self.tick(ctx);
            self.next = now.saturating_add(ms(PERIOD_MS));
        }
    }

    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.next)
    }

    fn check(&self) -> Result<(), String> {
        match self.done {
            [Some(before), Some(last)] if last.since(before) < ms(PERIOD_MS / 2) => {
                Err(format!("{:?} between two ticks", last.since(before)))
            }
            _ => Ok(()),
        }
    }
}

/// Hears the ticks.
struct Ear;

impl Node for Ear {}

pub(crate) fn campaign(bug: bool) -> Campaign<Toy> {
    let classes = [Class::Pause, Class::ClockStep, Class::ClockRate, Class::Break];
    super::campaign("timers-replayed", bug, &classes, |bug| {
        Toy::new(move |sim| {
            let done = [None, None];
            sim.add(node(1), move |ctx| Ticker { bug, next: ctx.now(), done });
            sim.add(node(2), |_| Ear);
        })
    })
}

//! A session table that takes time as data: the same code runs on the real clock and in a test that
//! lets an hour pass in no time.

use quorate_clocks::{Clock, ManualClock, Monotonic, SystemClock, WallTime};
use std::collections::BTreeMap;
use std::time::Duration;

struct Sessions {
    ttl: Duration,
    last_seen: BTreeMap<String, Monotonic>,
}

impl Sessions {
    fn touch(&mut self, now: Monotonic, name: &str) {
        self.last_seen.insert(name.to_owned(), now);
    }

    fn expire(&mut self, now: Monotonic) {
        let ttl = self.ttl;
        self.last_seen.retain(|_, seen| now.since(*seen) < ttl);
    }
}

fn serve(clock: &dyn Clock, wait: impl Fn()) -> usize {
    let mut sessions = Sessions { ttl: Duration::from_secs(3600), last_seen: BTreeMap::new() };
    sessions.touch(clock.monotonic(), "ada");
    wait();
    sessions.touch(clock.monotonic(), "grace");
    sessions.expire(clock.monotonic());
    sessions.last_seen.len()
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
pub(crate) fn main() {
    let real = serve(&SystemClock::new(), || {});
    let manual = ManualClock::new(WallTime::EPOCH);
    let an_hour_later = serve(&manual, || manual.advance(Duration::from_secs(3600)));
    println!("sessions alive: {real} at once, {an_hour_later} after an hour");
    assert_eq!((real, an_hour_later), (2, 1));
}

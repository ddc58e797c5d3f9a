//! How long entries of this leader take to be durable, committed and applied.

use crate::core::Progression;
use crate::histogram::Latencies;
use crate::sync::lock;
use crate::{LogIndex, Term};
use quorate_clocks::Monotonic;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

/// Stretches that are followed; a leader with more under way leaves some out.
const STRETCHES_MAX: usize = 4_096;

/// Entries that were appended together.
struct Stretch {
    last: LogIndex,
    entries: u64,
    since: Monotonic,
}

/// What this leader appended and is not applied yet, and how much of it has come how far.
#[derive(Default)]
pub(super) struct Timing {
    term: Term,
    stretches: VecDeque<Stretch>,
    /// So many of the first stretches are durable, and committed.
    durable: usize,
    committed: usize,
    latencies: Arc<Mutex<Latencies>>,
}

impl Timing {
    /// With where it counts.
    pub(super) fn new() -> (Self, Arc<Mutex<Latencies>>) {
        let timing = Self::default();
        let latencies = Arc::clone(&timing.latencies);
        (timing, latencies)
    }

    /// A write is durable that was handed over at `since`.
    pub(super) fn written(&self, now: Monotonic, since: Monotonic) {
        lock(&self.latencies).fsync.record(now.since(since), 1);
    }

    /// Reads are served whose question was asked at `since`.
    pub(super) fn read(&self, now: Monotonic, since: impl Iterator<Item = Monotonic>) {
        let mut latencies = lock(&self.latencies);
        since.for_each(|since| latencies.read.record(now.since(since), 1));
    }

    pub(super) fn appended(
        &mut self,
        now: Monotonic,
        term: Term,
        range: &RangeInclusive<LogIndex>,
    ) {
        if self.term != term {
            // What was under way in an earlier term may be replaced.
            self.term = term;
            self.stretches.clear();
            (self.durable, self.committed) = (0, 0);
        }
        if self.stretches.len() < STRETCHES_MAX {
            let entries = range.end().value() - range.start().value() + 1;
            self.stretches.push_back(Stretch { last: *range.end(), entries, since: now });
        }
    }

    /// Counts what has got further since the last look.
    pub(super) fn look(&mut self, now: Monotonic, at: &Progression, applied: LogIndex) {
        if at.term != self.term || self.stretches.is_empty() {
            return;
        }
        let (l, all) = (&mut *lock(&self.latencies), &mut self.stretches);
        while let Some(s) = all.get(self.durable).filter(|s| s.last <= at.durable) {
            l.durable.record(now.since(s.since), s.entries);
            self.durable += 1;
        }
        while let Some(s) = all.get(self.committed).filter(|s| s.last <= at.commit) {
            l.committed.record(now.since(s.since), s.entries);
            self.committed += 1;
        }
        // An entry is applied once it is committed, and durable here as well.
        let both = self.durable.min(self.committed);
        let done = all.iter().take(both).take_while(|s| s.last <= applied).count();
        for s in all.drain(..done) {
            l.applied.record(now.since(s.since), s.entries);
        }
        self.durable -= done;
        self.committed -= done;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    const fn ms(n: u64) -> Monotonic {
        Monotonic::from_nanos(n * 1_000_000)
    }

    fn at(term: u64, durable: u64, commit: u64) -> Progression {
        let index = LogIndex::new;
        Progression {
            term: Term::new(term),
            first: index(1),
            last: index(99),
            commit: index(commit),
            applied: LogIndex::ZERO,
            durable: index(durable),
            cached_bytes: 0,
            apply_paused: 0,
        }
    }

    #[test]
    fn each_stage_is_counted_once_per_entry_and_by_its_own_time() {
        let mut t = Timing::default();
        let range = |a, b| LogIndex::new(a)..=LogIndex::new(b);
        t.appended(ms(0), Term::new(3), &range(1, 4));
        t.appended(ms(1), Term::new(3), &range(5, 5));
        t.look(ms(1), &at(3, 4, 0), LogIndex::ZERO);
        t.look(ms(2), &at(3, 4, 5), LogIndex::ZERO);
        t.look(ms(8), &at(3, 5, 5), LogIndex::new(5));
        t.look(ms(9), &at(3, 5, 5), LogIndex::new(5));
        let l = *lock(&t.latencies);
        let counted = |h: &crate::Histogram| {
            h.buckets().map(|(end, n)| (end.as_micros(), n)).collect::<Vec<_>>()
        };
        assert_eq!(counted(&l.durable), [(1_024, 4), (8_192, 1)]);
        assert_eq!(counted(&l.committed), [(1_024, 1), (2_048, 4)]);
        assert_eq!(counted(&l.applied), [(8_192, 5)]);
        assert!(t.stretches.is_empty() && (t.durable, t.committed) == (0, 0));
    }

    #[test]
    fn another_term_forgets_what_was_under_way() {
        let mut t = Timing::default();
        t.appended(ms(0), Term::new(3), &(LogIndex::new(1)..=LogIndex::new(1)));
        t.look(ms(5), &at(4, 1, 1), LogIndex::new(1));
        t.appended(ms(6), Term::new(5), &(LogIndex::new(2)..=LogIndex::new(2)));
        t.look(ms(7), &at(5, 2, 2), LogIndex::new(2));
        let applied = lock(&t.latencies).applied;
        assert_eq!(applied.count(), 1);
        assert_eq!(applied.quantile(1.0), Some(Duration::from_micros(1_024)));
    }
}

//! What the clients did and saw, and the verdict over it.

use super::children::{Children, connect};
use super::linearizable::{Operation, is_linearizable};
use crate::cluster::Error;
use quorate_clocks::{Clock as _, Monotonic, SystemClock};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) enum Action {
    Write { key: String, value: String },
    Read { key: String },
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done(Option<String>),
    /// Definitely without effect.
    Refused,
    /// May or may not have happened.
    Unknown,
}

#[derive(Clone, Debug)]
struct Event {
    call: Monotonic,
    back: Monotonic,
    action: Action,
    outcome: Outcome,
}

#[derive(Default)]
pub(super) struct History {
    events: Mutex<Vec<Event>>,
    writes: AtomicU64,
    reads: AtomicU64,
}

impl History {
    pub(super) fn begin(&self) -> Monotonic {
        SystemClock::new().monotonic()
    }

    pub(super) fn end(&self, call: Monotonic, action: Action, outcome: Outcome) {
        if matches!(outcome, Outcome::Done(_)) {
            let counter = match action {
                Action::Write { .. } => &self.writes,
                Action::Read { .. } => &self.reads,
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let back = SystemClock::new().monotonic();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(Event { call, back, action, outcome });
    }

    /// Writes and reads since this was asked last.
    pub(super) fn rates(&self) -> (u64, u64) {
        (self.writes.swap(0, Ordering::Relaxed), self.reads.swap(0, Ordering::Relaxed))
    }

    /// Reads back what was acknowledged and judges what was seen.
    pub(super) fn judge(&self, children: &Children) -> Result<Summary, Error> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let acknowledged = || events.iter().filter(|e| matches!(e.outcome, Outcome::Done(_)));
        let own: Vec<(&String, &String)> = acknowledged()
            .filter_map(|e| match &e.action {
                Action::Write { key, value } if key.starts_with("w:") => Some((key, value)),
                _ => None,
            })
            .collect();
        let (clock, mut lost) = (SystemClock::new(), 0);
        let mut connection = connect(children.addresses()[0], Duration::from_secs(30))?;
        for part in own.chunks(500) {
            let keys: Vec<&String> = part.iter().map(|(key, _)| *key).collect();
            let values: Vec<Option<String>> =
                redis::cmd("MGET").arg(keys).query(&mut connection)?;
            let pairs = part.iter().zip(values);
            lost += pairs.filter(|((_, value), found)| found.as_ref() != Some(value)).count();
        }
        let judging = clock.monotonic();
        let is_write = |e: &&Event| matches!(e.action, Action::Write { .. });
        let summary = Summary {
            acknowledged: acknowledged().filter(is_write).count(),
            unknown: events
                .iter()
                .filter(is_write)
                .filter(|e| matches!(e.outcome, Outcome::Unknown))
                .count(),
            lost,
            gap: longest_gap(&events),
            linearizable: registers_are_linearizable(&events),
            judged_in: Duration::ZERO,
        };
        Ok(Summary { judged_in: clock.monotonic().since(judging), ..summary })
    }
}

/// The longest time without an acknowledged write.
fn longest_gap(events: &[Event]) -> Duration {
    let mut writes: Vec<Monotonic> = events
        .iter()
        .filter(|e| matches!((&e.action, &e.outcome), (Action::Write { .. }, Outcome::Done(_))))
        .map(|e| e.back)
        .collect();
    writes.sort_unstable();
    writes.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default()
}

/// Each register by itself: linearizability is local (Herlihy & Wing 1990).
fn registers_are_linearizable(events: &[Event]) -> bool {
    let mut registers: BTreeMap<&str, Vec<Operation<'_>>> = BTreeMap::new();
    for event in events {
        let (key, write) = match &event.action {
            Action::Write { key, value } => (key, Some(value.as_str())),
            Action::Read { key } => (key, None),
        };
        if !key.starts_with("r:") {
            continue;
        }
        let operation = match (&event.outcome, write) {
            (Outcome::Done(_), Some(value)) => Operation::write(event.call, event.back, value),
            (Outcome::Done(seen), None) => Operation::read(event.call, event.back, seen.as_deref()),
            // It may take effect at any time from its call on, or never: by then nobody looks.
            (Outcome::Unknown, Some(value)) => {
                Operation::write(event.call, Monotonic::FAR_FUTURE, value)
            }
            _ => continue,
        };
        registers.entry(key).or_default().push(operation);
    }
    registers.values().all(|operations| is_linearizable(operations))
}

/// The verdict.
#[derive(Debug)]
pub(super) struct Summary {
    acknowledged: usize,
    unknown: usize,
    lost: usize,
    gap: Duration,
    linearizable: bool,
    judged_in: Duration,
}

impl Summary {
    pub(super) const fn is_sound(&self) -> bool {
        self.acknowledged > 0 && self.lost == 0 && self.linearizable
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "acknowledged writes: {}", self.acknowledged)?;
        writeln!(f, "lost writes: {}", self.lost)?;
        writeln!(f, "unknown outcomes: {}", self.unknown)?;
        writeln!(f, "longest gap without an acknowledged write: {} ms", self.gap.as_millis())?;
        let answer = if self.linearizable { "yes" } else { "no" };
        write!(f, "linearizable: {answer} (judged in {} ms)", self.judged_in.as_millis())
    }
}

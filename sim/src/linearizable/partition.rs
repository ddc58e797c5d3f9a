//! The operations of one part of a service, and what is known of them by the end of a prefix.

use std::collections::BTreeMap;

use super::Spec;
use crate::history::{Event, History, OpId, Outcome};
use crate::plant::planted;

/// One operation, and where its events stand in the history.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) id: OpId,
    pub(super) invoked: usize,
    /// Where it ended, unless its outcome says nothing.
    pub(super) ended: Option<usize>,
}

/// The operations of one part, in the order of their invocations.
#[derive(Clone, Debug)]
pub(super) struct Partition {
    pub(super) spans: Vec<Span>,
}

/// All parts, in the order of their first operations.
pub(super) fn all<S: Spec>(spec: &S, history: &History<S::Op, S::Ret>) -> Vec<Partition> {
    let mut parts: Vec<Partition> = Vec::new();
    let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
    let mut places: Vec<(usize, usize)> = vec![(0, 0); history.len()];
    for (at, event) in history.events().enumerate() {
        match event {
            Event::Invoke(id) => {
                let number = history.operation(id).map_or(0, |o| spec.partition(&o.op));
                let part = *numbers.entry(number).or_insert(parts.len());
                if part == parts.len() {
                    parts.push(Partition { spans: Vec::new() });
                }
                let spans = &mut parts[part].spans;
                places[id.index()] = (part, spans.len());
                spans.push(Span { id, invoked: at, ended: None });
            }
            Event::End(id) => {
                let outcome = history.operation(id).and_then(|o| o.outcome.as_ref());
                // Unknown is as good as not ended: it may happen at any time from now on (H11).
                let known = outcome.is_some_and(|(_, o)| !matches!(o, Outcome::Unknown));
                let (part, place) = places[id.index()];
                parts[part].spans[place].ended = known.then_some(at);
            }
        }
    }
    parts
}

/// What a prefix of the history knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known<'a, R> {
    /// Nothing at all: it was not invoked, or certainly not executed.
    Absent,
    /// That it was invoked.
    Pending,
    /// What it answered, by this event.
    Returned(&'a R, usize),
}

impl Span {
    /// What is known by the first `end` events.
    pub(super) fn known<'a, O, R>(&self, history: &'a History<O, R>, end: usize) -> Known<'a, R> {
        if self.invoked >= end {
            return Known::Absent;
        }
        let Some(at) = self.ended.filter(|at| *at < end) else {
            let dropped = planted("unknown_as_failed") && self.ended.is_none();
            return if dropped { Known::Absent } else { Known::Pending };
        };
        match history.operation(self.id).and_then(|o| o.outcome.as_ref()) {
            Some((_, Outcome::Ok(ret))) => Known::Returned(ret, at),
            Some((_, Outcome::Fail)) if !planted("failed_as_unknown") => Known::Absent,
            _ => Known::Pending,
        }
    }
}

//! [`Counterexample`]: why there is no order.

use std::fmt::{self, Debug, Write as _};

use crate::history::{Event, History, OpId, Outcome};
use crate::time::SimTime;

/// Of a long order so many operations are shown, the last ones.
const SHOWN_MAX: usize = 10;

/// Why a history is not linearizable.
///
/// [`Display`](fmt::Display) tells it in a few lines: the prefix, the end of the longest order,
/// the state after it, and what cannot come next.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, STEPS_MAX, SimTime, Verdict, linearizable};
/// use quorate_sim::specs::{Counter, CounterOp, CounterRet};
///
/// let recorder = Recorder::new();
/// let read = recorder.invoke(SimTime::ZERO, 1, CounterOp::Read);
/// recorder.ok(read, SimTime::ZERO, CounterRet::Value(5));
/// let verdict = linearizable(&Counter, &recorder.history(), STEPS_MAX);
/// assert_eq!(verdict.to_string(), "\
/// not linearizable: the first 2 events have no order, one event less has one
/// longest order found: 0 operations
/// state after it: 0
/// cannot come next:
///   #0 process 1: Read -> Value(5), events 1 to 2");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    events: usize,
    shortest: bool,
    order: Vec<OpId>,
    blocked: Vec<OpId>,
    /// The end of the order, the state, and what is blocked, in words.
    shown: (Vec<String>, String, Vec<String>),
}

impl Counterexample {
    pub(super) fn new<O: Debug, R: Debug>(
        history: &History<O, R>,
        events: usize,
        order: Vec<OpId>,
        state: &impl Debug,
        blocked: Vec<OpId>,
    ) -> Self {
        let tail = &order[order.len().saturating_sub(SHOWN_MAX)..];
        let wanted = |id: &OpId| tail.contains(id) || blocked.contains(id);
        let mut places: Vec<(OpId, usize, Option<usize>)> = Vec::new();
        for (at, event) in history.events().take(events).enumerate() {
            match event {
                Event::Invoke(id) if wanted(&id) => places.push((id, at + 1, None)),
                Event::End(id) => {
                    let place = places.iter_mut().rev().find(|place| place.0 == id);
                    if let Some((_, _, end)) = place {
                        *end = Some(at + 1);
                    }
                }
                Event::Invoke(_) => {}
            }
        }
        let lines = |ids: &[OpId]| {
            let found = ids.iter().filter_map(|id| places.iter().find(|place| place.0 == *id));
            found.map(|(id, from, to)| told(history, *id, *from, *to)).collect()
        };
        let shown = (lines(tail), format!("{state:?}"), lines(&blocked));
        Self { events, shortest: false, order, blocked, shown }
    }

    pub(super) fn shortest(self, shortest: bool) -> Self {
        Self { shortest, ..self }
    }

    /// How many events of the history are enough to have no order.
    #[must_use]
    pub const fn events(&self) -> usize {
        self.events
    }

    /// Whether one event less certainly has an order. It is not certain if the steps did not
    /// suffice to look.
    #[must_use]
    pub const fn is_shortest(&self) -> bool {
        self.shortest
    }

    /// Of the orders that the model allows for a part of the operations, one that has the most
    /// completed ones. Of a model with partitions all operations are of one.
    #[must_use]
    pub fn order(&self) -> &[OpId] {
        &self.order
    }

    /// The operations that could come next by their times, but not by the model.
    #[must_use]
    pub fn blocked(&self) -> &[OpId] {
        &self.blocked
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tail, state, blocked) = &self.shown;
        let less = if self.shortest { "one event less has one" } else { "fewer may have none too" };
        writeln!(f, "not linearizable: the first {} events have no order, {less}", self.events)?;
        write!(f, "longest order found: {} operations", self.order.len())?;
        if self.order.len() > tail.len() {
            write!(f, ", the last {}", tail.len())?;
        }
        for line in tail {
            write!(f, "\n  {line}")?;
        }
        write!(f, "\nstate after it: {state}\ncannot come next:")?;
        for line in blocked {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// One operation, as far as the prefix knows it.
fn told<O: Debug, R: Debug>(
    history: &History<O, R>,
    id: OpId,
    from: usize,
    to: Option<usize>,
) -> String {
    let Some(operation) = history.operation(id) else { return id.to_string() };
    let mut text = format!("{id} process {}: {:?}", operation.process, operation.op);
    let known = operation.outcome.as_ref().filter(|_| to.is_some());
    // Writing to a string cannot fail.
    let _ = match known {
        Some((_, Outcome::Ok(ret))) => write!(text, " -> {ret:?}"),
        Some((_, Outcome::Fail)) => write!(text, " -> failed"),
        Some((_, Outcome::Unknown)) => write!(text, " -> unknown"),
        None => write!(text, " -> open"),
    };
    let _ = match to {
        Some(to) => write!(text, ", events {from} to {to}"),
        None => write!(text, ", event {from}"),
    };
    let end = known.map_or(operation.invoked, |(at, _)| *at);
    if end > SimTime::ZERO {
        let _ = write!(text, ", {} to {end}", operation.invoked);
    }
    text
}

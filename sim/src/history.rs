//! [`History`]: what clients asked, what they were told, and in which order.

pub(crate) mod error;
pub(crate) mod form;
mod jepsen;
mod json;
mod jsonl;
pub(crate) mod lines;
mod log;
pub(crate) mod recorder;

use std::fmt;

use crate::time::SimTime;

/// The number of an operation: operations are counted as they are invoked, from 0.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, SimTime, specs::{RegisterOp, RegisterRet}};
///
/// let recorder = Recorder::<RegisterOp, RegisterRet>::new();
/// let first = recorder.invoke(SimTime::ZERO, 7, RegisterOp::Read);
/// assert_eq!((first.as_u32(), first.to_string()), (0, "#0".to_owned()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(u32);

impl OpId {
    /// What an operation that is not recorded gets.
    const NONE: Self = Self(u32::MAX);

    /// The number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// The id of the operation at this place of a list, which is at most `u32::MAX` long.
    pub(crate) fn at(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// How an operation ended.
///
/// The difference between [`Fail`](Self::Fail) and [`Unknown`](Self::Unknown) is what makes a
/// verdict worth having: what timed out may still happen (H11).
///
/// # Examples
/// ```
/// use quorate_sim::Outcome;
/// let timed_out = Outcome::<u64>::Unknown;
/// assert_ne!(timed_out, Outcome::Fail);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth way to end")]
pub enum Outcome<R> {
    /// It happened, and this is what the client was told.
    Ok(R),
    /// It certainly did not happen, and never will.
    Fail,
    /// It may have happened, may happen later, or never.
    Unknown,
}

/// One operation of a history.
///
/// # Examples
/// ```
/// use quorate_sim::{Outcome, Recorder, SimTime, specs::{RegisterOp, RegisterRet}};
///
/// let recorder = Recorder::new();
/// let id = recorder.invoke(SimTime::from_nanos(5), 1, RegisterOp::Read);
/// recorder.ok(id, SimTime::from_nanos(9), RegisterRet::Value(None));
/// let history = recorder.history();
/// let read = history.operation(id).expect("it was recorded");
/// assert_eq!((read.process, read.invoked.as_nanos()), (1, 5));
/// assert_eq!(read.outcome, Some((SimTime::from_nanos(9), Outcome::Ok(RegisterRet::Value(None)))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation<O, R> {
    /// Who asked: a client that does one thing at a time.
    pub process: u64,
    /// What was asked for.
    pub op: O,
    /// When.
    pub invoked: SimTime,
    /// When and how it ended; `None` if it had not ended when the history did, which means the
    /// same as [`Outcome::Unknown`].
    pub outcome: Option<(SimTime, Outcome<R>)>,
}

/// One event of a history: an operation began, or ended.
///
/// # Examples
/// ```
/// use quorate_sim::{Event, Recorder, SimTime, specs::{RegisterOp, RegisterRet}};
///
/// let recorder = Recorder::<_, RegisterRet>::new();
/// let id = recorder.invoke(SimTime::ZERO, 1, RegisterOp::Write(3));
/// recorder.unknown(id, SimTime::ZERO);
/// let events: Vec<Event> = recorder.history().events().collect();
/// assert_eq!(events, [Event::Invoke(id), Event::End(id)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "an operation begins and ends")]
pub enum Event {
    /// It was invoked.
    Invoke(OpId),
    /// It ended, in whatever way.
    End(OpId),
}

/// What clients asked and what they were told, in the order of true time.
///
/// Recorded by a [`Recorder`](crate::Recorder) or read from a file; judged by
/// [`linearizable`](crate::linearizable). Events of one instant stand in the order in which they
/// were recorded, and the earlier one counts as earlier.
///
/// # Examples
/// ```
/// use quorate_sim::{History, specs::{RegisterOp, RegisterRet}};
///
/// let lines = r#"
/// {"process":0,"type":"invoke","f":"write","value":3,"time":10}
/// {"process":0,"type":"ok","f":"write","value":3,"time":25}
/// "#;
/// let history = History::<RegisterOp, RegisterRet>::read_jsonl(lines.as_bytes())?;
/// assert_eq!((history.len(), history.events().count()), (1, 2));
/// # Ok::<(), quorate_sim::HistoryError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<O, R> {
    operations: Vec<Operation<O, R>>,
    events: Vec<Event>,
    truncated: bool,
}

impl<O, R> History<O, R> {
    /// Operations that a history has at most, 1 Mi: enough for hours of clients, and few enough
    /// that a forgotten loop fills no memory.
    pub const OPERATIONS_MAX: u32 = 1 << 20;

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Whether operations are missing, since there were more than the recorder keeps.
    ///
    /// Such a history is a true beginning of what happened: what is illegal in it stays illegal.
    /// The rest was not judged, so [`linearizable`](crate::linearizable) never calls it
    /// linearizable.
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// The operation of this number, if there is one.
    #[must_use]
    pub fn operation(&self, id: OpId) -> Option<&Operation<O, R>> {
        self.operations.get(id.index())
    }

    /// All operations, as they are numbered.
    pub fn operations(&self) -> impl Iterator<Item = (OpId, &Operation<O, R>)> {
        self.operations.iter().enumerate().map(|(index, operation)| (OpId::at(index), operation))
    }

    /// All events, in the order of time.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        self.events.iter().copied()
    }

    /// When an event was.
    fn time(&self, event: Event) -> SimTime {
        match event {
            Event::Invoke(id) => self.operations[id.index()].invoked,
            Event::End(id) => {
                let outcome = self.operations[id.index()].outcome.as_ref();
                outcome.map_or(SimTime::FAR_FUTURE, |(at, _)| *at)
            }
        }
    }
}

//! The rules by which a history grows, the same for recorders and for files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, History, OpId, Operation, Outcome};
use crate::plant::planted;
use crate::time::SimTime;

/// Whoever records: `false` once it is dead.
pub(super) type Alive = Option<Arc<AtomicBool>>;

pub(super) fn lives(alive: &Alive) -> bool {
    alive.as_ref().is_none_or(|alive| alive.load(Ordering::Acquire))
}

/// A rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Misuse {
    /// The process has an operation that has not ended.
    Busy { process: u64, open: OpId },
    /// The process has no operation that could end.
    Idle { process: u64 },
    /// The operation has ended already.
    Ended { id: OpId },
    /// No such operation.
    Unheard { id: OpId },
    /// Before the event that it has to follow.
    Backwards { at: SimTime, last: SimTime },
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { process, open } => {
                write!(f, "process {process} invokes while its operation {open} has not ended")
            }
            Self::Idle { process } => write!(f, "process {process} has no operation to end"),
            Self::Ended { id } => write!(f, "operation {id} ends twice"),
            Self::Unheard { id } => write!(f, "operation {id} was never invoked here"),
            Self::Backwards { at, last } => {
                write!(f, "an event at {at} follows one at {last}: time goes back")
            }
        }
    }
}

/// What is known of a process.
#[derive(Debug)]
struct Process {
    open: Option<OpId>,
    /// Who invoked what is open.
    alive: Alive,
    /// Its last event.
    last: SimTime,
}

/// A history that grows.
#[derive(Debug)]
pub(super) struct Log<O, R> {
    operations: Vec<Operation<O, R>>,
    events: Vec<Event>,
    processes: BTreeMap<u64, Process>,
    /// Operations whose process died before it heard.
    abandoned: BTreeSet<OpId>,
    operations_max: u32,
    /// There was one operation too many: nothing is recorded any more. What was until then is a
    /// true beginning; with some events of later times and not others it would be none.
    full: bool,
}

impl<O, R> Log<O, R> {
    pub(super) fn new(operations_max: u32) -> Self {
        Self {
            operations: Vec::new(),
            events: Vec::new(),
            processes: BTreeMap::new(),
            abandoned: BTreeSet::new(),
            operations_max: operations_max.min(History::<O, R>::OPERATIONS_MAX),
            full: false,
        }
    }

    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// The open operation of a process.
    pub(super) fn open(&self, process: u64) -> Result<(OpId, &O), Misuse> {
        let id = self.processes.get(&process).and_then(|known| known.open);
        let id = id.ok_or(Misuse::Idle { process })?;
        Ok((id, &self.operations[id.index()].op))
    }

    pub(super) fn invoke(
        &mut self,
        at: SimTime,
        process: u64,
        op: O,
        alive: &Alive,
    ) -> Result<OpId, Misuse> {
        if self.full {
            return Ok(OpId::NONE);
        }
        if let Some(known) = self.processes.get(&process) {
            if let Some(open) = known.open {
                if lives(&known.alive) {
                    return Err(Misuse::Busy { process, open });
                }
                self.abandon(open, at)?;
            } else if at < known.last {
                return Err(Misuse::Backwards { at, last: known.last });
            }
        }
        if self.operations.len() >= self.operations_max as usize {
            self.full = true;
            return Ok(OpId::NONE);
        }
        let id = OpId::at(self.operations.len());
        self.operations.push(Operation { process, op, invoked: at, outcome: None });
        self.events.push(Event::Invoke(id));
        let open = Process { open: Some(id), alive: alive.clone(), last: at };
        self.processes.insert(process, open);
        Ok(id)
    }

    /// Ends an operation whose process died before it heard: it may have happened (H27), and
    /// what is said of it from now on is nobody's word.
    pub(super) fn abandon(&mut self, id: OpId, at: SimTime) -> Result<(), Misuse> {
        let failed = planted("abandoned_as_failed");
        self.end(id, at, if failed { Outcome::Fail } else { Outcome::Unknown })?;
        self.abandoned.insert(id);
        Ok(())
    }

    /// Ends an operation.
    pub(super) fn end(&mut self, id: OpId, at: SimTime, outcome: Outcome<R>) -> Result<(), Misuse> {
        if self.full {
            return Ok(());
        }
        let operation = self.operations.get_mut(id.index()).ok_or(Misuse::Unheard { id })?;
        if operation.outcome.is_some() {
            if self.abandoned.contains(&id) {
                return Ok(());
            }
            return Err(Misuse::Ended { id });
        }
        if at < operation.invoked {
            return Err(Misuse::Backwards { at, last: operation.invoked });
        }
        operation.outcome = Some((at, outcome));
        self.events.push(Event::End(id));
        let process = operation.process;
        if let Some(known) = self.processes.get_mut(&process) {
            (known.open, known.alive, known.last) = (None, None, at);
        }
        Ok(())
    }
}

impl<O: Clone, R: Clone> Log<O, R> {
    /// What was recorded so far.
    pub(super) fn history(&self) -> History<O, R> {
        Self::sorted(self.operations.clone(), self.events.clone(), self.full)
    }
}

impl<O, R> Log<O, R> {
    /// What was recorded.
    pub(super) fn into_history(self) -> History<O, R> {
        Self::sorted(self.operations, self.events, self.full)
    }

    /// A handler that was busy records events that are later than those of the handler that runs
    /// after it: true time decides, then the order of recording. Of one process and of one
    /// operation no event is earlier than the one before, so the sort keeps their order.
    fn sorted(
        operations: Vec<Operation<O, R>>,
        events: Vec<Event>,
        truncated: bool,
    ) -> History<O, R> {
        let mut history = History { operations, events, truncated };
        let mut events = std::mem::take(&mut history.events);
        events.sort_by_key(|event| history.time(*event));
        history.events = events;
        history
    }
}

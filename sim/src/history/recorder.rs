//! [`Recorder`]: where clients write down what they ask and what they are told.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::log::{Alive, Log, Misuse, lives};
use super::{History, OpId, Outcome};
use crate::time::SimTime;

/// Where clients write down what they ask and what they are told.
///
/// All clones write the same history. A client records the invocation before it sends, and the
/// outcome after it has heard: an interval that is too long hides bugs, one that is too short
/// finds some that are none.
///
/// # Cost
/// One uncontended lock and a push for each event; nothing is copied before
/// [`history`](Self::history).
///
/// # Limits
/// [`History::OPERATIONS_MAX`] operations. At the first one too many the recorder stops: what it
/// has by then is a true beginning of what happened, [`History::is_truncated`] says that it is
/// no more than that, and [`linearizable`](crate::linearizable) will find it illegal or
/// undecided, never linearizable.
///
/// # Panics
/// A recorder that is used wrongly proves nothing, so it panics, naming the rule: an outcome of
/// an operation that is not its own, two outcomes, an outcome before its invocation, a process
/// that invokes before its operation has ended, or whose time goes back.
///
/// # Examples
/// ```
/// use quorate_sim::{Recorder, SimTime, STEPS_MAX, linearizable};
/// use quorate_sim::specs::{CasRegister, RegisterOp, RegisterRet};
///
/// let at = SimTime::from_nanos;
/// let recorder = Recorder::new();
/// let write = recorder.invoke(at(0), 1, RegisterOp::Write(3));
/// let read = recorder.invoke(at(5), 2, RegisterOp::Read);
/// recorder.unknown(write, at(10)); // a timeout: it may have happened
/// recorder.ok(read, at(12), RegisterRet::Value(Some(3)));
///
/// let verdict = linearizable(&CasRegister, &recorder.history(), STEPS_MAX);
/// assert!(verdict.is_linearizable(), "{verdict}");
/// ```
#[derive(Debug)]
pub struct Recorder<O, R> {
    log: Arc<Mutex<Log<O, R>>>,
    alive: Alive,
}

impl<O, R> Clone for Recorder<O, R> {
    fn clone(&self) -> Self {
        Self { log: Arc::clone(&self.log), alive: self.alive.clone() }
    }
}

impl<O, R> Default for Recorder<O, R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O, R> Recorder<O, R> {
    /// For a new history.
    #[must_use]
    pub fn new() -> Self {
        Self::with_operations_max(History::<O, R>::OPERATIONS_MAX)
    }

    /// For a history of at most so many operations, [`History::OPERATIONS_MAX`] at most.
    #[must_use]
    pub fn with_operations_max(operations_max: u32) -> Self {
        Self { log: Arc::new(Mutex::new(Log::new(operations_max))), alive: None }
    }

    /// A recorder of the same history for something that may die: once `alive` is `false`, all
    /// it says is ignored, also what destructors say.
    ///
    /// What it left open has an unknown outcome. Its process may invoke again through a recorder
    /// that lives.
    ///
    /// # Examples
    /// ```
    /// use quorate_sim::{Recorder, SimTime, specs::{RegisterOp, RegisterRet}};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// let shared = Recorder::<RegisterOp, RegisterRet>::new();
    /// let alive = Arc::new(AtomicBool::new(true));
    /// let of_node = shared.while_alive(Arc::clone(&alive));
    /// let write = of_node.invoke(SimTime::ZERO, 1, RegisterOp::Write(3));
    /// alive.store(false, Ordering::Release); // the node crashes, then its tasks are dropped
    /// of_node.fail(write, SimTime::ZERO);
    /// assert_eq!(shared.history().operation(write).expect("invoked").outcome, None);
    /// ```
    #[must_use]
    pub fn while_alive(&self, alive: Arc<AtomicBool>) -> Self {
        Self { log: Arc::clone(&self.log), alive: Some(alive) }
    }

    /// A process asks for something.
    ///
    /// # Panics
    /// If its last operation has not ended, or ended later than this.
    #[track_caller]
    pub fn invoke(&self, at: SimTime, process: u64, op: O) -> OpId {
        if !lives(&self.alive) {
            return OpId::NONE;
        }
        let invoked = self.log().invoke(at, process, op, &self.alive);
        obeyed(invoked)
    }

    /// It was told this.
    ///
    /// # Panics
    /// If the operation is not of this history, has ended, or began later than this.
    #[track_caller]
    pub fn ok(&self, id: OpId, at: SimTime, ret: R) {
        self.end(id, at, Outcome::Ok(ret));
    }

    /// It was told that nothing was done, and nothing will be.
    ///
    /// Not for timeouts, lost connections or crashes: those are [`unknown`](Self::unknown) (H11).
    ///
    /// # Panics
    /// As [`ok`](Self::ok).
    #[track_caller]
    pub fn fail(&self, id: OpId, at: SimTime) {
        self.end(id, at, Outcome::Fail);
    }

    /// It will not hear what came of it.
    ///
    /// # Panics
    /// As [`ok`](Self::ok).
    #[track_caller]
    pub fn unknown(&self, id: OpId, at: SimTime) {
        self.end(id, at, Outcome::Unknown);
    }

    /// A process died: what it has open ends as unknown, not as failed (H27), and what is said
    /// of that operation later is ignored. The process may invoke again, in its next life.
    /// Without an open operation nothing happens.
    ///
    /// # Panics
    /// If the open operation began later than this.
    #[track_caller]
    pub fn abandon(&self, at: SimTime, process: u64) {
        let mut log = self.log();
        let open = log.open(process).map(|(id, _)| id);
        let ended = open.map_or(Ok(()), |id| log.abandon(id, at));
        drop(log);
        obeyed(ended);
    }

    /// Whether operations came that were not recorded, since there were too many.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.log().is_full()
    }

    #[track_caller]
    fn end(&self, id: OpId, at: SimTime, outcome: Outcome<R>) {
        if id != OpId::NONE && lives(&self.alive) {
            let ended = self.log().end(id, at, outcome);
            obeyed(ended);
        }
    }

    fn log(&self) -> MutexGuard<'_, Log<O, R>> {
        // A panic while it was held came before any change.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Clone, R: Clone> Recorder<O, R> {
    /// What was recorded until now, in the order of time. Operations that have not ended stay
    /// open: they may have happened.
    #[must_use]
    pub fn history(&self) -> History<O, R> {
        self.log().history()
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "programmer errors; the rules are documented")]
fn obeyed<T>(done: Result<T, Misuse>) -> T {
    done.unwrap_or_else(|broken| panic!("history: {broken}"))
}

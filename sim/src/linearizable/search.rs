//! The search for an order of one partition: depth first, with a stack of its own.

use std::collections::BTreeSet;

use super::cache::{Cache, States};
use super::calls::Calls;
use super::partition::{Known, Partition};
use super::{Budget, Spec};
use crate::history::{History, OpId};
use crate::plant::planted;

/// No call.
const NONE: u32 = u32::MAX;

/// Of unknown operations, how many different ones are looked through for an equal one.
const KINDS_MAX: usize = 256;

/// One call, with all that the search asks about it.
struct Call<'a, S: Spec> {
    id: OpId,
    op: &'a S::Op,
    /// `None`: the outcome is unknown.
    ret: Option<&'a S::Ret>,
    invoked: usize,
    /// Where it returned; after everything, if it did not.
    returned: usize,
    /// The unknown operation before this that is equal to it.
    twin: u32,
}

/// A configuration on the way to where the search is.
#[derive(Clone, Copy, Debug)]
struct Frame {
    /// What was put in order last; `NONE` at the beginning.
    lifted: u32,
    state: u32,
    /// The call that was tried last.
    tried: Tried,
    /// Where the unknown operations of this frame begin on the agenda.
    agenda: usize,
    /// The highest number of a completed call in the order.
    high: u32,
}

/// How far a frame has come.
#[derive(Clone, Copy, Debug)]
enum Tried {
    Nothing,
    /// The call that has to be next to return.
    Due,
    /// The due one, and the completed ones until this.
    Completed(u32),
    /// All completed ones: what is left stands on the agenda.
    Agenda,
}

/// What a search found.
pub(super) enum Found {
    /// An order.
    Order(Vec<OpId>),
    /// That there is none: by no order could all events before `passed` be passed, and that one
    /// too.
    None {
        /// The event.
        passed: usize,
    },
    /// Nothing, within its limits.
    Nothing,
}

/// The search for an order of one partition, in a prefix of the history.
///
/// Calls that completed are numbered in the order of their returns, so "which ones are in the
/// order" is short: all below `due`, and a few of the next.
pub(super) struct Search<'a, S: Spec> {
    spec: &'a S,
    /// The completed ones in the order of their returns, then the unknown ones in that of their
    /// invocations.
    calls: Vec<Call<'a, S>>,
    completed: u32,
    /// Completed calls that are not in the order, by invocation.
    waiting: Calls,
    /// Unknown ones that are not in the order, by invocation.
    unknown: Calls,
    /// Which calls are in the order, one bit each; the unknown ones begin with a word.
    taken: Vec<u64>,
    /// The first completed call that is not in the order: nothing that was invoked after its
    /// return may come before it.
    due: u32,
    /// Completed calls that are in the order.
    placed: usize,
    stack: Vec<Frame>,
    /// Unknown operations that wait to be tried, with the states that they lead to.
    agenda: Vec<(u32, u32)>,
    states: States<S::State>,
    cache: Cache,
    key: Vec<u64>,
    best: Best,
}

/// The order that has the most completed operations.
#[derive(Default)]
struct Best {
    calls: Vec<u32>,
    placed: usize,
    /// So many calls of it are also the first on the stack.
    common: usize,
    due: u32,
}

impl<'a, S: Spec> Search<'a, S> {
    pub(super) fn new(
        spec: &'a S,
        history: &'a History<S::Op, S::Ret>,
        partition: &Partition,
        end: usize,
    ) -> Self {
        let (mut calls, mut pending) = (Vec::new(), Vec::new());
        for span in &partition.spans {
            let Some(operation) = history.operation(span.id) else { continue };
            let (id, op, invoked) = (span.id, &operation.op, span.invoked);
            match span.known(history, end) {
                Known::Absent => {}
                Known::Pending => {
                    let twin = NONE;
                    pending.push(Call { id, op, ret: None, invoked, returned: usize::MAX, twin });
                }
                Known::Returned(ret, returned) => {
                    calls.push(Call { id, op, ret: Some(ret), invoked, returned, twin: NONE });
                }
            }
        }
        let completed = calls.len();
        let mut by_invocation: Vec<u32> = Vec::with_capacity(completed);
        // They stand by invocation; numbered by return, which says how they stood before.
        let mut places: Vec<usize> = (0..completed).collect();
        places.sort_unstable_by_key(|place| calls[*place].returned);
        by_invocation.resize(completed, 0);
        for (number, place) in places.iter().enumerate() {
            by_invocation[*place] = narrow(number);
        }
        calls.sort_unstable_by_key(|call| call.returned);
        calls.extend(pending);
        twins(&mut calls, completed);
        let all = calls.len();
        let words = completed.div_ceil(64) + (all - completed).div_ceil(64);
        Self {
            spec,
            completed: narrow(completed),
            waiting: Calls::new(all, by_invocation.into_iter()),
            unknown: Calls::new(all, (completed..all).map(narrow)),
            taken: vec![0; words],
            due: 0,
            placed: 0,
            stack: Vec::new(),
            agenda: Vec::new(),
            states: States::new(),
            cache: Cache::new(),
            key: Vec::new(),
            best: Best::default(),
            calls,
        }
    }

    /// Looks for an order; counts every question to the model.
    pub(super) fn run(&mut self, budget: &mut Budget) -> Found {
        let initial = self.states.number(self.spec.initial());
        self.push(NONE, initial, 0);
        loop {
            if self.due == self.completed {
                return Found::Order(self.stack[1..].iter().map(|f| self.id(f.lifted)).collect());
            }
            if budget.steps >= budget.steps_max || self.cache.is_full() {
                return Found::Nothing;
            }
            if self.forward(budget) {
                continue;
            }
            self.remember();
            let Some(frame) = self.stack.pop() else { break };
            if frame.lifted == NONE {
                break;
            }
            self.unlift(frame.lifted);
        }
        Found::None { passed: self.calls[self.best.due as usize].returned }
    }

    fn id(&self, call: u32) -> OpId {
        self.calls[call as usize].id
    }

    /// Puts one more call in order, if there is one that was not tried.
    fn forward(&mut self, budget: &mut Budget) -> bool {
        while let Some(frame) = self.stack.last().copied() {
            let (call, tried) = match frame.tried {
                Tried::Nothing => (self.due, Tried::Due),
                Tried::Due | Tried::Completed(_) => match self.candidate(frame.tried) {
                    Some(call) => (call, Tried::Completed(call)),
                    None => {
                        self.tried(Tried::Agenda);
                        self.plan(frame, budget);
                        continue;
                    }
                },
                Tried::Agenda => {
                    if self.agenda.len() == frame.agenda {
                        return false;
                    }
                    let Some((call, state)) = self.agenda.pop() else { return false };
                    self.lift(call);
                    self.push(call, state, frame.high);
                    return true;
                }
            };
            self.tried(tried);
            if self.attempt(frame, call, budget) {
                return true;
            }
        }
        false
    }

    fn tried(&mut self, tried: Tried) {
        if let Some(frame) = self.stack.last_mut() {
            frame.tried = tried;
        }
    }

    /// The next completed call that may come next: invoked before the due one returned.
    fn candidate(&self, tried: Tried) -> Option<u32> {
        let mut next = match tried {
            Tried::Completed(last) => self.waiting.after(last),
            _ => self.waiting.first(),
        };
        if next == Some(self.due) {
            next = self.waiting.after(self.due);
        }
        let until = self.calls[self.due as usize].returned;
        next.filter(|call| {
            self.calls[*call as usize].invoked < until || planted("real_time_ignored")
        })
    }

    /// Puts a completed call in order, if the model allows it and it leads to something new.
    fn attempt(&mut self, frame: Frame, call: u32, budget: &mut Budget) -> bool {
        let Some(state) = self.apply(frame.state, call, budget) else { return false };
        self.lift(call);
        let high = frame.high.max(call);
        if self.note(state, high) {
            self.push(call, state, high);
            return true;
        }
        self.unlift(call);
        false
    }

    /// Puts all unknown operations on the agenda that may come next. They are noted now, all of
    /// them before any is followed: so one that leads somewhere alone is not tried with others.
    fn plan(&mut self, frame: Frame, budget: &mut Budget) {
        let until = self.calls[self.due as usize].returned;
        let mut helpful = Vec::new();
        let mut next = self.unknown.first();
        while let Some(call) = next.filter(|call| self.calls[*call as usize].invoked < until) {
            next = self.unknown.after(call);
            let twin = self.calls[call as usize].twin;
            if twin != NONE && (!self.is_taken(twin) || planted("twins_all_skipped")) {
                continue;
            }
            let state = self.apply(frame.state, call, budget);
            // What changes nothing may as well never happen.
            let Some(state) = state.filter(|state| *state != frame.state) else { continue };
            self.lift(call);
            let new = self.note(state, frame.high);
            self.unlift(call);
            if !new {
                continue;
            }
            if self.apply(state, self.due, budget).is_some() {
                helpful.push((call, state));
            } else {
                self.agenda.push((call, state));
            }
        }
        // The last one is taken first.
        self.agenda.extend(helpful.into_iter().rev());
    }

    fn apply(&mut self, state: u32, call: u32, budget: &mut Budget) -> Option<u32> {
        budget.steps += 1;
        let call = &self.calls[call as usize];
        let before = self.states.state(state);
        let after = self.spec.apply(before, call.op, call.ret)?;
        if after == *before {
            return Some(state);
        }
        Some(self.states.number(after))
    }

    fn push(&mut self, lifted: u32, state: u32, high: u32) {
        let agenda = self.agenda.len();
        self.stack.push(Frame { lifted, state, tried: Tried::Nothing, agenda, high });
    }

    /// The word and the bit of a call.
    fn bit(&self, call: u32) -> (usize, u64) {
        let bits = if call < self.completed {
            call as usize
        } else {
            (self.completed as usize).next_multiple_of(64) + (call - self.completed) as usize
        };
        (bits / 64, 1 << (bits % 64))
    }

    fn is_taken(&self, call: u32) -> bool {
        let (word, bit) = self.bit(call);
        self.taken[word] & bit != 0
    }

    fn lift(&mut self, call: u32) {
        let (word, bit) = self.bit(call);
        self.taken[word] |= bit;
        if call >= self.completed {
            self.unknown.lift(call);
            return;
        }
        self.waiting.lift(call);
        self.placed += 1;
        while self.due < self.completed && self.is_taken(self.due) {
            self.due += 1;
        }
    }

    fn unlift(&mut self, call: u32) {
        let (word, bit) = self.bit(call);
        self.taken[word] &= !bit;
        if call >= self.completed {
            self.unknown.unlift(call);
            return;
        }
        self.waiting.unlift(call);
        self.placed -= 1;
        if !planted("unlift_forgets_due") {
            self.due = self.due.min(call);
        }
    }

    /// Notes where the search is; says whether it was never there.
    fn note(&mut self, state: u32, high: u32) -> bool {
        let unknown = (self.completed as usize).div_ceil(64);
        self.key.clear();
        // Below `due` every bit is set, above `high` none.
        self.key.push(u64::from(self.due));
        self.key.push(if planted("state_forgotten") { 0 } else { u64::from(state) });
        if high > self.due && !planted("set_forgotten") {
            let window = self.due as usize / 64..=high as usize / 64;
            self.key.extend_from_slice(&self.taken[window]);
        }
        let used = &self.taken[unknown..];
        let len = used.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
        self.cache.note(&self.key, &used[..len])
    }

    /// Keeps the order that is on the stack, if it is the longest. Only what the one kept before
    /// does not share is copied.
    fn remember(&mut self) {
        let order = &self.stack[1..];
        if self.best.calls.is_empty() || self.placed > self.best.placed {
            self.best.calls.truncate(self.best.common);
            let more = order[self.best.common..].iter().map(|frame| frame.lifted);
            self.best.calls.extend(more);
            self.best.placed = self.placed;
            self.best.common = order.len();
        }
        self.best.due = self.best.due.max(self.due);
        self.best.common = self.best.common.min(order.len().saturating_sub(1));
    }

    /// The longest order that was found, the state after it, and the operations that the model
    /// does not allow to come next.
    pub(super) fn longest(&mut self) -> (Vec<OpId>, S::State, Vec<OpId>) {
        let order = std::mem::take(&mut self.best.calls);
        let mut state = self.spec.initial();
        for call in &order {
            let call = &self.calls[*call as usize];
            state = self.spec.apply(&state, call.op, call.ret).unwrap_or(state);
        }
        let ordered: BTreeSet<u32> = order.iter().copied().collect();
        let taken = |call: &u32| ordered.contains(call);
        let due = (0..self.completed).find(|call| !taken(call)).unwrap_or(0);
        let until = self.calls[due as usize].returned;
        let next = (0..narrow(self.calls.len())).filter(|call| {
            let of = &self.calls[*call as usize];
            of.invoked < until && !taken(call) && self.spec.apply(&state, of.op, of.ret).is_none()
        });
        let blocked = next.map(|call| self.id(call)).collect();
        (order.iter().map(|call| self.id(*call)).collect(), state, blocked)
    }
}

/// Of unknown operations that are equal, the earlier ones are taken first: whatever the later one
/// could do, the earlier one could do as well, and before.
fn twins<S: Spec>(calls: &mut [Call<'_, S>], completed: usize) {
    let mut kinds: Vec<usize> = Vec::new();
    for number in completed..calls.len() {
        let op = calls[number].op;
        match kinds.iter_mut().rev().take(KINDS_MAX).find(|kind| calls[**kind].op == op) {
            Some(kind) => {
                let twin = std::mem::replace(kind, number);
                calls[number].twin = narrow(twin);
            }
            None => kinds.push(number),
        }
    }
}

/// A history has far fewer operations.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

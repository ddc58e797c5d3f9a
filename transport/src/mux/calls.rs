//! Own calls in flight: a slab of slots and a heap of deadlines.

use super::{MuxEffect, MuxOutput};
use crate::{CallError, Lane, MaybeExecuted};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::{Poll, Waker};

/// Names a call of one caller: `generation << 32 | slot`. The generation rises at each reuse of
/// the slot, so that late answers never match a new call. // H10
///
/// # Examples
/// ```
/// assert_eq!(quorate_transport::CallId::new(7).value(), 7);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// From the number on the wire.
    #[must_use]
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }

    fn from_parts(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[expect(clippy::cast_possible_truncation, reason = "the low half is the slot")]
    fn slot(self) -> usize {
        self.0 as u32 as usize
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    Free,
    Waiting(Waiting),
    Done(Result<Bytes, CallError>),
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    deadline: Monotonic,
    waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Calls {
    max: u32,
    /// Generation of the first use of a slot: differs between two lives of the process.
    first_generation: u32,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Lazy deletion: entries of finished calls stay until they come up or outnumber the rest.
    deadlines: BinaryHeap<Reverse<(Monotonic, CallId)>>,
    /// Waiting calls per lane.
    waiting: [u32; 3],
}

impl Calls {
    pub(super) fn new(max: u32, seed: u64) -> Self {
        Self {
            max,
            first_generation: CallId(seed).generation() ^ CallId(seed << 32).generation(),
            slots: Vec::new(),
            free: Vec::new(),
            deadlines: BinaryHeap::new(),
            waiting: [0; 3],
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    pub(super) const fn is_waiting_on(&self, lane: Lane) -> bool {
        self.waiting[lane.index()] > 0
    }

    pub(super) fn begin(&mut self, lane: Lane, deadline: Monotonic) -> Option<CallId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok().filter(|i| *i < self.max)?;
                self.slots.push(Slot { generation: self.first_generation, state: State::Free });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        let id = CallId::from_parts(index, slot.generation);
        slot.state = State::Waiting(Waiting { lane, deadline, waker: None });
        self.waiting[lane.index()] += 1;
        self.deadlines.push(Reverse((deadline, id)));
        self.compact();
        Some(id)
    }

    /// Drops entries of finished calls once they are the greater part: the heap stays bounded
    /// by the calls in flight, whatever their deadlines. // H27
    fn compact(&mut self) {
        let live = self.slots.len() - self.free.len();
        if self.deadlines.len() > 2 * live + 64 {
            let slots = &self.slots;
            self.deadlines.retain(|Reverse((_, id))| {
                slots.get(id.slot()).is_some_and(|s| {
                    s.generation == id.generation() && matches!(s.state, State::Waiting(_))
                })
            });
        }
    }

    fn slot(&mut self, id: CallId) -> Option<&mut Slot> {
        self.slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())
    }

    fn waiting(&mut self, id: CallId) -> Option<&mut Waiting> {
        match &mut self.slot(id)?.state {
            State::Waiting(waiting) => Some(waiting),
            State::Free | State::Done(_) => None,
        }
    }

    /// What was in a slot that is in use; the slot is free then, for a call of another name.
    fn release(&mut self, id: CallId) -> Option<State> {
        // A free slot already has the generation of its next call: only a call that began ends.
        let slot = self.slot(id).filter(|slot| !matches!(slot.state, State::Free))?;
        let state = std::mem::replace(&mut slot.state, State::Free);
        if !crate::mutant::on("generation_not_bumped") {
            slot.generation = slot.generation.wrapping_add(1);
        }
        if let Ok(index) = u32::try_from(id.slot()) {
            self.free.push(index);
        }
        Some(state)
    }

    /// Ends a waiting call. Whether there was one.
    pub(super) fn finish(
        &mut self,
        id: CallId,
        outcome: Result<Bytes, CallError>,
        out: &mut MuxOutput,
    ) -> bool {
        let Some(waiting) = self.waiting(id) else { return false };
        let (lane, waker) = (waiting.lane, waiting.waker.take());
        self.waiting[lane.index()] -= 1;
        if let Some(slot) = self.slot(id) {
            slot.state = State::Done(outcome);
        }
        if let Some(waker) = waker {
            out.push(MuxEffect::Wake { waker });
        }
        true
    }

    /// An answer came: it counts only on the lane of its call.
    pub(super) fn answered(
        &mut self,
        id: CallId,
        lane: Lane,
        outcome: Result<Bytes, CallError>,
        out: &mut MuxOutput,
    ) -> bool {
        self.waiting(id).is_some_and(|w| w.lane == lane) && self.finish(id, outcome, out)
    }

    pub(super) fn poll(&mut self, id: CallId, waker: &Waker) -> Poll<Result<Bytes, CallError>> {
        let Some(slot) = self.slot(id) else { return Poll::Pending };
        match &mut slot.state {
            State::Waiting(waiting) => {
                if !waiting.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
                    waiting.waker = Some(waker.clone());
                }
                return Poll::Pending;
            }
            State::Free => return Poll::Pending,
            State::Done(_) => {}
        }
        match self.release(id) {
            Some(State::Done(outcome)) => Poll::Ready(outcome),
            _ => Poll::Pending,
        }
    }

    /// Frees the slot; the lane to cancel on, if no outcome was there yet. // H9
    pub(super) fn cancel(&mut self, id: CallId) -> Option<Lane> {
        let lane = self.waiting(id).map(|waiting| waiting.lane);
        if let Some(lane) = lane {
            self.waiting[lane.index()] -= 1;
        }
        self.release(id);
        lane
    }

    pub(super) fn session_ended(&mut self, lane: Lane, maybe: MaybeExecuted, out: &mut MuxOutput) {
        self.end_where(maybe, out, |waiting| waiting.lane == lane);
    }

    pub(super) fn fail_all(&mut self, maybe: MaybeExecuted, out: &mut MuxOutput) {
        self.end_where(maybe, out, |_| true);
    }

    fn end_where(
        &mut self,
        maybe: MaybeExecuted,
        out: &mut MuxOutput,
        ends: impl Fn(&Waiting) -> bool,
    ) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let State::Waiting(waiting) = &slot.state else { continue };
            let Ok(number) = u32::try_from(index) else { continue };
            if ends(waiting) {
                let id = CallId::from_parts(number, slot.generation);
                self.finish(id, Err(CallError::MaybeExecuted(maybe)), out);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Monotonic> {
        self.deadlines.peek().map(|Reverse((deadline, _))| *deadline)
    }

    pub(super) fn expire(&mut self, now: Monotonic, maybe: MaybeExecuted, out: &mut MuxOutput) {
        while let Some(Reverse((deadline, id))) = self.deadlines.peek().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop();
            if self.waiting(id).is_some_and(|waiting| waiting.deadline == deadline) {
                self.finish(id, Err(CallError::MaybeExecuted(maybe)), out);
            }
        }
    }
}

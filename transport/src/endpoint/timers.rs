//! One heap of peers by their next deadline, one timer, one task.

use super::core::Core;
use crate::NodeId;
use quorate_clocks::{Monotonic, Timer};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

#[derive(Debug, Default)]
pub(super) struct Timers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// At most a few entries per peer: one is added only when earlier than the peer's last.
    heap: BinaryHeap<Reverse<(Monotonic, NodeId)>>,
    waker: Option<Waker>,
    closed: bool,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, at: Monotonic, node: NodeId) {
        let mut state = self.lock();
        let earliest = state.heap.peek().is_none_or(|Reverse((first, _))| at < *first);
        state.heap.push(Reverse((at, node)));
        let waker = if earliest { state.waker.take() } else { None };
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn pop_due(&self, now: Monotonic) -> Option<NodeId> {
        let mut state = self.lock();
        let Reverse((at, node)) = *state.heap.peek()?;
        if at > now {
            return None;
        }
        state.heap.pop();
        Some(node)
    }

    /// Ends the task.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Runs the peers' deadlines until the endpoint is gone or shut down.
pub(super) async fn drive(core: Weak<Core>, mut timer: Box<dyn Timer>) {
    poll_fn(|cx| {
        loop {
            let Some(core) = core.upgrade() else { return Poll::Ready(()) };
            let next = {
                let mut state = core.timers().lock();
                if state.closed {
                    return Poll::Ready(());
                }
                state.waker = Some(cx.waker().clone());
                state.heap.peek().map_or(Monotonic::FAR_FUTURE, |Reverse((at, _))| *at)
            };
            if timer.poll_at(next, cx).is_pending() {
                return Poll::Pending;
            }
            core.fire();
        }
    })
    .await;
}

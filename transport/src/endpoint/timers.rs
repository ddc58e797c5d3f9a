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
    /// One entry per peer counts: that of the time it is scheduled for. Those that an earlier one
    /// took the place of stay until they are due and are skipped then, so that there are as many of
    /// them as deadlines that were not met yet.
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

    pub(super) fn pop_due(&self, now: Monotonic) -> Option<(Monotonic, NodeId)> {
        let mut state = self.lock();
        let Reverse((at, node)) = *state.heap.peek()?;
        if at > now {
            return None;
        }
        state.heap.pop();
        Some((at, node))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ChannelId, ClusterId, EndpointConfig, Identity, Incarnation, Lane, MemoryNetwork, Runtime,
        Task,
    };
    use quorate_clocks::{Clock, ManualClock, WallTime};
    use std::sync::Arc;
    use std::task::Context;
    use std::time::Duration;

    /// A clock that stands still, and tasks that never run: the test fires.
    struct Still(Arc<dyn Clock>);

    struct Never;

    impl Timer for Never {
        fn poll_at(&mut self, _: Monotonic, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }
    }

    impl Runtime for Still {
        fn clock(&self) -> &Arc<dyn Clock> {
            &self.0
        }
        fn spawn(&self, _: &'static str, _: Task) {}
        fn timer(&self) -> Box<dyn Timer> {
            Box::new(Never)
        }
        fn seed(&self) -> u64 {
            7
        }
    }

    #[test]
    fn deadlines_before_the_next_ping_leave_no_entries_behind() {
        let clock = ManualClock::new(WallTime::EPOCH);
        let runtime = Arc::new(Still(Arc::new(clock.clone())));
        let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(1));
        let memory = MemoryNetwork::new().node(me);
        let core = Core::start(memory, runtime, EndpointConfig::default()).expect("not started");
        let peer = core.watch(NodeId::new(2)).expect("room");
        let (channel, short) = (ChannelId::new(16), Duration::from_millis(10));
        for _ in 0..1_000 {
            let now = core.runtime().now();
            core.fire();
            let deadline = now.saturating_add(short);
            let call = |mux: &mut crate::PeerMux| {
                mux.call(now, channel, Lane::Data, b"x".into(), deadline).map(|(id, _)| id)
            };
            let id = core.with(&peer, call).expect("room");
            clock.advance(short);
            core.fire();
            assert!(peer.mux().poll_call(id, Waker::noop()).is_ready(), "its deadline passed");
            let entries = core.timers().lock().heap.len();
            // One that counts; of the others one for each 10 ms of the 500 until the next ping.
            assert!(entries <= 60, "{entries} entries");
        }
        clock.advance(Duration::from_secs(1));
        core.fire();
        assert_eq!(core.timers().lock().heap.len(), 1);
    }
}

//! One lane of one peer: its queue, its connection, its dial.

use super::connection::Connection;
use super::peer::TcpPeer;
use super::shared::Shared;
use crate::backoff::Backoff;
use crate::queue::LaneQueue;
use crate::{DownReason, Frame, Lane, LaneStatus, SendError, SessionId, TcpConfig};
use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, watch};

/// Frames up to this are written in the caller of `send`.
const INLINE_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct TcpLane {
    pub(super) lane: Lane,
    state: Mutex<LaneState>,
    /// Bytes given to the kernel, over all sessions.
    pub(super) written: AtomicU64,
    /// Whether a dial is being made: a connection the peer made meanwhile waits with reading, as
    /// the dial may turn out to be its predecessor.
    pub(super) dialing: watch::Sender<bool>,
    /// Cuts a backoff short: a new address, or a sign of life on another lane.
    pub(super) redial: Notify,
}

#[derive(Debug)]
pub(super) struct LaneState {
    pub(super) conn: Option<Arc<Connection>>,
    /// The last session, if it is ending and what it leaves unsent is not returned yet: nothing may
    /// be queued for the next one.
    pub(super) closing: Option<SessionId>,
    pub(super) dial: Dial,
    pub(super) queue: LaneQueue,
    pub(super) backoff: Backoff,
    pub(super) last_failure: Option<DownReason>,
    waiters: Vec<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// No dial task.
    Idle,
    /// None has failed since the lane was last up: sends are queued for it.
    Fresh,
    /// The last one failed: sends fail, and say that another is wanted.
    Failed {
        /// Whether somebody tried to send since.
        wanted: bool,
    },
}

impl TcpLane {
    pub(super) fn new(lane: Lane, config: &TcpConfig) -> Self {
        let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        let queue = LaneQueue::new(
            size(config.queue_bytes_max[lane.index()]),
            size(config.queue_frames_max),
            size(config.channel_share),
        );
        Self {
            lane,
            state: Mutex::new(LaneState {
                conn: None,
                closing: None,
                dial: Dial::Idle,
                queue,
                backoff: Backoff::new(config.backoff_min, config.backoff_max),
                last_failure: None,
                waiters: Vec::new(),
            }),
            written: AtomicU64::new(0),
            dialing: watch::Sender::new(false),
            redial: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn send(
        &self,
        shared: &Arc<Shared>,
        peer: &Arc<TcpPeer>,
        frame: Frame,
    ) -> Result<(), SendError> {
        let mut state = self.lock();
        let LaneState { conn, queue, .. } = &mut *state;
        if let Some(conn) = conn {
            conn.check(&frame)?;
            queue.admit(&frame).inspect_err(|_| shared.counters.full.add(1))?;
            let small = frame.wire_len() <= INLINE_MAX;
            if queue.is_settled() && small && !conn.is_leaving() && conn.take_inline() {
                return conn.write_now(shared, self, queue, frame);
            }
            let idle = queue.is_empty().then(|| conn.clone());
            queue.push(frame);
            drop(state);
            if let Some(conn) = idle {
                conn.wake.ring();
            }
            return Ok(());
        }
        if state.closing.is_some() {
            return Err(SendError::Disconnected);
        }
        match &mut state.dial {
            Dial::Failed { wanted } => {
                *wanted = true;
                return Err(SendError::Disconnected); // H39
            }
            Dial::Fresh => {
                state.admit(shared, &frame)?;
                state.queue.push(frame);
            }
            Dial::Idle => {
                if !peer.has_address() {
                    return Err(SendError::UnknownPeer);
                }
                state.admit(shared, &frame)?;
                state.queue.push(frame);
                state.dial = Dial::Fresh;
                drop(state);
                super::dial::spawn(shared, peer, self.lane, None);
            }
        }
        Ok(())
    }

    pub(super) fn poll_ready(
        &self,
        peer: &TcpPeer,
        shared: &Shared,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let mut state = self.lock();
        let failed = matches!(state.dial, Dial::Failed { .. });
        if state.conn.is_none() {
            if state.closing.is_some() || failed {
                return Poll::Ready(Err(SendError::Disconnected));
            }
            if state.dial == Dial::Idle && !peer.has_address() {
                return Poll::Ready(Err(SendError::UnknownPeer));
            }
        }
        if state.queue.is_below_half() {
            return Poll::Ready(Ok(()));
        }
        if state.waiters.iter().any(|w| w.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        if state.waiters.len() >= crate::WAITERS_MAX {
            shared.counters.waiters_overflow.add(1);
            return Poll::Ready(Err(SendError::Full));
        }
        state.waiters.push(cx.waker().clone());
        Poll::Pending
    }

    /// Frames left the writer's hands, written or not.
    pub(super) fn settle(&self, frames: impl IntoIterator<Item: Borrow<Frame>>) {
        let mut state = self.lock();
        for frame in frames {
            let frame: &Frame = frame.borrow();
            state.queue.settle(frame.channel, frame.wire_len());
        }
        let ready = state.queue.is_below_half() || state.conn.is_none();
        let wakers = if ready { std::mem::take(&mut state.waiters) } else { Vec::new() };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Changes the state; without a connection what is queued is unsent then, and whoever waits for
    /// room looks again.
    pub(super) fn give_up(&self, change: impl FnOnce(&mut LaneState)) -> VecDeque<Frame> {
        let mut frames = VecDeque::new();
        let mut state = self.lock();
        change(&mut state);
        if state.conn.is_none() {
            state.queue.take(&mut frames);
        }
        drop(state);
        self.settle(&frames);
        let wakers = std::mem::take(&mut self.lock().waiters);
        wakers.into_iter().for_each(Waker::wake);
        frames
    }

    pub(super) fn status(&self) -> LaneStatus {
        let state = self.lock();
        let conn = state.conn.as_ref();
        LaneStatus {
            session: conn.map(|c| c.session),
            incarnation: conn.map(|c| c.peer.incarnation),
            queued_bytes: u64::try_from(state.queue.bytes()).unwrap_or(u64::MAX),
            written_bytes: self.written.load(Ordering::Relaxed),
            last_failure: state.last_failure,
            features: conn.map_or(0, |c| c.terms.features),
            stream_window_bytes: conn.map_or(0, |c| c.terms.stream_window_bytes),
        }
    }
}

impl LaneState {
    /// Takes the connection from the lane, with what is queued for it: nothing more is accepted for
    /// it, and its own task returns that and reports the end.
    pub(super) fn part(&mut self) -> Option<Arc<Connection>> {
        let conn = self.conn.take()?;
        self.closing = Some(conn.session);
        let mut doomed = VecDeque::new();
        self.queue.take(&mut doomed);
        conn.doom(doomed); // under the lock of the lane: that task may be at its end
        Some(conn)
    }

    fn admit(&mut self, shared: &Shared, frame: &Frame) -> Result<(), SendError> {
        self.queue.admit(frame).inspect_err(|_| shared.counters.full.add(1))
    }
}

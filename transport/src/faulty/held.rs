//! What waits in a faulty transport: frames by lane, datagrams, the ends of black holes.

use crate::{ChannelId, Frame, Lane, NodeId, SendError, SessionId};
use bytes::Bytes;
use quorate_clocks::Monotonic;
use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

/// Frames held per lane.
const FRAMES_MAX: usize = 4_096;
/// Bytes held per lane; an empty lane takes any frame.
const BYTES_MAX: usize = 8 << 20;
/// Datagrams held.
const DATAGRAMS_MAX: usize = 1_024;

#[derive(Default)]
pub(super) struct State {
    lanes: BTreeMap<(NodeId, Lane), LaneState>,
    /// By due time and order.
    datagrams: BTreeMap<(Monotonic, u64), (NodeId, ChannelId, Bytes)>,
    next_datagram: u64,
    pub(super) pump: Option<Waker>,
    pub(super) closing: bool,
    /// The transport is dropped.
    pub(super) gone: bool,
    pub(super) full: u64,
    pub(super) unsent: u64,
}

#[derive(Default)]
struct LaneState {
    frames: VecDeque<(Monotonic, Frame)>,
    bytes: usize,
    /// A frame is between here and the inner transport: nothing may overtake it.
    forwarding: bool,
    /// The inner transport had no room.
    blocked: bool,
    hole: Option<(SessionId, Monotonic)>,
    waiters: Vec<Waker>,
}

impl LaneState {
    fn is_below_half(&self) -> bool {
        self.frames.len() < FRAMES_MAX / 2 && self.bytes < BYTES_MAX / 2
    }
}

/// What became of a frame.
pub(super) enum Held {
    Passes(Frame),
    Waits,
    Full,
}

impl State {
    fn lane(&mut self, to: NodeId, lane: Lane) -> &mut LaneState {
        self.lanes.entry((to, lane)).or_default()
    }

    /// Whether a frame has to queue behind others.
    pub(super) fn is_behind(&self, to: NodeId, lane: Lane) -> bool {
        let lane = self.lanes.get(&(to, lane));
        lane.is_some_and(|lane| lane.forwarding || !lane.frames.is_empty())
    }

    /// Whether a frame is on its way to the inner transport, or can be.
    pub(super) fn is_moving(&self, to: NodeId, lane: Lane) -> bool {
        let moving = |lane: &LaneState| lane.forwarding || !lane.frames.is_empty() && !lane.blocked;
        self.lanes.get(&(to, lane)).is_some_and(moving)
    }

    pub(super) fn hold(&mut self, to: NodeId, lane: Lane, frame: Frame, due: Monotonic) -> Held {
        let slot = self.lane(to, lane);
        let bytes = slot.bytes + frame.wire_len();
        if slot.frames.len() >= FRAMES_MAX || !slot.frames.is_empty() && bytes > BYTES_MAX {
            self.full += 1;
            return Held::Full;
        }
        let last = slot.frames.back().map_or(due, |(last, _)| due.max(*last));
        slot.bytes = bytes;
        slot.frames.push_back((last, frame));
        Held::Waits
    }

    /// Everything held for a lane, and whoever waits for room.
    pub(super) fn take(&mut self, to: NodeId, lane: Lane) -> (VecDeque<Frame>, Vec<Waker>) {
        let Some(slot) = self.lanes.get_mut(&(to, lane)) else { return Default::default() };
        slot.bytes = 0;
        slot.blocked = false;
        let frames = std::mem::take(&mut slot.frames).into_iter().map(|(_, frame)| frame);
        (frames.collect(), std::mem::take(&mut slot.waiters))
    }

    /// Lanes with a frame that is due, and whether the inner transport has to be asked for room.
    pub(super) fn lanes_due(&self, now: Monotonic) -> Vec<(NodeId, Lane, bool)> {
        let due = |slot: &LaneState| slot.frames.front().is_some_and(|(at, _)| *at <= now);
        let found = self.lanes.iter().filter(|(_, slot)| due(slot) || slot.forwarding);
        found.map(|((to, lane), slot)| (*to, *lane, slot.blocked)).collect()
    }

    /// The next frame that is due; [`end_forward`](Self::end_forward) follows.
    pub(super) fn begin_forward(
        &mut self,
        to: NodeId,
        lane: Lane,
        now: Monotonic,
    ) -> Option<Frame> {
        let slot = self.lanes.get_mut(&(to, lane))?;
        if slot.forwarding || slot.frames.front()?.0 > now {
            return None;
        }
        let (_, frame) = slot.frames.pop_front()?;
        slot.bytes -= frame.wire_len();
        (slot.forwarding, slot.blocked) = (true, false);
        Some(frame)
    }

    /// Returns whoever waits for room, if there is some now. A frame that found none is held again.
    pub(super) fn end_forward(
        &mut self,
        to: NodeId,
        lane: Lane,
        full: bool,
        frame: &Frame,
    ) -> Vec<Waker> {
        let slot = self.lane(to, lane);
        slot.forwarding = false;
        if full {
            slot.blocked = true;
            slot.bytes += frame.wire_len();
            slot.frames.push_front((Monotonic::ZERO, frame.clone()));
        }
        if slot.is_below_half() { std::mem::take(&mut slot.waiters) } else { Vec::new() }
    }

    /// When something is due next; what waits for room is woken by the inner transport.
    pub(super) fn next_due(&self) -> Option<Monotonic> {
        let frames = self.lanes.values().filter(|slot| !slot.blocked && !slot.forwarding);
        let frames = frames.filter_map(|slot| slot.frames.front().map(|(at, _)| *at));
        let holes = self.lanes.values().filter_map(|slot| slot.hole.map(|(_, until)| until));
        let datagrams = self.datagrams.keys().next().map(|(at, _)| *at);
        frames.chain(holes).chain(datagrams).min()
    }

    /// Pending while more than half of the room of a lane is taken.
    pub(super) fn poll_room(
        &mut self,
        to: NodeId,
        lane: Lane,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let Some(slot) = self.lanes.get_mut(&(to, lane)) else { return Poll::Ready(Ok(())) };
        if slot.is_below_half() {
            return Poll::Ready(Ok(()));
        }
        if slot.waiters.iter().any(|waiter| waiter.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        if slot.waiters.len() >= crate::WAITERS_MAX {
            return Poll::Ready(Err(SendError::Full));
        }
        slot.waiters.push(cx.waker().clone());
        Poll::Pending
    }

    pub(super) fn bytes(&self, to: NodeId, lane: Lane) -> u64 {
        let held = self.lanes.get(&(to, lane)).map_or(0, |slot| slot.bytes);
        u64::try_from(held).unwrap_or(u64::MAX)
    }

    pub(super) fn hold_datagram(
        &mut self,
        due: Monotonic,
        to: NodeId,
        channel: ChannelId,
        body: Bytes,
    ) -> bool {
        if self.datagrams.len() >= DATAGRAMS_MAX {
            return false;
        }
        self.next_datagram += 1;
        self.datagrams.insert((due, self.next_datagram), (to, channel, body));
        true
    }

    pub(super) fn datagrams_due(&mut self, now: Monotonic) -> Vec<(NodeId, ChannelId, Bytes)> {
        let after = now.saturating_add(std::time::Duration::from_nanos(1));
        let later = self.datagrams.split_off(&(after, 0));
        std::mem::replace(&mut self.datagrams, later).into_values().collect()
    }

    /// False if there is one already.
    pub(super) fn begin_hole(
        &mut self,
        to: NodeId,
        lane: Lane,
        session: SessionId,
        until: Monotonic,
    ) -> bool {
        let slot = self.lane(to, lane);
        if slot.hole.is_some_and(|(current, _)| current == session) {
            return false;
        }
        slot.hole = Some((session, until));
        true
    }

    /// Whether a frame of this session vanishes. A hole of an earlier one is over.
    pub(super) fn swallows(&mut self, to: NodeId, lane: Lane, session: Option<SessionId>) -> bool {
        let Some(slot) = self.lanes.get_mut(&(to, lane)) else { return false };
        if slot.hole.is_some_and(|(of, _)| Some(of) != session) {
            slot.hole = None;
        }
        slot.hole.is_some()
    }

    pub(super) fn end_hole(&mut self, to: NodeId, lane: Lane, session: SessionId) {
        if let Some(slot) = self.lanes.get_mut(&(to, lane))
            && slot.hole.is_some_and(|(of, _)| of == session)
        {
            slot.hole = None;
        }
    }

    /// Lanes whose black hole is over: their session must end.
    pub(super) fn end_holes(&mut self, now: Monotonic) -> Vec<(NodeId, Lane, SessionId)> {
        let mut ended = Vec::new();
        for ((to, lane), slot) in &mut self.lanes {
            if let Some((session, until)) = slot.hole
                && until <= now
            {
                slot.hole = None;
                ended.push((*to, *lane, session));
            }
        }
        ended
    }
}

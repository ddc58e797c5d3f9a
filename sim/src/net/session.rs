//! One session of a lane: two directions, each a queue of frames in flight.

use crate::SimTime;
use quorate_transport::{Frame, Incarnation, SessionId};
use std::collections::VecDeque;

/// What the two kernels hold of one direction: a session that dies keeps these frames from coming
/// back as unsent, since nobody knows whether they left.
const KERNEL_BYTES: u64 = 128 << 10;

/// A frame on its way.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) frame: Frame,
    pub(super) bytes: u64,
    pub(super) departs: SimTime,
    pub(super) arrives: SimTime,
}

/// One direction of a session.
#[derive(Debug, Default)]
pub(super) struct Direction {
    pub(super) frames: VecDeque<InFlight>,
    /// Of all frames here.
    pub(super) bytes: u64,
    /// When the line has sent what it got.
    pub(super) free_at: SimTime,
    pub(super) last_arrival: SimTime,
    /// Nothing is delivered earlier: what was blocked is sent again after a while.
    pub(super) floor: SimTime,
    /// Whether the first frame has its event.
    pub(super) scheduled: bool,
    /// Frames that depart later go nowhere: the session is broken.
    pub(super) broken_at: Option<SimTime>,
    /// The end it leads away from has said goodbye.
    pub(super) bye: bool,
    /// That was heard while frames that were sent before it still waited.
    pub(super) bye_waits: bool,
}

/// One session as its two ends see it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    /// Lives of the two nodes it connects.
    pub(super) lives: [Incarnation; 2],
    /// Which ends believe that it is up.
    pub(super) up: [bool; 2],
    /// `ways[i]` leads away from end `i`.
    pub(super) ways: [Direction; 2],
}

impl Session {
    pub(super) fn new(id: SessionId, lives: [Incarnation; 2]) -> Self {
        let ways = [Direction::default(), Direction::default()];
        Self { id, lives, up: [true; 2], ways }
    }

    pub(super) const fn is_over(&self) -> bool {
        !self.up[0] && !self.up[1]
    }

    /// Whether frames are on their way.
    pub(super) fn is_busy(&self) -> bool {
        self.ways.iter().any(|way| !way.frames.is_empty())
    }
}

impl Direction {
    pub(super) fn push(&mut self, at: SimTime, frame: Frame, line: SimTime, arrives: SimTime) {
        let bytes = frame.wire_len() as u64;
        let departs = line.max(at);
        self.free_at = departs;
        self.last_arrival = self.last_arrival.max(arrives);
        self.bytes += bytes;
        self.frames.push_back(InFlight { frame, bytes, departs, arrives: self.last_arrival });
    }

    pub(super) fn pop(&mut self) -> Option<InFlight> {
        let head = self.frames.pop_front()?;
        self.bytes -= head.bytes;
        Some(head)
    }

    /// Bytes that wait in the transport rather than in a kernel.
    pub(super) const fn queued_bytes(&self) -> u64 {
        self.bytes.saturating_sub(KERNEL_BYTES)
    }

    /// Frames of a direction that has outgrown the kernels.
    pub(super) fn queued_frames(&self) -> usize {
        if self.queued_bytes() == 0 { 0 } else { self.frames.len() }
    }

    /// Takes out what has surely not left by now.
    pub(super) fn take_unsent(&mut self, now: SimTime) -> Vec<Frame> {
        let mut kept = 0;
        let mut bytes = 0;
        for frame in &self.frames {
            if frame.departs > now || bytes >= KERNEL_BYTES {
                break;
            }
            kept += 1;
            bytes += frame.bytes;
        }
        let unsent = self.frames.split_off(kept);
        self.bytes = bytes;
        unsent.into_iter().map(|in_flight| in_flight.frame).collect()
    }

    /// Forgets everything; how many frames that were.
    pub(super) fn clear(&mut self) -> u64 {
        self.bytes = 0;
        let lost = self.frames.len() as u64;
        self.frames.clear();
        lost
    }
}

//! One simulated machine, as the world keeps it: everything but the node's own code.

use crate::calls::CallBook;
use crate::clock::{Model, NodeClock};
use crate::disk::SimDisk;
use crate::{Rng, SimTime, Violation};
use bytes::Bytes;
use quorate_transport::{
    CallError, ChannelId, Frame, Incarnation, Lane, LinkEvent, NodeId, Peer, Role, SessionId,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Whether a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Down,
    Running,
    Paused,
}

/// Something a node is to be told.
#[derive(Debug)]
pub(crate) enum Input {
    Boot,
    Frame {
        from: Peer,
        lane: Lane,
        session: SessionId,
        frame: Frame,
    },
    Datagram {
        from: Peer,
        channel: ChannelId,
        body: Bytes,
    },
    Link(LinkEvent),
    Unsent {
        to: NodeId,
        lane: Lane,
        frames: Vec<Frame>,
    },
    CallFailed {
        token: u64,
        error: CallError,
    },
    Completion {
        token: u64,
    },
    Timer,
    /// An async node polls one of its tasks.
    Poll,
    /// A worker of an async node takes a turn.
    Turn {
        worker: usize,
    },
    /// A turn that took longer than was thought is over.
    TurnEnd {
        worker: usize,
    },
}

impl Input {
    /// What it occupies in the buffers of the kernel.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Frame { frame, .. } => frame.wire_len() as u64,
            Self::Datagram { body, .. } => body.len() as u64 + DATAGRAM_OVERHEAD,
            _ => 0,
        }
    }
}

/// Messages and bytes of one channel of one node.
///
/// # Examples
/// ```
/// assert_eq!(quorate_sim::Traffic::default().messages_out, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Frames and datagrams that came in.
    pub messages_in: u64,
    /// Bytes of their bodies.
    pub bytes_in: u64,
    /// Frames and datagrams that were sent.
    pub messages_out: u64,
    /// Bytes of their bodies.
    pub bytes_out: u64,
}

impl Traffic {
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.messages_out += 1;
        self.bytes_out += bytes as u64;
    }

    pub(crate) const fn received(&mut self, bytes: usize) {
        self.messages_in += 1;
        self.bytes_in += bytes as u64;
    }

    pub(crate) const fn add(&mut self, more: &Self) {
        self.messages_in += more.messages_in;
        self.bytes_in += more.bytes_in;
        self.messages_out += more.messages_out;
        self.bytes_out += more.bytes_out;
    }
}

/// What a kernel keeps of a datagram besides its body: many small ones fill its buffer, too.
const DATAGRAM_OVERHEAD: u64 = 64;

/// Handlers of one node at one moment.
const HANDLERS_MAX: u32 = 100_000;

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) id: NodeId,
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    pub(crate) incarnation: Incarnation,
    /// Its process does nothing else before.
    pub(crate) free_at: SimTime,
    /// Nanoseconds that the running handler has cost so far.
    pub(crate) spent: u64,
    pub(crate) slow_percent: u32,
    /// What waits for the process.
    pub(crate) inbox: VecDeque<Input>,
    pub(crate) inbox_bytes: u64,
    /// An event will look at the inbox.
    pub(crate) wake_set: bool,
    pub(crate) clock: Model,
    pub(crate) node_clock: Option<Arc<NodeClock>>,
    /// A clock fault that is not yet known to have been seen.
    pub(crate) clock_faults: Vec<crate::Class>,
    pub(crate) seeds: Rng,
    /// For calls, so that they leave the node's own seeds alone. // H6
    pub(crate) call_seeds: Rng,
    pub(crate) disk: Option<SimDisk>,
    pub(crate) calls: CallBook,
    /// When its timer is due; the far future if it is not set.
    pub(crate) timer_at: SimTime,
    /// When its timer events are, the next one last: none is made while an earlier one is to come,
    /// however often the deadline moves.
    pub(crate) timer_events: Vec<SimTime>,
    /// A timer input waits in the inbox.
    pub(crate) timer_waits: bool,
    pub(crate) handlers: u32,
    /// The moment of its newest handler, and how many began then.
    pub(crate) standing: (SimTime, u32),
    traffic: Vec<(ChannelId, Traffic)>,
}

impl Machine {
    pub(crate) fn new(id: NodeId, role: Role, clock: Model) -> Self {
        Self {
            id,
            role,
            phase: Phase::Down,
            incarnation: Incarnation::new(0),
            free_at: SimTime::ZERO,
            spent: 0,
            slow_percent: 100,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            wake_set: false,
            clock,
            node_clock: None,
            clock_faults: Vec::new(),
            seeds: Rng::stream(0, "node", id.value(), 0),
            call_seeds: Rng::stream(0, "calls", id.value(), 0),
            disk: None,
            calls: CallBook::default(),
            timer_at: SimTime::FAR_FUTURE,
            timer_events: Vec::new(),
            timer_waits: false,
            handlers: 0,
            standing: (SimTime::ZERO, 0),
            traffic: Vec::new(),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.phase != Phase::Down
    }

    /// Begins a life. // H26
    pub(crate) fn begin_life(&mut self, seed: u64, now: SimTime) {
        let life = self.incarnation.value() + 1;
        self.incarnation = Incarnation::new(life);
        self.phase = Phase::Running;
        self.seeds = Rng::stream(seed, "node", self.id.value(), life);
        self.call_seeds = Rng::stream(seed, "calls", self.id.value(), life);
        self.calls = CallBook::of_life(life);
        // What the last life was busy with is over.
        self.free_at = now;
        self.timer_at = SimTime::FAR_FUTURE;
    }

    /// Frames that it has not read yet.
    pub(crate) fn unread(&self) -> u64 {
        self.inbox.iter().filter(|input| matches!(input, Input::Frame { .. })).count() as u64
    }

    /// Ends one: nothing volatile is left.
    pub(crate) fn end_life(&mut self) {
        self.phase = Phase::Down;
        self.inbox.clear();
        self.inbox_bytes = 0;
        self.wake_set = false;
        self.timer_waits = false;
        self.timer_at = SimTime::FAR_FUTURE;
        self.timer_events.clear(); // those of a life that is over say nothing
        self.calls = CallBook::default();
        // Clocks held by the dead go on; the next life gets others.
        self.node_clock = None;
        self.spent = 0;
    }

    /// Whether the disk has cut the process off. // H8
    pub(crate) fn is_dying(&self) -> bool {
        self.disk.as_ref().is_some_and(SimDisk::is_dying)
    }

    /// How long it takes for what others do in that time.
    pub(crate) fn slowed(&self, d: Duration) -> Duration {
        crate::disk::slowed(d, self.slow_percent)
    }

    /// A handler begins.
    pub(crate) fn stand(&mut self, now: SimTime) {
        let (since, before) = self.standing;
        self.standing = (now, if since == now { before.saturating_add(1) } else { 1 });
    }

    /// Whether time passes between its handlers.
    pub(crate) fn check_standing(&self) -> Result<(), Violation> {
        let (at, handlers) = self.standing;
        if handlers > HANDLERS_MAX {
            let message = format!("it ran {handlers} handlers and no time passed");
            return Err(Violation::new("livelock", message, at, Some(self.id)));
        }
        Ok(())
    }

    pub(crate) fn traffic(&mut self, channel: ChannelId) -> &mut Traffic {
        let at = self.traffic.iter().position(|(of, _)| *of == channel);
        let at = at.unwrap_or_else(|| {
            self.traffic.push((channel, Traffic::default()));
            self.traffic.len() - 1
        });
        &mut self.traffic[at].1
    }

    pub(crate) fn all_traffic(&self) -> &[(ChannelId, Traffic)] {
        &self.traffic
    }
}

//! One lane between two nodes: dials, sessions, and what each end believes.

use super::session::Session;
use super::{LossyFrame, Net, NetEvent, NetOut, Spot};
use crate::{Class, LaneModel, SimTime};
use quorate_transport::{DownReason, Frame, Incarnation, Lane, SendError, SessionId};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

pub(super) const RESET: DownReason = DownReason::Io(ErrorKind::ConnectionReset);
/// How long it takes until what was blocked is sent again.
pub(super) const RESEND: [u64; 2] = [200_000_000, 3_000_000_000];

/// What waits for a clog to end looks so often whether it was healed.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One lane of one pair.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) ends: [End; 2],
    /// Two at most that are not over: each end believes in one.
    pub(super) sessions: Vec<Session>,
}

/// What one end of a lane has.
#[derive(Debug, Default)]
pub(super) struct End {
    /// The session that this end believes to be up.
    pub(super) current: Option<SessionId>,
    /// Accepted, and there is no session yet; when the handler that sent it came to that line.
    pub(super) queue: VecDeque<(SimTime, Frame)>,
    pub(super) queue_bytes: u64,
    /// Checked by a handler that is still running.
    pub(super) admitted_bytes: u64,
    pub(super) admitted_frames: usize,
    /// The dial under way: its number, and when it began.
    pub(super) dialing: Option<(u32, SimTime)>,
    pub(super) dials: u32,
    pub(super) failures: u32,
    pub(super) retry_at: SimTime,
    pub(super) last_failure: Option<DownReason>,
    pub(super) accepted_bytes: u64,
    /// Somebody waits for room.
    pub(super) wants_room: bool,
}

impl Link {
    pub(super) fn session(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }

    fn current(&self, end: usize) -> Option<&Session> {
        let id = self.ends[end].current?;
        self.sessions.iter().find(|session| session.id == id)
    }

    /// Bytes accepted at this end that wait in its transport.
    fn queued_bytes(&self, end: usize) -> u64 {
        let waiting = self.current(end).map_or(0, |session| session.ways[end].queued_bytes());
        self.ends[end].queue_bytes + self.ends[end].admitted_bytes + waiting
    }

    /// Whether frames wait for a session that is being made.
    pub(super) fn is_waiting(&self, end: usize) -> bool {
        self.ends[end].dialing.is_some() && !self.ends[end].queue.is_empty()
    }

    fn queued_frames(&self, end: usize) -> usize {
        let waiting = self.current(end).map_or(0, |session| session.ways[end].queued_frames());
        self.ends[end].queue.len() + self.ends[end].admitted_frames + waiting
    }
}

/// One lane as its end sees it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkStatus {
    pub(crate) session: Option<SessionId>,
    /// The life of the peer the session is with.
    pub(crate) life: Option<Incarnation>,
    pub(crate) queued_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) last_failure: Option<DownReason>,
}

impl Net {
    /// Whether a frame would be accepted now. What is admitted is to be sent, or given back.
    pub(crate) fn admit(
        &mut self,
        at: SimTime,
        from: u32,
        to: u32,
        lane: Lane,
        frame: &Frame,
    ) -> Result<(), SendError> {
        let (bytes, max) = (frame.body.len() as u64, self.config.body_bytes_max(lane));
        if bytes > u64::from(max) {
            return Err(SendError::TooLarge { bytes, max });
        }
        let (bytes_max, frames_max) =
            (self.config.queue_bytes_max[lane.index()], self.config.queue_frames_max);
        let (spot, end) = self.spot(from, to, lane);
        let link = self.link(spot);
        let state = &link.ends[end];
        if state.current.is_none() && state.dialing.is_none() && at < state.retry_at {
            return Err(SendError::Disconnected);
        }
        let queued = link.queued_bytes(end);
        if queued > bytes_max || link.queued_frames(end) >= frames_max {
            link.ends[end].wants_room = true;
            return Err(SendError::Full);
        }
        link.ends[end].admitted_bytes += frame.wire_len() as u64;
        link.ends[end].admitted_frames += 1;
        Ok(())
    }

    /// Sends what was admitted.
    pub(crate) fn send(&mut self, at: SimTime, from: u32, to: u32, lane: Lane, frame: Frame) {
        let (spot, end) = self.spot(from, to, lane);
        let bytes = frame.wire_len() as u64;
        let state = &mut self.link(spot).ends[end];
        state.admitted_bytes = state.admitted_bytes.saturating_sub(bytes);
        state.admitted_frames = state.admitted_frames.saturating_sub(1);
        state.accepted_bytes += bytes;
        if let Some(session) = state.current {
            return self.depart(at, spot, end, session, frame);
        }
        state.queue_bytes += bytes;
        state.queue.push_back((at, frame));
        if state.dialing.is_none() {
            self.dial(at, spot, end);
        }
    }

    /// One lane, as the node `from` sees it.
    pub(crate) fn status(&mut self, from: u32, to: u32, lane: Lane) -> LinkStatus {
        let (spot, end) = self.spot(from, to, lane);
        let link = self.link(spot);
        let queued_bytes = link.queued_bytes(end);
        let life = link.current(end).map(|session| session.lives[1 - end]);
        let state = &link.ends[end];
        LinkStatus {
            session: state.current,
            life,
            queued_bytes,
            written_bytes: state.accepted_bytes.saturating_sub(queued_bytes),
            last_failure: state.last_failure,
        }
    }

    /// Whether there is room again, or why there will be none; else the network says so later.
    pub(crate) fn poll_room(
        &mut self,
        at: SimTime,
        from: u32,
        to: u32,
        lane: Lane,
    ) -> Option<Result<(), SendError>> {
        let half = self.config.queue_bytes_max[lane.index()] / 2;
        let frames_max = self.config.queue_frames_max;
        let (spot, end) = self.spot(from, to, lane);
        let link = self.link(spot);
        let state = &link.ends[end];
        if state.current.is_none() && state.dialing.is_none() && at < state.retry_at {
            return Some(Err(SendError::Disconnected));
        }
        if link.queued_bytes(end) < half && link.queued_frames(end) < frames_max {
            return Some(Ok(()));
        }
        link.ends[end].wants_room = true;
        None
    }

    pub(super) fn depart(
        &mut self,
        at: SimTime,
        spot: Spot,
        end: usize,
        id: SessionId,
        frame: Frame,
    ) {
        if self.config.lane_model == LaneModel::Lossy {
            return self.depart_lossy(at, spot, end, id, &frame);
        }
        let percent = self.rates.delay_percent;
        let sample = self.config.wire_check;
        let bytes = frame.wire_len() as u64;
        let sending = Duration::from_nanos(
            bytes.saturating_mul(8_000_000_000) / self.config.bandwidth_bits.max(1),
        );
        let way = self.way(spot, end);
        let latency = way.latency(percent);
        let frame = if way.is_sample(sample) { super::wire::through(frame) } else { frame };
        if percent > 100 && !latency.is_zero() {
            self.coverage.effective(Class::Delay);
        }
        let Some(session) = self.link(spot).session(id) else { return };
        let direction = &mut session.ways[end];
        let line = direction.free_at.max(at).saturating_add(sending);
        direction.push(at, frame, line, line.saturating_add(latency));
        self.schedule_head(at, spot, end, id);
    }

    /// Sees to it that the first frame of a direction has its event.
    pub(super) fn schedule_head(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        let Some(session) = self.link(spot).session(id) else { return };
        let direction = &mut session.ways[end];
        let Some(head) = direction.frames.front() else { return };
        if !std::mem::replace(&mut direction.scheduled, true) {
            let at = head.arrives.max(direction.floor).max(now);
            self.out.push(NetOut::Schedule(at, NetEvent::Arrive { spot, session: id, end }));
        }
    }

    /// The first frame that left `end` may arrive.
    pub(super) fn arrive(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        let clogged = self.way(spot, end).clogged_until;
        let cut = self.way(spot, end).lanes_cut;
        let paused = self.is_choked(self.place_of(spot, 1 - end));
        let Some(session) = self.link(spot).session(id) else { return };
        let direction = &mut session.ways[end];
        direction.scheduled = false;
        if let Some(class) = cut {
            return self.coverage.effective(class); // it waits, see `unblock`
        }
        if now < clogged {
            direction.scheduled = true;
            let at = clogged.min(now.saturating_add(LOOK_AGAIN));
            self.out.push(NetOut::Schedule(at, NetEvent::Arrive { spot, session: id, end }));
            return self.coverage.effective(Class::Clog);
        }
        if paused && session.up[1 - end] {
            return; // it waits, see `resume`
        }
        let Some(head) = direction.pop() else { return };
        let broken = direction.broken_at.is_some_and(|at| head.departs > at);
        let (up, back_up) = (session.up[1 - end], session.up[end]);
        if broken || !up || !self.is_running(self.place_of(spot, 1 - end)) {
            self.swallow(now, spot, end, id, back_up && !broken);
            return;
        }
        let corrupt = self.rates.corrupt_ppm;
        if corrupt > 0 && self.way(spot, end).rng.chance(corrupt) {
            self.coverage.effective(Class::Corrupt);
            return self.refuse(now, spot, end, id);
        }
        self.room(spot, end);
        self.deliver(spot, end, id, head.frame);
        self.schedule_head(now, spot, end, id);
        self.last_word(now, spot, end, id);
    }

    /// The end that `end` sends to got bytes it cannot read: nothing behind them is read either.
    fn refuse(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        self.end_down(now, spot, 1 - end, id, DownReason::Protocol);
        self.swallow(now, spot, end, id, true);
    }

    /// Frames for a session that is not there are lost; a living kernel says so.
    fn swallow(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId, tell: bool) {
        let (to, from) = (self.place_of(spot, 1 - end), self.place_of(spot, end));
        let answers = tell && self.answers(to);
        let Some(session) = self.link(spot).session(id) else { return };
        let lost = session.ways[end].clear() + 1;
        self.out.push(NetOut::Lost { from, to, lane: spot.lane, frames: lost });
        if answers {
            self.tell(now, spot, end, id, RESET);
        }
    }

    fn deliver(&mut self, spot: Spot, end: usize, id: SessionId, frame: Frame) {
        let (from, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let Some(life) = self.link(spot).session(id).map(|session| session.lives[end]) else {
            return;
        };
        let from = self.peer(from, life);
        self.out.push(NetOut::Frame { from, to, lane: spot.lane, session: id, frame });
    }

    /// Tells who waits for room, once there is.
    pub(super) fn room(&mut self, spot: Spot, end: usize) {
        let half = self.config.queue_bytes_max[spot.lane.index()] / 2;
        let link = self.link(spot);
        if link.ends[end].wants_room && link.queued_bytes(end) < half {
            link.ends[end].wants_room = false;
            let (node, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
            self.out.push(NetOut::Room { node, to });
        }
    }

    // --- Blocks --------------------------------------------------------------------------------

    /// If a direction is open again: what waited is sent again after a while.
    pub(super) fn unblock(&mut self, now: SimTime, spot: Spot, end: usize) {
        if self.way(spot, end).lanes_cut.is_some() {
            return;
        }
        let ids: Vec<SessionId> = self.link(spot).sessions.iter().map(|s| s.id).collect();
        for id in ids {
            let wait = self.way(spot, end).rng.between(RESEND[0], RESEND[1]);
            let Some(session) = self.link(spot).session(id) else { continue };
            let direction = &mut session.ways[end];
            if !direction.scheduled && !direction.frames.is_empty() {
                direction.floor = now.saturating_add(Duration::from_nanos(wait));
                self.schedule_head(now, spot, end, id);
            }
        }
    }

    fn depart_lossy(
        &mut self,
        at: SimTime,
        spot: Spot,
        end: usize,
        session: SessionId,
        frame: &Frame,
    ) {
        let copies = self.copies(spot, end);
        let delayed = self.rates.delay_percent > 100;
        let from = self.place_of(spot, end) as usize;
        self.hosts[from].sent = self.hosts[from].sent.max(at);
        for copy in 0..copies {
            let delay = self.latency(spot, end);
            let frame = frame.clone();
            let lossy = LossyFrame { spot, session, end, frame, sent: at, copy, delayed };
            let event = NetEvent::ArriveLossy(lossy);
            self.out.push(NetOut::Schedule(at.saturating_add(delay), event));
        }
    }

    /// A frame of a lossy lane arrives, if its session is still there.
    pub(super) fn arrive_lossy(&mut self, now: SimTime, lossy: LossyFrame) {
        let (spot, end) = (lossy.spot, lossy.end);
        let way = self.way(spot, end);
        let clogged = way.clogged_until;
        if let Some(class) = way.lanes_cut {
            return self.coverage.effective(class);
        }
        if now < clogged {
            self.coverage.effective(Class::Clog);
            let at = clogged.min(now.saturating_add(LOOK_AGAIN));
            return self.out.push(NetOut::Schedule(at, NetEvent::ArriveLossy(lossy)));
        }
        let overtaken = lossy.sent < way.newest_lossy;
        way.newest_lossy = way.newest_lossy.max(lossy.sent);
        let (from, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let session = self.link(spot).session(lossy.session).filter(|s| s.up[1 - end]);
        let Some(life) = session.map(|session| session.lives[end]) else { return };
        if !self.is_running(to) {
            return;
        }
        if self.never_left(from, life, lossy.sent) {
            return self.out.push(NetOut::Lost { from, to, lane: spot.lane, frames: 1 });
        }
        if lossy.copy > 0 {
            self.coverage.effective(Class::Duplicate);
        }
        if overtaken && (lossy.delayed || lossy.copy > 0) {
            self.coverage.effective(Class::Reorder);
        }
        self.deliver(spot, end, lossy.session, lossy.frame);
    }
}

//! One lane between two nodes: dials, sessions, and what each end believes.

use super::session::Session;
use super::{Net, NetEvent, NetOut, Spot};
use crate::{Class, LaneModel, SimTime};
use quorate_transport::{DownReason, Frame, Incarnation, Lane, LinkEvent, SendError, SessionId};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

const RESET: DownReason = DownReason::Io(ErrorKind::ConnectionReset);
/// How long it takes until what was blocked is sent again.
const RESEND: [u64; 2] = [200_000_000, 3_000_000_000];

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
    /// Accepted, and there is no session yet.
    queue: VecDeque<Frame>,
    queue_bytes: u64,
    /// Checked by a handler that is still running.
    admitted_bytes: u64,
    /// The dial under way: its number, and when it began.
    dialing: Option<(u32, SimTime)>,
    dials: u32,
    failures: u32,
    retry_at: SimTime,
    last_failure: Option<DownReason>,
    accepted_bytes: u64,
    /// Somebody waits for room.
    wants_room: bool,
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
        let waiting = self.current(end).map_or(0, |session| session.ways[end].frames.len());
        self.ends[end].queue.len() + waiting
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
        Ok(())
    }

    /// Sends what was admitted.
    pub(crate) fn send(&mut self, at: SimTime, from: u32, to: u32, lane: Lane, frame: Frame) {
        let (spot, end) = self.spot(from, to, lane);
        let bytes = frame.wire_len() as u64;
        let state = &mut self.link(spot).ends[end];
        state.admitted_bytes = state.admitted_bytes.saturating_sub(bytes);
        state.accepted_bytes += bytes;
        if let Some(session) = state.current {
            return self.depart(at, spot, end, session, frame);
        }
        state.queue_bytes += bytes;
        state.queue.push_back(frame);
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

    fn depart(&mut self, at: SimTime, spot: Spot, end: usize, id: SessionId, frame: Frame) {
        if self.config.lane_model == LaneModel::Lossy {
            return self.depart_lossy(at, spot, end, id, frame);
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
        if percent > 100 {
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
            self.out.push(NetOut::Schedule(clogged, NetEvent::Arrive { spot, session: id, end }));
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
        self.schedule_head(now, spot, end, id);
        let corrupt = self.rates.corrupt_ppm;
        if corrupt > 0 && self.way(spot, end).rng.chance(corrupt) {
            self.coverage.effective(Class::Corrupt);
            return self.break_session(now, spot, id, DownReason::Protocol);
        }
        self.room(spot, end);
        self.deliver(spot, end, id, head.frame);
    }

    /// Frames for a session that is not there are lost; a living kernel says so.
    fn swallow(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId, tell: bool) {
        let (to, from) = (self.place_of(spot, 1 - end), self.place_of(spot, end));
        let answers = tell && self.answers(to);
        let Some(session) = self.link(spot).session(id) else { return };
        let lost = session.ways[end].clear() + 1;
        self.out.push(NetOut::Lost { from, to, lane: spot.lane, frames: lost });
        if answers {
            let delay = self.latency(spot, 1 - end);
            self.dies(now.saturating_add(delay), spot, end, id, RESET);
        }
    }

    fn deliver(&mut self, spot: Spot, end: usize, id: SessionId, frame: Frame) {
        let (from, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        self.out.push(NetOut::Frame { from, to, lane: spot.lane, session: id, frame });
    }

    /// Tells who waits for room, once there is.
    fn room(&mut self, spot: Spot, end: usize) {
        let half = self.config.queue_bytes_max[spot.lane.index()] / 2;
        let link = self.link(spot);
        if link.ends[end].wants_room && link.queued_bytes(end) < half {
            link.ends[end].wants_room = false;
            let (node, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
            self.out.push(NetOut::Room { node, to });
        }
    }

    // --- Dials ---------------------------------------------------------------------------------

    fn dial(&mut self, at: SimTime, spot: Spot, end: usize) {
        // A handshake takes one and a half round trips.
        let trip = self.latency(spot, end) + self.latency(spot, 1 - end);
        let last = self.latency(spot, end);
        let state = &mut self.link(spot).ends[end];
        state.dials += 1;
        state.dialing = Some((state.dials, at));
        let dial = state.dials;
        self.out.push(NetOut::Schedule(
            at.saturating_add(trip + last),
            NetEvent::Dialed { spot, end, dial },
        ));
    }

    /// A dial has come to its end, or has to be tried again.
    pub(super) fn dialed(&mut self, now: SimTime, spot: Spot, end: usize, dial: u32) {
        let cut = self.lanes_cut(spot);
        let other = self.place_of(spot, 1 - end);
        let (running, answers) = (self.is_running(other), self.answers(other));
        let clogged = self.way(spot, 0).clogged_until.max(self.way(spot, 1).clogged_until);
        let timeout = self.config.connect_timeout;
        let state = &mut self.link(spot).ends[end];
        let Some((number, began)) = state.dialing else { return };
        if number != dial {
            return;
        }
        if state.current.is_some() {
            state.dialing = None; // the other side was first
        } else if cut.is_none() && running && now >= clogged {
            self.establish(now, spot, end);
        } else if cut.is_none() && answers && !running {
            self.dial_failed(now, spot, end, DownReason::Io(ErrorKind::ConnectionRefused));
        } else if now.since(began) >= timeout {
            self.dial_failed(now, spot, end, DownReason::Timeout);
        } else {
            if let Some(class) = cut {
                self.coverage.effective(class);
            }
            let again = Duration::from_nanos(self.way(spot, end).rng.between(RESEND[0], RESEND[1]));
            let at = now.saturating_add(again).min(began.saturating_add(timeout));
            self.out.push(NetOut::Schedule(at, NetEvent::Dialed { spot, end, dial }));
        }
    }

    fn dial_failed(&mut self, now: SimTime, spot: Spot, end: usize, reason: DownReason) {
        let [min, max] = self.config.backoff;
        let random = self.way(spot, end).rng.word32() % 1_000;
        let state = &mut self.link(spot).ends[end];
        state.dialing = None;
        state.last_failure = Some(reason);
        let doubled = min.saturating_mul(1 << state.failures.min(16)).min(max);
        state.failures += 1;
        // Between half of it and all of it, so that not everybody comes back at once.
        let wait = doubled / 2 + doubled / 2_000 * random;
        state.retry_at = now.saturating_add(wait);
        self.give_back(spot, end, Vec::new());
    }

    fn establish(&mut self, now: SimTime, spot: Spot, dialer: usize) {
        let lives = [0, 1].map(|end| self.life(self.place_of(spot, end)));
        // The accepting end may still believe in an older session.
        if let Some(old) = self.link(spot).ends[1 - dialer].current {
            let before = self.link(spot).session(old).map(|session| session.lives[dialer]);
            let restarted = before.is_some_and(|life| life != lives[dialer]);
            let reason = if restarted { DownReason::Restarted } else { RESET };
            self.end_down(now, spot, 1 - dialer, old, reason);
        }
        self.last_session += 1;
        let id = SessionId::new(self.last_session);
        self.link(spot).sessions.push(Session::new(id, lives));
        for end in [1 - dialer, dialer] {
            let peer = self.peer(self.place_of(spot, 1 - end));
            let state = &mut self.link(spot).ends[end];
            state.current = Some(id);
            state.dialing = None;
            state.failures = 0;
            state.last_failure = None;
            let (node, lane) = (self.place_of(spot, end), spot.lane);
            let event = LinkEvent::Up { peer, lane, session: id };
            self.out.push(NetOut::Link { node, event });
        }
        for end in [0, 1] {
            let state = &mut self.link(spot).ends[end];
            state.queue_bytes = 0;
            for frame in std::mem::take(&mut state.queue) {
                self.depart(now, spot, end, id, frame);
            }
            self.room(spot, end);
        }
    }

    // --- Ends ----------------------------------------------------------------------------------

    /// Makes one end learn at `at` that its session is over.
    pub(super) fn dies(
        &mut self,
        at: SimTime,
        spot: Spot,
        end: usize,
        session: SessionId,
        reason: DownReason,
    ) {
        let event = NetEvent::Dies { spot, end, session, reason, epoch: None };
        self.out.push(NetOut::Schedule(at, event));
    }

    /// One end learns that its session is over.
    pub(super) fn end_down(
        &mut self,
        now: SimTime,
        spot: Spot,
        end: usize,
        id: SessionId,
        reason: DownReason,
    ) {
        let link = self.link(spot);
        let Some(session) = link.sessions.iter_mut().find(|session| session.id == id) else {
            return;
        };
        if !std::mem::replace(&mut session.up[end], false) {
            return;
        }
        let unsent = session.ways[end].take_unsent(now);
        session.ways[end].broken_at.get_or_insert(now);
        let other_up = session.up[1 - end];
        link.ends[end].current = None;
        link.sessions.retain(|session| !session.is_over());
        let (node, other) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let event = LinkEvent::Down { node: self.id(other), lane: spot.lane, session: id, reason };
        self.out.push(NetOut::Link { node, event });
        self.give_back(spot, end, unsent);
        if other_up {
            // Without another word from here the other end waits for its own timeout.
            let at = now.saturating_add(self.config.session_timeout);
            self.dies(at, spot, 1 - end, id, DownReason::Timeout);
        }
    }

    /// Frames that surely never left go back to who sent them, older ones first.
    fn give_back(&mut self, spot: Spot, end: usize, mut unsent: Vec<Frame>) {
        let (node, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let state = &mut self.link(spot).ends[end];
        unsent.extend(std::mem::take(&mut state.queue));
        state.queue_bytes = 0;
        let bytes: u64 = unsent.iter().map(|frame| frame.wire_len() as u64).sum();
        state.accepted_bytes = state.accepted_bytes.saturating_sub(bytes);
        if std::mem::take(&mut state.wants_room) {
            self.out.push(NetOut::Room { node, to });
        }
        if !unsent.is_empty() {
            self.out.push(NetOut::Unsent { node, to, lane: spot.lane, frames: unsent });
        }
    }

    /// The session breaks: what is on its way still arrives until the ends learn of it.
    pub(super) fn break_session(
        &mut self,
        now: SimTime,
        spot: Spot,
        id: SessionId,
        reason: DownReason,
    ) {
        for end in [0, 1] {
            let delay = self.latency(spot, 1 - end);
            let Some(session) = self.link(spot).session(id) else { return };
            session.ways[end].broken_at.get_or_insert(now);
            self.dies(now.saturating_add(delay), spot, end, id, reason);
        }
    }

    /// The session breaks and nobody says so: each end finds out in its own time.
    pub(super) fn break_silently(&mut self, now: SimTime, spot: Spot, id: SessionId) {
        let timeout = super::way::nanos(self.config.session_timeout);
        for end in [0, 1] {
            let wait = self.way(spot, end).rng.between(timeout / 2, timeout + timeout / 2);
            let Some(session) = self.link(spot).session(id) else { return };
            session.ways[end].broken_at.get_or_insert(now);
            let at = now.saturating_add(Duration::from_nanos(wait));
            self.dies(at, spot, end, id, DownReason::Timeout);
        }
    }

    /// A node closes one lane: what has left is delivered, the rest comes back.
    pub(crate) fn reset(&mut self, now: SimTime, from: u32, to: u32, lane: Lane) {
        let (spot, end) = self.spot(from, to, lane);
        let Some(id) = self.link(spot).ends[end].current else { return };
        self.says_goodbye(now, spot, end, id);
        self.end_down(now, spot, end, id, DownReason::Reset);
    }

    /// A node forgets a peer: its end of the lane is closed, in order.
    pub(crate) fn forget(&mut self, now: SimTime, from: u32, to: u32, lane: Lane) {
        let (spot, end) = self.spot(from, to, lane);
        self.close(now, spot, end, DownReason::Closed);
    }

    /// A node closes one end: everything that was accepted is delivered.
    pub(super) fn close(&mut self, now: SimTime, spot: Spot, end: usize, reason: DownReason) {
        let Some(id) = self.link(spot).ends[end].current else {
            self.link(spot).ends[end].dialing = None;
            return self.give_back(spot, end, Vec::new());
        };
        self.says_goodbye(now, spot, end, id);
        let link = self.link(spot);
        let Some(session) = link.session(id) else { return };
        session.up[end] = false;
        link.ends[end].current = None;
        link.sessions.retain(|session| !session.is_over());
        let (node, other) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let event = LinkEvent::Down { node: self.id(other), lane: spot.lane, session: id, reason };
        self.out.push(NetOut::Link { node, event });
        self.give_back(spot, end, Vec::new());
    }

    /// The other end learns that this one is closed, behind the last frame.
    fn says_goodbye(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        let delay = self.latency(spot, end);
        let Some(session) = self.link(spot).session(id) else { return };
        let last = session.ways[end].frames.back().map_or(now, |frame| frame.arrives);
        let after = last.max(now.saturating_add(delay)).saturating_add(Duration::from_nanos(1));
        self.dies(after, spot, 1 - end, id, DownReason::Closed);
    }

    /// A node died: its own ends are gone without a word.
    pub(super) fn forget_end(&mut self, now: SimTime, spot: Spot, end: usize, told: bool) -> u64 {
        let delay = self.latency(spot, end);
        let silence = self.config.session_timeout;
        let link = self.link(spot);
        let dials = link.ends[end].dials;
        let lost_queue = link.ends[end].queue.len() as u64;
        let current = link.ends[end].current;
        // The numbers of dials go on, so that an old one is not taken for a new one. // H18
        link.ends[end] = End { dials, ..End::default() };
        let Some(id) = current else { return lost_queue };
        let Some(session) = link.session(id) else { return lost_queue };
        session.up[end] = false;
        let unsent = session.ways[end].take_unsent(now).len() as u64;
        session.ways[end].broken_at.get_or_insert(now);
        let lost = unsent + lost_queue + session.ways[1 - end].frames.len() as u64;
        link.sessions.retain(|session| !session.is_over());
        let (wait, reason) = if told { (delay, RESET) } else { (silence, DownReason::Timeout) };
        self.dies(now.saturating_add(wait), spot, 1 - end, id, reason);
        lost
    }

    // --- Blocks --------------------------------------------------------------------------------

    /// Both directions of a pair are open again: what waited is sent again after a while.
    pub(super) fn unblock(&mut self, now: SimTime, spot: Spot) {
        let ids: Vec<SessionId> = self.link(spot).sessions.iter().map(|s| s.id).collect();
        for id in ids {
            for end in [0, 1] {
                let wait = self.way(spot, end).rng.between(RESEND[0], RESEND[1]);
                let Some(session) = self.link(spot).session(id) else { continue };
                let direction = &mut session.ways[end];
                if !direction.scheduled && !direction.frames.is_empty() {
                    direction.floor = now.saturating_add(Duration::from_nanos(wait));
                    self.schedule_head(now, spot, end, id);
                }
            }
        }
    }

    fn depart_lossy(
        &mut self,
        at: SimTime,
        spot: Spot,
        end: usize,
        session: SessionId,
        frame: Frame,
    ) {
        let copies = self.copies(spot, end);
        for _ in 0..copies {
            let delay = self.latency(spot, end);
            let frame = frame.clone();
            let event = NetEvent::ArriveLossy { spot, session, end, frame };
            self.out.push(NetOut::Schedule(at.saturating_add(delay), event));
        }
    }

    /// A frame of a lossy lane arrives, if its session is still there.
    pub(super) fn arrive_lossy(&mut self, spot: Spot, end: usize, id: SessionId, frame: Frame) {
        if let Some(class) = self.way(spot, end).lanes_cut {
            return self.coverage.effective(class);
        }
        let to = self.place_of(spot, 1 - end);
        let is_there = self.link(spot).session(id).is_some_and(|session| session.up[1 - end]);
        if is_there && self.is_running(to) {
            self.deliver(spot, end, id, frame);
        }
    }
}

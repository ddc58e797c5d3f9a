//! Ends: how a session of a lane is over, and how each end learns of it.

use super::link::{End, LOOK_AGAIN, RESEND, RESET};
use super::{Net, NetEvent, NetOut, Spot};
use crate::{Class, SimTime};
use quorate_transport::{DownReason, Frame, Lane, LinkEvent, SessionId};
use std::time::Duration;

impl Net {
    /// The other end says that the session is over, and this one will hear it.
    pub(super) fn tell(
        &mut self,
        now: SimTime,
        spot: Spot,
        end: usize,
        id: SessionId,
        reason: DownReason,
    ) {
        let at = now.saturating_add(self.latency(spot, 1 - end));
        self.out.push(NetOut::Schedule(at, NetEvent::Told { spot, end, session: id, reason }));
    }

    /// When a word that arrives at this end now gets through, if not now: it is said again.
    fn held_up(&mut self, now: SimTime, spot: Spot, end: usize) -> Option<SimTime> {
        let way = self.way(spot, 1 - end);
        let (cut, clogged) = (way.lanes_cut, way.clogged_until);
        if let Some(class) = cut {
            let wait = Duration::from_nanos(way.rng.between(RESEND[0], RESEND[1]));
            self.coverage.effective(class);
            return Some(now.saturating_add(wait));
        }
        if now < clogged {
            self.coverage.effective(Class::Clog);
            return Some(clogged.min(now.saturating_add(LOOK_AGAIN)));
        }
        None
    }

    /// The other end's word arrives. A partition does not let it through. // H18
    pub(super) fn told(
        &mut self,
        now: SimTime,
        spot: Spot,
        end: usize,
        id: SessionId,
        reason: DownReason,
    ) {
        if self.link(spot).session(id).is_none_or(|session| !session.up[end]) {
            return;
        }
        match self.held_up(now, spot, end) {
            None => self.end_down(now, spot, end, id, reason),
            Some(at) => {
                let again = NetEvent::Told { spot, end, session: id, reason };
                self.out.push(NetOut::Schedule(at, again));
            }
        }
    }

    /// The other end's goodbye arrives: the session is over once all that came before it is read.
    pub(super) fn goodbye(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        if self.link(spot).session(id).is_none_or(|session| !session.up[end]) {
            return;
        }
        if let Some(at) = self.held_up(now, spot, end) {
            let again = NetEvent::Goodbye { spot, end, session: id };
            return self.out.push(NetOut::Schedule(at, again));
        }
        if let Some(session) = self.link(spot).session(id) {
            session.ways[1 - end].bye_waits = true;
        }
        self.last_word(now, spot, 1 - end, id);
    }

    /// If `end` has said goodbye and nothing waits before that, the other end hears it.
    pub(super) fn last_word(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        let Some(session) = self.link(spot).session(id) else { return };
        let way = &session.ways[end];
        if way.bye_waits && way.frames.is_empty() {
            self.end_down(now, spot, 1 - end, id, DownReason::Closed);
        }
    }

    /// Makes one end find out at `at` that its session is over.
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
        // Without another word from here the other end waits for its own timeout.
        let waits = session.up[1 - end] && !session.ways[end].bye;
        link.ends[end].current = None;
        link.sessions.retain(|session| !session.is_over());
        let (node, other) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let event = LinkEvent::Down { node: self.id(other), lane: spot.lane, session: id, reason };
        self.out.push(NetOut::Link { node, event });
        self.give_back(spot, end, unsent);
        if waits {
            let at = now.saturating_add(self.config.session_timeout);
            self.dies(at, spot, 1 - end, id, DownReason::Timeout);
        }
    }

    /// Frames that surely never left go back to who sent them, older ones first.
    pub(super) fn give_back(&mut self, spot: Spot, end: usize, mut unsent: Vec<Frame>) {
        let (node, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let state = &mut self.link(spot).ends[end];
        unsent.extend(std::mem::take(&mut state.queue).into_iter().map(|(_, frame)| frame));
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

    /// The session breaks: what is on its way still arrives until the ends hear of it.
    pub(super) fn break_session(
        &mut self,
        now: SimTime,
        spot: Spot,
        id: SessionId,
        reason: DownReason,
    ) {
        for end in [0, 1] {
            let Some(session) = self.link(spot).session(id) else { return };
            session.ways[end].broken_at.get_or_insert(now);
            self.tell(now, spot, end, id, reason);
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

    /// The other end learns that this one is closed, behind the last frame; unless the session is
    /// broken already.
    fn says_goodbye(&mut self, now: SimTime, spot: Spot, end: usize, id: SessionId) {
        let delay = self.latency(spot, end);
        let Some(session) = self.link(spot).session(id) else { return };
        if session.ways[end].broken_at.is_some() {
            return;
        }
        session.ways[end].bye = true;
        let event = NetEvent::Goodbye { spot, end: 1 - end, session: id };
        self.out.push(NetOut::Schedule(now.saturating_add(delay), event));
    }

    /// A node died: its own ends are gone. What it sent up to `left` goes on its way.
    pub(super) fn forget_end(
        &mut self,
        now: SimTime,
        spot: Spot,
        end: usize,
        told: bool,
        left: SimTime,
    ) -> u64 {
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
        let unsent = session.ways[end].take_unsent(left).len() as u64;
        session.ways[end].broken_at.get_or_insert(left);
        let lost = unsent + lost_queue + session.ways[1 - end].frames.len() as u64;
        link.sessions.retain(|session| !session.is_over());
        if told {
            self.tell(now, spot, 1 - end, id, RESET);
        }
        self.dies(now.saturating_add(silence), spot, 1 - end, id, DownReason::Timeout);
        lost
    }
}

//! Dials: how a session of a lane begins.

use super::link::{RESEND, RESET};
use super::session::Session;
use super::{Net, NetEvent, NetOut, Spot};
use crate::{Class, SimTime};
use quorate_transport::{DownReason, LinkEvent, SessionId};
use std::io::ErrorKind;
use std::time::Duration;

impl Net {
    pub(super) fn dial(&mut self, at: SimTime, spot: Spot, end: usize) {
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
        let passes = cut.is_none() && now >= clogged;
        if state.current.is_some() {
            state.dialing = None; // the other side was first
        } else if passes && running {
            self.establish(now, spot, end);
        } else if passes && answers {
            self.dial_failed(now, spot, end, DownReason::Io(ErrorKind::ConnectionRefused));
        } else if now.since(began) >= timeout {
            self.dial_failed(now, spot, end, DownReason::Timeout);
        } else {
            let clog = (now < clogged).then_some(Class::Clog);
            if let Some(class) = cut.or(clog) {
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
            let peer = self.peer(self.place_of(spot, 1 - end), lives[1 - end]);
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
            for (at, frame) in std::mem::take(&mut state.queue) {
                self.depart(at.max(now), spot, end, id, frame);
            }
            self.room(spot, end);
        }
    }
}

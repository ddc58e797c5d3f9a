//! What faults do to the network: cuts, clogs, breaks, heals.

use super::{Cut, Net, NetEvent, NetOut, Spot, way};
use crate::{Plane, SimTime};
use quorate_transport::{DownReason, Lane, SessionId};
use std::time::Duration;

impl Net {
    /// Cuts whoever the cut says, also pairs that do not exist yet.
    pub(crate) fn cut(&mut self, now: SimTime, cut: Cut) {
        self.cuts.push(cut);
        for pair in 0..self.pairs.len() {
            self.apply_cuts(now, u32::try_from(pair).unwrap_or(u32::MAX));
        }
    }

    /// Cuts the pair as the cuts in force say; those of the past go on.
    pub(super) fn apply_cuts(&mut self, now: SimTime, number: u32) {
        let was_open = self.pairs[number as usize].is_open();
        self.cut_again(now, number, was_open);
    }

    fn cut_again(&mut self, now: SimTime, number: u32, was_open: bool) {
        let pair = &mut self.pairs[number as usize];
        for (end, way) in pair.ways.iter_mut().enumerate() {
            let (from, to) = (pair.places[end], pair.places[1 - end]);
            for cut in self.cuts.iter().filter(|cut| cut.blocks(from, to)) {
                if cut.plane != Plane::Datagrams {
                    way.lanes_cut.get_or_insert_with(|| cut.class());
                }
                if cut.plane != Plane::Lanes {
                    way.datagrams_cut.get_or_insert_with(|| cut.class());
                }
            }
        }
        if was_open && !pair.is_open() {
            pair.epoch += 1;
            self.doubt(now, number);
        }
    }

    /// The pair is cut: its sessions die if that lasts too long, each end in its own time.
    fn doubt(&mut self, now: SimTime, number: u32) {
        let epoch = Some(self.pairs[number as usize].epoch);
        if self.pairs[number as usize].links.is_none() {
            return;
        }
        let timeout = self.config.session_timeout;
        for lane in Lane::ALL {
            let spot = Spot { pair: number, lane };
            let ids: Vec<SessionId> = self.link(spot).sessions.iter().map(|s| s.id).collect();
            for session in ids {
                for end in [0, 1] {
                    let late = self.way(spot, end).rng.below(way::nanos(timeout) / 10 + 1);
                    let at = now.saturating_add(timeout + Duration::from_nanos(late));
                    let reason = DownReason::Timeout;
                    let event = NetEvent::Dies { spot, end, session, reason, epoch };
                    self.out.push(NetOut::Schedule(at, event));
                }
            }
        }
    }

    /// Ends all cuts: at once, or pair by pair within `over`, in any order. // H25
    pub(crate) fn heal(&mut self, now: SimTime, over: Duration) {
        self.cuts.clear();
        for pair in 0..self.pairs.len() {
            let pair = u32::try_from(pair).unwrap_or(u32::MAX);
            let wait = self.heal_rng.below(way::nanos(over) + 1);
            if over.is_zero() {
                self.open(now, pair, self.clogs);
            } else {
                let at = now.saturating_add(Duration::from_nanos(wait));
                let event = NetEvent::Healed { pair, clogs: self.clogs };
                self.out.push(NetOut::Schedule(at, event));
            }
        }
    }

    pub(super) fn open(&mut self, now: SimTime, number: u32, clogs: u64) {
        let pair = &mut self.pairs[number as usize];
        let was_open = pair.is_open();
        for way in &mut pair.ways {
            (way.lanes_cut, way.datagrams_cut) = (None, None);
            if way.clog <= clogs {
                way.clogged_until = SimTime::ZERO;
            }
        }
        // A partition that began meanwhile still holds, and so does a clog.
        self.cut_again(now, number, was_open);
        if self.pairs[number as usize].links.is_some() {
            for lane in Lane::ALL {
                let spot = Spot { pair: number, lane };
                self.unblock(now, spot, 0);
                self.unblock(now, spot, 1);
            }
        }
    }

    pub(crate) fn clog(&mut self, from: u32, to: u32, until: SimTime) {
        let (spot, end) = self.spot(from, to, Lane::Control);
        self.clogs += 1;
        let number = self.clogs;
        let way = self.way(spot, end);
        way.clog = number;
        way.clogged_until = way.clogged_until.max(until);
    }

    /// Breaks all sessions of a node; how many there were, and how many had frames on their way.
    pub(crate) fn break_all(&mut self, now: SimTime, place: u32, silent: bool) -> (u64, u64) {
        let (mut broken, mut busy) = (0, 0);
        for (spot, end) in self.spots_of(place) {
            let Some(id) = self.link(spot).ends[end].current else { continue };
            busy += u64::from(self.link(spot).session(id).is_some_and(|s| s.is_busy()));
            broken += 1;
            if silent {
                self.break_silently(now, spot, id);
            } else {
                self.break_session(now, spot, id, DownReason::Io(std::io::ErrorKind::BrokenPipe));
            }
        }
        (broken, busy)
    }
}

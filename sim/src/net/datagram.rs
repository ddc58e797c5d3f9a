//! Datagrams: lost, doubled, overtaking each other, corrupted.

use super::link::LOOK_AGAIN;
use super::wire::{Route, flip};
use super::{Net, NetEvent, NetOut, Spot};
use crate::{Class, SimTime};
use bytes::Bytes;
use quorate_transport::{ChannelId, Lane, Peer, SendError};

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) channel: ChannelId,
    pub(crate) body: Bytes,
    /// Who sent it, in the life that did. // H18
    pub(crate) sender: Peer,
    pub(crate) sent: SimTime,
    /// Which of the copies it is.
    copy: u64,
    /// Faults delayed it.
    delayed: bool,
}

impl Net {
    /// Whether a datagram of this size is taken.
    pub(crate) fn admit_datagram(&self, bytes: usize) -> Result<(), SendError> {
        let (bytes, max) = (bytes as u64, self.config.datagram_bytes_max);
        if bytes > u64::from(max) { Err(SendError::TooLarge { bytes, max }) } else { Ok(()) }
    }

    pub(crate) fn send_datagram(
        &mut self,
        at: SimTime,
        from: u32,
        to: u32,
        channel: ChannelId,
        body: &Bytes,
    ) {
        let (spot, end) = self.spot(from, to, Lane::Control);
        let copies = self.copies(spot, end);
        if copies == 0 {
            return self.out.push(NetOut::LostDatagram { from, to });
        }
        let sender = self.peer(from, self.life(from));
        let host = &mut self.hosts[from as usize];
        host.sent = host.sent.max(at);
        for copy in 0..copies {
            let Some(body) = self.altered(spot, end, channel, body) else {
                self.out.push(NetOut::LostDatagram { from, to });
                continue;
            };
            let delay = self.latency(spot, end);
            let delayed = self.rates.delay_percent > 100 && !delay.is_zero();
            let arrives = at.saturating_add(delay);
            let packet = Packet { from, to, channel, body, sender, sent: at, copy, delayed };
            self.out.push(NetOut::Schedule(arrives, NetEvent::Datagram(packet)));
        }
    }

    /// How many of a message arrive: one, as a rule.
    pub(super) fn copies(&mut self, spot: Spot, end: usize) -> u64 {
        let (loss, duplicate) = (self.rates.loss_ppm, self.rates.duplicate_ppm);
        let rng = &mut self.way(spot, end).rng;
        if loss > 0 && rng.chance(loss) {
            // What is sent to the dead is lost anyway.
            if self.is_running(self.place_of(spot, 1 - end)) {
                self.coverage.effective(Class::Loss);
            }
            return 0;
        }
        if duplicate > 0 && rng.chance(duplicate) { 1 + rng.between(1, 3) } else { 1 }
    }

    /// The body as it arrives; `None` if its checksum will tell.
    fn altered(
        &mut self,
        spot: Spot,
        end: usize,
        channel: ChannelId,
        body: &Bytes,
    ) -> Option<Bytes> {
        let (from, to) = (self.place_of(spot, end), self.place_of(spot, 1 - end));
        let route = Route { from: (self.id(from), self.life(from)), to: self.id(to), channel };
        let (corrupt, undetected) = (self.rates.corrupt_ppm, self.config.corrupt_undetected);
        let wire_check = self.config.wire_check;
        let way = self.way(spot, end);
        let sample = way.is_sample(wire_check);
        if corrupt > 0 && way.rng.chance(corrupt) {
            let flips: Vec<u64> = (0..way.rng.between(1, 8)).map(|_| way.rng.word()).collect();
            if undetected {
                let mut bytes = body.to_vec();
                flip(&mut bytes, &flips);
                if bytes != *body {
                    self.coverage.effective(Class::Corrupt);
                }
                return Some(bytes.into());
            }
            self.coverage.effective(Class::Corrupt);
            return route.carry(body, &flips);
        }
        if sample { Some(route.through(body)) } else { Some(body.clone()) }
    }

    /// It arrives at whatever lives there now.
    pub(super) fn datagram(&mut self, now: SimTime, packet: Packet) {
        let (spot, end) = self.spot(packet.from, packet.to, Lane::Control);
        let running = self.is_running(packet.to);
        if self.never_left(packet.from, packet.sender.incarnation, packet.sent) {
            let (from, to) = (packet.from, packet.to);
            return self.out.push(NetOut::LostDatagram { from, to });
        }
        let way = self.way(spot, end);
        if let Some(class) = way.datagrams_cut {
            return self.coverage.effective(class);
        }
        if now < way.clogged_until {
            let at = way.clogged_until.min(now.saturating_add(LOOK_AGAIN));
            self.coverage.effective(Class::Clog);
            return self.out.push(NetOut::Schedule(at, NetEvent::Datagram(packet)));
        }
        let overtaken = packet.sent < way.newest_arrival;
        way.newest_arrival = way.newest_arrival.max(packet.sent);
        if !running {
            return;
        }
        // Jitter alone makes datagrams overtake each other too, which is no fault.
        if overtaken && (packet.delayed || packet.copy > 0) {
            self.coverage.effective(Class::Reorder);
        }
        if packet.delayed {
            self.coverage.effective(Class::Delay);
        }
        if packet.copy > 0 {
            self.coverage.effective(Class::Duplicate);
        }
        self.out.push(NetOut::Datagram(packet));
    }
}

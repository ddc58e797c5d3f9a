//! R3, R6 to R9: over the chain from the front, frame by frame.

use quorate_wal::DamageKind;

use super::bytes::{END, FRAMES_AT, LINK, Link, Newer, frame, head};
use super::chain::{Part, Prepared, plausible};
use super::heads::{Heads, Segment};
use super::{End, Hurt, Item};

/// Where a run begins or stopped.
#[derive(Clone, Copy, Debug)]
struct Spot {
    at: u64,
    expected: u64,
    chain: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Limit,
    End,
    Header,
    Payload,
}

pub(super) struct Walk<'a> {
    heads: &'a Heads<'a>,
    prepared: Prepared,
    told: u64,
    expected: u64,
    hole: Option<Hurt>,
    headless: Vec<Hurt>,
    /// The log begins with the headless segment that is entered, and nothing is damaged so far.
    first: bool,
    pub(super) damage: Vec<Hurt>,
    pub(super) items: Vec<(u64, Item)>,
    pub(super) end: End,
    pub(super) repaired: u32,
    /// The next number, if no open hole hides it.
    pub(super) next: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(heads: &'a Heads<'a>, prepared: Prepared, told: u64) -> Self {
        Self {
            heads,
            prepared,
            told,
            expected: 0,
            hole: None,
            headless: Vec::new(),
            first: false,
            damage: Vec::new(),
            items: Vec::new(),
            end: End::Clean,
            repaired: 0,
            next: None,
        }
    }

    fn hurt(&mut self, segment: u64, offset: u64, kind: DamageKind) {
        let from = self.expected.max(1);
        self.hole.get_or_insert(Hurt { segment, offset, kind, from, to: None });
    }

    fn mend(&mut self, next: u64) {
        if let Some(mut hole) = self.hole.take() {
            hole.to = Some(next.saturating_sub(1));
            self.damage.push(hole);
            self.tell_headless(next);
        }
    }

    fn tell_headless(&mut self, next: u64) {
        let to = Some(next.saturating_sub(1));
        self.damage.extend(self.headless.drain(..).map(|hurt| Hurt { from: next, to, ..hurt }));
    }

    pub(super) fn part(&mut self, part: Part<'a>, next: Option<&Part<'a>>) -> Result<(), Newer> {
        match part {
            Part::Lost(number, kind) => {
                self.hurt(number, 0, kind);
                Ok(())
            }
            Part::Headless(segment) => {
                let (number, offset, kind) = (segment.number, FRAMES_AT, DamageKind::Link);
                if self.hole.is_some() {
                    let hurt = Hurt { segment: number, offset, kind, from: 0, to: None };
                    self.headless.push(hurt);
                } else {
                    self.hurt(number, offset, kind);
                    let oldest = self.heads.slot.as_ref().map(|slot| slot.oldest);
                    self.first = number > 1 && self.damage.is_empty() && oldest == Some(number);
                }
                let limit = limit(segment, bound_by(segment, next));
                let entered = self.enter(segment, FRAMES_AT, limit)?;
                self.first = false;
                let Some(spot) = entered else { return Ok(()) };
                self.follow(segment, spot, next)
            }
            Part::Linked(segment) => {
                let Some((head, _)) = segment.link else { return Ok(()) };
                self.mend(head.first);
                let spot = Spot { at: head.after(), expected: head.first, chain: Some(head.crc) };
                self.follow(segment, spot, next)
            }
        }
    }

    /// Runs and re-enters until nothing more is found.
    fn follow(
        &mut self,
        segment: &Segment<'_>,
        mut spot: Spot,
        next: Option<&Part<'a>>,
    ) -> Result<(), Newer> {
        let bound = bound_by(segment, next);
        let limit = limit(segment, bound);
        loop {
            let why;
            (spot, why) = self.run(segment, spot, limit)?;
            self.expected = spot.expected;
            if self.is_fine(segment, spot, why, next)? {
                return Ok(());
            }
            let kind = match why {
                _ if segment.short && spot.at + 40 > segment.bytes.len() as u64 => {
                    DamageKind::Length
                }
                Why::Payload if segment.short => DamageKind::Length,
                Why::Payload => DamageKind::Payload,
                _ => DamageKind::FrameHeader,
            };
            self.hurt(segment.number, spot.at, kind);
            let reach = if bound.is_none() && next.is_some() {
                limit.min(self.known_to(segment, spot))
            } else {
                limit
            };
            match (self.enter(segment, spot.at + 8, reach)?, bound) {
                (Some(found), _) => spot = found,
                (None, Some(link)) => {
                    self.mend(link.prev_last + 1);
                    return Ok(());
                }
                (None, None) => return Ok(()),
            }
        }
    }

    fn run(
        &mut self,
        segment: &Segment<'_>,
        mut spot: Spot,
        limit: u64,
    ) -> Result<(Spot, Why), Newer> {
        loop {
            if spot.at == limit {
                return Ok((spot, Why::Limit));
            }
            let found = head(segment.bytes, spot.at, segment.life())?;
            let continues = |h: &super::bytes::Head| {
                h.first == spot.expected && spot.chain.is_none_or(|c| c == h.chain)
            };
            let Some(found) = found.filter(|h| h.kind != LINK && continues(h)) else {
                return Ok((spot, Why::Header));
            };
            if found.kind == END {
                return Ok((spot, Why::End));
            }
            let Some(items) = frame(segment.bytes, &found)? else {
                return Ok((spot, Why::Payload));
            };
            if found.after() > limit {
                return Ok((spot, Why::Header));
            }
            let mut number = found.first;
            for item in items {
                let takes = u64::from(item.takes_number());
                self.items.push((number, item));
                number += takes;
            }
            spot = Spot { at: found.after(), expected: number, chain: Some(found.crc) };
        }
    }

    /// Whether the run ended where it should; if not, there is damage.
    fn is_fine(
        &mut self,
        segment: &Segment<'_>,
        spot: Spot,
        why: Why,
        next: Option<&Part<'a>>,
    ) -> Result<bool, Newer> {
        if let Some(link) = bound_by(segment, next) {
            if spot.at != link.prev_end {
                return Ok(false);
            }
            self.repaired += u32::from(segment.short);
            let chained = spot.chain.is_none_or(|chain| chain == link.prev_chain);
            if spot.expected != link.prev_last + 1 || !chained {
                self.hurt(segment.number, spot.at, DamageKind::Link);
                self.mend(link.prev_last + 1);
            }
            return Ok(true);
        }
        let ended = why == Why::End;
        if self.proven(segment, spot, ended) || (next.is_some() && !ended) {
            return Ok(false);
        }
        if next.is_none() {
            self.end = self.tail(segment, spot, ended);
        }
        self.repaired += u32::from(segment.short && ended);
        Ok(true)
    }

    /// How far the segment is proven, by itself or by MANIFEST.
    fn known_to(&self, segment: &Segment<'_>, spot: Spot) -> u64 {
        let claims = plausible(segment, spot.at + 8, spot.expected).map(|h| h.durable);
        let slot = self.heads.slot.filter(|s| s.seq == segment.number);
        claims.chain(slot.map(|s| s.off)).max().unwrap_or(0)
    }

    fn closed_here(&self, segment: &Segment<'_>, spot: Spot, ended: bool) -> bool {
        let here = |s: &super::bytes::Slot| s.clean && (s.seq, s.off) == (segment.number, spot.at);
        ended && self.heads.slot.as_ref().is_some_and(here)
    }

    /// R7.
    fn proven(&self, segment: &Segment<'_>, spot: Spot, ended: bool) -> bool {
        let mut behind = plausible(segment, spot.at + 8, spot.expected);
        let frame = !self.closed_here(segment, spot, ended) && behind.any(|h| h.durable > spot.at);
        let slot = self.heads.slot;
        let marked = slot.is_some_and(|s| s.seq == segment.number && s.off > spot.at);
        frame || marked || self.told >= spot.expected
    }

    /// R8.
    fn tail(&self, segment: &Segment<'_>, spot: Spot, ended: bool) -> End {
        let from = spot.expected;
        let last = plausible(segment, spot.at + 8, from).last();
        if !ended || self.prepared.any_lost_its_end {
            let shut = !self.prepared.any_lost_its_end && !self.prepared.any_followed;
            let to = last.filter(|h| shut && h.kind == END && h.first >= from);
            return End::Unverifiable(from, to.map(|h| h.first - 1));
        }
        let behind = last.is_some() && !self.closed_here(segment, spot, ended);
        if behind || self.prepared.any_followed { End::Torn(from) } else { End::Clean }
    }

    /// The next sound frame from `from` on.
    fn enter(
        &mut self,
        segment: &Segment<'_>,
        from: u64,
        limit: u64,
    ) -> Result<Option<Spot>, Newer> {
        let expected = self.expected.max(1);
        for found in plausible(segment, from, expected) {
            let fits = found.first >= expected && found.kind != LINK && found.after() <= limit;
            if found.at < limit && fits && frame(segment.bytes, &found)?.is_some() {
                if let Some(hole) = self.hole.as_mut().filter(|_| self.first && found.at == 4184) {
                    hole.from = found.first;
                }
                self.mend(found.first);
                self.expected = found.first;
                return Ok(Some(Spot { at: found.at, expected: found.first, chain: None }));
            }
        }
        Ok(None)
    }

    pub(super) fn finish(mut self, empty: bool) -> Self {
        if empty {
            if self.told > 0 {
                let oldest = self.heads.oldest;
                self.hurt(oldest, FRAMES_AT, DamageKind::FrameHeader);
            } else if self.prepared.any_lost_its_end {
                self.end = End::Unverifiable(1, None);
            } else if self.prepared.any_followed {
                self.end = End::Torn(1);
            }
        }
        self.next = self.hole.is_none().then(|| self.expected.max(1));
        if let Some(hole) = self.hole.take() {
            let from = hole.from;
            self.damage.push(hole);
            self.tell_headless(from);
        }
        self
    }
}

/// The Link that says where the segment ends.
fn bound_by(segment: &Segment<'_>, next: Option<&Part<'_>>) -> Option<Link> {
    let Some(Part::Linked(next)) = next else { return None };
    next.link.map(|(_, link)| link).filter(|link| link.prev == segment.number)
}

fn limit(segment: &Segment<'_>, bound: Option<Link>) -> u64 {
    let len = segment.bytes.len() as u64;
    bound.map_or(len, |link| link.prev_end.min(len))
}

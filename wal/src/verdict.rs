//! Recovery as a decision about bytes (R4 to R9): which frames are the log, what is torn, what is
//! damaged. No I/O of its own: bytes come through a function, its errors abort and are never a
//! verdict (H6); nothing here reads a clock or draws lots (H8).

use std::ops::Range;

use crate::ahead::{Ahead, Verifier};
use crate::format::Unsupported;
use crate::format::frame::{FrameKind, LINK_FRAME, Link};
use crate::format::manifest::Manifest;
use crate::format::segment::HEADER_BYTES;
use crate::lsn::{Lsn, LsnSpan};
use crate::plant::planted;
use crate::report::{Damage, DamageKind, Evidence, Tail};
pub(crate) use crate::scan::Stopped;
use crate::scan::{Cursor, Found, Frame, Image, Load};
use crate::width::off;

mod walk;

/// Damaged places whose single flipped bit is searched for; the search costs milliseconds each.
const SINGLE_BIT_SEARCHES: usize = 16;

/// The largest segment a configuration allows.
const SEGMENT_BYTES_MAX: u32 = 1 << 30;
/// Numbers are below this.
const LSN_LIMIT: u64 = 1 << 63;

/// What is known of a segment from its first bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) seq: u64,
    /// Length of the file.
    pub(crate) len: u64,
    /// Length it should have.
    pub(crate) segment_bytes: u32,
    /// `None`: both header copies are bad and nobody else knows the salt.
    pub(crate) salt: Option<u64>,
    /// The Link at the start, with its first number and its checksum.
    pub(crate) link: Option<Linked>,
}

impl Facts {
    /// Where the segment ends; a file may be shorter than it should be, or longer.
    pub(crate) fn end(&self) -> u32 {
        u32::try_from(self.len).map_or(self.segment_bytes, |len| len.min(self.segment_bytes))
    }
}

/// A verified Link frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linked {
    pub(crate) link: Link,
    pub(crate) first_lsn: u64,
    pub(crate) crc: u32,
    pub(crate) durable_off: u32,
}

impl Linked {
    /// Where the frames behind the Link begin.
    fn cursor(&self) -> Cursor {
        let at = HEADER_BYTES + off(LINK_FRAME);
        Cursor { at, lsn: self.first_lsn, chain: Some(self.crc) }
    }
}

/// What recovery starts from.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) manifest: Option<Manifest>,
    /// In ascending order, none below the manifest's `oldest`.
    pub(crate) segments: Vec<Facts>,
    pub(crate) expect_durable: u64,
}

/// Takes what is verified, in order.
pub(crate) trait Sink {
    /// A frame of the log. `restart`: it does not follow the frame before without a break.
    fn frame(&mut self, seq: u64, frame: &Frame<'_>, restart: bool) -> Result<(), Unsupported>;
    /// A whole run of frames without a break, from the first frame of a segment on, that was
    /// verified ahead: the same as [`frame`](Self::frame) for each of them.
    fn run(&mut self, seq: u64, run: &Ahead) -> Result<(), Unsupported>;
    /// Numbers that are lost, before any later frame.
    fn hole(&mut self, lost: LsnSpan);
}

/// A segment that is part of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) first_lsn: u64,
    pub(crate) end: u32,
}

/// Where the log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastFrame {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) at: u32,
    pub(crate) chain: u32,
    pub(crate) ended: bool,
    /// Everything below is proven to be on the medium.
    pub(crate) proven: u32,
}

/// The decision.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) tail: Tail,
    pub(crate) damage: Vec<Damage>,
    pub(crate) members: Vec<Member>,
    pub(crate) last: Option<LastFrame>,
    pub(crate) next_lsn: u64,
    /// Prepared segments that were never written.
    pub(crate) empty: Vec<u64>,
    pub(crate) bytes_scanned: u64,
    pub(crate) repaired: u32,
}

/// Decides. `helpers` threads verify segments ahead of the one that decides; the decision is the
/// same for any number of them.
pub(crate) fn judge(
    input: &Input,
    load: Load<'_>,
    sink: &mut dyn Sink,
    helpers: usize,
) -> Result<Verdict, Stopped> {
    let mut judge = Judge::new(input, load, sink);
    let (mut chain, top) = judge.chain()?;
    judge.look_above(&mut chain, top)?;
    let runs = if helpers > 0 { walk::first_runs(&chain) } else { Vec::new() };
    let verifier = Verifier::new(load, runs, helpers);
    verifier.beside(|| {
        for (i, part) in chain.iter().enumerate() {
            judge.part(*part, chain.get(i + 1), &verifier)?;
        }
        Ok(judge.finish())
    })
}

/// A link of the chain in the order of the log.
#[derive(Clone, Copy, Debug)]
enum Part {
    Linked(Facts, Linked),
    /// Unlinked, but proven to have been part of the log.
    Pseudo(Facts, Evidence),
    /// Gone, or without a readable header.
    Lost(u64, DamageKind, Evidence),
}

/// What lies in an unlinked segment behind the last one of the chain.
#[derive(Clone, Copy, Debug)]
struct Above {
    seq: u64,
    prepared_end: bool,
    followed: bool,
    whole: bool,
}

/// What lies behind the place where a run stopped.
#[derive(Debug, Default)]
struct Behind {
    proof: Option<Evidence>,
    last: Option<Found>,
    /// The highest durable position that any of it names.
    claim: u32,
}

/// A part of the log, if that is proven, and what an unproven segment looks like.
type Looked = (Option<Part>, Option<Above>);

struct Judge<'a, 'l> {
    input: &'a Input,
    load: Load<'l>,
    sink: &'a mut dyn Sink,
    damage: Vec<Damage>,
    /// Damage whose end is not known yet.
    open: Option<Damage>,
    /// Segments that have lost their Link within that hole: places of their own, since what
    /// comes before them may be given back first.
    headless: Vec<Damage>,
    members: Vec<Member>,
    /// Next number; 0: not known yet.
    lsn: u64,
    tail: Tail,
    last: Option<LastFrame>,
    above: Vec<Above>,
    /// Highest number any header speaks of.
    seen_lsn: u64,
    bytes_scanned: u64,
    repaired: u32,
    /// Segments of the chain that are gone or unreadable.
    lost_segments: u64,
    /// The memory of the window.
    buf: Vec<u8>,
}

impl<'a, 'l> Judge<'a, 'l> {
    fn new(input: &'a Input, load: Load<'l>, sink: &'a mut dyn Sink) -> Self {
        Self {
            input,
            load,
            sink,
            damage: Vec::new(),
            open: None,
            headless: Vec::new(),
            members: Vec::new(),
            lsn: 0,
            tail: Tail::Clean,
            last: None,
            above: Vec::new(),
            seen_lsn: 0,
            bytes_scanned: 0,
            repaired: 0,
            lost_segments: 0,
            buf: Vec::new(),
        }
    }

    fn facts(&self, seq: u64) -> Option<&'a Facts> {
        let found = self.input.segments.binary_search_by_key(&seq, |f| f.seq).ok()?;
        Some(&self.input.segments[found])
    }

    fn oldest(&self) -> u64 {
        let first = self.input.segments.first().map_or(1, |f| f.seq);
        self.input.manifest.map_or(first, |m| m.oldest)
    }

    /// R5: from the highest linked segment back to the oldest; also the number it starts from.
    fn chain(&mut self) -> Result<(Vec<Part>, u64), Stopped> {
        let input = self.input;
        let linked_below = |bound: u64| {
            let linked = |f: &&Facts| f.seq < bound && f.link.is_some();
            input.segments.iter().rev().find(linked)
        };
        let mut chain = Vec::new();
        let mut next = linked_below(u64::MAX);
        let top = next.map_or(0, |f| f.seq);
        while let Some(facts) = next {
            let Some(linked) = facts.link else { break };
            chain.push(Part::Linked(*facts, linked));
            let prev = linked.link.prev_seq;
            if prev == 0 || prev < self.oldest() {
                break;
            }
            let evidence = Evidence::NextSegment { segment: facts.seq };
            let part = match self.facts(prev) {
                Some(found) if found.link.is_some() => {
                    next = Some(found);
                    continue;
                }
                Some(found) if found.salt.is_some() => Part::Pseudo(*found, evidence),
                Some(_) => Part::Lost(prev, DamageKind::SegmentHeader, evidence),
                None => Part::Lost(prev, DamageKind::MissingSegment, evidence),
            };
            chain.push(part);
            next = linked_below(prev);
            // Nobody names what was before it: whatever is proven in between belongs there.
            let floor = next.map_or_else(|| self.oldest(), |f| f.seq + 1);
            let between = self.look_at(floor..prev)?;
            chain.extend(between.into_iter().rev().filter_map(|(part, _)| part));
        }
        chain.reverse();
        Ok((chain, top))
    }

    /// Looks behind the chain: what is proven there belongs to it (H13, H15).
    fn look_above(&mut self, chain: &mut Vec<Part>, top: u64) -> Result<(), Stopped> {
        let newest = self.input.manifest.map_or(0, |m| m.newest);
        let highest = self.input.segments.last().map_or(0, |f| f.seq).max(newest);
        let from = top.max(self.oldest().saturating_sub(1)) + 1;
        let mut parts = Vec::new();
        let mut keep = 0;
        for (part, above) in self.look_at(from..highest.saturating_add(1))? {
            parts.push((part, above));
            if part.is_some() && !planted("evidence_ignored") {
                keep = parts.len();
            }
        }
        for (i, (part, above)) in parts.into_iter().enumerate() {
            match part {
                Some(part) if i < keep => chain.push(part),
                _ => self.above.extend(above),
            }
        }
        Ok(())
    }

    /// The numbers of a range, each by itself. A run of missing ones is one entry: a wild number in
    /// MANIFEST costs no memory (H36).
    fn look_at(&mut self, range: Range<u64>) -> Result<Vec<Looked>, Stopped> {
        let mut found = Vec::new();
        let mut seq = range.start;
        while seq < range.end {
            found.push(self.look(seq)?);
            seq += 1;
            if self.facts(seq - 1).is_none() {
                let there = self.input.segments.iter().map(|f| f.seq).find(|&s| s >= seq);
                let next = there.map_or(range.end, |s| s.min(range.end));
                self.lost_segments = self.lost_segments.saturating_add(next - seq);
                seq = next;
            }
        }
        Ok(found)
    }

    /// One segment behind the chain: a part of the log if that is proven, else what it looks like.
    fn look(&mut self, seq: u64) -> Result<Looked, Stopped> {
        let Some(&facts) = self.facts(seq) else {
            let gone = Part::Lost(seq, DamageKind::MissingSegment, Evidence::Manifest);
            return Ok((Some(gone), None));
        };
        let Some(salt) = facts.salt else {
            let bad = Part::Lost(seq, DamageKind::SegmentHeader, Evidence::Structure);
            return Ok((Some(bad), None));
        };
        let mut image = self.image(&facts, salt)?;
        let prepared_end = image
            .header(HEADER_BYTES)?
            .is_some_and(|f| f.header.kind == FrameKind::End && f.header.first_lsn == 0);
        let reach = self.input.segments.iter().filter_map(|f| f.link).map(|l| l.first_lsn).max();
        let behind = self.behind(&mut image, HEADER_BYTES, HEADER_BYTES, reach.unwrap_or(1))?;
        self.put_back(image);
        let mut proof = behind.proof;
        if self.input.manifest.is_some_and(|m| m.durable_seq == seq) {
            proof = Some(Evidence::Manifest);
        }
        let whole = facts.len >= u64::from(facts.segment_bytes);
        let followed = behind.last.is_some();
        let above = Above { seq, prepared_end, followed, whole };
        Ok((proof.map(|proof| Part::Pseudo(facts, proof)), Some(above)))
    }

    fn note(&mut self, found: &Found) {
        // An End frame carries the next number and consumes none: the same sum holds.
        let newest = (found.header.first_lsn + u64::from(found.header.lsns)).saturating_sub(1);
        self.seen_lsn = self.seen_lsn.max(newest);
    }

    /// Everything that looks like a header behind `at`, and whether any of it proves that more
    /// than `proven` bytes were durable.
    fn behind(
        &mut self,
        image: &mut Image<'_>,
        at: u32,
        proven: u32,
        lsn: u64,
    ) -> Result<Behind, Stopped> {
        let mut behind = Behind::default();
        let mut from = at + 8;
        while let Some(found) = image.plausible(from, image.end(), lsn)? {
            self.note(&found);
            if found.header.durable_off > proven && behind.proof.is_none() {
                behind.proof = Some(evidence_of(&found));
            }
            from = found.offset + 8;
            behind.claim = behind.claim.max(found.header.durable_off);
            behind.last = Some(found);
        }
        Ok(behind)
    }

    /// A segment, without what is too much.
    fn image(&mut self, facts: &Facts, salt: u64) -> Result<Image<'l>, Stopped> {
        let buf = std::mem::take(&mut self.buf);
        Image::new(self.load, facts.seq, salt, facts.end(), buf)
    }

    fn put_back(&mut self, image: Image<'_>) {
        let (buf, reach) = image.into_parts();
        self.buf = buf;
        self.bytes_scanned += u64::from(reach);
    }

    fn begin_hole(&mut self, damage: Damage) {
        if self.open.is_none() {
            self.open = Some(damage);
        }
    }

    /// Ends the open hole before number `next`.
    fn close_hole(&mut self, next: u64) {
        if let Some(mut damage) = self.open.take() {
            damage.lost.to = Some(Lsn::new(next.saturating_sub(1)));
            self.sink.hole(damage.lost);
            self.damage.push(damage);
            self.tell_headless(next);
        }
    }

    /// All that was lost is in the hole, which ended before `next`.
    fn tell_headless(&mut self, next: u64) {
        let nothing = LsnSpan::new(Lsn::new(next), Some(Lsn::new(next.saturating_sub(1))));
        let told = self.headless.drain(..).map(|damage| Damage { lost: nothing, ..damage });
        self.damage.extend(told);
    }

    fn damage_at(&self, segment: u64, offset: u32, kind: DamageKind, evidence: Evidence) -> Damage {
        let from = Lsn::new(self.lsn.max(1));
        let lost = LsnSpan::new(from, None);
        Damage { segment, offset, kind, lost, evidence, single_bit: None }
    }

    /// R7 and R8 for a log without any linked segment: its first group was torn, or never written.
    fn judge_unbegun(&mut self) {
        let (lsn, told) = (Lsn::new(1), self.input.expect_durable);
        if told > 0 {
            let evidence = Evidence::Caller { lsn: Lsn::new(told) };
            let seq = self.oldest();
            self.open = Some(self.damage_at(seq, HEADER_BYTES, DamageKind::FrameHeader, evidence));
        } else if self.above.iter().any(|a| !a.prepared_end) {
            self.tail = Tail::Unverifiable { lsns: LsnSpan::new(lsn, None) };
        } else if self.above.iter().any(|a| a.followed) {
            self.tail = Tail::Torn { from: lsn };
        }
    }

    fn finish(mut self) -> Verdict {
        if self.members.is_empty() && self.open.is_none() && self.damage.is_empty() {
            self.judge_unbegun();
        }
        let mut next_lsn = self.lsn.max(1);
        if let Some(damage) = self.open.take() {
            // The hole has no end: no number that may have been given out is given out again.
            // A record takes two bytes or more, so what is lost held fewer numbers than bytes.
            let marked = self.input.manifest.map_or(0, |m| m.durable_lsn);
            let known = marked.max(self.seen_lsn).max(self.input.expect_durable);
            let bytes = self.input.segments.iter().map(|f| f.segment_bytes).max();
            let segments = self.lost_segments.saturating_add(1);
            let bytes = u64::from(bytes.unwrap_or(SEGMENT_BYTES_MAX));
            let lost = bytes.saturating_mul(segments);
            next_lsn = next_lsn.max(known + 1).saturating_add(lost).min(LSN_LIMIT);
            self.sink.hole(damage.lost);
            let from = damage.lost.from.as_u64();
            self.damage.push(damage);
            self.tell_headless(from);
        }
        let empty = |a: &Above| a.prepared_end && !a.followed && a.whole;
        Verdict {
            tail: self.tail,
            damage: self.damage,
            members: self.members,
            last: self.last,
            next_lsn,
            empty: self.above.iter().filter(|a| empty(a)).map(|a| a.seq).collect(),
            bytes_scanned: self.bytes_scanned,
            repaired: self.repaired,
        }
    }
}

fn evidence_of(found: &Found) -> Evidence {
    Evidence::Frame { offset: found.offset, durable_off: found.header.durable_off }
}

#[cfg(test)]
mod tests;

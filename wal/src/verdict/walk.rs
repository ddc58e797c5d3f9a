//! Walking one segment of the chain: runs of frames, the holes between them, the end.

use super::SINGLE_BIT_SEARCHES;
use super::{Behind, Facts, Judge, LastFrame, Linked, Member, Part, Stopped};
use crate::ahead::{Run, Verifier};
use crate::format::frame::{FRAME_HEADER, FrameKind, LINK_FRAME};
use crate::format::segment::HEADER_BYTES;
use crate::lsn::{Lsn, LsnSpan};
use crate::plant::planted;
use crate::report::{DamageKind, Evidence, Tail};
use crate::scan::{Cursor, Image, Stop, Why};
use crate::width::off;

/// Where the first frame behind a Link stands.
const FIRST_DATA: u32 = HEADER_BYTES + 88;
const _: () = assert!(FIRST_DATA as usize == HEADER_BYTES as usize + LINK_FRAME);

/// What follows the segment in the chain.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// A segment whose Link says where this one ends.
    Bound(u64, Linked),
    /// A segment that is damaged or gone; this one ends where it ends.
    Loose(u64),
    /// Nothing: this is the last.
    Nothing,
}

impl Judge<'_, '_> {
    /// Takes the next part of the chain.
    pub(super) fn part(
        &mut self,
        part: Part,
        next: Option<&Part>,
        verifier: &Verifier<'_>,
    ) -> Result<(), Stopped> {
        match part {
            Part::Lost(seq, kind, evidence) => {
                self.lost_segments = self.lost_segments.saturating_add(1);
                let damage = self.damage_at(seq, 0, kind, evidence);
                self.begin_hole(damage);
                Ok(())
            }
            Part::Linked(facts, linked) => {
                self.close_hole(linked.first_lsn);
                self.lsn = linked.first_lsn;
                let start = (linked.cursor(), linked.durable_off);
                self.walk(&facts, Some(start), next_of(&facts, next), verifier)
            }
            Part::Pseudo(facts, evidence) => {
                let damage = self.damage_at(facts.seq, HEADER_BYTES, DamageKind::Link, evidence);
                if self.open.is_some() {
                    self.headless.push(damage);
                } else {
                    self.begin_hole(damage);
                }
                self.walk(&facts, None, next_of(&facts, next), verifier)
            }
        }
    }

    fn walk(
        &mut self,
        facts: &Facts,
        start: Option<(Cursor, u32)>,
        next: Next,
        verifier: &Verifier<'_>,
    ) -> Result<(), Stopped> {
        let Some(salt) = facts.salt else { return Ok(()) };
        let mut image = self.image(facts, salt)?;
        let limit = limit(facts, next);
        let mut proven = start.map_or(0, |(_, durable_off)| durable_off);
        let mut restart = start.is_none();
        let entry = match start {
            Some((cursor, _)) => Some(cursor),
            None => self.reenter(&mut image, HEADER_BYTES, limit)?,
        };
        let Some(mut cursor) = entry else {
            self.put_back(image);
            return Ok(());
        };
        let first_lsn = cursor.lsn;
        loop {
            let stop = self.run(&mut image, cursor, limit, restart, verifier)?;
            self.lsn = stop.lsn;
            proven = proven.max(stop.proven);
            let again = self.after_run(&mut image, facts, &stop, next, limit)?;
            let Some(next_cursor) = again else {
                self.leave(&image, first_lsn, &stop, next, proven);
                self.put_back(image);
                return Ok(());
            };
            cursor = next_cursor;
            restart = true;
        }
    }

    /// A run of frames: as it was verified ahead, or read here.
    fn run(
        &mut self,
        image: &mut Image<'_>,
        cursor: Cursor,
        limit: u32,
        mut restart: bool,
        verifier: &Verifier<'_>,
    ) -> Result<Stop, Stopped> {
        // Only the first run of a segment was verified ahead: a later one begins elsewhere.
        if let Some(ahead) = verifier.take(image.seq, cursor, limit) {
            self.sink.run(image.seq, &ahead)?;
            image.reached(ahead.reach);
            return Ok(ahead.stop);
        }
        let (sink, seq) = (&mut *self.sink, image.seq);
        image.run(cursor, limit, &mut |frame| sink.frame(seq, frame, std::mem::take(&mut restart)))
    }

    /// Judges where a run stopped; where to go on if that is behind a hole.
    fn after_run(
        &mut self,
        image: &mut Image<'_>,
        facts: &Facts,
        stop: &Stop,
        next: Next,
        limit: u32,
    ) -> Result<Option<Cursor>, Stopped> {
        let short = facts.len < u64::from(facts.segment_bytes);
        let mut behind = Behind::default();
        let evidence = match next {
            Next::Bound(seq, linked) => {
                if stop.at == linked.link.prev_end {
                    self.repaired += u32::from(short);
                    self.join(image.seq, stop, seq, linked);
                    return Ok(None);
                }
                Some(Evidence::NextSegment { segment: seq })
            }
            Next::Loose(seq) => {
                let sound = stop.why == Why::End && self.proof_behind(image, stop)?.0.is_none();
                (!sound).then_some(Evidence::NextSegment { segment: seq })
            }
            Next::Nothing => {
                let proof;
                (proof, behind) = self.proof_behind(image, stop)?;
                proof
            }
        };
        let Some(evidence) = evidence else {
            if matches!(next, Next::Nothing) {
                self.tail = self.judge_tail(&behind, stop);
            }
            self.repaired += u32::from(short && stop.why == Why::End);
            return Ok(None);
        };
        let mut damage = self.damage_at(image.seq, stop.at, kind_of(image, facts, stop), evidence);
        if self.damage.len() < SINGLE_BIT_SEARCHES {
            damage.single_bit = image.single_bit(stop.at, stop.lsn)?;
        }
        self.begin_hole(damage);
        let limit = match next {
            Next::Loose(_) => limit.min(self.proven_to(image, stop)?),
            _ => limit,
        };
        let cursor = self.reenter(image, stop.at + 8, limit)?;
        if planted("span_closed_early") && cursor.is_none() {
            self.close_hole(stop.lsn + 1);
        }
        if let (None, Next::Bound(_, linked)) = (cursor, next) {
            self.close_hole(linked.link.prev_last_lsn + 1);
        }
        Ok(cursor)
    }

    /// R6: the end of a segment must be what the next one's Link says.
    fn join(&mut self, seq: u64, stop: &Stop, next_seq: u64, linked: Linked) {
        let fits = stop.lsn == linked.link.prev_last_lsn + 1;
        let chained = stop.chain.is_none_or(|chain| chain == linked.link.prev_chain);
        if fits && chained {
            return;
        }
        let evidence = Evidence::NextSegment { segment: next_seq };
        let damage = self.damage_at(seq, stop.at, DamageKind::Link, evidence);
        self.begin_hole(damage);
        self.close_hole(linked.link.prev_last_lsn + 1);
    }

    /// The next whole frame behind a hole; closes the hole, and nothing less does (H14).
    fn reenter(
        &mut self,
        image: &mut Image<'_>,
        from: u32,
        limit: u32,
    ) -> Result<Option<Cursor>, Stopped> {
        let Some(found) = image.resume(from, limit, self.lsn.max(1))? else { return Ok(None) };
        let lsn = found.header.first_lsn;
        if found.offset == FIRST_DATA
            && self.begins_with(image.seq)
            && let Some(damage) = &mut self.open
        {
            damage.lost.from = Lsn::new(lsn);
        }
        self.close_hole(lsn);
        self.lsn = lsn;
        Ok(Some(Cursor { at: found.offset, lsn, chain: None }))
    }

    /// Whether the log begins with this segment, which has lost its Link and nothing else so far,
    /// because all before it was given back.
    fn begins_with(&self, seq: u64) -> bool {
        let oldest = seq > 1 && self.input.manifest.is_some_and(|m| m.oldest == seq);
        let here = self.open.as_ref().is_some_and(|d| (d.segment, d.offset) == (seq, HEADER_BYTES));
        oldest && here && self.damage.is_empty()
    }

    /// R7: does anything prove that the place where the run stopped was durable? (H1, H3, H12)
    fn proof_behind(
        &mut self,
        image: &mut Image<'_>,
        stop: &Stop,
    ) -> Result<(Option<Evidence>, Behind), Stopped> {
        let behind = if self.clean_at(image, stop) {
            Behind::default()
        } else {
            self.behind(image, stop.at, stop.at, stop.lsn)?
        };
        if planted("evidence_ignored") {
            return Ok((None, behind));
        }
        let marked = self.input.manifest.filter(|m| m.durable_seq == image.seq);
        if marked.is_some_and(|m| m.durable_off > stop.at) {
            return Ok((Some(behind.proof.unwrap_or(Evidence::Manifest)), behind));
        }
        let told = self.input.expect_durable;
        let told = (told >= stop.lsn).then_some(Evidence::Caller { lsn: Lsn::new(told) });
        Ok((behind.proof.or(told), behind))
    }

    /// How far a segment is known to belong to the log of which nothing else says where it ends.
    /// Behind a place that an earlier recovery found torn stand frames that it discarded; they
    /// claim nothing beyond that place (H4).
    fn proven_to(&mut self, image: &mut Image<'_>, stop: &Stop) -> Result<u32, Stopped> {
        let behind = self.behind(image, stop.at, stop.at, stop.lsn)?;
        let marked = self.input.manifest.filter(|m| m.durable_seq == image.seq);
        Ok(marked.map_or(behind.claim, |m| behind.claim.max(m.durable_off)))
    }

    /// Whether a clean shutdown ended exactly here: then nothing behind needs a look.
    fn clean_at(&self, image: &Image<'_>, stop: &Stop) -> bool {
        let here =
            |m: &super::Manifest| m.clean && m.durable_seq == image.seq && m.durable_off == stop.at;
        stop.why == Why::End && self.input.manifest.as_ref().is_some_and(here)
    }

    /// R8. What is torn was never acknowledged, or nothing speaks for it: no refusal (H2), no
    /// silence either (H12).
    fn judge_tail(&self, behind: &Behind, stop: &Stop) -> Tail {
        let ended = stop.why == Why::End;
        let lost_end = self.above.iter().any(|a| !a.prepared_end);
        let followed = behind.last.is_some() || self.above.iter().any(|a| a.followed);
        if ended && !lost_end {
            return if followed { Tail::Torn { from: Lsn::new(stop.lsn) } } else { Tail::Clean };
        }
        // The span ends where a later End frame says so, unless more follows that.
        let to = behind.last.filter(|f| f.header.kind == FrameKind::End);
        let to = to.filter(|f| f.header.first_lsn >= stop.lsn);
        let to = to.map(|f| Lsn::new(f.header.first_lsn - 1));
        let to = to.filter(|_| !self.above.iter().any(|a| a.followed || !a.prepared_end));
        Tail::Unverifiable { lsns: LsnSpan::new(Lsn::new(stop.lsn), to) }
    }

    fn leave(&mut self, image: &Image<'_>, first_lsn: u64, stop: &Stop, next: Next, proven: u32) {
        let (seq, salt) = (image.seq, image.salt);
        self.members.push(Member { seq, salt, first_lsn, end: stop.at });
        let marked = self.input.manifest.filter(|m| m.durable_seq == image.seq);
        let proven = marked.map_or(proven, |m| proven.max(m.durable_off));
        if !matches!(next, Next::Bound(..)) {
            self.last = Some(LastFrame {
                seq: image.seq,
                salt: image.salt,
                at: stop.at,
                chain: stop.chain.unwrap_or(0),
                ended: stop.why == Why::End,
                proven: proven.clamp(HEADER_BYTES, stop.at),
            });
        }
    }
}

/// How far a run may go.
fn limit(facts: &Facts, next: Next) -> u32 {
    match next {
        Next::Bound(_, linked) => linked.link.prev_end.min(facts.end()),
        _ => facts.end(),
    }
}

/// The first run of each linked segment: where it begins is known before any byte is read.
pub(super) fn first_runs(chain: &[Part]) -> Vec<Run> {
    let mut runs = Vec::new();
    for (i, part) in chain.iter().enumerate() {
        if let Part::Linked(facts, linked) = part
            && let Some(salt) = facts.salt
        {
            let limit = limit(facts, next_of(facts, chain.get(i + 1)));
            let (seq, end, cursor) = (facts.seq, facts.end(), linked.cursor());
            runs.push(Run { seq, salt, end, cursor, limit });
        }
    }
    runs
}

fn next_of(facts: &Facts, next: Option<&Part>) -> Next {
    match next {
        Some(Part::Linked(next, linked)) if linked.link.prev_seq == facts.seq => {
            Next::Bound(next.seq, *linked)
        }
        Some(Part::Linked(next, _) | Part::Pseudo(next, _)) => Next::Loose(next.seq),
        Some(Part::Lost(seq, ..)) => Next::Loose(*seq),
        None => Next::Nothing,
    }
}

fn kind_of(image: &Image<'_>, facts: &Facts, stop: &Stop) -> DamageKind {
    let short = facts.len < u64::from(facts.segment_bytes);
    if short && stop.at + off(FRAME_HEADER) > image.end() {
        return DamageKind::Length;
    }
    match stop.why {
        Why::Payload if short => DamageKind::Length,
        Why::Payload => DamageKind::Payload,
        _ => DamageKind::FrameHeader,
    }
}

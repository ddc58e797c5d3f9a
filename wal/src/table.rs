//! The state of streams and of the plain log's marks; the same steps change it live and at
//! replay (H44).

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;

use bytes::Bytes;

use crate::batch::{EntriesOp, Op};
use crate::error::WriteError;
use crate::lsn::{Lsn, LsnSpan, StreamId};
use crate::plant::planted;
use crate::report::Health;
use crate::width::wide;

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) lsn: u64,
    pub(crate) seq: u64,
    /// Of the frame.
    pub(crate) offset: u32,
}

/// A block, without its bytes. There may be many millions: no byte of padding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockRef {
    pub(crate) first: u64,
    pub(crate) tag: u64,
    pub(crate) lsn: u64,
    pub(crate) seq: u64,
    /// Of the frame.
    pub(crate) offset: u32,
    pub(crate) count: u32,
    /// Entries that no replacement cut off, from `first`.
    pub(crate) kept: u32,
    pub(crate) len: u32,
}

const _: () = assert!(size_of::<BlockRef>() == 48);

impl BlockRef {
    pub(crate) const fn spot(&self) -> Spot {
        Spot { lsn: self.lsn, seq: self.seq, offset: self.offset }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.first + self.kept as u64
    }

    /// Entries at or above `low` that were not replaced.
    pub(crate) fn live(&self, low: u64) -> Range<u64> {
        self.first.max(low)..self.end()
    }
}

/// A metadata cell.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) slot: u8,
    pub(crate) seq: u64,
    pub(crate) bytes: Bytes,
}

/// One stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) low: u64,
    pub(crate) next: u64,
    /// Whether `low` and `next` mean anything yet.
    bounded: bool,
    /// `low` was set by a `keep_from`, not guessed from the first block.
    low_is_set: bool,
    pub(crate) blocks: VecDeque<BlockRef>,
    pub(crate) cells: Vec<Cell>,
    /// Number of the newest record; 0: only hints so far.
    last_lsn: u64,
    /// Segment of the newest `keep_from`.
    pub(crate) hint_seq: Option<u64>,
    gap: Option<Range<u64>>,
    uncertain: Option<u64>,
}

/// Streams by id. The hasher has no seed: what is done in their order is the same in each run.
#[expect(clippy::disallowed_types, reason = "no random order without a random seed")]
pub(crate) type Streams =
    std::collections::HashMap<StreamId, Stream, BuildHasherDefault<DefaultHasher>>;

/// All streams, and which segments they need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) streams: Streams,
    /// No stream ever had more blocks.
    pub(crate) most_blocks: usize,
    /// Live things of streams in each segment (H47).
    needs: BTreeMap<u64, Need>,
    /// The newest record of the plain log in each segment.
    main_last: BTreeMap<u64, u64>,
    pub(crate) main_low: u64,
    pub(crate) high: u64,
    /// Records `from..at` of the plain log were taken back by the truncation numbered `at`.
    pub(crate) cuts: Vec<(u64, u64)>,
    /// Numbers lost to damage.
    pub(crate) holes: Vec<LsnSpan>,
    /// Lowest number that recovery found, for judging `back`.
    pub(crate) first_lsn: u64,
    /// Something stopped being needed since the last look.
    pub(crate) freed: bool,
}

/// What keeps a segment: blocks, cells, newest hints of streams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    things: u64,
    /// Of blocks and cells.
    pub(crate) bytes: u64,
}

/// What the checks of a batch see: the bounds as they will be after earlier operations of it.
enum Overlay {
    /// The operations come in the order of their streams: only the last one's can matter.
    Last(Option<(StreamId, Bounds)>),
    All(BTreeMap<StreamId, Bounds>),
}

/// Low, next, and whether these mean anything yet.
type Bounds = (u64, u64, bool);

impl Overlay {
    fn of(ops: &[Op]) -> Self {
        let streams = ops.iter().filter_map(Op::bounded_stream);
        if streams.is_sorted() { Self::Last(None) } else { Self::All(BTreeMap::new()) }
    }

    fn get(&self, stream: StreamId) -> Option<Bounds> {
        match self {
            Self::Last(last) => last.filter(|(id, _)| *id == stream).map(|(_, bounds)| bounds),
            Self::All(all) => all.get(&stream).copied(),
        }
    }

    fn insert(&mut self, stream: StreamId, bounds: Bounds) {
        match self {
            Self::Last(last) => *last = Some((stream, bounds)),
            Self::All(all) => drop(all.insert(stream, bounds)),
        }
    }
}

impl Table {
    pub(crate) fn new() -> Self {
        Self { main_low: 1, ..Self::default() }
    }

    /// Whether the batch's stream operations follow the rules, all of them (G3, G8).
    pub(crate) fn check(&self, ops: &[Op]) -> Result<(), WriteError> {
        let mut overlay = Overlay::of(ops);
        for op in ops {
            let (stream, after) = match *op {
                Op::Entries(EntriesOp { carried: Some(_), .. }) => continue,
                Op::Entries(entries) => (entries.stream, self.check_entries(&overlay, &entries)?),
                Op::Keep { stream, low } => {
                    let (old, next, bounded) = self.seen(&overlay, stream);
                    let low = if bounded { low.max(old) } else { low };
                    (stream, (low, next.max(low), true))
                }
                Op::Drop { stream } => (stream, (0, 0, false)),
                _ => continue,
            };
            overlay.insert(stream, after);
        }
        Ok(())
    }

    fn seen(&self, overlay: &Overlay, stream: StreamId) -> Bounds {
        if let Some(seen) = overlay.get(stream) {
            return seen;
        }
        self.streams.get(&stream).map_or((0, 0, false), |s| (s.low, s.next, s.bounded))
    }

    /// The most blocks that a stream has at any moment of the batch, which follows the rules.
    /// Carried blocks do not count: each takes the place of another one.
    pub(crate) fn most_after(&self, ops: &[Op]) -> usize {
        let mut most = 0;
        // Blocks that were there before and still are, and those of the batch.
        let mut left: BTreeMap<StreamId, (usize, usize)> = BTreeMap::new();
        for op in ops {
            let Some(id) = op.bounded_stream() else { continue };
            let blocks = self.streams.get(&id).map(|s| &s.blocks);
            let below = |bound: &dyn Fn(&BlockRef) -> bool| {
                blocks.map_or(0, |blocks| blocks.partition_point(bound))
            };
            let all = blocks.map_or(0, VecDeque::len);
            let (old, new) = left.entry(id).or_insert((all, 0));
            match *op {
                Op::Entries(EntriesOp { carried: Some(_), .. }) => {}
                Op::Entries(EntriesOp { replace, first, .. }) => {
                    if replace {
                        *old = (*old).min(below(&|b| b.first < first));
                    }
                    *new += 1;
                }
                Op::Keep { low, .. } => {
                    let dead = below(&|b| b.end() <= low);
                    *old = (*old).min(all - dead);
                }
                _ => (*old, *new) = (0, 0),
            }
            most = most.max(*old + *new);
        }
        most
    }

    fn check_entries(&self, overlay: &Overlay, entries: &EntriesOp) -> Result<Bounds, WriteError> {
        let EntriesOp { stream, first, replace, .. } = *entries;
        let end = first + u64::from(entries.count);
        let (low, next, bounded) = self.seen(overlay, stream);
        if !bounded {
            return Ok((first, end, true));
        }
        if first < low {
            return Err(WriteError::Compacted { stream, low, found: first });
        }
        if first > next || (!replace && first != next) {
            return Err(WriteError::Gap { stream, expected: next, found: first });
        }
        Ok((low, end, true))
    }

    /// A block, appended or replacing; the distance back to the stream's record before.
    pub(crate) fn put_block(&mut self, stream: StreamId, block: BlockRef, replace: bool) -> u64 {
        let s = self.streams.entry(stream).or_default();
        let back = s.follow(block.lsn);
        if !s.bounded {
            (s.low, s.next, s.bounded) = (block.first, block.first, true);
        }
        // At replay the low mark may have been guessed from a block whose predecessors are gone;
        // a block below it proves the guess too high. Live it is never below.
        s.low = s.low.min(block.first);
        if replace || block.first < s.next {
            Self::cut(s, block.first, &mut self.needs, &mut self.freed);
        }
        s.push(block);
        self.most_blocks = self.most_blocks.max(s.blocks.len());
        need(&mut self.needs, block.seq, block.len.into());
        back
    }

    /// A replayed block that goes on exactly where its stream ends, by number and by index, and
    /// replaces nothing: nearly all do. Anything else is left to the caller, and `false`.
    pub(crate) fn replay_next(&mut self, stream: StreamId, block: BlockRef, back: u64) -> bool {
        let next = |s: &&mut Stream| {
            s.last_lsn > 0
                // `back` is a number of the file: it may be anything.
                && s.last_lsn.checked_add(back) == Some(block.lsn)
                && s.bounded
                && s.next == block.first
                && s.low <= block.first
        };
        let Some(s) = self.streams.get_mut(&stream).filter(next) else { return false };
        s.last_lsn = block.lsn;
        s.push(block);
        self.most_blocks = self.most_blocks.max(s.blocks.len());
        need(&mut self.needs, block.seq, block.len.into());
        true
    }

    /// A carried block: it stands exactly where its original stood, and takes nothing away. At
    /// replay the original may be gone, and later blocks may be known already. The distance back
    /// to the stream's record before.
    pub(crate) fn fill_block(&mut self, stream: StreamId, block: BlockRef) -> u64 {
        let Self { streams, needs, freed, .. } = self;
        let s = streams.entry(stream).or_default();
        let back = s.follow(block.lsn);
        if !s.bounded {
            (s.low, s.next, s.bounded) = (block.first, block.first, true);
        }
        if !s.low_is_set {
            s.low = s.low.min(block.first);
        }
        if block.end() <= s.low {
            return back;
        }
        let at = s.blocks.partition_point(|b| b.first < block.first);
        // Only damage leaves anything else in its range than its original.
        while let Some(over) = s.blocks.get(at).filter(|b| b.first < block.end()) {
            release(needs, over.seq, over.len.into(), freed);
            s.blocks.remove(at);
        }
        if let Some(before) = at.checked_sub(1).and_then(|i| s.blocks.get_mut(i))
            && before.end() > block.first
        {
            let kept = block.first - before.first;
            before.kept = u32::try_from(kept).unwrap_or(before.kept);
        }
        s.next = s.next.max(block.end());
        make_room(&mut s.blocks);
        s.blocks.insert(at, block);
        self.most_blocks = self.most_blocks.max(s.blocks.len());
        need(needs, block.seq, block.len.into());
        back
    }

    /// Discards entries at `from` and above; a block cut inside keeps its bytes (H49).
    fn cut(s: &mut Stream, from: u64, needs: &mut BTreeMap<u64, Need>, freed: &mut bool) {
        while let Some(last) = s.blocks.back_mut() {
            if last.first < from {
                let kept = (from - last.first).min(u64::from(last.kept));
                last.kept = u32::try_from(kept).unwrap_or(last.kept);
                if last.end() > s.low {
                    return;
                }
                // All that was left of it had been given up before.
            }
            release(needs, last.seq, last.len.into(), freed);
            s.blocks.pop_back();
        }
    }

    /// A metadata cell; the distance back to the stream's record before.
    pub(crate) fn put_meta(&mut self, stream: StreamId, spot: Spot, slot: u8, bytes: Bytes) -> u64 {
        let s = self.streams.entry(stream).or_default();
        let back = s.follow(spot.lsn);
        if let Some(i) = s.cells.iter().position(|c| c.slot == slot) {
            let old = s.cells.swap_remove(i);
            release(&mut self.needs, old.seq, wide(old.bytes.len()), &mut self.freed);
        }
        // No segment is numbered 0.
        let seq = if planted("metadata_not_carried") { 0 } else { spot.seq };
        need(&mut self.needs, seq, wide(bytes.len()));
        s.cells.push(Cell { slot, seq, bytes });
        back
    }

    /// The replayed hint of a low mark: what the mark was, whatever was guessed from blocks.
    pub(crate) fn replay_keep(&mut self, stream: StreamId, low: u64, seq: u64) {
        let s = self.streams.entry(stream).or_default();
        if !s.low_is_set {
            s.low = low;
        }
        self.keep_from(stream, low, seq);
    }

    /// The low mark of a stream rises, it never falls; the mark.
    pub(crate) fn keep_from(&mut self, stream: StreamId, low: u64, seq: u64) -> u64 {
        let s = self.streams.entry(stream).or_default();
        s.low = if s.bounded { s.low.max(low) } else { low };
        (s.bounded, s.low_is_set) = (true, true);
        while s.blocks.front().is_some_and(|b| b.end() <= s.low) {
            if let Some(dead) = s.blocks.pop_front() {
                release(&mut self.needs, dead.seq, dead.len.into(), &mut self.freed);
            }
        }
        s.next = s.next.max(s.low);
        if let Some(old) = s.hint_seq.replace(seq) {
            release(&mut self.needs, old, 0, &mut self.freed);
        }
        need(&mut self.needs, seq, 0);
        s.low
    }

    /// Forgets a stream; the number of its newest record, 0 if there is none.
    pub(crate) fn drop_stream(&mut self, stream: StreamId) -> u64 {
        let Some(s) = self.streams.remove(&stream) else { return 0 };
        let blocks = s.blocks.iter().map(|b| (b.seq, b.len.into()));
        let cells = s.cells.iter().map(|c| (c.seq, wide(c.bytes.len())));
        let hint = s.hint_seq.map(|seq| (seq, 0));
        for (seq, bytes) in blocks.chain(cells).chain(hint) {
            release(&mut self.needs, seq, bytes, &mut self.freed);
        }
        s.last_lsn
    }

    /// A record of the plain log was placed in `seq`.
    pub(crate) fn put_main(&mut self, lsn: u64, seq: u64) {
        match self.main_last.last_entry() {
            Some(mut last) if *last.key() == seq => *last.get_mut() = lsn,
            _ => drop(self.main_last.insert(seq, lsn)),
        }
    }

    /// Takes records from `from` on back, for good (H43); `at` is the number of the truncation.
    pub(crate) fn cut_main(&mut self, from: u64, at: u64) {
        self.cuts.retain(|&(old, _)| old < from);
        self.cuts.push((from, at));
    }

    pub(crate) fn keep_main(&mut self, low: u64) {
        if low > self.main_low {
            self.main_low = low;
            self.cuts.retain(|&(_, at)| at > low);
            self.freed = true;
        }
    }

    /// Whether `truncate_suffix` took this record back.
    pub(crate) fn is_cut(&self, lsn: u64) -> bool {
        self.cuts.iter().any(|&(from, at)| (from..at).contains(&lsn))
    }

    /// Whether anything live stands in the segment (G11).
    pub(crate) fn needs(&self, seq: u64) -> bool {
        self.needs.contains_key(&seq) || self.main_needs(seq)
    }

    /// Whether a record of the plain log that is kept stands in the segment.
    pub(crate) fn main_needs(&self, seq: u64) -> bool {
        self.main_last.get(&seq).is_some_and(|&last| last >= self.main_low)
    }

    /// What streams need of the segment.
    pub(crate) fn need(&self, seq: u64) -> Option<Need> {
        self.needs.get(&seq).copied()
    }

    /// Which streams have live things in the segment (H48), and how many bytes.
    pub(crate) fn holders(&self, seq: u64) -> Vec<(StreamId, u64)> {
        let mut found = Vec::new();
        for (&id, s) in &self.streams {
            let bytes: u64 =
                s.blocks.iter().filter(|b| b.seq == seq).map(|b| u64::from(b.len)).sum();
            let cells: u64 =
                s.cells.iter().filter(|c| c.seq == seq).map(|c| c.bytes.len() as u64).sum();
            let here = s.blocks.iter().any(|b| b.seq == seq)
                || s.cells.iter().any(|c| c.seq == seq)
                || s.hint_seq == Some(seq);
            if here {
                found.push((id, bytes + cells));
            }
        }
        found.sort_unstable();
        found
    }

    pub(crate) fn forget_segment(&mut self, seq: u64) {
        self.main_last.remove(&seq);
    }

    pub(crate) fn health(&self, stream: StreamId) -> Health {
        let since = |after: u64| self.holes.iter().map(|h| h.from.as_u64()).find(|&a| a > after);
        let since_lsn = match self.streams.get(&stream) {
            Some(Stream { gap: Some(gap), .. }) => return Health::Gap { missing: gap.clone() },
            Some(s) if s.uncertain.is_some() => s.uncertain,
            Some(s) => since(s.last_lsn),
            None => since(0),
        };
        since_lsn.map_or(Health::Intact, |a| Health::Uncertain { since: Lsn::new(a) })
    }

    /// Before a replayed record of a stream: does its way back lead through a hole? (§5.8)
    pub(crate) fn judge_back(&mut self, stream: StreamId, lsn: u64, back: u64, first: Option<u64>) {
        let known = self.streams.get(&stream).map_or(0, |s| s.last_lsn);
        if back == 0 {
            // The stream's first record: what is older belongs to a former stream of this name.
            if known > 0 {
                self.drop_stream(stream);
            }
            return;
        }
        let prev = lsn.saturating_sub(back);
        if prev == known || prev < self.first_lsn {
            return;
        }
        let s = self.streams.entry(stream).or_default();
        let from = if s.bounded { s.next } else { first.unwrap_or(0) };
        let to = first.map_or(from, |first| first.max(from));
        let start = s.gap.as_ref().map_or(from, |gap| gap.start.min(from));
        s.gap = Some(start..to);
    }

    /// Damage was accepted at this point of the log: what follows was written without knowledge
    /// of what was lost, so it proves nothing about streams that ended before.
    pub(crate) fn accept_hole(&mut self, from: u64) {
        for s in self.streams.values_mut() {
            if s.last_lsn < from && s.gap.is_none() {
                s.uncertain = Some(s.uncertain.map_or(from, |a| a.min(from)));
            }
        }
    }

    #[cfg(debug_assertions)]
    pub(crate) fn check_invariants(&self) {
        for s in self.streams.values() {
            debug_assert!(s.low <= s.next, "low {} above next {}", s.low, s.next);
            let ends = s.blocks.iter().zip(s.blocks.iter().skip(1));
            for (a, b) in ends {
                debug_assert!(a.end() <= b.first, "blocks overlap");
            }
            debug_assert!(s.blocks.back().is_none_or(|b| b.end() == s.next), "next is the end");
        }
    }
}

impl Stream {
    pub(crate) fn bounds(&self) -> Range<u64> {
        self.low..self.next
    }

    /// A record of the stream gets this number; the distance back to the one before, 0 if there
    /// is none.
    fn follow(&mut self, lsn: u64) -> u64 {
        let last = std::mem::replace(&mut self.last_lsn, lsn);
        if last > 0 { lsn.saturating_sub(last) } else { 0 }
    }

    /// The newest block.
    fn push(&mut self, block: BlockRef) {
        self.next = block.first + u64::from(block.count);
        make_room(&mut self.blocks);
        self.blocks.push_back(block);
    }
}

/// Grows by a quarter, not by half of what is there then: most of the memory of a log with many
/// streams is here.
fn make_room(blocks: &mut VecDeque<BlockRef>) {
    if blocks.len() == blocks.capacity() {
        blocks.reserve_exact(blocks.len() / 4 + 4);
    }
}

fn need(needs: &mut BTreeMap<u64, Need>, seq: u64, bytes: u64) {
    let add = |need: &mut Need| {
        need.things += 1;
        need.bytes += bytes;
    };
    match needs.last_entry() {
        // Nearly always the segment that is written.
        Some(mut last) if *last.key() == seq => add(last.get_mut()),
        _ => add(needs.entry(seq).or_default()),
    }
}

fn release(needs: &mut BTreeMap<u64, Need>, seq: u64, bytes: u64, freed: &mut bool) {
    if let Some(need) = needs.get_mut(&seq) {
        need.things -= 1;
        need.bytes -= bytes;
        if need.things == 0 {
            needs.remove(&seq);
            *freed = true;
        }
    }
}

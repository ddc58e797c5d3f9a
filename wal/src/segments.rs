//! The segments of an open log: which there are, what they hold, who reads them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::plant::planted;
use crate::vfs::{OpenMode, Vfs, VfsFile};
use crate::width::wide;

/// Files kept open for reading.
const OPEN_MAX: usize = 64;
/// Distance of two entries of the sparse index: half of a usual frame, so that a `get` reads one.
pub(crate) const INDEX_STEP: u32 = 2048;

/// A segment file; holding it pins the file (G11, H51).
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) path: PathBuf,
    /// Its length, or the most it may grow to.
    pub(crate) bytes: u32,
    pub(crate) grows: bool,
}

/// What a segment is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ready to be written.
    Prepared,
    /// Part of the log.
    Member,
    /// Left over from a torn tail, or of another size: deleted in its turn, never read.
    Discarded,
}

#[derive(Debug)]
struct Entry {
    segment: Arc<Segment>,
    role: Role,
    first_lsn: u64,
    /// End of what is written.
    end: u32,
    /// First number of a frame, from `first_lsn` on, and its offset: 8 B for each 2 KiB at most.
    index: Vec<(u32, u32)>,
    writer: Option<Arc<dyn VfsFile>>,
    map: Option<Bytes>,
}

/// A map that holds its segment: neither deleted nor recycled while bytes of it are in use (H52).
struct Pinned {
    map: Bytes,
    _segment: Arc<Segment>,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}

/// Where to begin reading.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u32,
    /// The next place in the index: what is looked for stands before it.
    pub(crate) next: u32,
    pub(crate) end: u32,
    pub(crate) lsn: u64,
}

/// A segment behind the one that is written, and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Seal {
    pub(crate) segment: Arc<Segment>,
    pub(crate) first_lsn: u64,
    pub(crate) end: u32,
    /// The first number of the segment after it.
    pub(crate) next_lsn: u64,
    pub(crate) next_seq: u64,
    pub(crate) index: Vec<(u64, u32)>,
}

/// All segments by number.
#[derive(Debug, Default)]
pub(crate) struct SegmentSet {
    entries: BTreeMap<u64, Entry>,
    open: VecDeque<(u64, Arc<dyn VfsFile>)>,
    /// The next number; numbers are never used again (H16, H41).
    pub(crate) next_seq: u64,
}

impl SegmentSet {
    pub(crate) fn insert(&mut self, segment: Segment, role: Role, first_lsn: u64, end: u32) {
        self.next_seq = self.next_seq.max(segment.seq + 1);
        let seq = segment.seq;
        let segment = Arc::new(segment);
        let entry =
            Entry { segment, role, first_lsn, end, index: Vec::new(), writer: None, map: None };
        self.entries.insert(seq, entry);
    }

    pub(crate) fn set_writer(&mut self, seq: u64, file: Arc<dyn VfsFile>) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.writer = Some(file);
        }
    }

    /// A prepared segment becomes the one that is written; prepared ones before it never will.
    pub(crate) fn begin(&mut self, seq: u64, lsn: u64) -> Option<(Arc<Segment>, Arc<dyn VfsFile>)> {
        for (_, skipped) in self.entries.range_mut(..seq) {
            if skipped.role == Role::Prepared {
                (skipped.role, skipped.writer) = (Role::Discarded, None);
            }
        }
        let entry = self.entries.get_mut(&seq)?;
        entry.role = Role::Member;
        entry.first_lsn = lsn;
        Some((Arc::clone(&entry.segment), entry.writer.take()?))
    }

    /// A frame stands at `offset`; indexed if far enough from the one before, or `always`.
    pub(crate) fn note_frame(&mut self, seq: u64, lsn: u64, offset: u32, always: bool) {
        let Some(entry) = self.entries.get_mut(&seq) else { return };
        let far = entry.index.last().is_none_or(|&(_, last)| offset >= last + INDEX_STEP);
        // A segment has room for fewer numbers than 2^32.
        let number = lsn.checked_sub(entry.first_lsn).and_then(|n| u32::try_from(n).ok());
        let Some(number) = number else { return };
        if far || always {
            entry.index.push((number, offset));
        }
    }

    pub(crate) fn set_end(&mut self, seq: u64, end: u32) {
        if let Some(entry) = self.entries.get_mut(&seq) {
            entry.end = end;
        }
    }

    /// Where to begin reading for record `lsn`.
    pub(crate) fn find(&self, lsn: u64) -> Option<Hit> {
        let members = self.entries.values().rev().filter(|e| e.role == Role::Member);
        let entry = members.into_iter().find(|e| e.first_lsn <= lsn)?;
        let i = up_to(&entry.index, u32::try_from(lsn - entry.first_lsn).unwrap_or(u32::MAX));
        let &(number, offset) = entry.index.get(i.checked_sub(1)?)?;
        let lsn = entry.first_lsn + u64::from(number);
        let segment = Arc::clone(&entry.segment);
        let next = entry.index.get(i).map_or(entry.end, |&(_, next)| next);
        Some(Hit { segment, offset, next, end: entry.end, lsn })
    }

    /// The last place in the index of `seq` below `offset`; if there is none, no number stands
    /// before `offset`.
    pub(crate) fn before(&self, seq: u64, offset: u32) -> Option<Hit> {
        let entry = self.entries.get(&seq)?;
        let i = entry.index.partition_point(|&(_, at)| at < offset);
        let indexed = i.checked_sub(1).and_then(|i| entry.index.get(i));
        let (number, offset) = indexed.copied().unwrap_or((0, offset));
        let lsn = entry.first_lsn + u64::from(number);
        let (segment, end) = (Arc::clone(&entry.segment), entry.end);
        Some(Hit { segment, offset, next: end, end, lsn })
    }

    pub(crate) fn get(&self, seq: u64) -> Option<Arc<Segment>> {
        self.entries.get(&seq).map(|e| Arc::clone(&e.segment))
    }

    /// The lowest number in the files. Numbers from the low mark up to here were not records of
    /// the plain log, or their segment would still be there.
    pub(crate) fn first_lsn(&self) -> u64 {
        let first = self.entries.values().find(|e| e.role == Role::Member);
        first.map_or(1, |e| e.first_lsn)
    }

    /// An open file for reading.
    pub(crate) fn reader(
        &mut self,
        vfs: &dyn Vfs,
        segment: &Segment,
    ) -> io::Result<Arc<dyn VfsFile>> {
        if let Some((_, file)) = self.open.iter().find(|(seq, _)| *seq == segment.seq) {
            return Ok(Arc::clone(file));
        }
        let file = vfs.open(&segment.path, OpenMode::Read)?;
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((segment.seq, Arc::clone(&file)));
        Ok(file)
    }

    /// Numbers of the sealed segments, oldest first.
    pub(crate) fn sealed(&self) -> VecDeque<u64> {
        let mut members: VecDeque<u64> = self.members().collect();
        members.pop_back();
        members
    }

    /// A sealed segment, held, as it was found or written; `None` if it is gone.
    pub(crate) fn seal(&self, seq: u64) -> Option<Seal> {
        let entry = self.entries.get(&seq).filter(|e| e.role == Role::Member)?;
        let mut later = self.entries.range(seq + 1..).filter(|(_, e)| e.role == Role::Member);
        let (&next_seq, next) = later.next()?;
        Some(Seal {
            segment: Arc::clone(&entry.segment),
            first_lsn: entry.first_lsn,
            end: entry.end,
            next_lsn: next.first_lsn,
            next_seq,
            index: entry
                .index
                .iter()
                .map(|&(n, at)| (entry.first_lsn + u64::from(n), at))
                .collect(),
        })
    }

    /// The segments of the log up to `last`, held.
    pub(crate) fn chain(&self, last: u64) -> Vec<(Arc<Segment>, u32)> {
        let members = self.entries.range(..=last).filter(|(_, e)| e.role == Role::Member);
        members.map(|(_, e)| (Arc::clone(&e.segment), e.end)).collect()
    }

    /// A sealed segment as a memory map, if the file system has maps.
    pub(crate) fn map(&mut self, vfs: &dyn Vfs, segment: &Arc<Segment>) -> Option<Bytes> {
        let is_member = |e: &Entry| e.role == Role::Member;
        let newest = self.entries.iter().rev().find(|(_, e)| is_member(e)).map(|(&seq, _)| seq)?;
        if segment.seq >= newest {
            return None;
        }
        let known = self.entries.get(&segment.seq).filter(|e| is_member(e))?.map.clone();
        let map = match known {
            Some(map) => map,
            None => {
                // Without a map it is read; an error shows there.
                let map = self.reader(vfs, segment).and_then(|file| file.map()).ok()??;
                let mapped = self.entries.values().filter(|e| e.map.is_some()).count();
                let first = self.entries.values_mut().find(|e| e.map.is_some());
                if let Some(entry) = first.filter(|_| mapped >= OPEN_MAX) {
                    entry.map = None;
                }
                self.entries.get_mut(&segment.seq)?.map = Some(map.clone());
                map
            }
        };
        Some(Bytes::from_owner(Pinned { map, _segment: Arc::clone(segment) }))
    }

    /// The oldest segment, its role, and whether a reader holds it.
    pub(crate) fn oldest(&self) -> Option<(u64, Role, bool)> {
        let (&seq, entry) = self.entries.first_key_value()?;
        Some((seq, entry.role, Arc::strong_count(&entry.segment) > 1))
    }

    /// All segments, oldest first: number, role, and whether a reader holds it.
    pub(crate) fn states(&self) -> impl Iterator<Item = (u64, Role, bool)> + '_ {
        self.entries.iter().map(|(&seq, e)| (seq, e.role, Arc::strong_count(&e.segment) > 1))
    }

    /// Takes the oldest segment out of the log, unless a reader has pinned it meanwhile; nobody
    /// can find it from here on.
    pub(crate) fn remove_oldest(&mut self) -> Option<Arc<Segment>> {
        if self.oldest()?.2 && !planted("recycle_with_reader") {
            return None;
        }
        let (seq, entry) = self.entries.pop_first()?;
        self.open.retain(|(open, _)| *open != seq);
        Some(entry.segment)
    }

    /// Numbers of the segments that hold records, oldest first.
    pub(crate) fn members(&self) -> impl Iterator<Item = u64> + '_ {
        self.entries.iter().filter(|(_, e)| e.role == Role::Member).map(|(&seq, _)| seq)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all segments, at most.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.values().map(|e| u64::from(e.segment.bytes)).sum()
    }

    pub(crate) fn prepared(&self) -> usize {
        self.entries.values().filter(|e| e.role == Role::Prepared).count()
    }

    pub(crate) fn pinned(&self) -> usize {
        self.entries.values().filter(|e| Arc::strong_count(&e.segment) > 1).count()
    }
}

/// How many entries begin at or before `number`.
///
/// Frames hold about as many records each, so the place can be guessed; the search then widens
/// around it. A plain binary search through the index of a full segment misses the cache more
/// often than reading the frame does.
fn up_to(index: &[(u32, u32)], number: u32) -> usize {
    let (Some(&(first, _)), Some(&(last, _))) = (index.first(), index.last()) else { return 0 };
    if number < first || number >= last {
        return if number < first { 0 } else { index.len() };
    }
    let guess = wide(index.len()) * u64::from(number - first) / u64::from(last - first);
    let guess = usize::try_from(guess).unwrap_or(0).min(index.len() - 1);
    let (mut low, mut high, mut step) = (guess, guess, 1);
    while index[low].0 > number {
        low = low.saturating_sub(step);
        step *= 2;
    }
    while index[high].0 <= number {
        high = (high + step).min(index.len() - 1);
        step *= 2;
    }
    low + index[low..high].partition_point(|&(first, _)| first <= number)
}

#[cfg(test)]
mod tests {
    use super::up_to;

    #[test]
    fn the_guess_finds_what_a_search_finds() {
        let even: Vec<(u32, u32)> = (0..1000).map(|i| (i * 15, 0)).collect();
        let odd: Vec<(u32, u32)> = (1..200).map(|i| (i * i * i, 0)).collect();
        let twice = vec![(0, 0), (9, 0), (9, 8), (9, 16), (12, 0)];
        let jump = vec![(1, 0), (2, 0), (3, 0), (u32::MAX / 2, 0), (u32::MAX - 1, 0)];
        for index in [even, odd, twice, jump, vec![(7, 0)], Vec::new()] {
            let near = index.iter().flat_map(|&(n, _)| [n.saturating_sub(1), n, n + 1]);
            for number in near.chain([0, 5, 1 << 30, u32::MAX]) {
                let found = index.partition_point(|&(first, _)| first <= number);
                assert_eq!(up_to(&index, number), found, "{number}");
            }
        }
    }
}

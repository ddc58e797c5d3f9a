//! The sorted sequence of ranges, in chunks that versions of a map share.
//!
//! A lookup is two binary searches over arrays of eight-byte prefixes: one finds the chunk, one the
//! range in it. The keys themselves are read only where prefixes tie, so that a lookup touches a
//! handful of cache lines however long the keys are.

use super::KeyRange;
use crate::NodeIdx;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

/// Ranges per chunk: what a change copies.
pub(super) const CHUNK_RANGES_MAX: usize = 256;
/// Neighbours that hold no more than this together are joined.
const JOIN_RANGES_MAX: usize = CHUNK_RANGES_MAX / 2;

/// A range, and its replicas as positions in the map's table of nodes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) range: KeyRange,
    pub(super) row: Box<[NodeIdx]>,
}

/// Finds the last of sorted keys that is not behind a key, knowing that the first is not.
///
/// What all keys but the first have in common is kept once, and of each the eight bytes behind it
/// as a number. The first key is left out because that of a map is empty, which has nothing in
/// common with the others.
#[derive(Clone, Debug, Default)]
struct Prefixes {
    common: Vec<u8>,
    /// Of the keys 1, 2, …
    rest: Vec<u64>,
}

/// The first eight bytes as a number; what is missing counts as zero. Less means before; equal
/// leaves it open.
#[inline]
fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut padded = [0; 8];
    padded[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(padded)
}

fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Prefixes {
    /// Of `count` sorted keys.
    fn of<'a>(count: usize, key: impl Fn(usize) -> &'a [u8]) -> Self {
        if count < 2 {
            return Self::default();
        }
        let (second, last) = (key(1), key(count - 1));
        let common = &second[..common_len(second, last)];
        let rest = (1..count).map(|i| prefix(&key(i)[common.len()..])).collect();
        Self { common: common.to_vec(), rest }
    }

    /// The last position whose key is not behind `wanted`; position 0 is taken for granted.
    #[inline]
    fn floor<'a>(&self, wanted: &[u8], key: impl Fn(usize) -> &'a [u8]) -> usize {
        let Some(behind) = wanted.strip_prefix(self.common.as_slice()) else {
            // H42: in byte order, a prefix before what it begins.
            return if *wanted < *self.common { 0 } else { self.rest.len() };
        };
        let number = prefix(behind);
        let before = self.rest.partition_point(|&rest| rest < number);
        if self.rest.get(before) != Some(&number) {
            return before;
        }
        self.floor_of_tied(before, number, wanted, key)
    }

    /// Among the keys behind position `before` whose prefix is `number` too, the keys decide.
    #[cold]
    fn floor_of_tied<'a>(
        &self,
        before: usize,
        number: u64,
        wanted: &[u8],
        key: impl Fn(usize) -> &'a [u8],
    ) -> usize {
        let tied = self.rest[before..].partition_point(|&rest| rest == number);
        let (mut low, mut high) = (before, before + tied);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if key(middle) <= wanted {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        low
    }

    /// Takes up a key at a position behind the first; false: it does not fit, start over. The first
    /// key taken up decides what is common, so that it never fits.
    fn insert(&mut self, at: usize, key: &[u8]) -> bool {
        if self.rest.is_empty() {
            return false;
        }
        let (Some(behind), 1..) = (key.strip_prefix(self.common.as_slice()), at) else {
            return false;
        };
        self.rest.insert(at - 1, prefix(behind));
        true
    }
}

/// Up to [`CHUNK_RANGES_MAX`] neighbouring ranges; never none.
#[derive(Debug)]
pub(super) struct Chunk {
    prefixes: Prefixes,
    entries: Vec<Arc<Entry>>,
}

impl Chunk {
    fn new(entries: Vec<Arc<Entry>>) -> Arc<Self> {
        debug_assert!((1..=CHUNK_RANGES_MAX).contains(&entries.len()), "the size of a chunk");
        let prefixes = Prefixes::of(entries.len(), |i| &entries[i].range.start);
        Arc::new(Self { prefixes, entries })
    }

    fn first_key(&self) -> &[u8] {
        &self.entries[0].range.start
    }

    #[inline]
    fn floor(&self, key: &[u8]) -> usize {
        self.prefixes.floor(key, |i| &self.entries[i].range.start)
    }
}

/// Where a range is: its chunk, and its slot there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chunk: usize,
    pub(super) slot: usize,
}

/// All ranges in key order.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    prefixes: Prefixes,
    chunks: Vec<Arc<Chunk>>,
}

impl Chunks {
    /// From sorted entries, full chunks.
    pub(super) fn from_entries(entries: impl Iterator<Item = Arc<Entry>>) -> Self {
        let mut entries = entries.peekable();
        let mut chunks = Vec::new();
        while entries.peek().is_some() {
            chunks.push(Chunk::new(entries.by_ref().take(CHUNK_RANGES_MAX).collect()));
        }
        let mut all = Self { prefixes: Prefixes::default(), chunks };
        all.index_anew();
        all
    }

    /// The place of the range that holds a key.
    #[inline]
    pub(super) fn place(&self, key: &[u8]) -> Place {
        let chunk = self.prefixes.floor(key, |i| self.chunks[i].first_key());
        Place { chunk, slot: self.chunks[chunk].floor(key) }
    }

    #[inline]
    pub(super) fn entry(&self, place: Place) -> &Arc<Entry> {
        &self.chunks[place.chunk].entries[place.slot]
    }

    /// The place behind; none behind the last.
    pub(super) fn after(&self, place: Place) -> Option<Place> {
        if place.slot + 1 < self.chunks[place.chunk].entries.len() {
            return Some(Place { slot: place.slot + 1, ..place });
        }
        let chunk = place.chunk + 1;
        (chunk < self.chunks.len()).then_some(Place { chunk, slot: 0 })
    }

    /// The place before; none before the first.
    pub(super) fn before(&self, place: Place) -> Option<Place> {
        if place.slot > 0 {
            return Some(Place { slot: place.slot - 1, ..place });
        }
        let chunk = place.chunk.checked_sub(1)?;
        Some(Place { chunk, slot: self.chunks[chunk].entries.len() - 1 })
    }

    /// The entries from a place on.
    pub(super) fn starting_at(&self, place: Place) -> impl Iterator<Item = &Arc<Entry>> {
        let first = self.chunks[place.chunk].entries[place.slot..].iter();
        let others = &self.chunks[place.chunk + 1..];
        first.chain(others.iter().flat_map(|chunk| chunk.entries.iter()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.chunks.iter().flat_map(|chunk| chunk.entries.iter())
    }

    /// Replaces the entry at a place by one with the same start, or by two of which the first has.
    pub(super) fn replace(&mut self, place: Place, by: impl IntoIterator<Item = Arc<Entry>>) {
        self.splice(place.chunk, place.slot..place.slot + 1, by);
    }

    /// Removes the entry at a place, which is not the first of all.
    pub(super) fn remove(&mut self, place: Place) {
        self.splice(place.chunk, place.slot..place.slot + 1, None);
    }

    /// Copies one chunk with some of its slots exchanged; cuts it in two if it grew too large, and
    /// joins it to a neighbour if it is small.
    fn splice(
        &mut self,
        chunk: usize,
        slots: Range<usize>,
        by: impl IntoIterator<Item = Arc<Entry>>,
    ) {
        let old = &self.chunks[chunk];
        let mut entries = Vec::with_capacity(CHUNK_RANGES_MAX + 1);
        entries.extend(old.entries[..slots.start].iter().cloned());
        entries.extend(by);
        entries.extend(old.entries[slots.end..].iter().cloned());
        if entries.is_empty() {
            self.chunks.remove(chunk);
            self.index_anew();
        } else if entries.len() > CHUNK_RANGES_MAX {
            let right = Chunk::new(entries.split_off(entries.len() / 2));
            self.chunks[chunk] = Chunk::new(entries);
            let indexed = self.prefixes.insert(chunk + 1, right.first_key());
            self.chunks.insert(chunk + 1, right);
            if !indexed {
                self.index_anew();
            }
        } else {
            self.put(chunk, entries);
        }
    }

    fn put(&mut self, chunk: usize, entries: Vec<Arc<Entry>>) {
        let moved = self.chunks[chunk].first_key() != &*entries[0].range.start;
        let joined = self.chunks.get(chunk + 1).is_some_and(|next| {
            entries.len() < CHUNK_RANGES_MAX / 4
                && entries.len() + next.entries.len() <= JOIN_RANGES_MAX
        });
        let mut entries = entries;
        if joined {
            let next = self.chunks.remove(chunk + 1);
            entries.extend(next.entries.iter().cloned());
        }
        self.chunks[chunk] = Chunk::new(entries);
        if moved || joined {
            self.index_anew();
        }
    }

    fn index_anew(&mut self) {
        self.prefixes = Prefixes::of(self.chunks.len(), |i| self.chunks[i].first_key());
    }
}

#[cfg(test)]
mod tests {
    use super::{Prefixes, prefix};

    #[test]
    fn a_lesser_prefix_is_a_lesser_key() {
        let keys: [&[u8]; 8] =
            [b"", b"\0", b"\0\0\0\0\0\0\0\0\0", b"a", b"a\0", b"ab", b"abcdefgh", b"abcdefghi"];
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            if prefix(a) < prefix(b) {
                assert!(a < b);
            }
        }
    }

    #[test]
    fn finds_the_floor_with_ties_and_common_prefixes() {
        let sets: [&[&[u8]]; 5] = [
            &[b""],
            &[b"", b"m"],
            &[b"", b"\0", b"\0\0", b"\0\0\0\0\0\0\0\0\0"],
            &[b"", b"users/0000000001", b"users/0000000002", b"users/00000000021"],
            &[b"b", b"common", b"commonabcdefgh", b"commonabcdefgh0", b"commonabcdefgh1"],
        ];
        let probes: Vec<Vec<u8>> = sets
            .iter()
            .flat_map(|set| set.iter())
            .flat_map(|key| {
                let (mut more, mut less) = (key.to_vec(), key.to_vec());
                more.push(0);
                let shorter = less.pop().is_some();
                let mut above = key.to_vec();
                if let Some(last) = above.last_mut() {
                    *last = last.saturating_add(1);
                }
                [key.to_vec(), more, if shorter { less } else { Vec::new() }, above]
            })
            .collect();
        for set in sets {
            let prefixes = Prefixes::of(set.len(), |i| set[i]);
            for probe in probes.iter().filter(|probe| probe.as_slice() >= set[0]) {
                let expected = set.iter().rposition(|key| *key <= probe.as_slice()).unwrap();
                assert_eq!(prefixes.floor(probe, |i| set[i]), expected, "{probe:?} in {set:?}");
            }
        }
    }

    #[test]
    fn takes_up_what_fits_and_says_so_if_not() {
        let mut prefixes = Prefixes::of(3, |i| [&b""[..], b"user/a", b"user/c"][i]);
        assert!(prefixes.insert(2, b"user/b"));
        assert_eq!(prefixes.floor(b"user/bb", |_| unreachable!()), 2);
        assert!(!prefixes.insert(1, b"admin"));
        assert!(!prefixes.insert(0, b"user/"));
        // Keys that have much in common do not tie, although they came one by one.
        let keys: [&[u8]; 4] = [b"", b"users/0000000001", b"users/0000000002", b"users/0000000003"];
        let mut prefixes = Prefixes::of(1, |i| keys[i]);
        for count in 2..=keys.len() {
            if !prefixes.insert(count - 1, keys[count - 1]) {
                prefixes = Prefixes::of(count, |i| keys[i]);
            }
        }
        assert!(prefixes.rest.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

//! The handle of one stream.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::core::Core;
use crate::error::ReadError;
use crate::format::record::Record;
use crate::lsn::{Lsn, LsnSpan, Slot, StreamId};
use crate::reader::{ReadFrame, Window};
use crate::report::Health;
use crate::segments::Segment;
use crate::table::{BlockRef, Stream};
use crate::wal::Wal;
use crate::width::at;

/// Bytes read beyond a block, for its frame and its neighbours.
const MARGIN: usize = 4096;

/// A block of a stream without its bytes.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, StreamId, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let id = StreamId::new(1, 1);
/// wal.commit_blocking(Batch::new().extend(id, 1, 4, 7, b"....").replace(id, 3, 1, 8, b"."))?;
/// let blocks = wal.stream(id).blocks();
/// assert_eq!((blocks[0].first, blocks[0].live.clone(), blocks[0].tag), (1, 1..3, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockInfo {
    /// Index of the first entry in the bytes.
    pub first: u64,
    /// The entries that are still part of the stream.
    pub live: Range<u64>,
    /// The tag.
    pub tag: u64,
    /// The number of the record.
    pub lsn: Lsn,
}

/// A block of a stream with its bytes; decode only the entries in `live`.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, StreamId, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let id = StreamId::new(1, 1);
/// wal.commit_blocking(Batch::new().extend(id, 5, 2, 1, b"ab"))?;
/// let mut blocks = Vec::new();
/// assert_eq!(wal.stream(id).read(5..7, 1 << 20, &mut blocks)?, 7);
/// assert_eq!((blocks[0].count, &blocks[0].bytes[..]), (2, &b"ab"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// The number of the record.
    pub lsn: Lsn,
    /// Index of the first entry in the bytes.
    pub first: u64,
    /// How many entries the bytes hold.
    pub count: u32,
    /// The entries that are still part of the stream, within `first..first + count`.
    pub live: Range<u64>,
    /// The tag.
    pub tag: u64,
    /// The bytes, verbatim.
    pub bytes: Bytes,
}

/// One of the many logs in a [`Wal`]; cheap to clone.
///
/// What it shows is what was *staged*: bounds, tags and metadata include batches that are not
/// durable yet. [`read`](Self::read) returns only what was written to the file. The handle keeps
/// the log open like a clone of the [`Wal`].
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, Slot, StreamId, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let id = StreamId::new(1, 9);
/// let vote = Slot::new(0).expect("0 is below 16");
/// wal.commit_blocking(Batch::new().extend(id, 1, 2, 3, b"ab").meta(id, vote, b"me"))?;
/// let stream = wal.stream(id);
/// assert_eq!((stream.bounds(), stream.tag(2)), (1..3, Some(3)));
/// assert_eq!(stream.meta(vote).as_deref(), Some(&b"me"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct StreamLog {
    wal: Wal,
    id: StreamId,
}

impl StreamLog {
    pub(crate) const fn new(wal: Wal, id: StreamId) -> Self {
        Self { wal, id }
    }

    /// Which stream this is.
    #[must_use]
    pub const fn id(&self) -> StreamId {
        self.id
    }

    fn with<T>(&self, read: impl FnOnce(&Stream) -> T) -> Option<T> {
        self.wal.core().staging.lock().table.streams.get(&self.id).map(read)
    }

    /// First index kept, and the next index; `0..0` for a stream without entries or low mark.
    #[must_use]
    pub fn bounds(&self) -> Range<u64> {
        self.with(Stream::bounds).unwrap_or(0..0)
    }

    /// The tag of the block that holds `index`, if it is live.
    #[must_use]
    pub fn tag(&self, index: u64) -> Option<u64> {
        self.with(|s| {
            let i = s.blocks.partition_point(|b| b.first <= index).checked_sub(1)?;
            let block = s.blocks.get(i)?;
            block.live(s.low).contains(&index).then_some(block.tag)
        })?
    }

    /// A metadata cell.
    #[must_use]
    pub fn meta(&self, slot: Slot) -> Option<Bytes> {
        let slot = slot.as_u8();
        self.with(|s| s.cells.iter().find(|c| c.slot == slot).map(|c| c.bytes.clone()))?
    }

    /// The live blocks in order, without their bytes and without I/O.
    #[must_use]
    pub fn blocks(&self) -> Vec<BlockInfo> {
        let info = |low, b: &BlockRef| BlockInfo {
            first: b.first,
            live: b.live(low),
            tag: b.tag,
            lsn: Lsn::new(b.lsn),
        };
        self.with(|s| s.blocks.iter().map(|b| info(s.low, b)).collect()).unwrap_or_default()
    }

    /// Bytes in the live blocks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.with(|s| s.blocks.iter().map(|b| u64::from(b.len)).sum()).unwrap_or(0)
    }

    /// Whether the stream lost anything to damage.
    #[must_use]
    pub fn health(&self) -> Health {
        self.wal.core().staging.lock().table.health(self.id)
    }

    /// Appends the blocks that hold `range` to `out`, as many as fit `bytes_max` but at least
    /// one; the first index not returned.
    ///
    /// # Cost
    /// One or two reads for each frame the blocks stand in; one allocation each.
    ///
    /// # Errors
    /// [`ReadError::Truncated`] below the low mark, [`ReadError::NotYet`] at or above the end and
    /// for blocks that are staged and not yet written, [`ReadError::Lost`] in a gap that damage
    /// left, [`ReadError::Corruption`] if the file fails its checksum now.
    pub fn read(
        &self,
        range: Range<u64>,
        bytes_max: u64,
        out: &mut Vec<Block>,
    ) -> Result<u64, ReadError> {
        let core = Arc::clone(self.wal.core());
        if range.is_empty() {
            return Ok(range.start);
        }
        let mut plan = self.plan(&core, &range, bytes_max)?;
        let mut next = range.start;
        let mut frame: Option<(u64, u32, ReadFrame)> = None;
        while let Some((block, live, segment)) = plan.pop_front() {
            let spot = block.spot();
            let same = matches!(&frame, Some((s, o, _)) if (*s, *o) == (spot.seq, spot.offset));
            if !same {
                let size = at(block.len) + MARGIN;
                let mut window = Window::open(&core, segment, u32::MAX, size)?;
                frame = Some((spot.seq, spot.offset, window.frame(&core, spot.offset, None)?));
            }
            let Some((_, _, frame)) = &frame else { break };
            let bytes = entry_bytes(frame, spot.lsn)
                .ok_or_else(|| ReadError::NotARecord(Lsn::new(spot.lsn)))?;
            next = live.end;
            let BlockRef { first, count, tag, .. } = block;
            out.push(Block { lsn: Lsn::new(spot.lsn), first, count, live, tag, bytes });
        }
        Ok(next)
    }

    /// Which blocks to read; their segments are pinned from here on.
    #[expect(clippy::type_complexity, reason = "used in one place")]
    fn plan(
        &self,
        core: &Core,
        range: &Range<u64>,
        bytes_max: u64,
    ) -> Result<VecDeque<(BlockRef, Range<u64>, Arc<Segment>)>, ReadError> {
        let staging = core.staging.lock();
        let segments = core.segments.lock();
        let written = core.progress.lock().written_lsn;
        let Some(s) = staging.table.streams.get(&self.id) else {
            return Err(ReadError::NotYet { bound: 0 });
        };
        if range.start < s.low {
            return Err(ReadError::Truncated { low: s.low });
        }
        if range.start >= s.next {
            return Err(ReadError::NotYet { bound: s.next });
        }
        let mut picked = VecDeque::new();
        let (mut index, mut bytes) = (range.start, 0);
        let from = s.blocks.partition_point(|b| b.end() <= range.start);
        for block in s.blocks.iter().skip(from).take_while(|b| b.first < range.end) {
            let live = block.live(s.low);
            bytes += u64::from(block.len);
            let late = block.lsn > written;
            if late && picked.is_empty() {
                return Err(ReadError::NotYet { bound: block.first });
            }
            let full = bytes > bytes_max && !picked.is_empty();
            if late || full || live.start > index {
                break;
            }
            let Some(segment) = segments.get(block.seq) else { break };
            index = live.end;
            picked.push_back((*block, live, segment));
        }
        if picked.is_empty() {
            return Err(gap(&staging.table.holes, &s.blocks, range.start));
        }
        Ok(picked)
    }
}

/// The index lies between two blocks: what stood there was lost.
fn gap(holes: &[LsnSpan], blocks: &VecDeque<BlockRef>, index: u64) -> ReadError {
    let after = blocks.partition_point(|b| b.first <= index);
    let next = blocks.get(after).map(|b| b.lsn);
    let before = after.checked_sub(1).and_then(|i| blocks.get(i)).map_or(0, |b| b.lsn);
    let hit = |h: &&LsnSpan| {
        h.to.is_none_or(|to| to.as_u64() > before) && next.is_none_or(|n| h.from.as_u64() < n)
    };
    let unknown = LsnSpan::new(Lsn::new(before + 1), next.map(|n| Lsn::new(n - 1)));
    ReadError::Lost { lsns: holes.iter().find(hit).copied().unwrap_or(unknown) }
}

/// The bytes of the block numbered `lsn`, in the frame that holds it.
pub(crate) fn entry_bytes(frame: &ReadFrame, lsn: u64) -> Option<Bytes> {
    let mut number = frame.header.first_lsn;
    for record in frame.records().flatten() {
        if record.has_lsn() {
            if number == lsn {
                let Record::Entries(entries) = record else { return None };
                return Some(frame.payload.slice_ref(entries.bytes));
            }
            number += 1;
        }
    }
    None
}

//! Batches: operations that are recovered together or not at all.

use crate::format::record::Hole;
use crate::lsn::{Slot, StreamId};

/// The most operations in one batch: they share one frame.
pub(crate) const OPS_MAX: usize = 65_535;
/// The most bytes in a metadata cell.
pub(crate) const META_MAX: usize = 4096;
/// The most entries in a block.
pub(crate) const COUNT_MAX: u32 = 1 << 24;
/// Indexes are below this.
pub(crate) const INDEX_MAX: u64 = 1 << 63;

/// One operation; bytes are a range of the batch's data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Record { at: usize, len: usize },
    Entries(EntriesOp),
    Meta { stream: StreamId, slot: Slot, carried: bool, at: usize, len: usize },
    Keep { stream: StreamId, low: u64 },
    Drop { stream: StreamId },
    TruncateSuffix { from: u64 },
    KeepMain { low: u64 },
    High { lsn: u64 },
    Hole(Hole),
}

/// A block to be appended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntriesOp {
    pub(crate) stream: StreamId,
    pub(crate) replace: bool,
    /// The log writes a live block again: its first entries, so many, are live.
    pub(crate) carried: Option<u32>,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) tag: u64,
    pub(crate) at: usize,
    pub(crate) len: usize,
}

impl Op {
    /// The most bytes the record can take, whatever numbers are filled in.
    pub(crate) const fn worst(&self) -> usize {
        match self {
            Self::Record { len, .. } => 11 + *len,
            Self::Entries(entries) => 64 + entries.len,
            Self::Meta { len, .. } => 40 + *len,
            Self::Hole(_) => 56,
            Self::Keep { .. } | Self::Drop { .. } => 24,
            Self::TruncateSuffix { .. } | Self::KeepMain { .. } | Self::High { .. } => 11,
        }
    }

    /// The stream whose bounds the operation changes, if it does.
    pub(crate) const fn bounded_stream(&self) -> Option<StreamId> {
        match *self {
            Self::Entries(EntriesOp { stream, .. })
            | Self::Keep { stream, .. }
            | Self::Drop { stream } => Some(stream),
            _ => None,
        }
    }

    /// Whether the operation frees space, or lets the log be written again, and so may use the
    /// reserve.
    pub(crate) const fn frees(&self) -> bool {
        matches!(
            self,
            Self::Keep { .. }
                | Self::Drop { .. }
                | Self::TruncateSuffix { .. }
                | Self::KeepMain { .. }
                | Self::Hole(_)
        )
    }
}

/// Operations that become durable together: after a crash all of them are there, or none.
///
/// A batch copies the bytes it is given, is checked when it is staged, and can be used again
/// after [`clear`](Self::clear); it then allocates nothing new.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, Slot, StreamId, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let group = StreamId::new(1, 7);
/// let hard_state = Slot::new(0).expect("0 is below 16");
/// let mut batch = Batch::new();
/// batch.extend(group, 1, 3, 1, b"three entries of term 1").meta(group, hard_state, b"vote");
/// wal.commit_blocking(&batch)?;
/// assert_eq!(wal.stream(group).bounds(), 1..4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
    pub(crate) data: Vec<u8>,
    worst: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self { ops: Vec::new(), data: Vec::new(), worst: 0 }
    }

    /// A record of the plain log.
    pub fn record(&mut self, bytes: &[u8]) -> &mut Self {
        let (at, len) = self.keep(bytes);
        self.push(Op::Record { at, len })
    }

    /// A block of `count` entries that starts exactly where the stream ends; a stream without
    /// state takes any `first`.
    pub fn extend(
        &mut self,
        stream: StreamId,
        first: u64,
        count: u32,
        tag: u64,
        bytes: &[u8],
    ) -> &mut Self {
        let (at, len) = self.keep(bytes);
        let (replace, carried) = (false, None);
        self.push(Op::Entries(EntriesOp { stream, replace, carried, first, count, tag, at, len }))
    }

    /// A block that discards what the stream has at `first` and above, and stands there instead.
    pub fn replace(
        &mut self,
        stream: StreamId,
        first: u64,
        count: u32,
        tag: u64,
        bytes: &[u8],
    ) -> &mut Self {
        let (at, len) = self.keep(bytes);
        let (replace, carried) = (true, None);
        self.push(Op::Entries(EntriesOp { stream, replace, carried, first, count, tag, at, len }))
    }

    /// Sets a metadata cell of a stream, at most 4 KiB; the last write wins.
    pub fn meta(&mut self, stream: StreamId, slot: Slot, bytes: &[u8]) -> &mut Self {
        let (at, len) = self.keep(bytes);
        self.push(Op::Meta { stream, slot, carried: false, at, len })
    }

    /// Gives up the stream's entries below `index`. Call it only when what replaces them is
    /// durable. An index above the end empties the stream, which then goes on at `index`.
    pub fn keep_from(&mut self, stream: StreamId, index: u64) -> &mut Self {
        self.push(Op::Keep { stream, low: index })
    }

    /// Forgets the stream: entries, metadata, bounds.
    pub fn drop_stream(&mut self, stream: StreamId) -> &mut Self {
        self.push(Op::Drop { stream })
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.data.clear();
        self.worst = 0;
    }

    /// The most bytes the batch takes in the log; what `batch_bytes_max` limits.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.worst
    }

    /// Whether there is no operation in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn push(&mut self, op: Op) -> &mut Self {
        self.worst += op.worst();
        self.ops.push(op);
        self
    }

    fn keep(&mut self, bytes: &[u8]) -> (usize, usize) {
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        (at, bytes.len())
    }
}

//! What recovery found: verdict on the tail, damage with evidence, health of streams.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use crate::lsn::{Lsn, LsnSpan, StreamId};

/// What an open found.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Tail, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (_wal, report) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// assert!(report.created && report.damage.is_empty());
/// assert_eq!(report.tail, Tail::Clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The log did not exist and was created.
    pub created: bool,
    /// First number still in the files; the next number if there is none.
    pub first: Lsn,
    /// Everything up to here that is not named as lost is on the medium now; the next number
    /// is one more. Behind damage without a known end numbers are skipped, as many as the lost
    /// bytes could have held.
    pub durable: Lsn,
    /// How the log ends.
    pub tail: Tail,
    /// Damage to data that was proven to be durable and is not covered by `accepted`.
    pub damage: Vec<Damage>,
    /// Lost runs that an earlier `accept_damage` recorded.
    pub accepted: Vec<LsnSpan>,
    /// Redundant copies that were bad and were done without.
    pub repaired: u32,
    /// Names in the directory that are not the log's; left alone.
    pub foreign: Vec<OsString>,
    /// How many streams there are.
    pub streams: u64,
    /// How many segments there are.
    pub segments: u32,
    /// Bytes read and checked.
    pub bytes_scanned: u64,
    /// Bytes written again, unchanged, because only the page cache may have held them.
    pub anchored_bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// How a log ends.
///
/// # Examples
/// ```
/// use quorate_wal::{Lsn, Tail};
/// let torn = Tail::Torn { from: Lsn::new(9) };
/// assert_ne!(torn, Tail::Clean);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// The last group is whole and nothing follows it.
    Clean,
    /// A group was cut short; it is proven that it was never acknowledged as durable.
    Torn {
        /// First number that was discarded; it is given out again.
        from: Lsn,
    },
    /// The last group was cut short or rotted: nothing on the medium speaks for either.
    Unverifiable {
        /// The numbers in question; they are given out again.
        lsns: LsnSpan,
    },
}

/// The kind of structure that is damaged.
///
/// # Examples
/// ```
/// use quorate_wal::DamageKind;
/// assert_ne!(DamageKind::Payload, DamageKind::Link);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// A frame header does not verify, or does not continue the frame before it.
    FrameHeader,
    /// A payload does not verify.
    Payload,
    /// The frame that joins two segments is bad, or the two do not fit.
    Link,
    /// Both header copies of a segment are bad, or belong to another log.
    SegmentHeader,
    /// A segment file is gone.
    MissingSegment,
    /// MANIFEST is gone or has no sound slot.
    Manifest,
    /// A segment file is shorter than it must be.
    Length,
}

/// What proves that the damaged place was durable once.
///
/// # Examples
/// ```
/// use quorate_wal::{Evidence, Lsn};
/// let told = Evidence::Caller { lsn: Lsn::new(4) };
/// assert_ne!(told, Evidence::Manifest);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A later frame was written when everything below `durable_off` was synced.
    Frame {
        /// Where that frame stands.
        offset: u32,
        /// What it says.
        durable_off: u32,
    },
    /// A later segment was begun, which happens only after this one was synced.
    NextSegment {
        /// Its number.
        segment: u64,
    },
    /// MANIFEST recorded a later durable position.
    Manifest,
    /// `expect_durable` of the configuration.
    Caller {
        /// What the caller knows to be durable.
        lsn: Lsn,
    },
    /// The structure cannot come from an interrupted write.
    Structure,
}

/// One damaged place.
///
/// # Examples
/// ```
/// fn lost(damage: &quorate_wal::Damage) -> String {
///     format!("segment {} at {}: records {}", damage.segment, damage.offset, damage.lost)
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Damage {
    /// Number of the segment; 0: not in a segment.
    pub segment: u64,
    /// Where in the file.
    pub offset: u32,
    /// What is damaged.
    pub kind: DamageKind,
    /// The records that cannot be read; empty if only structure was hit.
    pub lost: LsnSpan,
    /// Why this is not an interrupted write.
    pub evidence: Evidence,
    /// The one bit (counted from `offset`) that alone explains it, if there is one.
    pub single_bit: Option<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} in segment {} at {}: records {} lost, evidence {:?}",
            self.kind, self.segment, self.offset, self.lost, self.evidence
        )
    }
}

/// Whether a stream lost anything.
///
/// # Examples
/// ```
/// use quorate_wal::Health;
/// assert_ne!(Health::Intact, Health::Gap { missing: 3..5 });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// Proof that this stream lost nothing.
    Intact,
    /// The stream lost a record; `missing` are its indexes, empty if it was metadata, a drop or
    /// a part that was replaced later.
    Gap {
        /// The missing indexes.
        missing: Range<u64>,
    },
    /// Records were lost after the stream's last one; some may have been the stream's.
    Uncertain {
        /// First lost number.
        since: Lsn,
    },
}

/// One operation as recovery meets it, in the order of its number.
///
/// Handed to the `visit` function of [`Wal::open_on`](crate::Wal::open_on) during the one
/// verification pass, so that a table can be rebuilt without reading the log twice. Later
/// operations take effect on earlier ones: a [`Cut`](Self::Cut) takes records back. If the open
/// ends in an error, forget all that was shown.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Replayed, Wal, vfs::MemVfs};
/// let (disk, dir) = (Arc::new(MemVfs::new()), Path::new("log"));
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(disk.clone(), dir, config.clone(), None)?;
/// wal.append_blocking(b"x")?;
/// drop(wal);
/// let mut seen = Vec::new();
/// let mut visit = |op: Replayed<'_>| {
///     if let Replayed::Record { lsn, bytes } = op {
///         seen.push((lsn.as_u64(), bytes.to_vec()));
///     }
/// };
/// Wal::open_on(disk, dir, config, Some(&mut visit))?;
/// assert_eq!(seen, [(1, b"x".to_vec())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replayed<'a> {
    /// A record of the plain log, at or above the low mark known so far.
    Record {
        /// Its number.
        lsn: Lsn,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// Records of the plain log from `from` on are taken back.
    Cut {
        /// Number of the truncation.
        lsn: Lsn,
        /// First record taken back.
        from: Lsn,
    },
    /// A block of a stream.
    Block {
        /// Its number.
        lsn: Lsn,
        /// The stream.
        stream: StreamId,
        /// Whether it replaces what stood at `first` and above.
        replace: bool,
        /// `Some(kept)`: the log wrote a block again that was still live in an old segment. It
        /// stands for its first `kept` entries, like the block it is a copy of, and takes
        /// nothing else away.
        carried: Option<u32>,
        /// Index of the first entry.
        first: u64,
        /// How many entries.
        count: u32,
        /// The tag.
        tag: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A metadata cell of a stream.
    Meta {
        /// Its number.
        lsn: Lsn,
        /// The stream.
        stream: StreamId,
        /// The cell, 0 to 15.
        slot: u8,
        /// The value.
        bytes: &'a [u8],
    },
    /// A stream was dropped.
    Dropped {
        /// Its number.
        lsn: Lsn,
        /// The stream.
        stream: StreamId,
    },
    /// A stream's low mark rose.
    KeepFrom {
        /// The stream.
        stream: StreamId,
        /// The first index kept.
        low: u64,
    },
}

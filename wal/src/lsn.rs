//! Names: log sequence numbers, streams, metadata slots, acknowledgement levels, marks.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The number of a record: the first is 1, dense in append order.
///
/// A number that was durable is never given out again, not even after
/// [`Wal::truncate_suffix`](crate::Wal::truncate_suffix).
///
/// # Examples
/// ```
/// use quorate_wal::Lsn;
/// assert!(Lsn::ZERO < Lsn::new(1));
/// assert_eq!(Lsn::new(7).to_string(), "7");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The number `n`.
    #[must_use]
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// The number as an integer.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One of the many logs that share a [`Wal`](crate::Wal).
///
/// Spaces keep users of one log apart: 0 plain log, 1 raft, 2 txn, 3 lease, up to 1023 the
/// family, from 1024 the application.
///
/// # Examples
/// ```
/// use quorate_wal::StreamId;
/// let group = StreamId::new(1, 42);
/// assert_eq!((group.space(), group.id()), (1, 42));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    space: u16,
    id: u64,
}

impl Hash for StreamId {
    /// In one step; ids rarely reach the bits that hold the space.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.id ^ u64::from(self.space) << 48);
    }
}

impl StreamId {
    /// The plain log. It has records, not blocks: stream operations refuse this id.
    pub const MAIN: Self = Self { space: 0, id: 0 };

    /// Stream `id` of `space`.
    #[must_use]
    pub const fn new(space: u16, id: u64) -> Self {
        Self { space, id }
    }

    /// The space.
    #[must_use]
    pub const fn space(self) -> u16 {
        self.space
    }

    /// The number inside the space.
    #[must_use]
    pub const fn id(self) -> u64 {
        self.id
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.space, self.id)
    }
}

/// A metadata cell of a stream, 0 to 15.
///
/// # Examples
/// ```
/// use quorate_wal::Slot;
/// assert_eq!(Slot::new(15).map(Slot::as_u8), Some(15));
/// assert_eq!(Slot::new(16), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u8);

impl Slot {
    /// How many cells a stream has.
    pub const COUNT: u8 = 16;

    /// Cell `n`, if there is one.
    #[must_use]
    pub const fn new(n: u8) -> Option<Self> {
        if n < Self::COUNT { Some(Self(n)) } else { None }
    }

    /// The number of the cell.
    #[must_use]
    pub const fn as_u8(self) -> u8 {
        self.0
    }
}

/// What must have happened to a batch before its [`Staged`](crate::Staged) is ready.
///
/// # Examples
/// ```
/// use quorate_wal::Ack;
/// assert_ne!(Ack::Durable, Ack::Written);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ack {
    /// Synced to the medium: survives a power cut.
    Durable,
    /// Handed to the operating system: survives a crash of the process, not of the machine.
    Written,
    /// In memory: goes out with the next group, or after `flush_staged`.
    Staged,
}

/// How far a [`Reader`](crate::Reader) may read.
///
/// # Examples
/// ```
/// use quorate_wal::ReadBound;
/// assert_ne!(ReadBound::Durable, ReadBound::High);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReadBound {
    /// Up to the newest durable record.
    Durable,
    /// Up to the high-water mark set by [`Wal::advance_high`](crate::Wal::advance_high).
    High,
    /// Up to the newest written record, durable or not.
    Written,
}

/// The positions of a log at one moment.
///
/// `low ≤ durable + 1`, `durable ≤ written ≤ staged`, `high ≤ durable`.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Lsn, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.append_blocking(b"one")?;
/// let marks = wal.marks();
/// assert_eq!((marks.low, marks.durable, marks.staged), (Lsn::new(1), Lsn::new(1), Lsn::new(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Marks {
    /// The first record of the plain log that is kept.
    pub low: Lsn,
    /// The high-water mark.
    pub high: Lsn,
    /// Everything up to here is durable.
    pub durable: Lsn,
    /// Everything up to here has been handed to the operating system.
    pub written: Lsn,
    /// The newest number given out.
    pub staged: Lsn,
}

/// A run of record numbers; `to: None` is an open end, `to < from` is empty.
///
/// # Examples
/// ```
/// use quorate_wal::{Lsn, LsnSpan};
/// let span = LsnSpan::new(Lsn::new(3), Some(Lsn::new(5)));
/// assert!(span.contains(Lsn::new(4)) && !span.contains(Lsn::new(6)));
/// assert!(LsnSpan::new(Lsn::new(3), Some(Lsn::new(2))).is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LsnSpan {
    /// The first number.
    pub from: Lsn,
    /// The last number; `None`: everything from `from` on.
    pub to: Option<Lsn>,
}

impl LsnSpan {
    /// The run `from..=to`.
    #[must_use]
    pub const fn new(from: Lsn, to: Option<Lsn>) -> Self {
        Self { from, to }
    }

    /// Whether `lsn` is in the run.
    #[must_use]
    pub fn contains(&self, lsn: Lsn) -> bool {
        lsn >= self.from && self.to.is_none_or(|to| lsn <= to)
    }

    /// Whether the run holds no number at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| to < self.from)
    }
}

impl fmt::Display for LsnSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to {
            Some(to) if to < self.from => write!(f, "none at {}", self.from),
            Some(to) => write!(f, "{}..={to}", self.from),
            None => write!(f, "{}..", self.from),
        }
    }
}

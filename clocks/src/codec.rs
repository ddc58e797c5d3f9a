//! The byte form of vectors, what others share with it, and why bytes or a value are refused.

use crate::entries::Entries;
use crate::{ActorBytes, Dot};
use alloc::vec::Vec;
use core::fmt;

/// First byte of every form.
pub(crate) const VERSION: u8 = 1;
pub(crate) const ENTRIES_MAX: usize = 4_096;
/// Version, actor width, count.
const HEADER: usize = 4;
const COUNTER: usize = 8;

/// Why bytes are not a vector, a matrix or a set: each value has exactly one byte form, everything
/// else is refused.
///
/// # Examples
/// ```
/// use quorate_clocks::{DecodeError, VectorClock};
///
/// let good = VectorClock::from_entries([(7_u16, 2)]).encode()?;
/// assert_eq!(
///     VectorClock::<u16>::decode(&good[..9]),
///     Err(DecodeError::Short { offset: 9, needed: 14 })
/// );
/// assert_eq!(
///     VectorClock::<u64>::decode(&good), // written with another type of actor
///     Err(DecodeError::Width { offset: 1, expected: 8, found: 2 })
/// );
/// # Ok::<(), quorate_clocks::EncodeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// Effect: nothing was built. The bytes end too early; the rest may be still to come.
    Short {
        /// Where they end.
        offset: usize,
        /// How many there should be at least.
        needed: usize,
    },
    /// Effect: nothing was built. Bytes follow behind the end; a retry fails again.
    Trailing {
        /// The first of them.
        offset: usize,
    },
    /// Effect: nothing was built. An actor is not above the one before it; a retry fails again.
    Order {
        /// Where that actor stands.
        offset: usize,
    },
    /// Effect: nothing was built. A counter is zero: such an entry is never written. // H18
    Zero {
        /// Where the counter stands.
        offset: usize,
    },
    /// Effect: nothing was built. The bytes were written with another type of actor.
    Width {
        /// Where the width stands.
        offset: usize,
        /// Bytes of this type of actor.
        expected: u8,
        /// Bytes of the writer's.
        found: u8,
    },
    /// Effect: nothing was built. More entries, values or bytes than are allowed there; a retry
    /// fails again.
    TooMany {
        /// Where the number stands.
        offset: usize,
        /// The number.
        count: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Effect: nothing was built. Another version of the format, or none at all.
    Version {
        /// Where the version stands.
        offset: usize,
        /// What stands there.
        found: u8,
    },
    /// Effect: nothing was built. Bytes that are no actor, or that the caller's function refused,
    /// or the owner of a matrix that has no row for it.
    Value {
        /// Where they begin.
        offset: usize,
    },
}

impl DecodeError {
    /// The byte at which the form ends being one.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::Short { offset, .. }
            | Self::Trailing { offset }
            | Self::Order { offset }
            | Self::Zero { offset }
            | Self::Width { offset, .. }
            | Self::TooMany { offset, .. }
            | Self::Version { offset, .. }
            | Self::Value { offset } => offset,
        }
    }

    /// Whether more bytes may help.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Short { .. })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Short { offset, needed } => {
                write!(f, "bytes end at {offset}, {needed} are needed")
            }
            Self::Trailing { offset } => write!(f, "trailing bytes from byte {offset} on"),
            Self::Order { offset } => write!(f, "actors out of order at byte {offset}"),
            Self::Zero { offset } => write!(f, "counter of zero at byte {offset}"),
            Self::Width { offset, expected, found } => {
                write!(f, "actors of {found} bytes at byte {offset}, expected {expected}")
            }
            Self::TooMany { offset, count, limit } => {
                write!(f, "{count} at byte {offset}, the limit is {limit}")
            }
            Self::Version { offset, found } => {
                write!(f, "unknown version {found} at byte {offset}")
            }
            Self::Value { offset } => write!(f, "bytes from byte {offset} on are no value"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Why a value has no byte form: it is larger than what any reader takes.
///
/// # Examples
/// ```
/// use quorate_clocks::{EncodeError, VectorClock};
///
/// let huge = VectorClock::from_entries((0..5_000_u16).map(|actor| (actor, 1)));
/// assert_eq!(huge.encode(), Err(EncodeError::Entries { count: 5_000, limit: 4_096 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// Effect: nothing was written. More entries than the format holds; a retry fails again.
    Entries {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Effect: nothing was written. More values than the format holds; a retry after a
    /// reconciliation may do.
    Values {
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Effect: nothing was written. One value is too long; a retry fails again.
    ValueBytes {
        /// Its length.
        len: usize,
        /// The longest that is written.
        limit: usize,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Entries { count, limit } => write!(f, "{count} entries, the limit is {limit}"),
            Self::Values { count, limit } => write!(f, "{count} values, the limit is {limit}"),
            Self::ValueBytes { len, limit } => {
                write!(f, "value of {len} bytes, the limit is {limit}")
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Checks a number of entries against the limit, as the two bytes that are written.
pub(crate) fn entries_count(count: usize) -> Result<u16, EncodeError> {
    let few = u16::try_from(count).ok().filter(|_| count <= ENTRIES_MAX);
    few.ok_or(EncodeError::Entries { count, limit: ENTRIES_MAX })
}

/// Takes bytes from the front and knows where it is.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            let needed = self.at.saturating_add(count);
            return Err(DecodeError::Short { offset: self.bytes.len(), needed });
        };
        self.at += count;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let offset = self.at;
        // `take` gives exactly N bytes.
        self.take(N)?.try_into().map_err(|_| DecodeError::Value { offset })
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Version, width and number of entries.
    pub(crate) fn header<A: ActorBytes>(&mut self) -> Result<usize, DecodeError> {
        self.version::<A>()?;
        self.count(ENTRIES_MAX)
    }

    /// Version and width.
    pub(crate) fn version<A: ActorBytes>(&mut self) -> Result<(), DecodeError> {
        let [found] = self.array()?;
        if found != VERSION {
            return Err(DecodeError::Version { offset: self.at - 1, found });
        }
        let [found] = self.array()?;
        if found != A::WIDTH {
            return Err(DecodeError::Width { offset: self.at - 1, expected: A::WIDTH, found });
        }
        Ok(())
    }

    /// Two bytes that say how many follow.
    pub(crate) fn count(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let offset = self.at;
        let count = self.u16()?;
        if usize::from(count) > limit {
            let (count, limit) = (u64::from(count), limit as u64);
            return Err(DecodeError::TooMany { offset, count, limit });
        }
        Ok(usize::from(count))
    }

    /// An actor, above the one before.
    #[inline]
    pub(crate) fn actor<A: ActorBytes>(&mut self, last: Option<A>) -> Result<A, DecodeError> {
        let offset = self.at;
        let actor = self.take(usize::from(A::WIDTH))?;
        let actor = A::read_from(actor).ok_or(DecodeError::Value { offset })?;
        if last.is_some_and(|last| last >= actor) {
            return Err(DecodeError::Order { offset });
        }
        Ok(actor)
    }

    /// One entry, above the one before.
    #[inline]
    pub(crate) fn dot<A: ActorBytes>(&mut self, last: Option<A>) -> Result<Dot<A>, DecodeError> {
        let actor = self.actor(last)?;
        let offset = self.at;
        let counter = self.u64()?;
        if counter == 0 {
            return Err(DecodeError::Zero { offset });
        }
        Ok(Dot { actor, counter })
    }

    /// The bytes of `count` entries, checked; allocates nothing.
    pub(crate) fn entries<A: ActorBytes>(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let offset = self.at;
        let bytes = self.take(count * stride::<A>())?;
        if canonical::<A>(bytes) {
            return Ok(bytes);
        }
        // Something is wrong: go through them one by one to say what and where.
        self.at = offset;
        let mut last: Option<A> = None;
        for _ in 0..count {
            last = Some(self.dot(last)?.actor);
        }
        Err(DecodeError::Value { offset })
    }

    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { offset: self.at })
        }
    }

    /// Refuses an end that the numbers read so far do not agree with, before room is made.
    fn exactly(&self, more: usize) -> Result<(), DecodeError> {
        let needed = self.at + more;
        match self.bytes.len() {
            offset if offset < needed => Err(DecodeError::Short { offset, needed }),
            len if len > needed => Err(DecodeError::Trailing { offset: needed }),
            _ => Ok(()),
        }
    }
}

impl<A: ActorBytes> Entries<Dot<A>> {
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        entries_count(self.len())?;
        out.reserve(HEADER + self.len() * stride::<A>());
        out.extend_from_slice(&[VERSION, A::WIDTH]);
        self.append_to(out)
    }

    /// Appends their number and the entries.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&entries_count(self.len())?.to_le_bytes());
        for entry in self.as_slice() {
            entry.actor.write_to(out);
            out.extend_from_slice(&entry.counter.to_le_bytes());
        }
        Ok(())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let count = reader.header::<A>()?;
        reader.exactly(count * stride::<A>())?;
        let bytes = reader.entries::<A>(count)?;
        Self::of(bytes).ok_or(DecodeError::Value { offset: HEADER })
    }

    /// From the bytes of entries that were checked; up to four need no allocation.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut entries = Self::with_capacity(bytes.len() / stride::<A>());
        for entry in bytes.chunks_exact(stride::<A>()) {
            entries.push(dot_of(entry)?);
        }
        Some(entries)
    }
}

/// Bytes of an entry.
const fn stride<A: ActorBytes>() -> usize {
    A::WIDTH as usize + COUNTER
}

#[inline]
fn dot_of<A: ActorBytes>(entry: &[u8]) -> Option<Dot<A>> {
    let (actor, counter) = entry.split_at_checked(usize::from(A::WIDTH))?;
    let counter = u64::from_le_bytes(counter.try_into().ok()?);
    Some(Dot { actor: A::read_from(actor)?, counter })
}

/// Whether each entry is above the one before and none is zero. The checks are gathered, so that
/// good bytes run through without a branch for each.
fn canonical<A: ActorBytes>(bytes: &[u8]) -> bool {
    let (mut good, mut last) = (true, None);
    for entry in bytes.chunks_exact(stride::<A>()) {
        let Some(dot) = dot_of::<A>(entry) else { return false };
        good &= (dot.counter != 0) & last.is_none_or(|last| last < dot.actor);
        last = Some(dot.actor);
    }
    good
}

/// For a `Debug` that reads `{actor: counter}`.
pub(crate) fn debug_map<A: fmt::Debug>(
    entries: &[Dot<A>],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.debug_map().entries(entries.iter().map(|dot| (&dot.actor, dot.counter))).finish()
}

//! [`MatrixClock`]: what everybody is known to have seen.

use crate::codec::{DecodeError, ENTRIES_MAX, EncodeError, Reader, VERSION, entries_count};
use crate::entries::Entries;
use crate::{Actor, ActorBytes, Causality, Dot, VersionVector, mutant};
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

/// How many members' knowledge is kept.
const ROWS_MAX: usize = 256;

/// A version vector for each member: what this member knows that the other has seen. Its minimum
/// is what everybody has seen, so it is safe to forget there (logs, tombstones, old versions).
///
/// Send its byte form ([`encode`](Self::encode)) with each message and [`receive`](Self::receive)
/// those that come. A message is only knowledge here; to count it as an event,
/// [`tick`](Self::tick).
///
/// # Cost
/// A receipt merges every row of the message: (members)² entries. An own event touches one.
///
/// # Limits
/// 256 rows, then [`MatrixFull`]: 1 MiB if each of 256 members with `u64` ids has written. Counters
/// of members that were removed stay in the rows, as in any version vector: to drop them would make
/// their old updates look new. // H20
/// The byte form holds 4,096 entries a row.
///
/// # Examples
/// ```
/// use quorate_clocks::MatrixClock;
///
/// let (mut a, mut b) = (MatrixClock::new(1_u64), MatrixClock::new(2));
/// let update = a.tick();
/// b.receive(1, &a)?;
/// assert!(!a.stable(&[1, 2]).contains(update)); // a does not know that b has it
/// let message = b.encode()?;
/// a.receive(2, &MatrixClock::decode(&message)?)?;
/// assert!(a.stable(&[1, 2]).contains(update)); // now it does
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
///
/// # Source
/// Wuu & Bernstein 1984; Sarin & Lynch 1987.
#[derive(Clone, Debug)]
pub struct MatrixClock<A> {
    me: A,
    /// By member; mine is always there.
    rows: Vec<(A, VersionVector<A>)>,
}

impl<A: Actor> MatrixClock<A> {
    /// The clock of a member that knows of nobody.
    #[must_use]
    pub fn new(me: A) -> Self {
        Self { me, rows: Vec::from([(me, VersionVector::new())]) }
    }

    /// Whose clock this is.
    #[must_use]
    pub const fn me(&self) -> A {
        self.me
    }

    /// Counts an own update and names it.
    pub fn tick(&mut self) -> Dot<A> {
        let me = self.me;
        self.row_mut(me).entries.tick(me)
    }

    /// Takes over all that `from` knew when it sent its clock: I have seen what `from` had seen,
    /// and know of everybody what `from` knew of them.
    ///
    /// # Errors
    /// [`MatrixFull`] if there would be more than 256 rows; the clock is as it was.
    pub fn receive(&mut self, from: A, other: &Self) -> Result<(), MatrixFull> {
        let unknown = |actor: &A| self.row(*actor).is_none();
        let new = other.rows.iter().filter(|(actor, _)| unknown(actor)).count()
            + usize::from(unknown(&from) && other.row(from).is_none());
        let rows = self.rows.len() + new;
        if rows > ROWS_MAX {
            return Err(MatrixFull { rows, limit: ROWS_MAX });
        }
        for (actor, row) in &other.rows {
            self.row_mut(*actor).merge(row);
        }
        self.row_mut(from);
        if let Some(seen) = other.row(from) {
            let me = self.me;
            self.row_mut(me).merge(seen);
        }
        Ok(())
    }

    /// What `actor` is known to have seen; `None` if nothing was heard of it.
    #[must_use]
    pub fn row(&self, actor: A) -> Option<&VersionVector<A>> {
        self.find(actor).ok().map(|at| &self.rows[at].1)
    }

    /// Each member heard of, in order, with what it is known to have seen.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (A, &VersionVector<A>)> {
        self.rows.iter().map(|(actor, row)| (*actor, row))
    }

    /// What each of `members` is known to have seen: empty if one of them was never heard of, or if
    /// there are none. // H30
    ///
    /// A member that departed holds it where it was until it is no longer listed.
    ///
    /// # Cost
    /// One pass for each member.
    #[must_use]
    pub fn stable(&self, members: &[A]) -> VersionVector<A> {
        let mut stable: Option<VersionVector<A>> = None;
        for member in members {
            match (self.row(*member), &mut stable) {
                (Some(row), Some(stable)) => stable.meet(row),
                (Some(row), none) => *none = Some(row.clone()),
                (None, _) if mutant::on("matrix_known_rows_only") => {}
                (None, _) => return VersionVector::new(),
            }
        }
        stable.unwrap_or_default()
    }

    /// Forgets what a member that departed has seen, and gives it back. It comes again with the
    /// clock of a peer that has not forgotten it. One's own row stays: `None`.
    pub fn remove(&mut self, actor: A) -> Option<VersionVector<A>> {
        let at = self.find(actor).ok().filter(|_| actor != self.me)?;
        Some(self.rows.remove(at).1)
    }

    /// How the two clocks' knowledge stands to one another, member by member; a member without a
    /// row has seen nothing. Whose clocks they are makes no difference.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Causality {
        let (mut left_only, mut right_only) = (false, false);
        let none = VersionVector { entries: Entries::new() };
        let (mut mine, mut theirs) = (self.rows.as_slice(), other.rows.as_slice());
        loop {
            let order = match (mine.first(), theirs.first()) {
                (Some((l, _)), Some((r, _))) => l.cmp(r),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return Causality::of(left_only, right_only),
            };
            let left = if order.is_le() { next(&mut mine) } else { None };
            let right = if order.is_ge() { next(&mut theirs) } else { None };
            match left.unwrap_or(&none).compare(right.unwrap_or(&none)) {
                Causality::Equal => {}
                Causality::Before => right_only = true,
                Causality::After => left_only = true,
                Causality::Concurrent => return Causality::Concurrent,
            }
        }
    }

    fn find(&self, actor: A) -> Result<usize, usize> {
        self.rows.binary_search_by(|(member, _)| member.cmp(&actor))
    }

    fn row_mut(&mut self, actor: A) -> &mut VersionVector<A> {
        let at = self.find(actor).unwrap_or_else(|at| {
            self.rows.insert(at, (actor, VersionVector::new()));
            at
        });
        &mut self.rows[at].1
    }
}

impl<A: ActorBytes> MatrixClock<A> {
    /// Its only byte form (`FORMAT.md`).
    ///
    /// # Errors
    /// [`EncodeError::Entries`] if a row has more than 4,096.
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode_into(&mut out)?;
        Ok(out)
    }

    /// Appends its byte form.
    ///
    /// # Errors
    /// [`EncodeError::Entries`] if a row has more than 4,096; `out` is as it was.
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let before = out.len();
        let written = self.append_to(out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    fn append_to(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&[VERSION, A::WIDTH]);
        // At most 256, by `receive` and `decode`.
        out.extend_from_slice(&entries_count(self.rows.len())?.to_le_bytes());
        self.me.write_to(out);
        for (actor, row) in &self.rows {
            actor.write_to(out);
            row.entries.append_to(out)?;
        }
        Ok(())
    }

    /// From its byte form, all of it.
    ///
    /// # Cost
    /// Nothing is allocated before everything was checked. Then the rows in one allocation, about
    /// 80 bytes for each of at most 256, and one more for each row above four entries: at most
    /// twice as long as its bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything but what [`encode`](Self::encode) writes;
    /// [`DecodeError::Value`] also if the owner has no row.
    ///
    /// # Examples
    /// ```
    /// use quorate_clocks::{DecodeError, MatrixClock};
    ///
    /// let mut clock = MatrixClock::new(7_u16);
    /// let update = clock.tick();
    /// let bytes = clock.encode()?;
    /// assert!(MatrixClock::<u16>::decode(&bytes)?.stable(&[7]).contains(update));
    /// let cut = MatrixClock::<u16>::decode(&bytes[..10]).unwrap_err();
    /// assert_eq!(cut, DecodeError::Short { offset: 10, needed: 20 });
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (me, count) = walk::<A>(bytes, |_, _| Ok(()))?;
        let mut rows = Vec::with_capacity(count);
        walk::<A>(bytes, |actor, (offset, entries)| {
            let entries = Entries::of(entries).ok_or(DecodeError::Value { offset })?;
            rows.push((actor, VersionVector { entries }));
            Ok(())
        })?;
        Ok(Self { me, rows })
    }
}

/// Reads the form once, checking all of it, and shows each row's actor, and where its entries
/// stand with their bytes; allocates nothing. Gives whose clock it is and the number of rows.
fn walk<A: ActorBytes>(
    bytes: &[u8],
    mut row: impl FnMut(A, (usize, &[u8])) -> Result<(), DecodeError>,
) -> Result<(A, usize), DecodeError> {
    let mut reader = Reader::new(bytes);
    reader.version::<A>()?;
    let rows = reader.count(ROWS_MAX)?;
    let owner = reader.at;
    let me = reader.actor(None)?;
    let (mut last, mut own) = (None, false);
    for _ in 0..rows {
        let actor = reader.actor(last)?;
        last = Some(actor);
        own |= actor == me;
        let count = reader.count(ENTRIES_MAX)?;
        let offset = reader.at;
        row(actor, (offset, reader.entries::<A>(count)?))?;
    }
    reader.end()?;
    if own { Ok((me, rows)) } else { Err(DecodeError::Value { offset: owner }) }
}

fn next<'a, A>(rows: &mut &'a [(A, VersionVector<A>)]) -> Option<&'a VersionVector<A>> {
    let ((_, first), rest) = rows.split_first()?;
    *rows = rest;
    Some(first)
}

/// A receipt would have needed more rows than a [`MatrixClock`] has.
///
/// Effect: the clock is as it was. A retry can help after [`MatrixClock::remove`] of members that
/// departed, here and at the sender.
///
/// # Examples
/// ```
/// use quorate_clocks::MatrixClock;
///
/// let mut clock = MatrixClock::new(0_u16);
/// for member in 1..256 {
///     clock.receive(member, &MatrixClock::new(member))?;
/// }
/// let full = clock.receive(256, &MatrixClock::new(256)).unwrap_err();
/// assert_eq!((full.rows, full.limit), (257, 256));
/// # Ok::<(), quorate_clocks::MatrixFull>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MatrixFull {
    /// How many rows there would have been.
    pub rows: usize,
    /// How many there may be.
    pub limit: usize,
}

impl fmt::Display for MatrixFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows, the limit is {}", self.rows, self.limit)
    }
}

impl core::error::Error for MatrixFull {}

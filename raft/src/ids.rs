//! The numbers of the protocol, each its own type.

use core::fmt;

/// Declares a newtype over an unsigned integer with the derives every id of this crate has.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// Zero: before the first.
            pub const ZERO: Self = Self(0);

            /// The id with this number.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The number.
            #[must_use]
            pub const fn value(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A term: the generation of a leadership. Rises with each election, never falls.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::Term;
    /// assert!(Term::new(2) > Term::ZERO);
    /// ```
    Term(u64)
}

id! {
    /// The position of an entry in the log; the first entry is 1.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::LogIndex;
    /// assert_eq!(LogIndex::new(4).next(), LogIndex::new(5));
    /// ```
    LogIndex(u64)
}

id! {
    /// One replicated log of several in a process.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::GroupId;
    /// assert_eq!(GroupId::new(1).to_string(), "1");
    /// ```
    GroupId(u64)
}

id! {
    /// A read asked of the core, chosen by the caller and returned with the answer.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::ReadId;
    /// assert_eq!(ReadId::new(9).value(), 9);
    /// ```
    ReadId(u64)
}

id! {
    /// The identity of a disk: drawn once when a store is created.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::StoreId;
    /// assert_eq!(StoreId::new(1 << 64 | 2).fold(), 3);
    /// ```
    StoreId(u128)
}

id! {
    /// A session: the index of the entry that opened it.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::SessionId;
    /// assert_eq!(SessionId::new(12).to_string(), "12");
    /// ```
    SessionId(u64)
}

impl LogIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The index before this one; zero stays zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// This index moved up by `n`.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl StoreId {
    /// Both halves xored: what a message header has room for.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the fold keeps the low half on purpose")]
    pub const fn fold(self) -> u64 {
        (self.0 >> 64) as u64 ^ self.0 as u64
    }
}

/// Which entry: the term it was proposed in and its index. Two logs that hold the same `LogId` are
/// equal up to it (log matching).
///
/// Ordered by term, then index: the order in which votes compare logs.
///
/// # Examples
/// ```
/// use quorate_raft::LogId;
///
/// let old_but_long = LogId::new(1, 100);
/// let new_but_short = LogId::new(2, 5);
/// assert!(new_but_short > old_but_long);
/// assert_eq!(new_but_short.to_string(), "2/5");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct LogId {
    /// The term of the leader that appended the entry.
    pub term: Term,
    /// Its place in the log.
    pub index: LogIndex,
}

impl LogId {
    /// Before the first entry.
    pub const ZERO: Self = Self { term: Term::ZERO, index: LogIndex::ZERO };

    /// The entry `index` of `term`.
    #[must_use]
    pub const fn new(term: u64, index: u64) -> Self {
        Self { term: Term::new(term), index: LogIndex::new(index) }
    }

    pub(crate) const fn of(term: Term, index: LogIndex) -> Self {
        Self { term, index }
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.term, self.index)
    }
}

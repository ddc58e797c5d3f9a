//! Entries: the units of the replicated log as the state machine sees them.

use crate::LogId;

/// What an entry is for. The numbers are those of the format.
///
/// # Examples
/// ```
/// use quorate_raft::EntryKind;
/// assert_eq!(EntryKind::from_byte(1), Some(EntryKind::Normal));
/// assert_eq!(EntryKind::from_byte(200), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum EntryKind {
    /// Appended by a new leader so that it may commit the entries before it (thesis §3.6.2).
    Noop = 0,
    /// Data of the application.
    Normal = 1,
    /// A change of the membership: a [`ConfChange`](crate::ConfChange).
    Conf = 2,
}

impl EntryKind {
    /// The kind with this number in the format, if this version knows it.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Noop),
            1 => Some(Self::Normal),
            2 => Some(Self::Conf),
            _ => None,
        }
    }
}

/// What goes into a [`Proposal`](crate::Proposal).
///
/// # Examples
/// ```
/// use quorate_raft::{EntryBody, Limits, Proposal};
///
/// let mut p = Proposal::new(&Limits::default());
/// p.push(EntryBody::Normal(b"set a 1")).unwrap();
/// assert_eq!(p.count(), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryBody<'a> {
    /// Nothing: the leader's own first entry.
    Noop,
    /// Data of the application, uninterpreted.
    Normal(&'a [u8]),
}

impl<'a> EntryBody<'a> {
    pub(crate) fn parts(self) -> (EntryKind, &'a [u8]) {
        match self {
            Self::Noop => (EntryKind::Noop, &[]),
            Self::Normal(data) => (EntryKind::Normal, data),
        }
    }
}

/// One entry, borrowed from the block that holds it.
///
/// # Examples
/// ```
/// use quorate_raft::{Block, Entry, EntryBody, GroupId, Limits, LogId, Proposal, Term};
///
/// let mut p = Proposal::new(&Limits::default());
/// p.push(EntryBody::Normal(b"x")).unwrap();
/// let block: Block = p.stamp(GroupId::new(1), Term::new(3), LogId::new(2, 7), 0);
/// let entry: Entry<'_> = block.iter().next().unwrap();
/// assert_eq!((entry.id, entry.data), (LogId::new(3, 8), &b"x"[..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry<'a> {
    /// Term and index.
    pub id: LogId,
    /// What it is for.
    pub kind: EntryKind,
    /// Group time in milliseconds: the same on every replica, never goes back.
    pub time_ms: u64,
    /// The payload.
    pub data: &'a [u8],
}

//! Entries: the units of the replicated log as the state machine sees them.

use crate::session::SessionLimits;
use crate::{LogId, SessionId};
use bytes::{Buf as _, BufMut as _};

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
    /// A request of a session: data of the application that takes effect at most once.
    Session = 3,
    /// Opens a session; its id is the index of this entry.
    SessionOpen = 4,
    /// Closes a session.
    SessionClose = 5,
}

impl EntryKind {
    /// The kind with this number in the format, if this version knows it.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Noop),
            1 => Some(Self::Normal),
            2 => Some(Self::Conf),
            3 => Some(Self::Session),
            4 => Some(Self::SessionOpen),
            5 => Some(Self::SessionClose),
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
    /// A request of a session. (thesis §6.3)
    Session {
        /// Which session.
        session: SessionId,
        /// The request's number in its session: 1 or more, and above `ack`.
        seq: u64,
        /// Every request up to this number was answered and is never repeated.
        ack: u64,
        /// Data of the application, uninterpreted.
        data: &'a [u8],
    },
    /// Opens a session within these limits.
    Open(SessionLimits),
    /// Closes a session.
    Close(SessionId),
}

/// Bytes of a session request before the application's.
pub(crate) const REQUEST_PREFIX: usize = 24;

/// The numbers that stand before an entry's data, encoded.
pub(crate) struct Prefix {
    bytes: [u8; REQUEST_PREFIX],
    len: usize,
}

impl Prefix {
    const NONE: Self = Self { bytes: [0; REQUEST_PREFIX], len: 0 };

    fn of(words: &[u64]) -> Self {
        let mut prefix = Self { len: words.len() * 8, ..Self::NONE };
        let mut out = &mut prefix.bytes[..];
        words.iter().for_each(|word| out.put_u64_le(*word));
        prefix
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<'a> EntryBody<'a> {
    /// Kind, what stands before the data, data.
    pub(crate) fn parts(self) -> (EntryKind, Prefix, &'a [u8]) {
        match self {
            Self::Noop => (EntryKind::Noop, Prefix::NONE, &[]),
            Self::Normal(data) => (EntryKind::Normal, Prefix::NONE, data),
            Self::Session { session, seq, ack, data } => {
                (EntryKind::Session, Prefix::of(&[session.value(), seq, ack]), data)
            }
            Self::Open(limits) => (EntryKind::SessionOpen, Prefix::of(&limits.to_words()), &[]),
            Self::Close(id) => (EntryKind::SessionClose, Prefix::of(&[id.value()]), &[]),
        }
    }

    /// What a session entry of this kind says; `None` for other kinds, and for bytes that no
    /// writer produces.
    pub(crate) fn of_session(kind: EntryKind, mut bytes: &'a [u8]) -> Option<Self> {
        match kind {
            EntryKind::Session if bytes.len() >= REQUEST_PREFIX => {
                let session = SessionId::new(bytes.get_u64_le());
                let (seq, ack) = (bytes.get_u64_le(), bytes.get_u64_le());
                // So `seq` is at least 1.
                let valid = session > SessionId::ZERO && ack < seq;
                valid.then_some(Self::Session { session, seq, ack, data: bytes })
            }
            EntryKind::SessionOpen if bytes.len() == SessionLimits::LEN => {
                let words = [bytes.get_u64_le(), bytes.get_u64_le(), bytes.get_u64_le()];
                SessionLimits::from_words(words).map(Self::Open)
            }
            EntryKind::SessionClose if bytes.len() == 8 => {
                let session = SessionId::new(bytes.get_u64_le());
                (session > SessionId::ZERO).then_some(Self::Close(session))
            }
            _ => None,
        }
    }
}

/// Whether the bytes of an entry are what its kind asks for.
pub(crate) fn is_well_formed(kind: EntryKind, bytes: &[u8]) -> bool {
    match kind {
        EntryKind::Session | EntryKind::SessionOpen | EntryKind::SessionClose => {
            EntryBody::of_session(kind, bytes).is_some()
        }
        EntryKind::Noop | EntryKind::Normal | EntryKind::Conf => true,
    }
}

/// The application's part of an entry's bytes.
pub(crate) fn payload(kind: EntryKind, bytes: &[u8]) -> &[u8] {
    match kind {
        EntryKind::Session => bytes.get(REQUEST_PREFIX..).unwrap_or_default(),
        _ => bytes,
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
    /// The application's data: of a session's request without the numbers before it.
    pub data: &'a [u8],
    /// All bytes of the entry behind its header.
    pub(crate) raw: &'a [u8],
}

impl<'a> Entry<'a> {
    pub(crate) fn new(id: LogId, kind: EntryKind, time_ms: u64, raw: &'a [u8]) -> Self {
        Self { id, kind, time_ms, data: payload(kind, raw), raw }
    }

    /// What was proposed, with the numbers of a session's request. `None` for a kind that is not
    /// proposed this way.
    ///
    /// # Examples
    /// ```
    /// use quorate_raft::{EntryBody, GroupId, Limits, LogId, Proposal, SessionId, Term};
    ///
    /// let data = b"set a 1";
    /// let body = EntryBody::Session { session: SessionId::new(4), seq: 2, ack: 1, data };
    /// let mut p = Proposal::new(&Limits::default());
    /// p.push(body).unwrap();
    /// let block = p.stamp(GroupId::new(1), Term::new(3), LogId::new(2, 7), 0);
    /// let entry = block.iter().next().unwrap();
    /// assert_eq!((entry.body(), entry.data), (Some(body), &data[..]));
    /// ```
    #[must_use]
    pub fn body(&self) -> Option<EntryBody<'a>> {
        match self.kind {
            EntryKind::Noop => Some(EntryBody::Noop),
            EntryKind::Normal => Some(EntryBody::Normal(self.data)),
            kind => EntryBody::of_session(kind, self.raw),
        }
    }
}

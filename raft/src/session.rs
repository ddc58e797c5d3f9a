//! Sessions: requests that take effect at most once, however often they are repeated. (5.7; Ongaro
//! 2014, §6.3)

mod format;
mod limits;
mod shards;

pub use limits::SessionLimits;

use crate::error::ProposeError;
use crate::{LogIndex, SessionId};
use bytes::Bytes;
use shards::Shards;
use std::collections::{BTreeMap, BTreeSet};

/// What the table says of a request.
///
/// # Examples
/// ```
/// use quorate_raft::{ProposeError, SessionId, SessionTable, SessionVerdict};
///
/// let mut table = SessionTable::new();
/// let verdict = table.request(0, SessionId::new(4), 1, 0);
/// assert_eq!(verdict, SessionVerdict::Refused(ProposeError::SessionExpired));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionVerdict {
    /// It is new: apply it, then tell [`SessionTable::answered`].
    Apply,
    /// It was given out to be applied and has no answer yet: apply that one first, ask again.
    Pending,
    /// It was applied, and this was the reply: do not apply it again.
    Repeated(Bytes),
    /// It was applied; the reply was larger than the session keeps. Do not apply it again.
    ReplyLost,
    /// It must not be applied, for this reason.
    Refused(ProposeError),
}

/// The reply to a request that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// Not known yet. Only between [`SessionTable::request`] and [`SessionTable::answered`].
    Pending,
    Reply(Bytes),
    TooLarge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    ttl_ms: u64,
    window: u32,
    reply_bytes_max: u32,
    /// Group time of its last request.
    used_ms: u64,
    /// Everything up to here was answered and is never repeated.
    low: u64,
    /// What was applied above `low`: at most `window`.
    replies: BTreeMap<u64, Kept>,
}

impl State {
    /// The last moment at which it lives.
    const fn lives_until(&self) -> u64 {
        self.used_ms.saturating_add(self.ttl_ms)
    }

    fn acknowledge(&mut self, ack: u64) {
        self.low = self.low.max(ack);
        while self.replies.first_key_value().is_some_and(|(seq, _)| *seq <= self.low) {
            self.replies.pop_first();
        }
    }

    /// Notes the request if it is new.
    fn admit(&mut self, seq: u64) -> SessionVerdict {
        if seq <= self.low {
            return SessionVerdict::Refused(ProposeError::SequenceReused);
        }
        match self.replies.get(&seq) {
            Some(Kept::Pending) => return SessionVerdict::Pending,
            Some(Kept::Reply(reply)) => return SessionVerdict::Repeated(reply.clone()),
            Some(Kept::TooLarge) => return SessionVerdict::ReplyLost,
            None => {}
        }
        if seq > self.low.saturating_add(u64::from(self.window)) {
            let max = self.window;
            return SessionVerdict::Refused(ProposeError::SessionWindow { max });
        }
        self.replies.insert(seq, Kept::Pending);
        SessionVerdict::Apply
    }
}

/// The open sessions of a group, part of its replicated state: changed by entries alone, in their
/// order, so it is the same on every replica and after every restart.
///
/// Time is the group's ([`Entry::time_ms`](crate::Entry::time_ms)), never a local clock's: replicas
/// that asked their clocks would disagree about which requests to apply. // H40
///
/// A session lives as long as it is used: every request renews it, whatever became of the request.
/// Unused for longer than its time to live, it is gone with the next entry about sessions; so is,
/// when one is opened above `sessions_max`, the one that was not used for longest.
///
/// # How to drive it
/// The driver of this crate does. For one's own: for each committed entry, in order, call
/// [`open`](Self::open), [`close`](Self::close) or [`request`](Self::request) as its
/// [`body`](crate::Entry::body) says. On [`SessionVerdict::Apply`] apply the entry and tell
/// [`answered`](Self::answered); otherwise do not apply it. Keep the table with the state it
/// belongs to: in the same snapshot ([`freeze`](Self::freeze), [`read_from`](Self::read_from)).
///
/// # Cost
/// A request: O(log n) of the sessions and of the replies kept, a copy of the reply. Memory: per
/// session about 200 bytes and the replies that its client has not acknowledged.
///
/// # Examples
/// ```
/// use quorate_raft::{LogIndex, SessionLimits, SessionTable, SessionVerdict};
/// use std::time::Duration;
///
/// let mut table = SessionTable::new();
/// let limits = SessionLimits::new(Duration::from_secs(60));
/// let id = table.open(LogIndex::new(7), 1_000, &limits);
///
/// assert_eq!(table.request(1_500, id, 1, 0), SessionVerdict::Apply);
/// table.answered(id, 1, b"done");
/// // The client did not hear of it and asks again: the same answer, nothing is applied.
/// assert_eq!(table.request(2_000, id, 1, 0), SessionVerdict::Repeated("done".into()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionTable {
    sessions: Shards,
    /// (last use, id): the first is the one that goes when there are too many.
    by_use: BTreeSet<(u64, SessionId)>,
    /// (last moment, id): the first is the one that expires next.
    by_expiry: BTreeSet<(u64, SessionId)>,
}

impl SessionTable {
    /// No sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sessions in the table: those that expired since the last entry about sessions included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sessions.len() == 0
    }

    /// The entry at `at` opens a session at group time `time_ms`.
    ///
    /// All limits come with the entry, so that replicas that are configured differently still keep
    /// the same table.
    pub fn open(&mut self, at: LogIndex, time_ms: u64, limits: &SessionLimits) -> SessionId {
        self.expire(time_ms);
        let max = limits.sessions_max_value() as usize;
        while self.sessions.len() >= max {
            let Some((_, id)) = self.by_use.first().copied() else { break };
            self.remove(id);
        }
        let id = SessionId::new(at.value());
        self.insert(
            id,
            State {
                ttl_ms: limits.ttl_ms(),
                window: limits.window_value(),
                reply_bytes_max: limits.reply_bytes_max_value(),
                used_ms: time_ms,
                low: 0,
                replies: BTreeMap::new(),
            },
        );
        id
    }

    /// The entry of a request, at group time `time_ms`: whether to apply it. Whoever may repeat
    /// nothing up to `ack` any more.
    pub fn request(
        &mut self,
        time_ms: u64,
        session: SessionId,
        seq: u64,
        ack: u64,
    ) -> SessionVerdict {
        self.expire(time_ms);
        let Some(state) = self.sessions.get_mut(session) else {
            return SessionVerdict::Refused(ProposeError::SessionExpired);
        };
        if time_ms > state.used_ms {
            self.by_use.remove(&(state.used_ms, session));
            self.by_expiry.remove(&(state.lives_until(), session));
            state.used_ms = time_ms;
            self.by_use.insert((state.used_ms, session));
            self.by_expiry.insert((state.lives_until(), session));
        }
        state.acknowledge(ack);
        state.admit(seq)
    }

    /// The reply to a request that was to be applied, and was. Kept as a copy: what it is a slice
    /// of may be larger. Nothing happens if an entry behind the request has acknowledged it, closed
    /// its session, or pushed the session out.
    pub fn answered(&mut self, session: SessionId, seq: u64, reply: &[u8]) {
        let Some(state) = self.sessions.get_mut(session) else { return };
        let fits = reply.len() as u64 <= u64::from(state.reply_bytes_max);
        if let Some(kept) = state.replies.get_mut(&seq) {
            *kept = if fits { Kept::Reply(Bytes::copy_from_slice(reply)) } else { Kept::TooLarge };
        }
    }

    /// As [`answered`](Self::answered), when the state has the request but its reply is gone: a
    /// machine that keeps its own state is not asked again after a restart.
    pub fn answered_before(&mut self, session: SessionId, seq: u64) {
        let Some(state) = self.sessions.get_mut(session) else { return };
        if let Some(kept) = state.replies.get_mut(&seq) {
            *kept = Kept::TooLarge;
        }
    }

    /// The entry that closes a session, at group time `time_ms`. Whether it was open: closing twice
    /// is no mistake.
    pub fn close(&mut self, time_ms: u64, id: SessionId) -> bool {
        self.expire(time_ms);
        self.remove(id)
    }

    fn insert(&mut self, id: SessionId, state: State) {
        self.remove(id);
        self.by_use.insert((state.used_ms, id));
        self.by_expiry.insert((state.lives_until(), id));
        self.sessions.insert(id, state);
    }

    fn remove(&mut self, id: SessionId) -> bool {
        let Some(state) = self.sessions.remove(id) else { return false };
        self.by_use.remove(&(state.used_ms, id));
        self.by_expiry.remove(&(state.lives_until(), id));
        true
    }

    /// Drops whoever was not used for longer than its time to live.
    fn expire(&mut self, time_ms: u64) {
        while let Some((until, id)) = self.by_expiry.first().copied() {
            if until >= time_ms {
                return;
            }
            self.remove(id);
        }
    }

    /// A view of the present state, to be written out while the table goes on changing.
    ///
    /// # Cost
    /// 256 pointers, whatever the number of sessions. What changes afterwards is copied when it
    /// does: pointers to 1/256 of the sessions, and the session.
    #[must_use]
    pub fn freeze(&self) -> FrozenSessions {
        FrozenSessions { sessions: self.sessions.clone() }
    }
}

/// A [`SessionTable`] as it was, to be written into a snapshot.
///
/// # Examples
/// ```
/// use quorate_raft::{LogIndex, SessionLimits, SessionTable};
/// use std::time::Duration;
///
/// let mut table = SessionTable::new();
/// table.open(LogIndex::new(7), 0, &SessionLimits::new(Duration::from_secs(60)));
/// let frozen = table.freeze();
/// let mut bytes = Vec::new();
/// frozen.write_to(&mut bytes).unwrap();
/// assert_eq!(bytes.len() as u64, frozen.encoded_bytes());
/// assert_eq!(SessionTable::read_from(&mut &bytes[..], frozen.encoded_bytes()).unwrap(), table);
/// ```
#[derive(Clone, Debug, Default)]
pub struct FrozenSessions {
    sessions: Shards,
}

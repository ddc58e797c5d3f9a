//! [`Session`]: a client of the group whose requests take effect at most once. (5.7)

use super::outcome::Outcome;
use super::pending::Request;
use super::{Node, Read};
use crate::SessionId;
use crate::entry::REQUEST_PREFIX;
use crate::error::{ProposeError, ReadError};
use crate::machine::StateMachine;
use crate::session::SessionLimits;
use crate::sync::lock;
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// A client of the group. Its requests are repeated by the node, over leader changes and lost
/// messages, until they are answered, and take effect once however often they are repeated.
///
/// It lives as long as it is used: every request renews it for its time to live, counted in group
/// time, which stands still while there is no leader. Nothing else keeps it alive; who is told
/// [`ProposeError::SessionExpired`] opens another one. It belongs to this handle: dropping it
/// without [`close`](Self::close) leaves it to expire.
///
/// # Examples
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use quorate_raft::*;
/// use quorate_transport::*;
/// use std::time::Duration;
/// # struct Nothing;
/// # impl StateMachine for Nothing {
/// #     fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
/// #         batch.for_each(|entry| out.push(entry.data.to_vec()));
/// #     }
/// #     fn snapshot(&self) -> std::io::Result<Box<dyn SnapshotSource>> {
/// #         Ok(Box::new(|_: &mut dyn std::io::Write| Ok(())))
/// #     }
/// #     fn restore(&mut self, _: &mut dyn std::io::Read) -> std::io::Result<()> { Ok(()) }
/// # }
/// # let me = NodeId::new(1);
/// # let identity = Identity::new(ClusterId::new(7), me, Incarnation::new(1));
/// # let endpoint =
/// #     Endpoint::start(MemoryNetwork::new().node(identity), EndpointConfig::default())?;
/// # let builder = Node::<Nothing>::builder(&endpoint).founders(&[me]);
/// # let builder = builder.log(MemoryLog::new()).snapshots(MemorySnapshots::new());
/// # let node = builder.config(Config::local().build()?).start(Nothing).await?;
/// let Ok(session) = node.session(Duration::from_secs(60)).await else { panic!() };
/// let Outcome::Applied { reply, .. } = session.propose("pay 5").await else { panic!() };
/// assert_eq!(&reply[..], b"pay 5");
/// assert!(matches!(session.close().await, Outcome::Applied { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Session<M> {
    node: Node<M>,
    id: SessionId,
    limits: SessionLimits,
    numbers: Mutex<Numbers>,
}

impl<M> fmt::Debug for Session<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Session");
        out.field("id", &self.id).field("numbers", &*lock(&self.numbers)).finish_non_exhaustive()
    }
}

/// Which numbers are under way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    /// The last number given out.
    last: u64,
    /// Up to here nothing is under way.
    low: u64,
    /// Above `low`, and not under way any more.
    ended: BTreeSet<u64>,
}

impl Numbers {
    /// The next request: its number, and what it acknowledges.
    fn begin(&mut self, window: u32) -> Option<(u64, u64)> {
        if self.last - self.low >= u64::from(window) {
            return None;
        }
        self.last += 1;
        Some((self.last, self.low))
    }

    /// A request is never repeated again: answered, or given up.
    fn end(&mut self, seq: u64) {
        self.ended.insert(seq);
        while self.ended.remove(&(self.low + 1)) {
            self.low += 1;
        }
    }
}

/// A number under way. When dropped it has ended, whatever became of the request: nobody will
/// repeat it.
struct Number<'a> {
    numbers: &'a Mutex<Numbers>,
    seq: u64,
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        lock(self.numbers).end(self.seq);
    }
}

impl<M: StateMachine> Node<M> {
    /// Opens a session that lives `ttl` of group time beyond its last use. What it may hold is what
    /// this node's [`ConfigDraft`](crate::ConfigDraft) says, on all replicas.
    ///
    /// # Cost
    /// One entry; about 200 bytes in every replica's table and snapshot until it ends.
    ///
    /// # Errors
    /// The outcome, if it is not [`Outcome::Applied`]. A session that may have been opened
    /// ([`Outcome::Unknown`]) is used by nobody and expires.
    ///
    /// # Cancel safety
    /// As [`propose`](Self::propose): a session that nobody knows of may be opened. It expires.
    pub async fn session(&self, ttl: Duration) -> Result<Session<M>, Outcome> {
        let config = &self.shared.config;
        let max = config.session_ttl_max;
        if ttl > max || ttl < Duration::from_millis(1) {
            return Err(Outcome::Rejected(ProposeError::SessionTtl { max }));
        }
        let limits = SessionLimits::new(ttl)
            .sessions_max(config.sessions_max)
            .window(config.session_window)
            .reply_bytes_max(config.reply_bytes_max);
        match self.ask(Request::Open(limits)).await {
            Outcome::Applied { id, .. } => Ok(Session {
                node: self.clone(),
                id: SessionId::new(id.index.value()),
                limits,
                numbers: Mutex::default(),
            }),
            other => Err(other),
        }
    }
}

impl<M: StateMachine> Session<M> {
    /// The index of the entry that opened it.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// What it may hold.
    #[must_use]
    pub const fn limits(&self) -> &SessionLimits {
        &self.limits
    }

    /// The node that it goes through.
    #[must_use]
    pub const fn node(&self) -> &Node<M> {
        &self.node
    }

    /// Replicates `data` and returns the machine's reply to it, applied once. It is proposed again,
    /// as the same request, until it is answered or `propose_deadline` has passed: only then is the
    /// outcome [`Outcome::Unknown`]. Requests may be under way together, up to the session's
    /// window; in which order they are applied is open.
    ///
    /// Refusals say that it never takes effect, as everywhere:
    /// [`SessionExpired`](ProposeError::SessionExpired) too. Only of a request that was tried
    /// before that cannot be known, and it is `Unknown`.
    ///
    /// # Cost
    /// As [`Node::propose`], and 24 bytes in the entry. When the leader changed or did not answer
    /// within an election timeout, another entry.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up: it may still take effect, once, and is never
    /// repeated. Its number is free for the window again.
    pub async fn propose(&self, data: impl Into<Bytes>) -> Outcome {
        let data = data.into();
        let begun = lock(&self.numbers).begin(self.limits.window_value());
        let Some((seq, ack)) = begun else {
            let max = self.limits.window_value();
            return Outcome::Rejected(ProposeError::SessionWindow { max });
        };
        let _number = Number { numbers: &self.numbers, seq };
        self.node.ask(Request::Session { session: self.id, seq, ack, data }).await
    }

    /// As [`Node::read`], on the session's node: sees everything this session was answered.
    ///
    /// # Errors
    /// [`ReadError`]; a read has no effect in any case.
    ///
    /// # Cancel safety
    /// Dropping the future drops the read.
    pub async fn read<R>(&self, mode: Read, f: impl FnOnce(&M) -> R) -> Result<R, ReadError> {
        self.node.read(mode, f).await
    }

    /// Ends the session; what it kept is forgotten. [`Outcome::Applied`] also if it was gone
    /// already.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session to be closed or to expire.
    pub async fn close(self) -> Outcome {
        self.node.ask(Request::Close(self.id)).await
    }
}

/// Largest data of a request, when an entry may have `entry` bytes.
pub(super) fn data_max(entry: u32) -> u64 {
    u64::from(entry).saturating_sub(REQUEST_PREFIX as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_never_pass_what_is_under_way() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.begin(3), Some((1, 0)));
        assert_eq!(numbers.begin(3), Some((2, 0)));
        assert_eq!(numbers.begin(3), Some((3, 0)));
        assert_eq!(numbers.begin(3), None, "three are under way");
        numbers.end(2);
        assert_eq!(numbers.begin(3), None, "the first still is: 4 would be too far ahead of it");
        numbers.end(1);
        assert_eq!(numbers.begin(3), Some((4, 2)));
        numbers.end(4);
        numbers.end(3);
        assert_eq!(numbers, Numbers { last: 4, low: 4, ended: BTreeSet::new() });
    }

    #[test]
    fn a_dropped_number_has_ended() {
        let numbers = Mutex::new(Numbers::default());
        let (seq, _) = lock(&numbers).begin(1).unwrap();
        drop(Number { numbers: &numbers, seq });
        assert_eq!(lock(&numbers).begin(1), Some((2, 1)));
    }
}

//! Lease reads without a question to the task that owns the core: it publishes until when the lease
//! holds and which index is committed, a reader compares them with the clock and with what is
//! applied.
//!
//! Why that is enough: a read that finds the lease valid at a clock reading taken after it began
//! sees everything that was acknowledged before. What this leader committed it finds in `commit`,
//! which is published before any message or application of the same turn can make anyone
//! acknowledge it; another leader has committed nothing before the lease ends. The one vote that no
//! promise binds is this node's own: it leaves only after the lease was withdrawn here.

use super::Node;
use super::reads::ReadKind;
use crate::LogIndex;
use crate::core::Raft;
use crate::error::ReadError;
use crate::machine::StateMachine;
use crate::sync::AtomicU64;
use quorate_clocks::Monotonic;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// No lease.
const NONE: u64 = 0;

/// What readers know of the lease. Written by the owner of the core alone.
#[derive(Debug, Default)]
pub(super) struct Lease {
    /// On this node's clock, in nanoseconds.
    until: AtomicU64,
    /// Never falls.
    commit: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
}

impl Lease {
    /// Whether it holds at `now`, which must have been read after the reader began.
    fn is_valid(&self, now: Monotonic) -> bool {
        let until = self.until.load(Ordering::SeqCst);
        until != NONE && now.as_nanos() <= until
    }

    /// The index that a state must hold to be read by the lease, if it is valid at `now`.
    pub(super) fn index(&self, now: Monotonic) -> Option<LogIndex> {
        // In this order: whoever sees the lease sees the commit index that was stored before it.
        self.is_valid(now).then(|| LogIndex::new(self.commit.load(Ordering::SeqCst)))
    }

    /// Reads that were served by the lease, and reads that wanted to be and were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.served.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

/// The owner's end. When the owner is gone the lease is, too: a node that starts again in this
/// process may vote, or commit alone, while handles of its former life are still held.
#[derive(Debug)]
pub(super) struct LeasePublisher(Arc<Lease>);

impl LeasePublisher {
    /// With no lease; and what readers look at.
    pub(super) fn new() -> (Self, Arc<Lease>) {
        let lease = Arc::new(Lease::default());
        (Self(Arc::clone(&lease)), lease)
    }

    /// Before anything leaves the core that another node, or the machine, could act on: a reader
    /// must not find the lease valid when this node's vote is on its way, nor an index that is
    /// older than what is acknowledged.
    pub(super) fn publish(&self, raft: &Raft) {
        self.store(raft.lease_until(), raft.commit());
    }

    /// The lease as it is now; none: there is none.
    pub(super) fn store(&self, until: Option<Monotonic>, commit: LogIndex) {
        let until = until.map_or(NONE, Monotonic::as_nanos);
        if until == NONE {
            self.withdraw();
            return;
        }
        self.0.commit.store(commit.value(), Ordering::SeqCst);
        self.0.until.store(until, Ordering::SeqCst);
    }

    pub(super) fn withdraw(&self) {
        if self.0.until.load(Ordering::Relaxed) != NONE {
            self.0.until.store(NONE, Ordering::SeqCst);
        }
    }
}

impl Drop for LeasePublisher {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl<M: StateMachine> Node<M> {
    /// [`Read::Lease`](super::Read::Lease).
    pub(super) async fn read_by_lease<R>(&self, f: impl FnOnce(&M) -> R) -> Result<R, ReadError> {
        let (lease, machine) = (&self.shared.lease, &self.shared.machine);
        let index = lease.index(self.runtime().now());
        let by_lease = match index {
            Some(index) if machine.applied() >= index => true,
            // The machine is behind, or the lease is somebody else's, or nobody's.
            _ => self.read_index(ReadKind::Lease).await?,
        };
        let result = machine.read(f);
        // The process may have stood still anywhere since the clock was read. What was read is what
        // the read had to see, but nobody may take it for the state of a leader. // H30
        let skip = crate::plant::planted("clock_not_read_again");
        if by_lease && !skip && !lease.is_valid(self.runtime().now()) {
            lease.refused.fetch_add(1, Ordering::Relaxed);
            return Err(ReadError::LeaseExpired);
        }
        let count = if by_lease { &lease.served } else { &lease.refused };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(result)
    }
}

//! The state machine: its lock, and the task that applies committed entries to it.

use super::mailbox::{Mailbox, Report};
use crate::core::Apply;
use crate::machine::{Batch, Replies, SnapshotSource, StateMachine};
use crate::{EntryKind, LogId, LogIndex, SnapshotMeta};
use bytes::Bytes;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc;

/// A machine with the place in the log it stands at: both change together.
struct Placed<M> {
    machine: M,
    at: LogId,
    time_ms: u64,
}

/// The machine, shared by the apply task, readers and snapshots.
pub(super) struct Machine<M> {
    lock: Arc<RwLock<Placed<M>>>,
}

impl<M> Clone for Machine<M> {
    fn clone(&self) -> Self {
        Self { lock: Arc::clone(&self.lock) }
    }
}

impl<M: StateMachine> Machine<M> {
    pub(super) fn new(machine: M, at: LogId, time_ms: u64) -> Self {
        Self { lock: Arc::new(RwLock::new(Placed { machine, at, time_ms })) }
    }

    // A poisoned lock means that `apply` panicked; the replica stops then, and until it has,
    // readers see what the panic left, as they would without a lock.
    fn shared(&self) -> RwLockReadGuard<'_, Placed<M>> {
        self.lock.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, Placed<M>> {
        self.lock.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<R>(&self, f: impl FnOnce(&M) -> R) -> R {
        f(&self.shared().machine)
    }

    pub(super) fn applied(&self) -> LogIndex {
        self.shared().at.index
    }

    /// A frozen view, and where it stands.
    pub(super) fn freeze(&self) -> io::Result<(LogId, u64, Box<dyn SnapshotSource>)> {
        let placed = self.shared();
        let source = catch_unwind(AssertUnwindSafe(|| placed.machine.snapshot()))
            .unwrap_or_else(|_| Err(io::Error::other("the machine panicked in snapshot")))?;
        Ok((placed.at, placed.time_ms, source))
    }

    pub(super) fn restore(&self, meta: &SnapshotMeta, r: &mut dyn io::Read) -> io::Result<()> {
        let mut placed = self.exclusive();
        catch_unwind(AssertUnwindSafe(|| placed.machine.restore(r)))
            .unwrap_or_else(|_| Err(io::Error::other("the machine panicked in restore")))?;
        placed.at = meta.last;
        placed.time_ms = meta.time_ms;
        Ok(())
    }

    /// Applies a batch and returns the reply of each entry.
    fn apply(&self, apply: &Apply) -> Result<Vec<(LogId, Option<Bytes>)>, Arc<str>> {
        let mut placed = self.exclusive();
        let (first, last) = (*apply.range.start(), *apply.range.end());
        if last <= placed.at.index {
            // A snapshot was restored meanwhile that holds these entries: there are no replies to
            // them.
            return Ok(Vec::new());
        }
        if first != placed.at.index.next() {
            return Err(format!("apply at {first}, but the machine is at {}", placed.at).into());
        }
        let mut replies = Replies::default();
        let batch = Batch::new(apply);
        let wanted = batch.len();
        catch_unwind(AssertUnwindSafe(|| placed.machine.apply(batch, &mut replies)))
            .map_err(|_| "the machine panicked in apply")?;
        if replies.len() != wanted {
            let found = replies.len();
            return Err(format!("the machine gave {found} replies to {wanted} entries").into());
        }
        if let Some(entry) = apply.entries().last() {
            placed.at = entry.id;
            placed.time_ms = entry.time_ms;
        }
        drop(placed);
        let mut replies = replies.take().into_iter();
        let reply = |e: crate::Entry<'_>| {
            (e.id, if e.kind == EntryKind::Normal { replies.next() } else { None })
        };
        Ok(apply.entries().map(reply).collect())
    }
}

/// Applies batches in order until the owner of the core is gone.
pub(super) async fn run<M: StateMachine>(
    machine: Machine<M>,
    mut batches: mpsc::UnboundedReceiver<Apply>,
    mailbox: Mailbox,
) {
    while let Some(apply) = batches.recv().await {
        match machine.apply(&apply) {
            Ok(entries) => mailbox.push(Report::Applied { token: apply.token, entries }),
            Err(cause) => {
                mailbox.push(Report::MachineFailed(cause));
                return;
            }
        }
    }
}

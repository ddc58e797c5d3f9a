//! The state machine: its lock, and the task that applies committed entries to it.

use super::mailbox::{Mailbox, Report};
use crate::core::Apply;
use crate::machine::{Batch, Replies, SnapshotSource, StateMachine};
use crate::{Entry, EntryKind, LogId, LogIndex, SnapshotMeta};
use bytes::Bytes;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc;

/// Entries given to the machine at a time: what it replies to them is held at once.
const STEP_ENTRIES: usize = 64;

/// What was applied, with the replies if anyone wants them.
type Applied = Vec<(LogId, Option<Bytes>)>;

/// A machine with the place in the log it stands at: both change together.
struct Placed<M> {
    machine: M,
    at: LogId,
    time_ms: u64,
}

/// The machine, shared by the apply task, readers and snapshots.
pub(super) struct Machine<M> {
    lock: Arc<RwLock<Placed<M>>>,
    /// Where it stands, readable while the lock is held for long: whoever owns the core must never
    /// wait for the machine. // H38
    applied: Arc<AtomicU64>,
    /// Somebody waits for replies: without, they are dropped as they come, not piled up.
    replies_wanted: Arc<AtomicBool>,
}

impl<M> Clone for Machine<M> {
    fn clone(&self) -> Self {
        Self {
            lock: Arc::clone(&self.lock),
            applied: Arc::clone(&self.applied),
            replies_wanted: Arc::clone(&self.replies_wanted),
        }
    }
}

impl<M: StateMachine> Machine<M> {
    pub(super) fn new(machine: M, at: LogId, time_ms: u64) -> Self {
        Self {
            applied: Arc::new(AtomicU64::new(at.index.value())),
            replies_wanted: Arc::new(AtomicBool::new(false)),
            lock: Arc::new(RwLock::new(Placed { machine, at, time_ms })),
        }
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
        LogIndex::new(self.applied.load(Ordering::Acquire))
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
        self.applied.store(meta.last.index.value(), Ordering::Release);
        Ok(())
    }

    pub(super) fn want_replies(&self, wanted: bool) {
        self.replies_wanted.store(wanted, Ordering::Release);
    }

    /// Applies a batch, some entries at a time, and returns the reply of each entry.
    fn apply(&self, apply: &Apply) -> Result<Applied, Arc<str>> {
        let (at, first, last) = (self.applied(), *apply.range.start(), *apply.range.end());
        if last <= at {
            // A snapshot was restored meanwhile that holds these entries: there are no replies.
            return Ok(Vec::new());
        }
        if first != at.next() {
            return Err(format!("apply at {first}, but the machine is at {at}").into());
        }
        let mut applied = Vec::new();
        let mut entries = apply.entries();
        loop {
            let step: Vec<Entry<'_>> = entries.by_ref().take(STEP_ENTRIES).collect();
            if step.is_empty() {
                return Ok(applied);
            }
            self.apply_step(&step, &mut applied)?;
        }
    }

    /// Readers get their turn between two steps.
    fn apply_step(&self, step: &[Entry<'_>], applied: &mut Applied) -> Result<(), Arc<str>> {
        let mut placed = self.exclusive();
        let mut replies = Replies::default();
        let batch = Batch::new(step);
        let wanted = batch.len();
        catch_unwind(AssertUnwindSafe(|| placed.machine.apply(batch, &mut replies)))
            .map_err(|_| "the machine panicked in apply")?;
        if replies.len() != wanted {
            let found = replies.len();
            return Err(format!("the machine gave {found} replies to {wanted} entries").into());
        }
        if let Some(entry) = step.last() {
            placed.at = entry.id;
            placed.time_ms = entry.time_ms;
            self.applied.store(entry.id.index.value(), Ordering::Release);
        }
        drop(placed);
        let keep = self.replies_wanted.load(Ordering::Acquire);
        let mut replies = replies.take().into_iter();
        applied.extend(step.iter().map(|e| {
            let reply = if e.kind == EntryKind::Normal { replies.next() } else { None };
            (e.id, reply.filter(|_| keep))
        }));
        Ok(())
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

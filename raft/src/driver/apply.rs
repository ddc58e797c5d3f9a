//! The state machine: its lock, and the task that applies committed entries to it.

use super::mailbox::{Mailbox, Report};
use super::step::{Answers, Repeats, Step};
use super::subscribe::{Applied as Subscription, Ending, Feed, SubscribeError};
use crate::core::Apply;
use crate::machine::{SnapshotSource, StateMachine};
use crate::session::{FrozenSessions, SessionTable};
use crate::{Block, ConfChange, Entry, EntryKind, LogId, LogIndex, Membership, SnapshotMeta};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc;

/// Entries given to the machine at a time: what it replies to them is held at once.
const STEP_ENTRIES: usize = 64;

/// What applying a batch gave.
#[derive(Default)]
pub(super) struct Applied {
    /// What became of each entry, if anyone wants to know.
    pub(super) answers: Answers,
    pub(super) repeats: Repeats,
    /// Membership changes among the entries, and where.
    pub(super) changes: Vec<(LogIndex, ConfChange)>,
    /// Sessions that are open now.
    pub(super) sessions: u64,
}

/// A machine with its sessions, the members, and the place in the log where they stand: all change
/// together.
struct Placed<M> {
    machine: M,
    sessions: SessionTable,
    membership: Membership,
    at: LogId,
    time_ms: u64,
    /// It panicked or miscounted: what it holds now is the state of no entry.
    broken: bool,
}

/// A state, frozen at an entry.
pub(super) struct Frozen {
    pub(super) at: LogId,
    pub(super) time_ms: u64,
    pub(super) membership: Membership,
    pub(super) sessions: FrozenSessions,
    pub(super) machine: Box<dyn SnapshotSource>,
}

/// The machine, shared by the apply task, readers and snapshots.
pub(super) struct Machine<M> {
    lock: Arc<RwLock<Placed<M>>>,
    /// Where it stands, readable while the lock is held for long: whoever owns the core must never
    /// wait for the machine. // H38
    applied: Arc<AtomicU64>,
    /// Somebody waits for replies: without, they are dropped as they come, not piled up.
    replies_wanted: Arc<AtomicBool>,
    /// Whoever follows what is applied.
    feed: Feed,
    /// A machine that keeps its own state had these entries before it was started. They are not
    /// applied to it again, but the sessions must see them.
    has: LogIndex,
}

impl<M> Clone for Machine<M> {
    fn clone(&self) -> Self {
        Self {
            lock: Arc::clone(&self.lock),
            applied: Arc::clone(&self.applied),
            replies_wanted: Arc::clone(&self.replies_wanted),
            feed: self.feed.clone(),
            has: self.has,
        }
    }
}

impl<M: StateMachine> Machine<M> {
    /// `machine` and `sessions` as a snapshot of `meta` has them; the machine may be ahead, by its
    /// own account.
    pub(super) fn new(machine: M, sessions: SessionTable, meta: SnapshotMeta) -> Self {
        let SnapshotMeta { last: at, membership, time_ms, .. } = meta;
        Self {
            applied: Arc::new(AtomicU64::new(at.index.value())),
            replies_wanted: Arc::new(AtomicBool::new(false)),
            feed: Feed::new(),
            has: machine.applied(),
            lock: Arc::new(RwLock::new(Placed {
                machine,
                sessions,
                membership,
                at,
                time_ms,
                broken: false,
            })),
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

    /// Whether machine and sessions stand at the same entry. Until then there is no state to
    /// freeze.
    pub(super) fn is_whole(&self) -> bool {
        self.applied() >= self.has
    }

    /// A frozen view, and where it stands.
    pub(super) fn freeze(&self) -> io::Result<Frozen> {
        let placed = self.shared();
        if placed.broken || !self.is_whole() {
            return Err(io::Error::other("the machine's state is that of no entry"));
        }
        let machine = catch_unwind(AssertUnwindSafe(|| placed.machine.snapshot()))
            .unwrap_or_else(|_| Err(io::Error::other("the machine panicked in snapshot")))?;
        let sessions = placed.sessions.freeze();
        let membership = placed.membership.clone();
        Ok(Frozen { at: placed.at, time_ms: placed.time_ms, membership, sessions, machine })
    }

    pub(super) fn restore(
        &self,
        meta: &SnapshotMeta,
        sessions: SessionTable,
        r: &mut dyn io::Read,
    ) -> io::Result<()> {
        let mut placed = self.exclusive();
        // A machine that keeps its own state may be ahead: it is not set back, for what it has is
        // not applied to it again.
        if placed.machine.applied() <= meta.last.index {
            catch_unwind(AssertUnwindSafe(|| placed.machine.restore(r)))
                .unwrap_or_else(|_| Err(io::Error::other("the machine panicked in restore")))?;
        }
        placed.sessions = sessions;
        placed.membership = meta.membership.clone();
        placed.at = meta.last;
        placed.time_ms = meta.time_ms;
        self.applied.store(meta.last.index.value(), Ordering::Release);
        self.feed.restored(meta.last.index);
        Ok(())
    }

    /// What will be given to the machine from `from` on.
    pub(super) fn subscribe(&self, from: LogIndex) -> Result<Subscription, SubscribeError> {
        // Under the lock: nothing is applied between the look and the subscription.
        let placed = self.shared();
        self.feed.subscribe(from, placed.at.index)
    }

    pub(super) const fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The members that the log begins with.
    pub(super) fn found(&self, membership: &Membership) {
        self.exclusive().membership = membership.clone();
    }

    pub(super) fn want_replies(&self, wanted: bool) {
        self.replies_wanted.store(wanted, Ordering::Release);
    }

    /// Applies a batch, some entries at a time, and returns what became of each entry.
    fn apply(&self, apply: &Apply) -> Result<Applied, Arc<str>> {
        let (at, first, last) = (self.applied(), *apply.range.start(), *apply.range.end());
        let mut applied = Applied::default();
        if last <= at {
            // A snapshot was restored meanwhile that holds these entries: there are no replies.
            applied.sessions = self.shared().sessions.len() as u64;
            return Ok(applied);
        }
        if first != at.next() {
            return Err(format!("apply at {first}, but the machine is at {at}").into());
        }
        let mut entries = apply.entries();
        let mut step: Vec<Entry<'_>> = Vec::with_capacity(STEP_ENTRIES);
        loop {
            step.clear();
            step.extend(entries.by_ref().take(STEP_ENTRIES));
            if step.is_empty() {
                return Ok(applied);
            }
            self.apply_step(&apply.blocks, &step, &mut applied)?;
        }
    }

    /// Readers get their turn between two steps.
    fn apply_step(
        &self,
        blocks: &[Block],
        entries: &[Entry<'_>],
        applied: &mut Applied,
    ) -> Result<(), Arc<str>> {
        let mut placed = self.exclusive();
        let placed = &mut *placed;
        if entries.last().is_some_and(|last| last.id.index <= placed.at.index) {
            // Between two steps a snapshot was restored that holds these entries.
            return Ok(());
        }
        let mut step = Step::new(&mut placed.machine, &mut placed.sessions, self.has);
        if self.feed.is_wanted() {
            step.note_given();
        }
        // Whoever asks for an entry says so before it is proposed: who asks later asks for others.
        if !self.replies_wanted.load(Ordering::Acquire) {
            step.forget_answers();
        }
        let done = step.apply(entries).inspect_err(|_| placed.broken = true)?;
        for entry in entries.iter().filter(|e| e.kind == EntryKind::Conf) {
            // Blocks are verified when they are read. A change that no membership follows from
            // has no effect, here as in the core.
            let Ok(change) = ConfChange::decode(entry.data) else { continue };
            if let Ok(changed) = placed.membership.changed(&change) {
                placed.membership = changed.membership;
                placed.membership.index = entry.id.index;
            }
            applied.changes.push((entry.id.index, change));
        }
        if let Some(entry) = entries.last() {
            placed.at = entry.id;
            placed.time_ms = entry.time_ms;
            self.applied.store(entry.id.index.value(), Ordering::Release);
        }
        self.feed.applied(blocks, entries, &done.given);
        applied.sessions = placed.sessions.len() as u64;
        applied.repeats += done.repeats;
        if applied.answers.is_empty() {
            applied.answers = done.answers;
        } else {
            applied.answers.extend(done.answers);
        }
        Ok(())
    }
}

/// Applies batches in order until the owner of the core is gone.
pub(super) fn run<M: StateMachine>(
    machine: Machine<M>,
    mut batches: mpsc::UnboundedReceiver<Apply>,
    mailbox: Mailbox,
) -> impl Future<Output = ()> {
    // However the task ends, even if it never ran, nothing more is applied.
    let ending = Ending(machine.feed.clone());
    async move {
        let _ending = ending;
        while let Some(apply) = batches.recv().await {
            match machine.apply(&apply) {
                Ok(applied) => mailbox.push(Report::Applied { token: apply.token, applied }),
                Err(cause) => {
                    mailbox.push(Report::MachineFailed(cause));
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Batch, Replies};
    use crate::{EntryBody, GroupId, Limits, Proposal, Term};

    /// Everything it was given, or what it was restored to.
    #[derive(Default)]
    struct Seen(Vec<u8>);

    impl StateMachine for Seen {
        fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
            for entry in batch {
                self.0.extend_from_slice(entry.data);
                out.push("");
            }
        }

        fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
            self.0.clear();
            r.read_to_end(&mut self.0).map(drop)
        }
    }

    #[test]
    fn a_restore_between_two_steps_of_a_batch_ends_it() {
        let start = SnapshotMeta::new(LogId::ZERO, Membership::default());
        let machine = Machine::new(Seen::default(), SessionTable::new(), start);
        let mut p = Proposal::new(&Limits::default());
        for data in [b"a", b"b"] {
            p.push(EntryBody::Normal(data)).unwrap();
        }
        let blocks = [p.stamp(GroupId::new(1), Term::new(1), LogId::ZERO, 0)];
        let entries: Vec<Entry<'_>> = blocks[0].iter().collect();
        let mut applied = Applied::default();
        machine.apply_step(&blocks, &entries[..1], &mut applied).unwrap();
        let meta = SnapshotMeta::new(LogId::new(2, 9), Membership::default());
        machine.restore(&meta, SessionTable::new(), &mut &b"nine"[..]).unwrap();
        machine.apply_step(&blocks, &entries[1..], &mut applied).unwrap();
        assert_eq!(machine.read(|m| m.0.clone()), b"nine");
        assert_eq!(machine.applied(), LogIndex::new(9));
    }
}

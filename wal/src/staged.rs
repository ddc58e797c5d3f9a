//! Handles of what was staged, and reservations of room.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::batch::Batch;
use crate::core::Core;
use crate::error::{Failure, InDoubt, WriteError};
use crate::lsn::{Ack, Lsn, LsnSpan};
use crate::staging::Given;
use crate::waiters::{Goal, WaiterKey};
use crate::width::wide;

/// A staged batch: await it, [`wait`](Self::wait) for it, or let go of it.
///
/// # Cancel safety
/// Dropping it loses nothing and stops nothing: the batch stays and is committed; only the news
/// of it is given up.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Ack, Batch, Config, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let mut batch = Batch::new();
/// batch.record(b"a").record(b"b");
/// let staged = wal.stage(&batch, Ack::Durable)?;
/// assert_eq!(staged.lsn().as_u64(), 2);
/// staged.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "await it or wait() for it to know that the batch is stored"]
pub struct Staged {
    core: Arc<Core>,
    lsns: LsnSpan,
    lsn: Lsn,
    goal: Option<Goal>,
    key: Option<WaiterKey>,
    asked: bool,
}

impl Staged {
    pub(crate) fn new(core: &Arc<Core>, given: &Given, ack: Ack) -> Self {
        // H56: durable waits for a sync, and is what appends ask for.
        let goal = match ack {
            Ack::Durable => Some(Goal::Durable(given.ticket)),
            Ack::Written => Some(Goal::Written(given.ticket)),
            Ack::Staged => None,
        };
        let lsn = Lsn::new(given.lsn);
        let core = Arc::clone(core);
        Self { core, lsns: given.lsns, lsn, goal, key: None, asked: false }
    }

    /// The numbers the batch got; empty for a batch of hints.
    #[must_use]
    pub const fn lsns(&self) -> LsnSpan {
        self.lsns
    }

    /// The number of the batch's last operation; for hints only, the newest number there is.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Waits; commits inline if nobody else does at this moment.
    ///
    /// # Errors
    /// [`InDoubt`]: the log stopped; whether the batch is stored is known after a reopen.
    pub fn wait(mut self) -> Result<Lsn, InDoubt> {
        self.asked = true;
        let Some(goal) = self.goal else { return Ok(self.lsn) };
        match self.core.wait(goal) {
            Ok(()) => Ok(self.lsn),
            Err(cause) => Err(InDoubt { lsns: self.lsns, cause }),
        }
    }

    /// Lets go: the batch is committed with the next group.
    #[must_use = "drop the handle if the number does not matter"]
    pub fn detach(self) -> Lsn {
        self.lsn
    }
}

impl Future for Staged {
    type Output = Result<Lsn, InDoubt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(goal) = self.goal else { return Poll::Ready(Ok(self.lsn)) };
        let core = Arc::clone(&self.core);
        let mut progress = core.progress.lock();
        if progress.reached(goal) {
            self.asked = true;
            return Poll::Ready(Ok(self.lsn));
        }
        if let Some(cause) = core.stopped(&progress) {
            return Poll::Ready(Err(InDoubt { lsns: self.lsns, cause }));
        }
        self.key = Some(progress.register(goal, self.key, cx.waker()));
        if !std::mem::replace(&mut self.asked, true) {
            progress.asked = true;
            let free = !progress.leading;
            drop(progress);
            if free {
                core.call_committer();
            }
        }
        Poll::Pending
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.progress.lock().forget(key);
        }
        if self.goal.is_some() && !self.asked {
            self.core.ask();
        }
    }
}

/// Waits for room for so many bytes: a future, or [`wait`](Self::wait).
///
/// # Cancel safety
/// Dropping it gives up the place in the queue and nothing else.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Ack, Batch, Config, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let mut batch = Batch::new();
/// batch.record(b"a");
/// let permit = wal.reserve(u32::try_from(batch.bytes())?).wait()?;
/// permit.stage(&batch, Ack::Durable)?.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "await it or wait() for it to get the permit"]
pub struct Reserve {
    core: Arc<Core>,
    bytes: usize,
    id: Option<u64>,
}

impl Reserve {
    pub(crate) fn new(core: &Arc<Core>, bytes: usize) -> Self {
        Self { core: Arc::clone(core), bytes, id: None }
    }

    /// Waits for room, committing what is staged meanwhile if nobody else does.
    ///
    /// # Errors
    /// Every [`WriteError`] but `Busy`; with [`Driver::Manual`](crate::Driver::Manual) that too,
    /// if there is nothing more to do that could make room.
    pub fn wait(self) -> Result<Permit, WriteError> {
        if self.core.config.driver.is_manual() {
            return self.wait_by_hand();
        }
        loop {
            let epoch = self.core.progress.lock().room_epoch;
            match self.attempt() {
                Err(WriteError::Busy { .. }) => self.core.chore(|c| c.prepare = true),
                other => return other,
            }
            if self.core.staging.lock().staged() > 0 && self.core.lead_if_free() {
                continue;
            }
            let mut progress = self.core.progress.lock();
            while progress.room_epoch == epoch && self.core.stopped(&progress).is_none() {
                progress = self.core.done.wait(progress);
            }
        }
    }

    /// Does the log's work that can make room: commit, then prepare.
    fn wait_by_hand(self) -> Result<Permit, WriteError> {
        for _ in 0..2 {
            match self.attempt() {
                Err(WriteError::Busy { .. }) => {}
                other => return other,
            }
            self.core.chore(|c| c.prepare = true);
            self.core.ask();
            self.core.turn_all();
        }
        self.attempt()
    }

    fn attempt(&self) -> Result<Permit, WriteError> {
        let mut staging = self.core.staging.lock();
        staging.promise(self.bytes)?;
        Ok(Permit { core: Arc::clone(&self.core), bytes: self.bytes, live: true })
    }
}

impl Future for Reserve {
    type Output = Result<Permit, WriteError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Registered first: room that appears after the attempt wakes this waker.
        let id = self.core.progress.lock().register_room(self.id, cx.waker());
        self.id = Some(id);
        match self.attempt() {
            Err(WriteError::Busy { .. }) => {
                self.core.chore(|c| c.prepare = true);
                let staged = self.core.staging.lock().staged();
                if staged > 0 {
                    self.core.ask();
                }
                Poll::Pending
            }
            other => Poll::Ready(other),
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.core.progress.lock().forget_room(id);
        }
    }
}

/// Room that is set aside for one batch.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Ack, Batch, Config, Permit, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let permit: Permit = wal.reserve(100).wait()?;
/// let mut batch = Batch::new();
/// batch.record(b"small enough");
/// permit.stage(&batch, Ack::Written)?.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "room stays set aside until the permit is used or dropped"]
pub struct Permit {
    core: Arc<Core>,
    bytes: usize,
    live: bool,
}

impl Permit {
    /// Stages a batch of at most the reserved size; it cannot be `Busy`.
    ///
    /// # Errors
    /// `Invalid` if the batch is larger than what was reserved; every other refusal but `Busy`
    /// and `NoSpace`.
    pub fn stage(mut self, batch: &Batch, ack: Ack) -> Result<Staged, WriteError> {
        if batch.bytes() > self.bytes {
            return Err(WriteError::Invalid { op: "permit", why: "the batch is over the permit" });
        }
        let mut staging = self.core.staging.lock();
        staging.redeem(self.bytes);
        self.live = false;
        let given = staging.stage(&batch.ops, &batch.data, batch.bytes(), ack);
        let freed = std::mem::take(&mut staging.table.freed);
        drop(staging);
        self.core.after_stage(&given, freed, ack);
        // The batch may be smaller than the permit, or refused.
        self.core.room_changed();
        Ok(Staged::new(&self.core, &given?, ack))
    }

    /// How many bytes are set aside.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        wide(self.bytes)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.live {
            self.core.staging.lock().redeem(self.bytes);
            self.core.room_changed();
        }
    }
}

/// The outcome of [`Wal::poll_durable`](crate::Wal::poll_durable) as a future.
#[derive(Debug)]
pub(crate) struct DurableAt {
    pub(crate) core: Arc<Core>,
    pub(crate) lsn: Lsn,
    pub(crate) key: Option<WaiterKey>,
}

impl Future for DurableAt {
    type Output = Result<(), Arc<Failure>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let core = Arc::clone(&self.core);
        let polled = core.poll_lsn(self.lsn.as_u64(), self.key, cx);
        match polled {
            Ok(outcome) => Poll::Ready(outcome),
            Err(key) => {
                self.key = Some(key);
                Poll::Pending
            }
        }
    }
}

impl Drop for DurableAt {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.core.progress.lock().forget(key);
        }
    }
}

impl Core {
    /// Whether `lsn` is durable, or the key of the registration that will tell.
    pub(crate) fn poll_lsn(
        &self,
        lsn: u64,
        key: Option<WaiterKey>,
        cx: &Context<'_>,
    ) -> Result<Result<(), Arc<Failure>>, WaiterKey> {
        {
            let progress = self.progress.lock();
            if progress.reached(Goal::Lsn(lsn)) {
                return Ok(Ok(()));
            }
            if let Some(failure) = self.stopped(&progress) {
                return Ok(Err(failure));
            }
        }
        // Somebody wants this number on the medium, whatever level it was staged with.
        let mut staging = self.staging.lock();
        staging.wanted_lsn = staging.wanted_lsn.max(lsn);
        let is_staged = lsn < staging.next_lsn;
        drop(staging);
        let mut progress = self.progress.lock();
        if progress.reached(Goal::Lsn(lsn)) {
            return Ok(Ok(()));
        }
        if let Some(failure) = self.stopped(&progress) {
            return Ok(Err(failure));
        }
        let key = progress.register(Goal::Lsn(lsn), key, cx.waker());
        if is_staged {
            progress.asked = true;
            let free = !progress.leading;
            drop(progress);
            if free {
                self.call_committer();
            }
        }
        Err(key)
    }
}

//! The shared state of an open log, and the hand-over of leadership among those who wait.
//!
//! Lock order: `preparing` → `io` → `staging` → `segments` → `progress`; `marks` under `preparing`
//! or `io`, with nothing taken below it. Wakers are called with none held but `preparing`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use crate::batch::Op;
use crate::commit::Io;
use crate::config::{Config, Driver};
use crate::driver;
use crate::error::{FailedOp, Failure, WriteError};
use crate::event::{Event, EventQueue};
use crate::lsn::{Ack, Marks as Positions};
use crate::marks::Marks;
use crate::plant::planted;
use crate::report::Damage;
use crate::reserve::Preparing;
use crate::segments::SegmentSet;
use crate::staging::{Gate, Given, Staging};
use crate::stats::{Counters, Stats, add};
use crate::sync::{Lock, Parked, Signal};
use crate::vfs::{Vfs, VfsLock};
use crate::waiters::{Crowd, Goal, Progress};

/// Work for the maintenance thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chores {
    pub(crate) prepare: bool,
    pub(crate) reclaim: bool,
    pub(crate) mark_now: bool,
    pub(crate) mark_idle: bool,
    pub(crate) flush: bool,
    pub(crate) stop: bool,
}

pub(crate) struct Core {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) config: Config,
    pub(crate) uuid: u128,
    pub(crate) staging: Lock<Staging>,
    pub(crate) progress: Lock<Progress>,
    /// Blocking callers wait here for room.
    pub(crate) done: Signal,
    /// The commit thread waits here.
    pub(crate) work: Signal,
    pub(crate) io: Lock<Io>,
    pub(crate) segments: Lock<SegmentSet>,
    pub(crate) marks: Lock<Marks>,
    /// Held while segments are prepared: two at a time would take the same number.
    pub(crate) preparing: Lock<Preparing>,
    pub(crate) chores: Lock<Chores>,
    /// The maintenance thread waits here.
    pub(crate) chores_due: Signal,
    /// Maintenance was asked for a flush and has not begun it.
    pub(crate) flush_asked: AtomicBool,
    pub(crate) events: Lock<EventQueue>,
    /// The newest segment whose holders were told of.
    pub(crate) lagging_told: AtomicU64,
    pub(crate) counters: Counters,
    /// Held while the log is closed: who closes it second waits for the first.
    pub(crate) closing: Lock<Option<Arc<Failure>>>,
    pub(crate) lock: Lock<Option<Box<dyn VfsLock>>>,
    /// Opened beside a writer, perhaps: nothing is ever written.
    pub(crate) read_only: bool,
    /// What the open found.
    pub(crate) damage: Vec<Damage>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Core {
    /// Stages a batch; never blocks on I/O.
    pub(crate) fn stage(
        &self,
        ops: &[Op],
        data: &[u8],
        worst: usize,
        ack: Ack,
    ) -> Result<Given, WriteError> {
        let (given, freed) = {
            let mut staging = self.staging.lock();
            let given = staging.stage(ops, data, worst, ack);
            (given, std::mem::take(&mut staging.table.freed))
        };
        self.after_stage(&given, freed, ack);
        given
    }

    /// What a staging causes elsewhere, with no lock held; also counts it. `freed`: something
    /// stopped being needed.
    pub(crate) fn after_stage(&self, given: &Result<Given, WriteError>, freed: bool, ack: Ack) {
        match given {
            Ok(given) => {
                let rolled = given.rolled;
                if rolled {
                    add(&self.counters.rolls, 1);
                }
                if rolled || freed {
                    self.chore(|c| {
                        c.prepare |= rolled;
                        c.reclaim |= freed;
                    });
                }
                if ack == Ack::Staged {
                    self.ask_for_flush();
                }
            }
            Err(WriteError::Busy { .. }) => {
                add(&self.counters.busy, 1);
                self.chore(|c| c.prepare = true);
            }
            Err(WriteError::NoSpace { .. }) => {
                add(&self.counters.no_space, 1);
                // Without a clock nothing else would try again.
                let again = self.config.driver.is_manual();
                self.chore(|c| {
                    c.reclaim = true;
                    c.prepare |= again;
                });
            }
            Err(_) => {}
        }
    }

    /// Asks for what is staged to be written after a while: once, not for each batch. Maintenance
    /// takes the question back before it looks at what is staged, so nothing stays behind.
    pub(crate) fn ask_for_flush(&self) {
        if !self.flush_asked.load(Relaxed) && !self.flush_asked.swap(true, Relaxed) {
            self.chore(|c| c.flush = true);
        }
    }

    /// Asks the maintenance thread for something.
    pub(crate) fn chore(&self, ask: impl FnOnce(&mut Chores)) {
        ask(&mut self.chores.lock());
        self.call_maintenance();
    }

    /// Tells whoever does maintenance that there is some.
    pub(crate) fn call_maintenance(&self) {
        match &self.config.driver {
            Driver::Threads => self.chores_due.notify_one(),
            Driver::Manual { .. } if planted("wake_forgotten") => {}
            Driver::Manual { wake } => wake(),
        }
    }

    /// Tells whoever commits for futures that there is a group.
    pub(crate) fn call_committer(&self) {
        match &self.config.driver {
            Driver::Threads => self.work.notify_one(),
            Driver::Manual { wake } => wake(),
        }
    }

    /// Waits until `goal` is reached, leading commits meanwhile if nobody else does.
    pub(crate) fn wait(&self, goal: Goal) -> Result<(), Arc<Failure>> {
        loop {
            let staged = match goal {
                Goal::Lsn(_) => self.staging.lock().next_lsn - 1,
                _ => 0,
            };
            let mut progress = self.progress.lock();
            if progress.reached(goal) {
                return Ok(());
            }
            if let Some(failure) = self.stopped(&progress) {
                return Err(failure);
            }
            // A number that is not staged yet: leading would turn in circles.
            let can_lead = match goal {
                Goal::Lsn(lsn) => lsn <= staged,
                Goal::Durable(_) | Goal::Written(_) => true,
                Goal::Readable(..) => false,
            };
            if can_lead && !progress.leading {
                let crowd = progress.begin_leading();
                drop(progress);
                self.lead(1, crowd);
                continue;
            }
            let parked = Parked::mine();
            progress.park(goal, &parked);
            drop(progress);
            if parked.park() {
                return Ok(());
            }
        }
    }

    /// Why nothing more will happen, if so.
    pub(crate) fn stopped(&self, progress: &Progress) -> Option<Arc<Failure>> {
        if let Some(failure) = &progress.failed {
            return Some(Arc::clone(failure));
        }
        progress.closed.then(|| {
            let error = std::io::Error::other("the log was shut down");
            Arc::new(Failure::new(FailedOp::Closed, self.dir.clone(), 0, error))
        })
    }

    /// Commits one group. The caller has begun to lead; that is given up here in every case.
    /// `own`: 1 if the caller waits for a batch of its own.
    pub(crate) fn lead(&self, own: u64, crowd: Crowd) {
        self.gather(own, crowd);
        let outcome = catch_unwind(AssertUnwindSafe(|| self.commit_group()));
        let outcome = outcome.unwrap_or_else(|_| {
            let error = std::io::Error::other("the commit path panicked");
            Err(Failure::new(FailedOp::CommitPanic, self.dir.clone(), 0, error))
        });
        let staged = outcome.unwrap_or_else(|failure| {
            self.poison(&Arc::new(failure));
            0
        });
        let mut progress = self.progress.lock();
        progress.leading = false;
        let ready = progress.take_ready();
        let tails = progress.take_tails();
        let has_room = progress.take_room();
        progress.released = ready.len() as u64 + own;
        // To a thread that is parked with a staged batch first, else to the commit thread; it
        // also takes what was asked for meanwhile by somebody who does not wait for it.
        let heir = progress.take_heir();
        progress.asked |= heir.is_none() && progress.has_waiters(staged);
        let hand_over = progress.asked;
        drop(progress);
        if let Some(heir) = heir {
            heir.look();
        }
        if hand_over {
            self.call_committer();
        }
        self.done.notify_all();
        add(&self.counters.wakes, ready.len() as u64);
        for waiter in ready.into_iter().chain(tails) {
            waiter.done();
        }
        wake(has_room);
    }

    /// Does maintenance; a panic in it is a failure like any other (H32).
    pub(crate) fn guarded(
        &self,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let error = std::io::Error::other("maintenance panicked");
            Err(Failure::new(FailedOp::CommitPanic, self.dir.clone(), 0, error))
        })
    }

    /// Those whom the last group released are about to stage again. Giving way to them while
    /// their number grows makes one group of what would else be two alternating ones, each
    /// waiting for the other's sync. A lone writer finds its batch already here and loses
    /// nothing; it never takes longer than a quarter of a sync, so that a device faster than
    /// the processor is not kept waiting.
    fn gather(&self, own: u64, Crowd { expected, limit }: Crowd) {
        if expected <= own || self.config.driver.is_manual() {
            return;
        }
        let mut before = self.staging.lock().waiting();
        if before >= expected {
            return;
        }
        let start = driver::now();
        let mut idle = 0;
        while before < expected && idle < 4 && start.elapsed() < limit {
            std::thread::yield_now();
            let now = self.staging.lock().waiting();
            idle = if now > before { 0 } else { idle + 1 };
            before = now;
        }
    }

    /// Stops the log: the first failure is kept, nothing is written from here on (G7).
    pub(crate) fn poison(&self, failure: &Arc<Failure>) {
        let mut staging = self.staging.lock();
        if matches!(staging.gate, Gate::Poisoned(_)) {
            return;
        }
        tracing::error!(error = %failure, "write-ahead log stopped");
        staging.gate = Gate::Poisoned(Arc::clone(failure));
        drop(staging);
        let mut progress = self.progress.lock();
        progress.failed = Some(Arc::clone(failure));
        let all = if planted("waiter_forgotten") { Vec::new() } else { progress.take_all() };
        drop(progress);
        self.done.notify_all();
        for waiter in all {
            waiter.look();
        }
        self.tell([Event::Poisoned(Arc::clone(failure))]);
        self.end_events();
    }

    /// Leads if nobody else does; for threads that want something done, not for waiting.
    pub(crate) fn lead_if_free(&self) -> bool {
        let mut progress = self.progress.lock();
        if progress.leading || progress.failed.is_some() {
            return false;
        }
        let crowd = progress.begin_leading();
        drop(progress);
        self.lead(0, crowd);
        true
    }

    /// Whether anything staged waits for a group that can still come.
    pub(crate) fn has_staged(&self) -> bool {
        let staging = self.staging.lock();
        staging.waiting() > 0 && !matches!(staging.gate, Gate::Poisoned(_))
    }

    /// Asks the commit thread to lead.
    pub(crate) fn ask(&self) {
        let mut progress = self.progress.lock();
        progress.asked = true;
        drop(progress);
        self.call_committer();
    }

    pub(crate) fn positions(&self) -> Positions {
        let staging = self.staging.lock();
        let progress = self.progress.lock();
        let lsn = crate::Lsn::new;
        let marks = Positions {
            low: lsn(staging.table.main_low),
            high: lsn(staging.table.high),
            durable: lsn(progress.durable_lsn),
            written: lsn(progress.written_lsn),
            staged: lsn(staging.next_lsn - 1),
        };
        debug_assert!(marks.durable <= marks.written && marks.written <= marks.staged);
        marks
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = self.counters.snapshot();
        {
            let staging = self.staging.lock();
            stats.batches = staging.accepted;
            stats.staged_bytes = staging.staged() as u64;
            stats.staged_bytes_max = staging.peak.max(staging.staged()) as u64;
            stats.streams = staging.table.streams.len() as u64;
            stats.blocks = staging.table.streams.values().map(|s| s.blocks.len() as u64).sum();
        }
        {
            let segments = self.segments.lock();
            stats.segments = segments.len() as u64;
            stats.segments_prepared = segments.prepared() as u64;
            stats.segments_pinned = segments.pinned() as u64;
        }
        stats.waiters = self.progress.lock().waiters() as u64;
        stats.marks = self.marks.lock().writes;
        stats
    }
}

/// Calls wakers; no lock is held here.
pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

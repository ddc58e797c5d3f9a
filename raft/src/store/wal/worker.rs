//! The two threads of a [`WalLog`](super::WalLog): one stages and waits for the disk, one reads.
//! While the first waits, appends pile up; then they go out together.

use crate::error::StoreError;
use crate::store::Completion;
use quorate_wal::{Ack, AppendError, Batch, InDoubt, ReadError, Staged, Wal, WriteError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(50);
/// Most appends that go out together.
const TOGETHER_MAX: usize = 1_024;

/// One append: its batches in order.
pub(super) struct Job {
    pub(super) batches: Vec<Batch>,
    pub(super) ack: Ack,
    pub(super) done: Completion<()>,
}

type Read = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
    full: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
}

impl Worker {
    #[expect(clippy::expect_used, reason = "documented: without threads there is no log")]
    pub(super) fn start(wal: &Wal) -> Self {
        let (jobs, arriving) = channel();
        let (reads, wanted) = channel::<Read>();
        let full = Arc::new(AtomicBool::new(false));
        let closing = Arc::new(AtomicBool::new(false));
        let (is_full, is_closing) = (Arc::clone(&full), Arc::clone(&closing));
        let writer = Writer { wal: wal.clone(), arriving, full: is_full, closing: is_closing };
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .expect("the operating system gives threads to who starts")
        };
        let threads = vec![
            spawn("raft-log", Box::new(move || writer.run())),
            spawn("raft-load", Box::new(move || wanted.into_iter().for_each(|read| read()))),
        ];
        Self { jobs: Some(jobs), reads: Some(reads), threads, full, closing }
    }

    /// Bounded by what the core leaves unacknowledged. Without a thread the job is dropped, and its
    /// completion says so.
    pub(super) fn append(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            drop(jobs.send(job));
        }
    }

    /// Bounded by the core: one load per member and one for application.
    pub(super) fn load(&self, read: impl FnOnce() + Send + 'static) {
        if let Some(reads) = &self.reads {
            drop(reads.send(Box::new(read)));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

impl Drop for Worker {
    /// What was handed over is written and answered before this returns, unless the disk is full.
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        self.jobs = None;
        self.reads = None;
        for thread in &self.threads {
            thread.thread().unpark();
        }
        for thread in self.threads.drain(..) {
            // A thread that panicked has dropped its completions, which says "closed".
            let _ = thread.join();
        }
    }
}

struct Writer {
    wal: Wal,
    arriving: Receiver<Job>,
    full: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
}

impl Writer {
    fn run(self) {
        let mut jobs = Vec::new();
        let mut failed: Option<StoreError> = None;
        while let Ok(first) = self.arriving.recv() {
            jobs.push(first);
            while jobs.len() < TOGETHER_MAX {
                let Ok(job) = self.arriving.try_recv() else { break };
                jobs.push(job);
            }
            let result = match &failed {
                Some(cause) => Err(cause.clone()), // the first error is final // H33
                None => self.write(&jobs),
            };
            failed = failed.or_else(|| result.clone().err());
            for job in jobs.drain(..) {
                job.done.complete(result.clone());
            }
        }
    }

    /// Stages everything, then waits for the last that must be durable: all before it are then too.
    fn write(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let mut last: Option<Staged> = None;
        let until = jobs.iter().rposition(|job| job.ack == Ack::Durable);
        for (n, job) in jobs.iter().enumerate() {
            for (m, batch) in (1..).zip(&job.batches) {
                // Only the last asks for the disk: durability is monotone, one sync covers them
                // all.
                let asks = Some(n) == until && m == job.batches.len();
                let staged = self.stage(batch, if asks { Ack::Durable } else { Ack::Staged })?;
                if asks {
                    last = Some(staged);
                }
            }
        }
        match last.map(Staged::wait) {
            None | Some(Ok(_)) => Ok(()),
            Some(Err(doubt)) => Err(in_doubt(&doubt)),
        }
    }

    /// Waits for room, also for space on a full disk: what the core handed over must not be lost.
    fn stage(&self, batch: &Batch, ack: Ack) -> Result<Staged, StoreError> {
        loop {
            match self.wal.stage(batch, ack) {
                Ok(staged) => {
                    self.full.store(false, Ordering::Relaxed);
                    return Ok(staged);
                }
                Err(WriteError::Busy { .. }) => {
                    let bytes = u32::try_from(batch.bytes()).unwrap_or(u32::MAX);
                    match self.wal.reserve(bytes).wait() {
                        Ok(permit) => match permit.stage(batch, ack) {
                            Ok(staged) => return Ok(staged),
                            Err(error) => self.wait_for_space(&error)?,
                        },
                        Err(error) => self.wait_for_space(&error)?,
                    }
                }
                Err(error) => self.wait_for_space(&error)?,
            }
        }
    }

    fn wait_for_space(&self, error: &WriteError) -> Result<(), StoreError> {
        if !matches!(error, WriteError::NoSpace { .. }) {
            return Err(write_error(error));
        }
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, "log is full, appends wait");
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(StoreError::NoSpace); // nobody waits any longer
        }
        std::thread::park_timeout(FULL_RETRY); // `Worker::drop` ends it early
        Ok(())
    }
}

fn poisoned(cause: &dyn ToString) -> StoreError {
    StoreError::Poisoned { cause: cause.to_string().into() }
}

fn in_doubt(doubt: &InDoubt) -> StoreError {
    poisoned(doubt)
}

fn write_error(error: &WriteError) -> StoreError {
    match error {
        WriteError::NoSpace { .. } => StoreError::NoSpace,
        WriteError::Closed => StoreError::Closed,
        WriteError::Damaged => StoreError::Damaged { what: error.to_string().into() },
        other => poisoned(other),
    }
}

pub(super) fn append_error(error: &AppendError) -> StoreError {
    match error {
        AppendError::Refused(refused) => write_error(refused),
        other => poisoned(other),
    }
}

pub(super) fn read_error(error: &ReadError) -> StoreError {
    match error {
        ReadError::Truncated { low } => {
            StoreError::Compacted { to: crate::LogIndex::new(low.saturating_sub(1)) }
        }
        other if other.is_corruption() => StoreError::Damaged { what: other.to_string().into() },
        other => poisoned(other),
    }
}

//! The two threads of a [`WalLog`](super::WalLog): one stages and waits for the disk, one reads.
//! While the first waits, appends pile up; then they go out together.

use super::{MARK, META};
use crate::error::StoreError;
use crate::store::Completion;
use crate::sync::lock;
use quorate_wal::{Ack, AppendError, Batch, InDoubt, ReadError, StreamId, Wal, WriteError};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
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

/// The log of a group begins later from now on.
#[derive(Debug)]
pub(super) struct Compaction {
    pub(super) stream: StreamId,
    /// Encoded.
    pub(super) mark: Vec<u8>,
    /// The first index that is kept.
    pub(super) keep_from: u64,
}

impl Compaction {
    /// With the newest hard state, as every batch: whoever finds a hole before this one knows that
    /// no newer vote was in it. It is read when the batch is staged, on the thread that stages all
    /// hard states, so that no older one takes the place of a newer. // H36
    fn batch(&self, wal: &Wal) -> Batch {
        let mut batch = Batch::new();
        if let Some(meta) = wal.stream(self.stream).meta(META) {
            batch.meta(self.stream, META, &meta);
        }
        batch.meta(self.stream, MARK, &self.mark).keep_from(self.stream, self.keep_from);
        batch
    }
}

type Read = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(super) struct Worker {
    jobs: Option<Sender<Job>>,
    reads: Option<Sender<Read>>,
    threads: Vec<JoinHandle<()>>,
    compactions: Arc<Mutex<VecDeque<Compaction>>>,
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
        let compactions = Arc::new(Mutex::new(VecDeque::new()));
        let writer = Writer {
            wal: wal.clone(),
            arriving,
            compactions: Arc::clone(&compactions),
            full: Arc::clone(&full),
            closing: Arc::clone(&closing),
        };
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
        Self { jobs: Some(jobs), reads: Some(reads), threads, compactions, full, closing }
    }

    /// Bounded by what the core leaves unacknowledged. Without a thread the job is dropped, and its
    /// completion says so.
    pub(super) fn append(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            drop(jobs.send(job));
        }
    }

    /// Only frees space. Done with the next append, or while one waits for space; bounded by how
    /// often snapshots are made.
    pub(super) fn compact(&self, compaction: Compaction) {
        lock(&self.compactions).push_back(compaction);
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
    compactions: Arc<Mutex<VecDeque<Compaction>>>,
    full: Arc<AtomicBool>,
    closing: Arc<AtomicBool>,
}

impl Writer {
    fn run(self) {
        let mut failed: Option<StoreError> = None;
        while let Ok(first) = self.arriving.recv() {
            let mut jobs = VecDeque::from([first]);
            while jobs.len() < TOGETHER_MAX {
                let Ok(job) = self.arriving.try_recv() else { break };
                jobs.push_back(job);
            }
            if failed.is_none() {
                self.free_space();
                failed = self.write(&mut jobs).err();
            }
            // The first error is final. // H33
            if let Some(cause) = &failed {
                jobs.drain(..).for_each(|job| job.done.complete(Err(cause.clone())));
            }
        }
    }

    /// Stages everything, then asks the disk once. On error what is left in `jobs` was not written.
    fn write(&self, jobs: &mut VecDeque<Job>) -> Result<(), StoreError> {
        let mut staged = Vec::new();
        let mut written = Ok(());
        while let Some(job) = jobs.front_mut() {
            match self.stage_all(job) {
                Ok(true) => staged.extend(jobs.pop_front()),
                // No space: what fits must not wait for it.
                Ok(false) => {
                    self.finish(&mut staged)?;
                    self.wait_for_space()?;
                }
                Err(error) => {
                    written = Err(error);
                    break;
                }
            }
        }
        self.finish(&mut staged).and(written)
    }

    /// Waits for the disk if one of the jobs needs it, and answers them all.
    fn finish(&self, staged: &mut Vec<Job>) -> Result<(), StoreError> {
        let durable = staged.iter().any(|job| job.ack == Ack::Durable);
        let result = if durable { self.sync() } else { Ok(()) };
        staged.drain(..).for_each(|job| job.done.complete(result.clone()));
        result
    }

    /// Durability is monotone: one sync covers everything staged.
    fn sync(&self) -> Result<(), StoreError> {
        let asked = self.wal.sync().map_err(|error| write_error(&error))?;
        asked.wait().map(drop).map_err(|doubt| in_doubt(&doubt))
    }

    /// False if there is no space for what is left of the job.
    fn stage_all(&self, job: &mut Job) -> Result<bool, StoreError> {
        while let Some(batch) = job.batches.first() {
            match self.stage(batch) {
                Ok(()) => drop(job.batches.remove(0)),
                Err(WriteError::NoSpace { .. }) => return Ok(false),
                Err(error) => return Err(write_error(&error)),
            }
        }
        self.full.store(false, Ordering::Relaxed);
        Ok(true)
    }

    fn stage(&self, batch: &Batch) -> Result<(), WriteError> {
        match self.wal.stage(batch, Ack::Staged) {
            Err(WriteError::Busy { .. }) => {
                let bytes = u32::try_from(batch.bytes()).unwrap_or(u32::MAX);
                self.wal.reserve(bytes).wait()?.stage(batch, Ack::Staged).map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Compactions go first, also past an append that waits for the space they give back.
    fn free_space(&self) {
        loop {
            let Some(compaction) = lock(&self.compactions).pop_front() else { return };
            if let Err(error) = self.stage(&compaction.batch(&self.wal)) {
                // Put off, not lost: the next compaction says the same and more.
                tracing::debug!(%error, "compaction put off");
            }
        }
    }

    /// What the core handed over must not be lost: the disk may get room again.
    fn wait_for_space(&self) -> Result<(), StoreError> {
        if !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!("log is full, appends wait");
        }
        if self.closing.load(Ordering::Acquire) {
            return Err(StoreError::NoSpace); // nobody waits any longer
        }
        std::thread::park_timeout(FULL_RETRY); // `Worker::drop` ends it early
        self.free_space();
        Ok(())
    }
}

fn poisoned(cause: &dyn ToString) -> StoreError {
    StoreError::Poisoned { cause: cause.to_string().into() }
}

pub(super) fn in_doubt(doubt: &InDoubt) -> StoreError {
    poisoned(doubt)
}

pub(super) fn write_error(error: &WriteError) -> StoreError {
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

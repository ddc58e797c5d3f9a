//! The log: the facade over everything else.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::assemble::assemble;
use crate::batch::{Batch, Op};
use crate::close;
use crate::config::Config;
use crate::core::Core;
use crate::driver::{self, Stopwatch, Threads};
use crate::error::{AppendError, Failure, InDoubt, OpenError, ReadError, WriteError};
use crate::event::Events;
use crate::lsn::{Ack, Lsn, Marks, ReadBound, StreamId};
use crate::reader::Reader;
use crate::recover::recover;
use crate::report::{RecoveryReport, Replayed};
use crate::scrub::{Pace, Scrub};
use crate::staged::{DurableAt, Reserve, Staged};
use crate::stats::Stats;
use crate::stream::StreamLog;
use crate::sync::Lock;
use crate::tailer::Tailer;
use crate::turn::Turn;
use crate::vfs::{StdVfs, Vfs};
use crate::waiters::Goal;

/// A segmented write-ahead log; cheap to clone, `Send` and `Sync`.
///
/// When the last handle is dropped without [`shutdown`](Self::shutdown), one attempt is made to
/// sync what is staged, on the dropping thread; an error then goes to `tracing` only.
///
/// # Examples
/// ```
/// use quorate_wal::{Config, Lsn, Wal};
/// let dir = tempfile::tempdir()?;
/// let (wal, _) = Wal::open(dir.path(), Config::embedded().build()?)?;
/// let lsn = wal.append_blocking(b"hello")?; // durable from here on
/// assert_eq!(&wal.get(lsn)?[..], b"hello");
/// wal.shutdown().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Wal {
    handle: Arc<Handle>,
}

/// Closes the log when the last clone goes.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
    threads: Lock<Option<Threads>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let threads = self.threads.lock().take();
        if threads.is_some()
            && let Err(doubt) = close::close(&self.core, threads)
        {
            tracing::warn!(%doubt, "write-ahead log dropped with records in doubt");
        }
    }
}

impl Wal {
    /// Opens or creates the log in `dir` on the real file system.
    ///
    /// # Cost
    /// Reads every segment once, through a window of 1 MiB for each of
    /// [`verify_threads`](crate::ConfigBuilder::verify_threads).
    ///
    /// # Errors
    /// See [`OpenError`]; damage to acknowledged data is an error unless
    /// [`Recovery::Salvage`](crate::Recovery::Salvage) is configured.
    pub fn open(
        dir: impl AsRef<Path>,
        config: Config,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_on(Arc::new(StdVfs), dir.as_ref(), config, None)
    }

    /// Opens or creates the log in `dir` of `vfs`. `visit` is shown every operation in order
    /// during the one verification pass; see [`Replayed`].
    ///
    /// # Errors
    /// Like [`open`](Self::open).
    pub fn open_on(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: Config,
        visit: Option<&mut dyn FnMut(Replayed<'_>)>,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let watch = Stopwatch::start(&config.driver);
        let found = recover(&vfs, dir, &config, visit)?;
        let (core, mut report) = assemble(vfs, dir, config, found)?;
        let threads = Threads::start(&core)
            .map_err(|source| OpenError::Io { path: dir.to_path_buf(), source })?;
        report.elapsed = watch.elapsed();
        tracing::debug!(
            elapsed_us = report.elapsed.as_micros(),
            bytes = report.bytes_scanned,
            tail = ?report.tail,
            "write-ahead log opened"
        );
        let handle = Handle { core, threads: Lock::new(Some(threads)) };
        Ok((Self { handle: Arc::new(handle) }, report))
    }

    /// A handle without threads, for reading.
    pub(crate) fn passive(core: Arc<Core>) -> Self {
        Self { handle: Arc::new(Handle { core, threads: Lock::new(None) }) }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    /// Appends a record to the plain log: waits for room, and until it is durable.
    ///
    /// # Errors
    /// [`AppendError::Refused`]: nothing was staged. [`AppendError::InDoubt`]: the log stopped.
    ///
    /// # Cancel safety
    /// Dropped before the record is staged: nothing happened. Dropped later: the record stays
    /// and is committed.
    pub async fn append(&self, record: &[u8]) -> Result<Lsn, AppendError> {
        match self.stage_record(record) {
            Err(WriteError::Busy { .. }) => {}
            staged => return Ok(staged?.await?),
        }
        let mut batch = Batch::new();
        batch.record(record);
        self.commit(&batch).await
    }

    /// Like [`append`](Self::append), blocking; commits inline without a change of thread if no
    /// other commit is running.
    ///
    /// # Errors
    /// Like [`append`](Self::append).
    pub fn append_blocking(&self, record: &[u8]) -> Result<Lsn, AppendError> {
        match self.stage_record(record) {
            Err(WriteError::Busy { .. }) => {}
            staged => return Ok(staged?.wait()?),
        }
        let mut batch = Batch::new();
        batch.record(record);
        self.commit_blocking(&batch)
    }

    fn stage_record(&self, record: &[u8]) -> Result<Staged, WriteError> {
        let op = Op::Record { at: 0, len: record.len() };
        self.stage_op(op, record, Ack::Durable)
    }

    fn stage_op(&self, op: Op, data: &[u8], ack: Ack) -> Result<Staged, WriteError> {
        let given = self.core().stage(&[op], data, op.worst(), ack)?;
        Ok(Staged::new(self.core(), &given, ack))
    }

    /// Commits a batch: waits for room, and until all of it is durable. The number of the last
    /// operation; for hints only, the newest number there is.
    ///
    /// # Errors
    /// Like [`append`](Self::append).
    ///
    /// # Cancel safety
    /// Like [`append`](Self::append).
    pub async fn commit(&self, batch: &Batch) -> Result<Lsn, AppendError> {
        match self.stage(batch, Ack::Durable) {
            Err(WriteError::Busy { .. }) => {}
            staged => return Ok(staged?.await?),
        }
        let permit = Reserve::new(self.core(), batch.bytes()).await?;
        Ok(permit.stage(batch, Ack::Durable)?.await?)
    }

    /// Like [`commit`](Self::commit), blocking and inline.
    ///
    /// # Errors
    /// Like [`append`](Self::append).
    pub fn commit_blocking(&self, batch: &Batch) -> Result<Lsn, AppendError> {
        match self.stage(batch, Ack::Durable) {
            Err(WriteError::Busy { .. }) => {}
            staged => return Ok(staged?.wait()?),
        }
        let permit = Reserve::new(self.core(), batch.bytes()).wait()?;
        Ok(permit.stage(batch, Ack::Durable)?.wait()?)
    }

    /// Puts a batch into the next group; never blocks on I/O. Nothing starts the commit until
    /// the [`Staged`] is polled, waited for or dropped.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was staged; `Busy` when there is no room at this moment.
    pub fn stage(&self, batch: &Batch, ack: Ack) -> Result<Staged, WriteError> {
        let given = self.core().stage(&batch.ops, &batch.data, batch.bytes(), ack)?;
        Ok(Staged::new(self.core(), &given, ack))
    }

    /// Waits for room for a batch of so many [`bytes`](Batch::bytes).
    pub fn reserve(&self, bytes: u32) -> Reserve {
        Reserve::new(self.core(), crate::width::at(bytes))
    }

    /// The most bytes of one batch, as configured; see [`Batch::bytes`].
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.core().config.batch_bytes_max as u64
    }

    /// Does one unit of work of a log with [`Driver::Manual`](crate::Driver::Manual): commits a
    /// group, prepares, reclaims, marks. With threads it answers `Park` and does nothing.
    #[must_use = "stop when it says Park or Done"]
    pub fn turn(&self) -> Turn {
        if self.core().config.driver.is_manual() { self.core().turn() } else { Turn::Park }
    }

    /// Where the log stands.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.core().positions()
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    /// Whether everything up to `lsn` is durable; registers the waker if not. Never fails for a
    /// number that is durable already, also when the log has stopped.
    ///
    /// The registration lasts until it is woken: poll again only from where it was woken.
    pub fn poll_durable(&self, lsn: Lsn, cx: &mut Context<'_>) -> Poll<Result<(), Arc<Failure>>> {
        match self.core().poll_lsn(lsn.as_u64(), None, cx) {
            Ok(outcome) => Poll::Ready(outcome),
            Err(_) => Poll::Pending,
        }
    }

    /// Waits until everything up to `lsn` is durable.
    ///
    /// # Errors
    /// The failure that stopped the log.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing.
    pub async fn durable(&self, lsn: Lsn) -> Result<(), Arc<Failure>> {
        DurableAt { core: Arc::clone(self.core()), lsn, key: None }.await
    }

    /// Like [`durable`](Self::durable), blocking.
    ///
    /// # Errors
    /// The failure that stopped the log.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<(), Arc<Failure>> {
        {
            let mut staging = self.core().staging.lock();
            staging.wanted_lsn = staging.wanted_lsn.max(lsn.as_u64());
        }
        self.core().wait(Goal::Lsn(lsn.as_u64()))
    }

    /// Makes everything staged so far durable, whatever it was staged with.
    ///
    /// # Errors
    /// [`WriteError`] if the log is stopped or closed.
    pub fn sync(&self) -> Result<Staged, WriteError> {
        let given = {
            let mut staging = self.core().staging.lock();
            staging.check_gate()?;
            staging.want_sync();
            staging.newest()
        };
        Ok(Staged::new(self.core(), &given, Ack::Durable))
    }

    /// Raises the high-water mark, at most to what is durable; going back does nothing. In
    /// memory at once, on the medium with the next group; its loss in a crash is harmless.
    ///
    /// # Errors
    /// `Invalid` above the durable mark.
    pub fn advance_high(&self, to: Lsn) -> Result<(), WriteError> {
        let durable = self.core().progress.lock().durable_lsn;
        if to.as_u64() > durable {
            let why = "the high-water mark cannot pass the durable mark";
            return Err(WriteError::Invalid { op: "advance_high", why });
        }
        if to.as_u64() <= self.core().staging.lock().table.high {
            return Ok(());
        }
        let op = Op::High { lsn: to.as_u64() };
        match self.stage_op(op, &[], Ack::Staged) {
            Err(WriteError::Busy { .. } | WriteError::NoSpace { .. }) => {
                // No room for the hint; the mark itself needs none.
                let mut staging = self.core().staging.lock();
                staging.table.high = staging.table.high.max(to.as_u64());
            }
            other => drop(other?),
        }
        self.core().raise_high(to.as_u64());
        Ok(())
    }

    /// Gives up the plain log's records below `keep_from`; going back does nothing. In memory at
    /// once, durable with the next [`sync`](Self::sync) or durable append. Call it only after
    /// what replaces the records is durable.
    ///
    /// Without room for a hint, on a full disk, the next group writes the mark to MANIFEST.
    ///
    /// # Errors
    /// `Invalid` above the durable mark + 1.
    pub fn truncate_prefix(&self, keep_from: Lsn) -> Result<(), WriteError> {
        let durable = self.core().progress.lock().durable_lsn;
        if keep_from.as_u64() > durable + 1 {
            let why = "cannot give up records that are not durable";
            return Err(WriteError::Invalid { op: "truncate_prefix", why });
        }
        if keep_from.as_u64() <= self.core().staging.lock().table.main_low {
            return Ok(());
        }
        let op = Op::KeepMain { low: keep_from.as_u64() };
        match self.stage_op(op, &[], Ack::Staged) {
            Err(WriteError::Busy { .. } | WriteError::NoSpace { .. }) => {
                self.core().staging.lock().keep_main_without_hint(keep_from.as_u64());
                self.core().ask();
                self.core().chore(|c| c.reclaim = true);
            }
            other => drop(other?),
        }
        Ok(())
    }

    /// Takes the plain log's records from `from` on back. It is a record itself, never an
    /// overwrite: the numbers are not given out again.
    ///
    /// # Errors
    /// `Invalid` below the low mark, at or below the high-water mark, or above the newest
    /// number + 1.
    pub fn truncate_suffix(&self, from: Lsn) -> Result<Staged, WriteError> {
        self.stage_op(Op::TruncateSuffix { from: from.as_u64() }, &[], Ack::Durable)
    }

    /// One record of the plain log, verified; anything written can be read.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(&self, lsn: Lsn) -> Result<Bytes, ReadError> {
        self.core().get(lsn.as_u64())
    }

    /// The records of the plain log from `from` on, up to `bound`.
    #[must_use]
    pub fn read(&self, from: Lsn, bound: ReadBound) -> Reader {
        Reader::new(self.core(), from, bound)
    }

    /// Follows the plain log from `from` on: records as they come within reach of `bound`.
    #[must_use]
    pub fn tail(&self, from: Lsn, bound: ReadBound) -> Tailer {
        Tailer::new(self.read(from, bound))
    }

    /// The events of this log: slow syncs, rolls, failures, space, damage, lagging streams.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.core())
    }

    /// Reads every sealed segment again and names what has rotted; see [`Scrub`].
    #[must_use]
    pub fn scrub(&self, pace: Pace) -> Scrub {
        Scrub::new(self.core(), pace)
    }

    /// The handle of a stream, whether it has any state or not.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> StreamLog {
        StreamLog::new(self.clone(), id)
    }

    /// The streams of a space that have state, in order.
    ///
    /// # Cost
    /// Looks at every stream of every space.
    #[must_use]
    pub fn streams(&self, space: u16) -> Vec<StreamId> {
        let of_space = |id: &&StreamId| id.space() == space;
        let staging = self.core().staging.lock();
        let ids = staging.table.streams.keys().filter(of_space).copied();
        let mut ids: Vec<StreamId> = ids.collect();
        drop(staging);
        ids.sort_unstable();
        ids
    }

    /// Which streams hold the oldest `segments_old` segments, and with how many bytes each.
    ///
    /// # Cost
    /// Looks at every block of every stream, under the lock that staging takes: for operators,
    /// not for every append.
    #[must_use]
    pub fn lagging(&self, segments_old: u32) -> Vec<Lagging> {
        let staging = self.core().staging.lock();
        let segments = self.core().segments.lock();
        let mut found = Vec::new();
        for segment in segments.members().take(crate::width::at(segments_old)) {
            for (stream, bytes) in staging.table.holders(segment) {
                found.push(Lagging { segment, stream, bytes });
            }
        }
        found
    }

    /// After a `Salvage` open: records that the damage in `report` is accepted, and opens the
    /// log for writing. Blocks while a segment is prepared.
    ///
    /// # Errors
    /// `Invalid` if the report does not belong to this open; `NoSpace` and the like leave the
    /// log as it was.
    pub fn accept_damage(&self, report: &RecoveryReport) -> Result<Staged, WriteError> {
        let given = close::accept(self.core(), report)?;
        Ok(Staged::new(self.core(), &given, Ack::Durable))
    }

    /// Syncs, marks the log as closed cleanly, and ends its threads. Other handles answer
    /// `Closed` from here on; what was staged before is committed.
    pub fn shutdown(self) -> Shutdown {
        let threads = self.handle.threads.lock().take();
        let core = Arc::clone(self.core());
        Shutdown { core, threads, outcome: Arc::new(Lock::new(Outcome::default())), begun: false }
    }
}

/// A stream that holds an old segment.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Batch, Config, StreamId, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let id = StreamId::new(1, 9);
/// wal.commit_blocking(Batch::new().extend(id, 1, 2, 3, b"ab"))?;
/// assert_eq!((wal.lagging(1)[0].stream, wal.lagging(1)[0].bytes), (id, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lagging {
    /// The segment.
    pub segment: u64,
    /// Who holds it; 0 bytes: by its low mark or an empty cell alone.
    pub stream: StreamId,
    /// Bytes of live blocks and cells in it.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Outcome {
    done: Option<Result<(), InDoubt>>,
    waker: Option<Waker>,
}

/// The end of a log: a future, or [`wait`](Self::wait).
///
/// # Cancel safety
/// Dropped before the first poll it closes the log as dropping the last handle does; dropped
/// later, the shutdown goes on.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// wal.shutdown().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "await it or wait() for it to know that everything is stored"]
pub struct Shutdown {
    core: Arc<Core>,
    threads: Option<Threads>,
    outcome: Arc<Lock<Outcome>>,
    begun: bool,
}

impl Shutdown {
    /// Waits, doing the work on this thread.
    ///
    /// # Errors
    /// [`InDoubt`] if the log had stopped, or stops now, with records staged.
    pub fn wait(mut self) -> Result<(), InDoubt> {
        self.begun = true;
        close::close(&self.core, self.threads.take())
    }
}

impl Future for Shutdown {
    type Output = Result<(), InDoubt>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = Arc::clone(&self.outcome);
        let mut outcome = shared.lock();
        if let Some(done) = outcome.done.take() {
            return Poll::Ready(done);
        }
        outcome.waker = Some(cx.waker().clone());
        drop(outcome);
        if self.core.config.driver.is_manual() {
            self.begun = true;
            let threads = self.threads.take();
            return Poll::Ready(close::close(&self.core, threads));
        }
        if !std::mem::replace(&mut self.begun, true) {
            let (core, threads) = (Arc::clone(&self.core), self.threads.take());
            driver::spawn_close(move || {
                let done = close::close(&core, threads);
                let mut outcome = shared.lock();
                outcome.done = Some(done);
                let waker = outcome.waker.take();
                drop(outcome);
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
        }
        Poll::Pending
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        if !self.begun
            && let Err(doubt) = close::close(&self.core, self.threads.take())
        {
            tracing::warn!(%doubt, "write-ahead log dropped with records in doubt");
        }
    }
}

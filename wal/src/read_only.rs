//! Reading a log without owning it: no lock, no write, also beside a live writer.
//!
//! Segments are not read at one moment, so a reader can meet evidence that is younger than the
//! bytes it was read against: a frame that says "all below me is durable" in a window read after
//! the window whose end was still empty. Evidence is valid only for bytes that are read after it.
//! So damage counts when a second look, begun after the first one had seen the evidence, finds it
//! at the same place: what was proven to be durable then is there now, unless it is damaged.
//! Numbers of segments are never used again. A file that gets a new header under its old name is
//! below `oldest` in both slots of MANIFEST by then, so the second look does not read it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::assemble::assemble;
use crate::config::{Config, ConfigBuilder, Driver};
use crate::core::Core;
use crate::driver;
use crate::error::{OpenError, ReadError};
use crate::lsn::{Lsn, Marks, ReadBound, StreamId};
use crate::reader::{Reader, Window};
use crate::recover::{Recovered, look};
use crate::report::{Damage, RecoveryReport};
use crate::scrub::{Pace, Scrub};
use crate::segments::Hit;
use crate::stats::Stats;
use crate::stream::StreamLog;
use crate::vfs::{StdVfs, Vfs};
use crate::wal::Wal;

/// Looks at a log that does not hold still, before giving up.
const LOOKS_MAX: u32 = 64;
/// Bytes read at once when the last proven number is looked up.
const LOOKUP_BYTES: usize = 64 << 10;

/// A log opened for reading: by an operator's tool, a backup, or beside the process that writes.
///
/// It takes no lock, writes nothing and creates nothing; a read-only directory will do. It shows
/// the log as it was when it was opened, or last [refreshed](Self::refresh): what a writer added
/// since reads as `NotYet`. It never refuses because of damage: the report names it, and reads
/// answer `Lost`. Damage is reported only after a second look has confirmed it.
///
/// A segment that the writer has deleted or recycled since answers `Io` with `NotFound`; refresh
/// then. Nothing pins it here: other processes do not know of this one.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Config, Lsn, Wal, WalReader, vfs::MemVfs};
/// let (disk, dir) = (Arc::new(MemVfs::new()), Path::new("log"));
/// let (wal, _) = Wal::open_on(disk.clone(), dir, Config::embedded().build()?, None)?;
/// wal.append_blocking(b"one")?;
/// let (mut reader, report) = WalReader::open_read_only(disk, dir)?;
/// assert!(report.damage.is_empty());
/// assert_eq!(&reader.get(Lsn::new(1))?[..], b"one");
/// wal.append_blocking(b"two")?;
/// assert!(reader.get(Lsn::new(2)).is_err());
/// reader.refresh()?;
/// assert_eq!(&reader.get(Lsn::new(2))?[..], b"two");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WalReader {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    config: Config,
    wal: Wal,
    report: RecoveryReport,
}

impl WalReader {
    /// Opens the log in `dir` of the real file system, verifying it with as many threads as
    /// there are cores, at most 4.
    ///
    /// # Errors
    /// Like [`open_read_only`](Self::open_read_only).
    pub fn open(dir: impl AsRef<Path>) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_with(Arc::new(StdVfs), dir.as_ref(), config(Config::server()))
    }

    /// Opens the log in `dir` of `vfs` for reading, on one thread.
    ///
    /// # Cost
    /// Reads every segment once, and once more if there is damage or a writer was too quick.
    ///
    /// # Errors
    /// `NotALog` if there is none, or its creation is not finished; `Unsupported`; `Io`, also
    /// when a writer changed the log during each of 64 looks.
    pub fn open_read_only(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_with(vfs, dir, config(Config::server().verify_threads(1)))
    }

    fn open_with(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: Config,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let (wal, report) = snapshot(&vfs, dir, &config)?;
        let dir = dir.to_path_buf();
        Ok((Self { vfs, dir, config, wal, report: report.clone() }, report))
    }

    /// Looks again, at what a writer has added or given up since. Readers that were begun before
    /// go on in what they saw then. After an error everything is as before.
    ///
    /// # Cost
    /// Like an open.
    ///
    /// # Errors
    /// Like [`open_read_only`](Self::open_read_only).
    pub fn refresh(&mut self) -> Result<&RecoveryReport, OpenError> {
        (self.wal, self.report) = snapshot(&self.vfs, &self.dir, &self.config)?;
        Ok(&self.report)
    }

    /// What the last look found. Beside a live writer a torn tail is a group that was being
    /// written.
    #[must_use]
    pub const fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Where the log stands: `durable` is what the files prove, `written` what they hold.
    #[must_use]
    pub fn marks(&self) -> Marks {
        self.wal.marks()
    }

    /// Counters and gauges of this reader.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.wal.stats()
    }

    /// One record of the plain log, verified.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn get(&self, lsn: Lsn) -> Result<Bytes, ReadError> {
        self.wal.get(lsn)
    }

    /// The records of the plain log from `from` on, up to `bound`; with
    /// [`ReadBound::Written`] all that the last look found.
    #[must_use]
    pub fn read(&self, from: Lsn, bound: ReadBound) -> Reader {
        self.wal.read(from, bound)
    }

    /// Reads every sealed segment again; see [`Scrub`]. Beside a live writer segments can be
    /// given up meanwhile, which then looks like damage: look again.
    #[must_use]
    pub fn scrub(&self, pace: Pace) -> Scrub {
        self.wal.scrub(pace)
    }

    /// The handle of a stream, whether it has any state or not.
    #[must_use]
    pub fn stream(&self, id: StreamId) -> StreamLog {
        self.wal.stream(id)
    }

    /// The streams of a space that have state, in order.
    #[must_use]
    pub fn streams(&self, space: u16) -> Vec<StreamId> {
        self.wal.streams(space)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.wal.core()
    }
}

#[expect(clippy::expect_used, reason = "the presets are valid")]
fn config(builder: ConfigBuilder) -> Config {
    builder.build().expect("a preset is valid")
}

fn snapshot(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    config: &Config,
) -> Result<(Wal, RecoveryReport), OpenError> {
    let start = driver::now();
    let found = look_until_still(vfs.as_ref(), dir, config)?;
    let last = found.verdict.last;
    // Nothing is left to do for anybody: nobody is woken, no thread runs.
    let mut passive = config.clone();
    passive.driver = Driver::manual(|| {});
    let (core, mut report) = assemble(Arc::clone(vfs), dir, passive, found)?;
    if let Some(last) = last {
        report.durable = Lsn::new(proven_lsn(&core, last.seq, last.proven));
        let proven = report.durable.as_u64();
        let mut staging = core.staging.lock();
        staging.table.high = staging.table.high.min(proven);
        let mut progress = core.progress.lock();
        progress.durable_lsn = progress.durable_lsn.min(proven);
    }
    report.elapsed = start.elapsed();
    Ok((Wal::passive(core), report))
}

/// Looks until there is no damage, or the same damage twice.
fn look_until_still(vfs: &dyn Vfs, dir: &Path, config: &Config) -> Result<Recovered, OpenError> {
    let mut before: Vec<Damage> = Vec::new();
    let mut vanished = None;
    for _ in 0..LOOKS_MAX {
        match look(vfs, dir, config) {
            Ok(found) => {
                let known = |d: &Damage| before.iter().any(|b| is_same_place(b, d));
                if found.report.damage.iter().all(known) {
                    return Ok(found);
                }
                before = found.report.damage;
            }
            // Listed, and gone when it was opened: the next listing will not have it.
            Err(OpenError::Io { path, source }) if source.kind() == io::ErrorKind::NotFound => {
                vanished = Some(OpenError::Io { path, source });
            }
            Err(other) => return Err(other),
        }
    }
    Err(vanished.unwrap_or_else(|| {
        let source = io::Error::new(io::ErrorKind::ResourceBusy, "the log does not hold still");
        OpenError::Io { path: dir.to_path_buf(), source }
    }))
}

fn is_same_place(a: &Damage, b: &Damage) -> bool {
    (a.segment, a.offset, a.kind) == (b.segment, b.offset, b.kind)
}

/// The newest number in the frames below `proven` of the last segment.
fn proven_lsn(core: &Core, seq: u64, proven: u32) -> u64 {
    let written = core.progress.lock().written_lsn;
    let hit = core.segments.lock().before(seq, proven);
    let Some(Hit { segment, mut offset, lsn, end, .. }) = hit else { return 0 };
    let mut next = lsn;
    let Ok(mut window) = Window::open(core, segment, end, LOOKUP_BYTES) else { return next - 1 };
    while offset < proven {
        // What cannot be read any more proves nothing.
        let Ok(frame) = window.frame(core, offset, Some(next)) else { break };
        next += u64::from(frame.header.lsns);
        offset = frame.next;
    }
    (next - 1).min(written)
}

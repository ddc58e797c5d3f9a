//! Configuration: presets, setters, one `build` that names every violation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::lsn::Lsn;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What to do with damage to data that was durable.
///
/// # Examples
/// ```
/// use quorate_wal::{Config, Recovery};
/// let config = Config::server().recovery(Recovery::Salvage).build()?;
/// # Ok::<(), quorate_wal::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// Refuse to open, with a report that names every lost record.
    Strict,
    /// Open over the holes; writes are refused until the damage is accepted.
    Salvage,
}

/// What to do with a tail that cannot be told from damage.
///
/// # Examples
/// ```
/// use quorate_wal::{Config, TailPolicy};
/// let config = Config::server().tail(TailPolicy::Refuse).build()?;
/// # Ok::<(), quorate_wal::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TailPolicy {
    /// Open and report [`Tail::Unverifiable`](crate::Tail::Unverifiable).
    Accept,
    /// Refuse with [`OpenError::Unverifiable`](crate::OpenError::Unverifiable).
    Refuse,
}

/// Who does the work of an open log that nobody waits for inline.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{Ack, Batch, Config, Driver, Turn, Wal, vfs::MemVfs};
/// let config = Config::embedded().driver(Driver::manual(|| {})).build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// let lsn = wal.stage(Batch::new().record(b"x"), Ack::Durable)?.detach();
/// while wal.turn() == Turn::Again {}
/// assert_eq!(wal.marks().durable, lsn);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Driver {
    /// Two threads of the log's own.
    #[default]
    Threads,
    /// No thread and no clock: the caller calls [`Wal::turn`](crate::Wal::turn) when `wake` was
    /// called, until it answers [`Turn::Park`](crate::Turn::Park). Everything then happens in an
    /// order that the caller decides; simulations need that.
    Manual {
        /// Called when work appears, with no lock held; it may be called for nothing.
        wake: Arc<dyn Fn() + Send + Sync>,
    },
}

impl Driver {
    /// [`Driver::Manual`] with this function.
    #[must_use]
    pub fn manual(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Manual { wake: Arc::new(wake) }
    }

    pub(crate) const fn is_manual(&self) -> bool {
        matches!(self, Self::Manual { .. })
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_manual() { "Manual" } else { "Threads" })
    }
}

/// A checked configuration.
///
/// # Examples
/// ```
/// use quorate_wal::Config;
/// let config = Config::embedded().segment_bytes(1 << 20).batch_bytes_max(64 << 10).build()?;
/// # Ok::<(), quorate_wal::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) segment_bytes: u32,
    pub(crate) frame_bytes: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) staged_bytes_max: usize,
    pub(crate) spare_segments: usize,
    pub(crate) sync: bool,
    pub(crate) mark_idle: Duration,
    pub(crate) flush_staged: Duration,
    pub(crate) prepare_retry: Duration,
    pub(crate) log_bytes_max: u64,
    pub(crate) recovery: Recovery,
    pub(crate) tail: TailPolicy,
    pub(crate) expect_durable: Lsn,
    pub(crate) driver: Driver,
}

impl Config {
    /// For a server with a disk of its own: segments of 64 MiB.
    pub const fn server() -> ConfigBuilder {
        ConfigBuilder {
            segment_bytes: 64 * MIB,
            frame_bytes: 4 * KIB,
            batch_bytes_max: 8 * MIB,
            staged_bytes_max: 16 * MIB,
            spare_segments: 1,
            sync: true,
            mark_idle: Duration::from_millis(50),
            flush_staged: Duration::from_millis(50),
            prepare_retry: Duration::from_secs(1),
            log_bytes_max: u64::MAX,
            recovery: Recovery::Strict,
            tail: TailPolicy::Accept,
            expect_durable: Lsn::ZERO,
            driver: Driver::Threads,
        }
    }

    /// For a small or shared disk: segments of 4 MiB.
    pub const fn embedded() -> ConfigBuilder {
        let mut builder = Self::server();
        builder.segment_bytes = 4 * MIB;
        builder.batch_bytes_max = MIB;
        builder.staged_bytes_max = 2 * MIB;
        builder
    }
}

/// Collects settings; [`build`](Self::build) checks them all.
///
/// # Examples
/// ```
/// use quorate_wal::Config;
/// let error = Config::server().segment_bytes(5).frame_bytes(1).build().unwrap_err();
/// assert!(error.violations().len() >= 2);
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `build` to get a Config"]
pub struct ConfigBuilder {
    segment_bytes: u64,
    frame_bytes: u64,
    batch_bytes_max: u64,
    staged_bytes_max: u64,
    spare_segments: u64,
    sync: bool,
    mark_idle: Duration,
    flush_staged: Duration,
    prepare_retry: Duration,
    log_bytes_max: u64,
    recovery: Recovery,
    tail: TailPolicy,
    expect_durable: Lsn,
    driver: Driver,
}

impl ConfigBuilder {
    /// Default: 64 MiB (`embedded`: 4 MiB) · bytes · 16 KiB to 1 GiB, a multiple of 4096 · too
    /// small → frequent rolls · too large → slow reclaim, more disk held, more memory at open
    /// (one segment is read whole).
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// Default: 4 KiB · bytes · 512 B to 64 KiB · too small → header overhead · too large →
    /// slower reads of single records.
    pub const fn frame_bytes(mut self, bytes: u64) -> Self {
        self.frame_bytes = bytes;
        self
    }

    /// Default: 8 MiB (`embedded`: 1 MiB) · bytes · 4 KiB to a quarter of a segment · too
    /// small → `TooLarge` · too large → memory, latency of others.
    pub const fn batch_bytes_max(mut self, bytes: u64) -> Self {
        self.batch_bytes_max = bytes;
        self
    }

    /// Default: 16 MiB (`embedded`: 2 MiB) · bytes · at least twice `batch_bytes_max`, at most
    /// 1 GiB · too small → early `Busy` · too large → memory.
    pub const fn staged_bytes_max(mut self, bytes: u64) -> Self {
        self.staged_bytes_max = bytes;
        self
    }

    /// Default: 1 · segments prepared ahead · 1 to 8 · too small → a stall at a roll · too large
    /// → disk held.
    pub const fn spare_segments(mut self, segments: u64) -> Self {
        self.spare_segments = segments;
        self
    }

    /// Turns every sync of records off: for tests of other things than durability. A power cut
    /// then loses records that were acknowledged as durable.
    pub const fn sync_off_for_tests(mut self) -> Self {
        self.sync = false;
        self
    }

    /// Default: 50 ms · 0 (off) to 60 s · too small → more MANIFEST writes · too large → the
    /// last groups before an idle time stay unproven for longer.
    pub const fn mark_idle(mut self, after: Duration) -> Self {
        self.mark_idle = after;
        self
    }

    /// Default: 50 ms · 1 ms to 10 s · too small → more writes · too large → records staged with
    /// [`Ack::Staged`](crate::Ack::Staged) wait longer.
    pub const fn flush_staged(mut self, after: Duration) -> Self {
        self.flush_staged = after;
        self
    }

    /// Default: 1 s · 10 ms to 1 h · too small → load on a full disk · too large → late notice
    /// that there is space again.
    pub const fn prepare_retry(mut self, every: Duration) -> Self {
        self.prepare_retry = every;
        self
    }

    /// Default: unlimited · bytes of all segments · at least 4 segments · too small → early
    /// `NoSpace` · too large → fills the disk.
    pub const fn log_bytes_max(mut self, bytes: u64) -> Self {
        self.log_bytes_max = bytes;
        self
    }

    /// Default: [`Recovery::Strict`]: holes are never opened over unasked (H7).
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Default: [`TailPolicy::Accept`].
    pub const fn tail(mut self, policy: TailPolicy) -> Self {
        self.tail = policy;
        self
    }

    /// Default: none · a number known from elsewhere to be durable here · if the log ends before
    /// it, that is damage.
    pub const fn expect_durable(mut self, lsn: Lsn) -> Self {
        self.expect_durable = lsn;
        self
    }

    /// Default: [`Driver::Threads`].
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] lists every violation.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut bad = Vec::new();
        let mut rule = |holds: bool, text: &'static str| {
            if !holds {
                bad.push(text);
            }
        };
        let segment = self.segment_bytes;
        rule((16 * KIB..=1024 * MIB).contains(&segment), "segment_bytes: 16 KiB to 1 GiB");
        rule(segment.is_multiple_of(4096), "segment_bytes: a multiple of 4096");
        rule(
            (512..=64 * KIB).contains(&self.frame_bytes) && self.frame_bytes <= segment / 4,
            "frame_bytes: 512 B to 64 KiB, at most segment_bytes / 4",
        );
        rule(
            self.batch_bytes_max >= 4 * KIB && self.batch_bytes_max <= segment / 4,
            "batch_bytes_max: 4 KiB to segment_bytes / 4",
        );
        rule(
            self.staged_bytes_max >= self.batch_bytes_max.saturating_mul(2)
                && self.staged_bytes_max <= 1024 * MIB,
            "staged_bytes_max: at least 2 x batch_bytes_max, at most 1 GiB",
        );
        rule((1..=8).contains(&self.spare_segments), "spare_segments: 1 to 8");
        rule(self.mark_idle <= Duration::from_secs(60), "mark_idle: at most 60 s");
        rule(
            (Duration::from_millis(1)..=Duration::from_secs(10)).contains(&self.flush_staged),
            "flush_staged: 1 ms to 10 s",
        );
        rule(
            (Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&self.prepare_retry),
            "prepare_retry: 10 ms to 1 h",
        );
        rule(
            self.log_bytes_max >= segment.saturating_mul(4),
            "log_bytes_max: at least 4 x segment_bytes",
        );
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        match u32::try_from(segment) {
            Ok(segment_bytes) if bad.is_empty() => Ok(Config {
                segment_bytes,
                frame_bytes: size(self.frame_bytes),
                batch_bytes_max: size(self.batch_bytes_max),
                staged_bytes_max: size(self.staged_bytes_max),
                spare_segments: size(self.spare_segments),
                sync: self.sync,
                mark_idle: self.mark_idle,
                flush_staged: self.flush_staged,
                prepare_retry: self.prepare_retry,
                log_bytes_max: self.log_bytes_max,
                recovery: self.recovery,
                tail: self.tail,
                expect_durable: self.expect_durable,
                driver: self.driver,
            }),
            _ => Err(ConfigError { violations: bad }),
        }
    }
}

/// Every rule that a configuration breaks.
///
/// # Examples
/// ```
/// use quorate_wal::Config;
/// let error = Config::server().spare_segments(99).build().unwrap_err();
/// assert_eq!(error.violations(), ["spare_segments: 1 to 8"]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration out of range: {}", violations.join("; "))]
pub struct ConfigError {
    violations: Vec<&'static str>,
}

impl ConfigError {
    /// The rules, each as `name: range`.
    #[must_use]
    pub fn violations(&self) -> &[&'static str] {
        &self.violations
    }
}

//! Configuration: presets, setters, one `build` that names every violation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver;
use crate::lsn::Lsn;
use crate::width::wide;

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

/// How the room of a segment is made before it is used.
///
/// # Examples
/// ```
/// use quorate_wal::{Config, Prealloc};
/// let config = Config::server().prealloc(Prealloc::Reserve).build()?;
/// # Ok::<(), quorate_wal::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prealloc {
    /// Written with zeros and synced, or recycled: an append never allocates, and never meets a
    /// full disk on a file system that overwrites in place. Segments that an earlier life of the
    /// log had prepared in another way are used as they are.
    Zero,
    /// Room is reserved (`fallocate`) and not written: quicker to prepare, but each sync of new
    /// bytes also writes metadata.
    Reserve,
    /// Files grow with what is appended: no disk is held in advance, each sync writes metadata,
    /// and a full disk stops the log. Such files are not recycled.
    Grow,
}

/// Where a group may end.
///
/// # Examples
/// ```
/// use quorate_wal::{Align, Config};
/// let config = Config::server().align(Align::Bytes4096).build()?;
/// # Ok::<(), quorate_wal::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Align {
    /// Anywhere. The sector in which a group ends is written again with the next group; safe
    /// where a sector of 512 bytes is not torn by a power cut.
    Packed,
    /// At a multiple of 512 bytes: nothing acknowledged is in a sector that is written again.
    Bytes512,
    /// At a multiple of 4096 bytes, for devices whose physical sector is that large.
    Bytes4096,
}

impl Align {
    pub(crate) const fn bytes(self) -> u32 {
        match self {
            Self::Packed => 0,
            Self::Bytes512 => 512,
            Self::Bytes4096 => 4096,
        }
    }
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
        /// Called when work appears; it may be called for nothing. It must only note that there
        /// is work, for example by waking a task: it must not call the log.
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
    pub(crate) verify_threads: usize,
    pub(crate) recovery: Recovery,
    pub(crate) tail: TailPolicy,
    pub(crate) expect_durable: Lsn,
    pub(crate) driver: Driver,
    pub(crate) prealloc: Prealloc,
    pub(crate) align: Align,
    pub(crate) carry_live_percent_max: u32,
    pub(crate) carry_bytes_per_turn: u64,
    pub(crate) slow_sync_after: Duration,
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
            verify_threads: None,
            recovery: Recovery::Strict,
            tail: TailPolicy::Accept,
            expect_durable: Lsn::ZERO,
            driver: Driver::Threads,
            prealloc: Prealloc::Zero,
            align: Align::Packed,
            carry_live_percent_max: 10,
            carry_bytes_per_turn: MIB,
            slow_sync_after: Duration::from_secs(1),
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
    verify_threads: Option<u64>,
    recovery: Recovery,
    tail: TailPolicy,
    expect_durable: Lsn,
    driver: Driver,
    prealloc: Prealloc,
    align: Align,
    carry_live_percent_max: u32,
    carry_bytes_per_turn: u64,
    slow_sync_after: Duration,
}

impl ConfigBuilder {
    /// Default: 64 MiB (`embedded`: 4 MiB) · bytes · 16 KiB to 1 GiB, a multiple of 4096 · too
    /// small → frequent rolls · too large → slow reclaim, more disk held.
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

    /// Default: 16 MiB (`embedded`: 2 MiB) · bytes · at least twice `batch_bytes_max` (with
    /// `align` also its padding more than one batch), at most 1 GiB · too small → early `Busy` ·
    /// too large → memory.
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

    /// Default: the cores there are, at most 4 · threads that verify segments during an open, the
    /// opening one included; logs of less than a few MiB need no more than that one, and neither
    /// does an open with a `visit` function · 1 to 64 · too small → slow open · too large →
    /// memory, 1 MiB each and what the segments they are ahead by hold of streams.
    pub const fn verify_threads(mut self, threads: u64) -> Self {
        self.verify_threads = Some(threads);
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

    /// Default: [`Prealloc::Zero`].
    pub const fn prealloc(mut self, prealloc: Prealloc) -> Self {
        self.prealloc = prealloc;
        self
    }

    /// Default: [`Align::Packed`] · too fine → a torn sector may take an acknowledged record
    /// along, on devices that tear sectors · too coarse → space.
    pub const fn align(mut self, align: Align) -> Self {
        self.align = align;
        self
    }

    /// Default: 10 · percent of the oldest segment · 0 (off) to 50 · too small → segments stay
    /// because of a few old blocks, or of the metadata of idle streams · too large → live bytes
    /// are written again and again.
    pub const fn carry_live_percent_max(mut self, percent: u32) -> Self {
        self.carry_live_percent_max = percent;
        self
    }

    /// Default: 1 MiB · bytes · 64 KiB to 64 MiB · too small → old segments go slowly · too
    /// large → one group of appends waits longer.
    pub const fn carry_bytes_per_turn(mut self, bytes: u64) -> Self {
        self.carry_bytes_per_turn = bytes;
        self
    }

    /// Default: 1 s · at least 1 ms · too small → noise · too large → stalls go unseen.
    pub const fn slow_sync_after(mut self, after: Duration) -> Self {
        self.slow_sync_after = after;
        self
    }

    /// Default: [`Driver::Threads`].
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// What a batch takes beside its records in the worst case: headers, a roll, padding.
    fn around_a_batch(&self) -> u64 {
        let align = u64::from(self.align.bytes());
        176 + if align == 0 { 0 } else { align + 40 }
    }

    fn check_maintenance(&self, rule: &mut impl FnMut(bool, &'static str)) {
        rule(self.carry_live_percent_max <= 50, "carry_live_percent_max: 0 to 50");
        rule(
            (64 * KIB..=64 * MIB).contains(&self.carry_bytes_per_turn),
            "carry_bytes_per_turn: 64 KiB to 64 MiB",
        );
        rule(self.slow_sync_after >= Duration::from_millis(1), "slow_sync_after: at least 1 ms");
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
        rule(
            self.staged_bytes_max >= self.batch_bytes_max.saturating_add(self.around_a_batch()),
            "staged_bytes_max: room for a batch and the padding of `align`",
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
        self.check_maintenance(&mut rule);
        let verify_threads = self.verify_threads.unwrap_or_else(|| wide(driver::cores()).min(4));
        rule((1..=64).contains(&verify_threads), "verify_threads: 1 to 64");
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
                verify_threads: size(verify_threads),
                recovery: self.recovery,
                tail: self.tail,
                expect_durable: self.expect_durable,
                driver: self.driver,
                prealloc: self.prealloc,
                align: self.align,
                carry_live_percent_max: self.carry_live_percent_max,
                carry_bytes_per_turn: self.carry_bytes_per_turn,
                slow_sync_after: self.slow_sync_after,
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

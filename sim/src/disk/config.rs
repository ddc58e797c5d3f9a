//! [`DiskConfig`]: how quick, how large and how unreliable a disk is.

use std::fmt;
use std::time::Duration;

use quorate_wal::vfs::DirOrder as DirModel;

const GIB: u64 = 1 << 30;
const MINUTE: Duration = Duration::from_secs(60);

/// A checked configuration of a [`SimDisk`](crate::SimDisk).
///
/// # Examples
/// ```
/// use quorate_sim::{DirModel, DiskConfig, SimDisk};
/// let config = DiskConfig::ssd().dir_model(DirModel::Reordered).torn_sectors(true).build()?;
/// let disk = SimDisk::new(7, config);
/// # Ok::<(), quorate_sim::DiskConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConfig {
    pub(super) write_latency: Duration,
    pub(super) read_latency: Duration,
    pub(super) bytes_per_second: u64,
    pub(super) sync_latency: (Duration, Duration),
    pub(super) capacity_bytes: Option<u64>,
    pub(super) delayed_allocation: bool,
    pub(super) dir_model: DirModel,
    pub(super) torn_sectors: bool,
    pub(super) stale_blocks: bool,
    pub(super) file_bytes_max: u64,
    pub(super) stored_bytes_max: u64,
    pub(super) trace_operations_max: usize,
}

impl DiskConfig {
    /// A disk of a server: writes and reads take 20 µs and 1 ns a byte, syncs 0.2 to 10 ms.
    pub const fn ssd() -> DiskConfigBuilder {
        DiskConfigBuilder { config: SSD }
    }

    /// A disk that takes no time.
    pub const fn instant() -> DiskConfigBuilder {
        let mut config = SSD;
        config.write_latency = Duration::ZERO;
        config.read_latency = Duration::ZERO;
        config.bytes_per_second = u64::MAX;
        config.sync_latency = (Duration::ZERO, Duration::ZERO);
        DiskConfigBuilder { config }
    }
}

const SSD: DiskConfig = DiskConfig {
    write_latency: Duration::from_micros(20),
    read_latency: Duration::from_micros(20),
    bytes_per_second: 1_000_000_000,
    sync_latency: (Duration::from_micros(200), Duration::from_millis(10)),
    capacity_bytes: None,
    delayed_allocation: false,
    dir_model: DirModel::Ordered,
    torn_sectors: false,
    stale_blocks: false,
    file_bytes_max: 16 * GIB,
    stored_bytes_max: GIB,
    trace_operations_max: 64,
};

/// [`DiskConfig::ssd`].
impl Default for DiskConfig {
    fn default() -> Self {
        SSD
    }
}

/// Collects settings; [`build`](Self::build) checks them all.
///
/// # Examples
/// ```
/// use quorate_sim::DiskConfig;
/// let error = DiskConfig::ssd().bytes_per_second(1).stored_bytes_max(0).build().unwrap_err();
/// assert_eq!(error.violations().len(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "call `build` to get a DiskConfig"]
pub struct DiskConfigBuilder {
    config: DiskConfig,
}

impl DiskConfigBuilder {
    /// Default: 20 µs (`instant`: 0) · for each write, change of a name or length, beside its
    /// bytes · 0 to 60 s · too small → races with the disk are not found · too large → nodes
    /// are busy writing.
    pub const fn write_latency(mut self, latency: Duration) -> Self {
        self.config.write_latency = latency;
        self
    }

    /// Default: 20 µs (`instant`: 0) · for each read, open or list, beside its bytes · 0 to 60 s
    /// · too small → races with the disk are not found · too large → slow restarts.
    pub const fn read_latency(mut self, latency: Duration) -> Self {
        self.config.read_latency = latency;
        self
    }

    /// Default: 1,000,000,000 (`instant`: no limit) · bytes read or written · at least 1,000 ·
    /// too small → nodes are busy writing · too large → the size of a write does not matter.
    pub const fn bytes_per_second(mut self, bytes: u64) -> Self {
        self.config.bytes_per_second = bytes;
        self
    }

    /// Default: 0.2 to 10 ms, each doubling as likely (`instant`: 0) · 0 to 60 s, the first not
    /// more than the second · too small → races with syncs are not found · too large → little
    /// happens.
    pub const fn sync_latency(mut self, least: Duration, most: Duration) -> Self {
        self.config.sync_latency = (least, most);
        self
    }

    /// Default: no limit · bytes in all files · at least 4,096 · too small → `StorageFull` early
    /// · too large → a full disk is not tested.
    pub const fn capacity_bytes(mut self, bytes: u64) -> Self {
        self.config.capacity_bytes = Some(bytes);
        self
    }

    /// Default: off · whether a full disk is noticed at the sync instead of at the write.
    pub const fn delayed_allocation(mut self, on: bool) -> Self {
        self.config.delayed_allocation = on;
        self
    }

    /// Default: [`DirModel::Ordered`] · which unsynced operations of a directory a power cut may
    /// leave · ordered → code that relies on a journal passes · reordered → it does not.
    pub const fn dir_model(mut self, model: DirModel) -> Self {
        self.config.dir_model = model;
        self
    }

    /// Default: off · whether a power cut may leave a part of a sector of 512 bytes, in pieces
    /// of 64, as devices do that do not write sectors atomically.
    pub const fn torn_sectors(mut self, on: bool) -> Self {
        self.config.torn_sectors = on;
        self
    }

    /// Default: off · whether lost sectors, where a file has grown, may read as what was removed
    /// before, instead of zeros.
    pub const fn stale_blocks(mut self, on: bool) -> Self {
        self.config.stale_blocks = on;
        self
    }

    /// Default: 16 GiB · bytes, also those never written · 4,096 to 16 GiB · too small →
    /// [`DiskLimit::File`](crate::DiskLimit::File) · too large → none.
    pub const fn file_bytes_max(mut self, bytes: u64) -> Self {
        self.config.file_bytes_max = bytes;
        self
    }

    /// Default: 1 GiB · bytes of memory that the contents of files take · 64 KiB to 64 GiB · too
    /// small → [`DiskLimit::Stored`](crate::DiskLimit::Stored) · too large → memory.
    pub const fn stored_bytes_max(mut self, bytes: u64) -> Self {
        self.config.stored_bytes_max = bytes;
        self
    }

    /// Default: 64 · newest operations kept for [`SimDisk::trace_tail`](crate::SimDisk::trace_tail)
    /// · 0 to 1,048,576 · too small → failures are hard to read · too large → memory.
    pub const fn trace_operations_max(mut self, operations: usize) -> Self {
        self.config.trace_operations_max = operations;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`DiskConfigError`] lists every violation.
    pub fn build(self) -> Result<DiskConfig, DiskConfigError> {
        let c = &self.config;
        let (least, most) = c.sync_latency;
        let rules = [
            (c.write_latency <= MINUTE, "write_latency: 0 to 60 s"),
            (c.read_latency <= MINUTE, "read_latency: 0 to 60 s"),
            (c.bytes_per_second >= 1_000, "bytes_per_second: at least 1,000"),
            (most <= MINUTE, "sync_latency: 0 to 60 s"),
            (least <= most, "sync_latency: the first at most the second"),
            (c.capacity_bytes.is_none_or(|n| n >= 4096), "capacity_bytes: at least 4,096"),
            ((4096..=16 * GIB).contains(&c.file_bytes_max), "file_bytes_max: 4,096 to 16 GiB"),
            (
                (64 << 10..=64 * GIB).contains(&c.stored_bytes_max),
                "stored_bytes_max: 64 KiB to 64 GiB",
            ),
            (c.trace_operations_max <= 1 << 20, "trace_operations_max: 0 to 1,048,576"),
        ];
        let broken = rules.into_iter().filter(|(holds, _)| !holds);
        let violations: Vec<_> = broken.map(|(_, rule)| rule).collect();
        if violations.is_empty() { Ok(self.config) } else { Err(DiskConfigError { violations }) }
    }
}

/// Every violation of a configuration, not just the first.
///
/// # Examples
/// ```
/// use quorate_sim::{DiskConfig, DiskConfigError};
/// let error: DiskConfigError = DiskConfig::ssd().file_bytes_max(1).build().unwrap_err();
/// assert_eq!(error.violations(), ["file_bytes_max: 4,096 to 16 GiB"]);
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskConfigError {
    violations: Vec<&'static str>,
}

impl DiskConfigError {
    /// The rules, each as `name: range`.
    #[must_use]
    pub fn violations(&self) -> &[&'static str] {
        &self.violations
    }

    /// Never: the same values fail again.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        false
    }
}

impl fmt::Display for DiskConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.violations.join("; "))
    }
}

impl std::error::Error for DiskConfigError {}

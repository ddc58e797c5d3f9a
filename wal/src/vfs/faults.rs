//! What can be made to go wrong on a [`MemVfs`](super::MemVfs).

use std::collections::BTreeMap;
use std::io;

/// A kind of file system operation, to count and to fail.
///
/// # Examples
/// ```
/// use quorate_wal::vfs::{MemVfs, OpKind, Vfs};
/// let disk = MemVfs::new();
/// disk.fail_nth(OpKind::CreateDir, 1, std::io::ErrorKind::PermissionDenied);
/// assert!(disk.create_dir_all(std::path::Path::new("d")).is_err());
/// assert_eq!(disk.count(OpKind::CreateDir), 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OpKind {
    /// `create_dir_all`.
    CreateDir,
    /// `list`.
    List,
    /// `open` in any mode.
    Open,
    /// `rename`.
    Rename,
    /// `remove`.
    Remove,
    /// `sync_dir`.
    SyncDir,
    /// `lock`.
    Lock,
    /// `len`.
    Len,
    /// `read_at`.
    Read,
    /// `write_at`.
    Write,
    /// `sync_data`.
    SyncData,
    /// `sync_all`.
    SyncAll,
    /// `set_len`, also by `reserve`.
    SetLen,
    /// `drop_cache`.
    DropCache,
    /// `entropy`.
    Entropy,
}

impl OpKind {
    /// Whether the operation changes something, or makes a change durable.
    pub(super) const fn is_change(self) -> bool {
        !matches!(self, Self::List | Self::Len | Self::Read | Self::DropCache | Self::Entropy)
    }
}

/// What a failed sync leaves behind; file systems differ (Rebello et al., ATC'20).
///
/// # Examples
/// ```
/// use quorate_wal::vfs::{FsyncFailure, MemVfs};
/// MemVfs::new().fsync_failure(FsyncFailure::DropPages);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FsyncFailure {
    /// Pages are marked clean: reads see the data, it never reaches the medium.
    MarkClean,
    /// Pages are dropped: reads see the old data.
    DropPages,
    /// Pages stay dirty: a later sync writes them.
    KeepDirty,
}

/// How a planned failure shows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Planned {
    Kind(io::ErrorKind),
    Errno(i32),
}

impl From<io::ErrorKind> for Planned {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Kind(kind)
    }
}

impl From<i32> for Planned {
    fn from(errno: i32) -> Self {
        Self::Errno(errno)
    }
}

impl From<Planned> for io::Error {
    fn from(planned: Planned) -> Self {
        match planned {
            Planned::Kind(kind) => kind.into(),
            Planned::Errno(errno) => Self::from_raw_os_error(errno),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Faults {
    counts: BTreeMap<OpKind, u64>,
    planned: Vec<(OpKind, u64, Planned)>,
    pub(super) changes: u64,
    pub(super) off_at: Option<u64>,
    pub(super) short_writes: bool,
    pub(super) short_reads: bool,
    pub(super) interrupts: bool,
    pub(super) fsync: FsyncFailure,
    pub(super) quota: Option<u64>,
    pub(super) quota_at_sync: bool,
    /// How many bytes further on the next write goes.
    pub(super) astray: Option<isize>,
}

impl Faults {
    pub(super) const fn new() -> Self {
        Self {
            counts: BTreeMap::new(),
            planned: Vec::new(),
            changes: 0,
            off_at: None,
            short_writes: false,
            short_reads: false,
            interrupts: false,
            fsync: FsyncFailure::MarkClean,
            quota: None,
            quota_at_sync: false,
            astray: None,
        }
    }

    pub(super) fn plan(&mut self, kind: OpKind, nth: u64, error: Planned) {
        let at = self.count(kind) + nth.max(1);
        self.planned.push((kind, at, error));
    }

    pub(super) fn clear(&mut self) {
        self.planned.clear();
        self.off_at = None;
        self.short_writes = false;
        self.short_reads = false;
        self.interrupts = false;
        self.quota = None;
        self.astray = None;
    }

    pub(super) fn is_off(&self) -> bool {
        self.off_at.is_some_and(|at| self.changes >= at)
    }

    pub(super) fn count(&self, kind: OpKind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Counts an operation; an error if it was planned to fail or the power is off.
    pub(super) fn begin(&mut self, kind: OpKind) -> io::Result<()> {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        let count = *count;
        if self.is_off() {
            return Err(io::Error::other("the power is off"));
        }
        if kind.is_change() {
            self.changes += 1;
        }
        if let Some(i) = self.planned.iter().position(|&(k, at, _)| k == kind && at == count) {
            let (_, _, error) = self.planned.swap_remove(i);
            return Err(error.into());
        }
        let interruptible = matches!(kind, OpKind::Write | OpKind::Read);
        if self.interrupts && interruptible && count.is_multiple_of(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(())
    }
}

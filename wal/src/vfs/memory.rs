//! A file system in memory that knows what a power cut would leave.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::disk::{Dir, Disk};
use super::faults::{FsyncFailure, OpKind};
use crate::sync::Lock;

pub(super) mod disk;
mod files;
pub(super) mod inode;
mod journal;
pub(super) mod pages;
mod rot;

pub use journal::Operation;

/// A disk in memory (feature `testing`): files are durable bytes plus unsynced writes, directories
/// durable names plus unsynced operations.
///
/// Clones share the disk. [`crash`](Self::crash) and [`kill`](Self::kill) give a *new* disk as a
/// power cut or the death of the process would leave it; who still holds the old one writes into
/// the past and disturbs nobody. Faults planned on the old disk are not planned on the new one.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
/// let disk = MemVfs::new();
/// disk.create_dir_all(Path::new("d"))?;
/// disk.sync_dir(Path::new(""))?;
/// let file = disk.open(Path::new("d/f"), OpenMode::CreateNew)?;
/// disk.sync_dir(Path::new("d"))?;
/// file.write_at(b"synced", 0)?;
/// file.sync_data()?;
/// file.write_at(b"SYNCED", 0)?;
/// assert_eq!(disk.kill().contents(Path::new("d/f"))?, b"SYNCED");
/// let states = disk.crash_states(16);
/// assert_eq!(states.len(), 2, "the sector was written, or it was not");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemVfs {
    pub(super) disk: Arc<Lock<Disk>>,
}

impl Default for MemVfs {
    fn default() -> Self {
        Self::new()
    }
}

impl MemVfs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        let mut dirs = BTreeMap::new();
        dirs.insert(PathBuf::new(), Dir::default());
        dirs.insert(PathBuf::from("/"), Dir::default());
        Self::from_disk(Disk::new(dirs))
    }

    pub(super) fn from_disk(disk: Disk) -> Self {
        Self { disk: Arc::new(Lock::new(disk)) }
    }

    /// The `nth` operation of this kind from now on (1: the next) fails once.
    pub fn fail_nth(&self, kind: OpKind, nth: u64, error: io::ErrorKind) {
        self.disk.lock().faults.plan(kind, nth, error.into());
    }

    /// Like [`fail_nth`](Self::fail_nth), with an error number of the system, as `EIO` is 5.
    ///
    /// # Examples
    /// ```
    /// use quorate_wal::vfs::{MemVfs, OpKind, Vfs};
    /// let disk = MemVfs::new();
    /// disk.fail_nth_errno(OpKind::List, 1, 5);
    /// let error = disk.list("".as_ref()).expect_err("planned");
    /// assert_eq!(error.raw_os_error(), Some(5));
    /// ```
    pub fn fail_nth_errno(&self, kind: OpKind, nth: u64, errno: i32) {
        self.disk.lock().faults.plan(kind, nth, errno.into());
    }

    /// After `changes` more changing operations every operation fails, as without power.
    pub fn power_off_after(&self, changes: u64) {
        let faults = &mut self.disk.lock().faults;
        faults.off_at = Some(faults.changes + changes);
    }

    /// Writes put down only a part when they are longer than one sector.
    pub fn short_writes(&self, on: bool) {
        self.disk.lock().faults.short_writes = on;
    }

    /// Reads give only a part when they are longer than one sector.
    pub fn short_reads(&self, on: bool) {
        self.disk.lock().faults.short_reads = on;
    }

    /// Every second write and every second read answers `Interrupted`.
    pub fn interrupts(&self, on: bool) {
        self.disk.lock().faults.interrupts = on;
    }

    /// What a failing sync leaves behind.
    pub fn fsync_failure(&self, model: FsyncFailure) {
        self.disk.lock().faults.fsync = model;
    }

    /// At most `bytes` in all files; the refusal comes at the write, or at the sync.
    pub fn quota(&self, bytes: Option<u64>, at_sync: bool) {
        let faults = &mut self.disk.lock().faults;
        faults.quota = bytes;
        faults.quota_at_sync = at_sync;
    }

    /// The next write reaches the medium so many sectors further on (back, if negative) in the
    /// same file, beyond its end not at all. Readers see it where it belongs until the cache is
    /// dropped or the process ends.
    ///
    /// # Examples
    /// ```
    /// # use std::path::Path;
    /// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
    /// let disk = MemVfs::new();
    /// let file = disk.open(Path::new("f"), OpenMode::CreateNew)?;
    /// file.write_at(&[1; 1024], 0)?;
    /// disk.misdirect_write(1);
    /// file.write_at(&[2; 512], 0)?;
    /// file.sync_data()?;
    /// assert_eq!(disk.contents(Path::new("f"))?[..512], [2; 512]);
    /// file.drop_cache()?;
    /// assert_eq!(disk.contents(Path::new("f"))?, [[1; 512], [2; 512]].concat());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn misdirect_write(&self, sectors: i32) {
        let bytes = isize::try_from(sectors).unwrap_or(0) * 512;
        self.disk.lock().faults.astray = Some(bytes);
    }

    /// Takes every planned fault back.
    pub fn clear_faults(&self) {
        self.disk.lock().faults.clear();
    }

    /// Operations of this kind so far.
    #[must_use]
    pub fn count(&self, kind: OpKind) -> u64 {
        self.disk.lock().faults.count(kind)
    }

    /// Changing operations so far.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.disk.lock().faults.changes
    }

    /// Keeps the newest `max` operations for [`operations`](Self::operations); 0 keeps none.
    pub fn log_operations(&self, max: usize) {
        self.disk.lock().journal.keep(max);
    }

    /// The newest operations, oldest first, as far as they are kept.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.disk.lock().journal.newest()
    }

    /// Bytes in all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.disk.lock().used()
    }

    /// What a reader sees in the file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock();
        let inode = disk.inode(path)?;
        Ok(disk.inodes[&inode].cache.to_vec())
    }

    /// What is on the medium of the file that has this name on the medium: what a power cut now
    /// leaves of it in any case.
    ///
    /// # Errors
    /// `NotFound` if the name is not durable.
    ///
    /// # Examples
    /// ```
    /// # use std::path::Path;
    /// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
    /// let disk = MemVfs::new();
    /// let file = disk.open(Path::new("f"), OpenMode::CreateNew)?;
    /// disk.sync_dir(Path::new(""))?;
    /// file.write_at(b"x", 0)?;
    /// assert_eq!(disk.durable_contents(Path::new("f"))?, b"");
    /// file.sync_data()?;
    /// assert_eq!(disk.durable_contents(Path::new("f"))?, b"x");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn durable_contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock();
        let inode = disk.durable_inode(path)?;
        Ok(disk.inodes[&inode].durable.to_vec())
    }

    /// A number that no other file of this disk has, nor had, nor will have: it stays with the
    /// file when it is renamed and when the disk crashes.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn file_id(&self, path: &Path) -> io::Result<u64> {
        self.disk.lock().inode(path)
    }

    /// The names of all files and how long they are, in the order of their names.
    ///
    /// # Examples
    /// ```
    /// # use std::path::Path;
    /// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
    /// let disk = MemVfs::new();
    /// disk.create_dir_all(Path::new("d"))?;
    /// disk.open(Path::new("d/f"), OpenMode::CreateNew)?;
    /// assert_eq!(disk.files(), [("d/f".into(), 0)]);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.disk.lock().files()
    }

    /// Bytes of memory that files take, also those without a name; pages that nobody wrote take
    /// none.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.disk.lock().inodes.values().map(|inode| inode.cache.held() as u64).sum()
    }
}

//! A file system in memory that knows what a power cut would leave.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::faults::{Faults, FsyncFailure, OpKind};
use super::{DirItem, OpenMode, Vfs, VfsFile, VfsLock};
use crate::sync::Lock;
use crate::width::index;

/// A disk in memory (feature `testing`): files are durable bytes plus unsynced writes, directories
/// durable names plus unsynced operations.
///
/// Clones share the disk. [`crash`](Self::crash) and [`kill`](Self::kill) give a *new* disk as a
/// power cut or the death of the process would leave it; who still holds the old one writes into
/// the past and disturbs nobody.
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

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) dirs: BTreeMap<PathBuf, Dir>,
    pub(super) faults: Faults,
    locks: BTreeSet<PathBuf>,
    next_inode: u64,
    entropy: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) cache: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) units: Vec<Unit>,
    linked: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Unit {
    Write { at: usize, data: Vec<u8> },
    Len(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Dir {
    pub(super) names: BTreeMap<OsString, Entry>,
    pub(super) durable: BTreeMap<OsString, Entry>,
    pub(super) ops: Vec<DirOp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    File(u64),
    Dir,
}

#[derive(Clone, Debug)]
pub(super) enum DirOp {
    Set(OsString, Entry),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl DirOp {
    pub(super) fn apply(&self, names: &mut BTreeMap<OsString, Entry>) {
        match self {
            Self::Set(name, entry) => {
                names.insert(name.clone(), *entry);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Rename(from, to) => {
                if let Some(entry) = names.remove(from) {
                    names.insert(to.clone(), entry);
                }
            }
        }
    }
}

impl Unit {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                let end = at + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*at..end].copy_from_slice(data);
            }
            Self::Len(len) => bytes.resize(*len, 0),
        }
    }
}

impl Inode {
    fn sync(&mut self) {
        for unit in std::mem::take(&mut self.units) {
            unit.apply(&mut self.durable);
        }
    }

    pub(super) fn at_rest(bytes: Vec<u8>) -> Self {
        Self { cache: bytes.clone(), durable: bytes, units: Vec::new(), linked: true }
    }
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
        Self::from_parts(BTreeMap::new(), dirs, 1)
    }

    pub(super) fn from_parts(
        inodes: BTreeMap<u64, Inode>,
        dirs: BTreeMap<PathBuf, Dir>,
        entropy: u64,
    ) -> Self {
        let next_inode = inodes.keys().next_back().map_or(1, |last| last + 1);
        let disk = Disk {
            inodes,
            dirs,
            faults: Faults::new(),
            locks: BTreeSet::new(),
            next_inode,
            entropy,
        };
        Self { disk: Arc::new(Lock::new(disk)) }
    }

    pub(super) fn entropy_seed(disk: &Disk) -> u64 {
        disk.entropy
    }

    /// The `nth` operation of this kind from now on (1: the next) fails once.
    pub fn fail_nth(&self, kind: OpKind, nth: u64, error: io::ErrorKind) {
        self.disk.lock().faults.plan(kind, nth, error);
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

    /// Every second write answers `Interrupted`.
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
        Ok(disk.inodes[&inode].cache.clone())
    }

    /// Puts `bytes` into the file as if they had always been there: rot, damage, other content.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.inode(path)?;
        disk.inodes.insert(inode, Inode::at_rest(bytes.to_vec()));
        Ok(())
    }

    /// Flips one bit of the file, on the medium and in the cache.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    pub fn flip(&self, path: &Path, bit: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.inode(path)?;
        let inode = disk.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        let (at, mask) = (index(bit / 8), 1_u8 << (bit % 8));
        if at >= inode.cache.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        inode.cache[at] ^= mask;
        if let Some(byte) = inode.durable.get_mut(at) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl Disk {
    fn used(&self) -> u64 {
        self.inodes.values().filter(|i| i.linked).map(|i| i.cache.len() as u64).sum()
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        match self.dirs.get(dir).and_then(|d| d.names.get(&name)) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn change(&mut self, dir: &Path, op: DirOp) -> io::Result<()> {
        let dir = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        op.apply(&mut dir.names);
        dir.ops.push(op);
        Ok(())
    }

    fn create(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.change(dir, DirOp::Set(name, Entry::File(inode)))?;
        self.inodes.insert(inode, Inode { linked: true, ..Inode::default() });
        Ok(inode)
    }

    fn unlink(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.linked = false;
        }
    }

    fn write(&mut self, inode: u64, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut take = buf.len();
        if self.faults.short_writes && take > 512 {
            take = take / 2 + 1;
        }
        let at = index(offset);
        let len = self.inodes.get(&inode).map_or(0, |i| i.cache.len());
        if let (Some(quota), false) = (self.faults.quota, self.faults.quota_at_sync) {
            let room = index(quota.saturating_sub(self.used()));
            take = take.min((len + room).saturating_sub(at));
            if take == 0 && !buf.is_empty() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let unit = Unit::Write { at, data: buf[..take].to_vec() };
        if let Some(inode) = self.inodes.get_mut(&inode) {
            unit.apply(&mut inode.cache);
            inode.units.push(unit);
        }
        Ok(take)
    }

    fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let now = self.inodes.get(&inode).map_or(0, |i| i.cache.len() as u64);
        let quota = self.faults.quota.filter(|_| !self.faults.quota_at_sync);
        if quota.is_some_and(|quota| len > now && self.used() + (len - now) > quota) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let unit = Unit::Len(index(len));
        if let Some(inode) = self.inodes.get_mut(&inode) {
            unit.apply(&mut inode.cache);
            inode.units.push(unit);
        }
        Ok(())
    }

    fn sync(&mut self, inode: u64, kind: OpKind) -> io::Result<()> {
        let mut verdict = self.faults.begin(kind);
        // Delayed allocation: only a file that has grown since its last sync needs room.
        let grown = self.inodes.get(&inode).is_some_and(|i| i.cache.len() > i.durable.len());
        let over = grown && self.faults.quota.is_some_and(|quota| self.used() > quota);
        if verdict.is_ok() && self.faults.quota_at_sync && over {
            verdict = Err(io::ErrorKind::StorageFull.into());
        }
        let model = self.faults.fsync;
        let off = self.faults.off_at.is_some_and(|at| self.faults.changes >= at);
        // Without power nothing happens at all, whatever a failed sync would do.
        let dead = off && verdict.is_err();
        if let (Some(inode), false) = (self.inodes.get_mut(&inode), dead) {
            match (&verdict, model) {
                (Ok(()), _) => inode.sync(),
                (Err(_), FsyncFailure::MarkClean) => inode.units.clear(),
                (Err(_), FsyncFailure::DropPages) => {
                    inode.units.clear();
                    inode.cache.clone_from(&inode.durable);
                }
                (Err(_), FsyncFailure::KeepDirty) => {}
            }
        }
        verdict
    }
}

fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name.to_os_string())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl Vfs for MemVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::CreateDir)?;
        let mut chain: Vec<&Path> = dir.ancestors().collect();
        chain.reverse();
        for path in chain {
            if disk.dirs.contains_key(path) {
                continue;
            }
            let (parent, name) = split(path)?;
            if disk.dirs.get(parent).is_some_and(|d| d.names.contains_key(&name)) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.change(parent, DirOp::Set(name, Entry::Dir))?;
            disk.dirs.insert(path.to_path_buf(), Dir::default());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::List)?;
        let Some(found) = disk.dirs.get(dir) else {
            let is_file = disk.inode(dir).is_ok();
            let kind = if is_file { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
            return Err(kind.into());
        };
        let item = |(name, entry): (&OsString, &Entry)| match entry {
            Entry::Dir => DirItem::new(name.clone(), 0, true),
            Entry::File(inode) => {
                let bytes = disk.inodes.get(inode).map_or(0, |i| i.cache.len() as u64);
                DirItem::new(name.clone(), bytes, false)
            }
        };
        Ok(found.names.iter().map(item).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Open)?;
        let inode = match (disk.inode(path), mode) {
            (Ok(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(inode), _) => inode,
            (Err(e), OpenMode::CreateNew) if e.kind() == io::ErrorKind::NotFound => {
                disk.create(path)?
            }
            (Err(e), _) => return Err(e),
        };
        let writable = mode != OpenMode::Read;
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), inode, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Rename)?;
        disk.inode(from)?;
        let ((dir, old), (to_dir, new)) = (split(from)?, split(to)?);
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if let Ok(replaced) = disk.inode(to) {
            disk.unlink(replaced);
        }
        disk.change(dir, DirOp::Rename(old, new))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Remove)?;
        let inode = disk.inode(path)?;
        let (dir, name) = split(path)?;
        disk.unlink(inode);
        disk.change(dir, DirOp::Remove(name))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::SyncDir)?;
        let dir = disk.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        for op in std::mem::take(&mut dir.ops) {
            op.apply(&mut dir.durable);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Lock)?;
        if disk.locks.contains(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if disk.inode(path).is_err() {
            disk.create(path)?;
        }
        disk.locks.insert(path.to_path_buf());
        Ok(Box::new(MemLock { disk: Arc::clone(&self.disk), path: path.to_path_buf() }))
    }

    fn entropy(&self) -> io::Result<u128> {
        let mut disk = self.disk.lock();
        let high = super::crash::mix(&mut disk.entropy);
        let low = super::crash::mix(&mut disk.entropy);
        Ok(u128::from(high) << 64 | u128::from(low))
    }
}

#[derive(Debug)]
struct MemLock {
    disk: Arc<Lock<Disk>>,
    path: PathBuf,
}

impl VfsLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct MemFile {
    disk: Arc<Lock<Disk>>,
    inode: u64,
    writable: bool,
}

impl MemFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }
}

impl VfsFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Len)?;
        Ok(disk.inodes.get(&self.inode).map_or(0, |i| i.cache.len() as u64))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Read)?;
        let Some(inode) = disk.inodes.get(&self.inode) else { return Ok(0) };
        let from = index(offset).min(inode.cache.len());
        let n = buf.len().min(inode.cache.len() - from);
        buf[..n].copy_from_slice(&inode.cache[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable()?;
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::Write)?;
        disk.write(self.inode, buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.lock().sync(self.inode, OpKind::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.lock().sync(self.inode, OpKind::SyncAll)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut disk = self.disk.lock();
        disk.faults.begin(OpKind::SetLen)?;
        disk.set_len(self.inode, len)
    }
}

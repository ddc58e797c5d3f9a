//! The state of a disk in memory, and what each operation does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::journal::Journal;
use super::pages::Pages;
use crate::vfs::crash::DirOrder;
use crate::vfs::faults::{Faults, FsyncFailure, OpKind};
use crate::width::index;

/// What a power cut never tears.
pub(in crate::vfs) const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(in crate::vfs) struct Disk {
    pub(in crate::vfs) inodes: BTreeMap<u64, Inode>,
    pub(in crate::vfs) dirs: BTreeMap<PathBuf, Dir>,
    pub(in crate::vfs) faults: Faults,
    pub(in crate::vfs) order: DirOrder,
    pub(in crate::vfs) entropy: u64,
    pub(super) journal: Journal,
    pub(super) locks: BTreeSet<PathBuf>,
    next_inode: u64,
}

#[derive(Clone, Debug, Default)]
pub(in crate::vfs) struct Inode {
    pub(in crate::vfs) cache: Pages,
    pub(in crate::vfs) durable: Pages,
    pub(in crate::vfs) units: Vec<Unit>,
    /// For each sector what it held before the last write that touched it.
    pub(in crate::vfs) past: Pages,
    linked: bool,
}

#[derive(Clone, Debug)]
pub(in crate::vfs) enum Unit {
    Write { at: usize, data: Bytes },
    Len(usize),
}

#[derive(Clone, Debug, Default)]
pub(in crate::vfs) struct Dir {
    pub(in crate::vfs) names: BTreeMap<OsString, Entry>,
    pub(in crate::vfs) durable: BTreeMap<OsString, Entry>,
    pub(in crate::vfs) ops: Vec<DirOp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::vfs) enum Entry {
    File(u64),
    Dir,
}

#[derive(Clone, Debug)]
pub(in crate::vfs) enum DirOp {
    Set(OsString, Entry),
    Remove(OsString),
    Rename(OsString, OsString),
}

impl DirOp {
    pub(in crate::vfs) fn apply(&self, names: &mut BTreeMap<OsString, Entry>) {
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

    /// Whether both are about one name, so that their order matters.
    pub(in crate::vfs) fn shares_name(&self, other: &Self) -> bool {
        let theirs = other.names();
        self.names().iter().flatten().any(|name| theirs.iter().flatten().any(|n| n == name))
    }

    const fn names(&self) -> [Option<&OsString>; 2] {
        match self {
            Self::Set(name, _) | Self::Remove(name) => [Some(name), None],
            Self::Rename(from, to) => [Some(from), Some(to)],
        }
    }
}

impl Unit {
    pub(in crate::vfs) fn apply(&self, bytes: &mut Pages) {
        match self {
            Self::Write { at, data } => bytes.write(*at, data),
            Self::Len(len) => bytes.resize(*len),
        }
    }
}

impl Inode {
    pub(in crate::vfs) fn at_rest(bytes: Pages, mut past: Pages) -> Self {
        past.resize(bytes.len());
        Self { cache: bytes.clone(), durable: bytes, units: Vec::new(), past, linked: true }
    }

    fn sync(&mut self) {
        for unit in std::mem::take(&mut self.units) {
            unit.apply(&mut self.durable);
        }
    }

    fn put(&mut self, unit: Unit) {
        if let Unit::Write { at, data } = &unit {
            let from = at - at % SECTOR;
            let to = (at + data.len()).next_multiple_of(SECTOR).min(self.cache.len());
            if from < to {
                self.past.take_over(&self.cache, from..to);
            }
        }
        unit.apply(&mut self.cache);
        self.past.resize(self.cache.len());
        self.units.push(unit);
    }

    /// Forgets clean pages: what a failed sync marked clean without writing it shows now.
    fn drop_cache(&mut self) {
        self.cache.clone_from(&self.durable);
        for unit in &self.units {
            unit.apply(&mut self.cache);
        }
        self.past.resize(self.cache.len());
    }
}

impl Disk {
    pub(in crate::vfs) fn new(
        inodes: BTreeMap<u64, Inode>,
        dirs: BTreeMap<PathBuf, Dir>,
        entropy: u64,
    ) -> Self {
        let next_inode = inodes.keys().next_back().map_or(1, |last| last + 1);
        Self {
            inodes,
            dirs,
            faults: Faults::new(),
            order: DirOrder::Ordered,
            entropy,
            journal: Journal::default(),
            locks: BTreeSet::new(),
            next_inode,
        }
    }

    pub(super) fn used(&self) -> u64 {
        self.inodes.values().filter(|i| i.linked).map(|i| i.cache.len() as u64).sum()
    }

    pub(super) fn inode(&self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        match self.dirs.get(dir).and_then(|d| d.names.get(&name)) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn change(&mut self, dir: &Path, op: DirOp) -> io::Result<()> {
        let dir = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        op.apply(&mut dir.names);
        dir.ops.push(op);
        Ok(())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.change(dir, DirOp::Set(name, Entry::File(inode)))?;
        self.inodes.insert(inode, Inode { linked: true, ..Inode::default() });
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.inode(from)?;
        let ((dir, old), (to_dir, new)) = (split(from)?, split(to)?);
        if dir != to_dir {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if old == new {
            return Ok(());
        }
        match self.inode(to) {
            Ok(replaced) => self.unlink(replaced),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        self.change(dir, DirOp::Rename(old, new))
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.inode(path)?;
        let (dir, name) = split(path)?;
        self.unlink(inode);
        self.change(dir, DirOp::Remove(name))
    }

    fn unlink(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.linked = false;
        }
    }

    pub(super) fn write(&mut self, inode: u64, buf: &[u8], offset: u64) -> io::Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let mut take = buf.len();
        if self.faults.short_writes && take > SECTOR {
            take = take / 2 + 1;
        }
        let at = index(offset);
        let len = self.inodes.get(&inode).map_or(0, |i| i.cache.len());
        if let (Some(quota), false) = (self.faults.quota, self.faults.quota_at_sync) {
            let room = index(quota.saturating_sub(self.used()));
            take = take.min((len + room).saturating_sub(at));
            if take == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.put(Unit::Write { at, data: Bytes::copy_from_slice(&buf[..take]) });
        }
        Ok(take)
    }

    pub(super) fn set_len(&mut self, inode: u64, len: u64) -> io::Result<()> {
        let now = self.inodes.get(&inode).map_or(0, |i| i.cache.len() as u64);
        let quota = self.faults.quota.filter(|_| !self.faults.quota_at_sync);
        if quota.is_some_and(|quota| len > now && self.used() + (len - now) > quota) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.put(Unit::Len(index(len)));
        }
        Ok(())
    }

    pub(super) fn drop_cache(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.drop_cache();
        }
    }

    pub(super) fn sync(&mut self, inode: u64, kind: OpKind) -> io::Result<()> {
        let mut verdict = self.faults.begin(kind);
        // Delayed allocation: only a file that has grown since its last sync needs room.
        let grown = self.inodes.get(&inode).is_some_and(|i| i.cache.len() > i.durable.len());
        let over = grown && self.faults.quota.is_some_and(|quota| self.used() > quota);
        if verdict.is_ok() && self.faults.quota_at_sync && over {
            verdict = Err(io::ErrorKind::StorageFull.into());
        }
        let model = self.faults.fsync;
        // Without power nothing happens at all, whatever a failed sync would do.
        let dead = self.faults.is_off() && verdict.is_err();
        if let (Some(inode), false) = (self.inodes.get_mut(&inode), dead) {
            match (&verdict, model) {
                (Ok(()), _) => inode.sync(),
                (Err(_), FsyncFailure::MarkClean) => inode.units.clear(),
                (Err(_), FsyncFailure::DropPages) => {
                    inode.units.clear();
                    inode.drop_cache();
                }
                (Err(_), FsyncFailure::KeepDirty) => {}
            }
        }
        verdict
    }
}

pub(super) fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name.to_os_string())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

//! The state of a disk in memory, and what each operation does to it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::inode::Inode;
use super::journal::Journal;
use super::pages::Pages;
use crate::vfs::crash::DirOrder;
use crate::vfs::faults::{Faults, OpKind};
use crate::width::index;

/// What a power cut does not tear, on most devices.
pub(in crate::vfs) const SECTOR: usize = 512;
/// What no power cut tears.
const WORD: usize = 64;
/// With more unsynced operations than this the older half of a directory reaches the medium by
/// itself, as a journal is committed now and then.
const DIR_OPS_MAX: usize = 1024;

/// How a disk behaves when the power is cut.
#[derive(Clone, Debug)]
pub(in crate::vfs) struct Medium {
    pub(in crate::vfs) order: DirOrder,
    /// Whether a sector may be torn.
    pub(in crate::vfs) torn_sectors: bool,
    /// Whether blocks that were given to a file and not written show what they held before.
    pub(in crate::vfs) stale_blocks: bool,
    /// What was given up last: the bytes such blocks show.
    pub(in crate::vfs) given_up: Pages,
}

impl Medium {
    /// What reaches the medium whole or not at all.
    pub(in crate::vfs) const fn atom(&self) -> usize {
        if self.torn_sectors { WORD } else { SECTOR }
    }
}

#[derive(Clone, Debug)]
pub(in crate::vfs) struct Disk {
    pub(in crate::vfs) inodes: BTreeMap<u64, Inode>,
    pub(in crate::vfs) dirs: BTreeMap<PathBuf, Dir>,
    pub(in crate::vfs) faults: Faults,
    pub(in crate::vfs) medium: Medium,
    pub(in crate::vfs) entropy: u64,
    pub(super) journal: Journal,
    pub(super) locks: BTreeSet<PathBuf>,
    next_inode: u64,
    /// Files without a name, as readers see the directories.
    orphans: BTreeSet<u64>,
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

    pub(in crate::vfs) fn is_about(&self, name: &OsString) -> bool {
        self.names().contains(&Some(name))
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

impl Disk {
    pub(in crate::vfs) fn new(dirs: BTreeMap<PathBuf, Dir>) -> Self {
        Self {
            inodes: BTreeMap::new(),
            dirs,
            faults: Faults::new(),
            medium: Medium {
                order: DirOrder::Ordered,
                torn_sectors: false,
                stale_blocks: false,
                given_up: Pages::default(),
            },
            entropy: 1,
            journal: Journal::default(),
            locks: BTreeSet::new(),
            next_inode: 1,
            orphans: BTreeSet::new(),
        }
    }

    /// The next life of this disk: other contents, nothing open, locked or planned to fail.
    pub(in crate::vfs) fn reborn(
        &self,
        inodes: BTreeMap<u64, Inode>,
        dirs: BTreeMap<PathBuf, Dir>,
        salt: u64,
    ) -> Self {
        let mut next = Self::new(dirs);
        next.inodes = inodes;
        next.inodes.values_mut().for_each(|inode| inode.handles = 0);
        next.medium = self.medium.clone();
        next.entropy = self.entropy ^ salt;
        // A number means one file for ever.
        next.next_inode = self.next_inode;
        let unlinked = next.inodes.iter().filter(|(_, inode)| !inode.linked);
        next.orphans = unlinked.map(|(&number, _)| number).collect();
        next.reap();
        next
    }

    /// The same disk, a copy of its own: nothing open, locked or planned to fail.
    pub(in crate::vfs) fn copied(&self, salt: u64) -> Self {
        self.reborn(self.inodes.clone(), self.dirs.clone(), salt)
    }

    /// Forgets the files that nobody can reach any more, neither by a name, nor by one that a
    /// power cut may bring back, nor by an open handle (H29 of the simulator).
    fn reap(&mut self) {
        if self.orphans.is_empty() {
            return;
        }
        let mut wanted = BTreeSet::new();
        for dir in self.dirs.values() {
            wanted.extend(dir.files_on_medium());
        }
        let (inodes, orphans) = (&mut self.inodes, &mut self.orphans);
        orphans.retain(|number| {
            let open = inodes.get(number).is_some_and(|inode| inode.handles > 0);
            let keep = open || wanted.contains(number);
            if !keep {
                inodes.remove(number);
            }
            keep
        });
    }

    pub(super) fn opened(&mut self, inode: u64) {
        if let Some(inode) = self.inodes.get_mut(&inode) {
            inode.handles += 1;
        }
    }

    pub(super) fn closed(&mut self, inode: u64) {
        let Some(file) = self.inodes.get_mut(&inode) else { return };
        file.handles = file.handles.saturating_sub(1);
        if file.handles == 0 && !file.linked {
            self.reap();
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

    pub(super) fn durable_inode(&self, path: &Path) -> io::Result<u64> {
        // Every directory on the way has to be on the medium too.
        for dir in path.ancestors().skip(1) {
            let Ok((parent, name)) = split(dir) else { break };
            let found = self.dirs.get(parent).and_then(|parent| parent.durable.get(&name));
            if found != Some(&Entry::Dir) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        let (dir, name) = split(path)?;
        match self.dirs.get(dir).and_then(|dir| dir.durable.get(&name)) {
            Some(Entry::File(inode)) => Ok(*inode),
            Some(Entry::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        for (path, dir) in &self.dirs {
            for (name, entry) in &dir.names {
                if let Entry::File(inode) = entry {
                    let len = self.inodes.get(inode).map_or(0, |inode| inode.cache.len());
                    files.push((path.join(name), len as u64));
                }
            }
        }
        files
    }

    pub(super) fn change(&mut self, dir: &Path, op: DirOp) -> io::Result<()> {
        let dir = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        op.apply(&mut dir.names);
        dir.ops.push(op);
        if dir.ops.len() > DIR_OPS_MAX {
            dir.write_back(dir.ops.len() / 2);
            self.reap();
        }
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let dir = self.dirs.get_mut(dir).ok_or(io::ErrorKind::NotFound)?;
        dir.write_back(dir.ops.len());
        self.reap();
        Ok(())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        let (dir, name) = split(path)?;
        let inode = self.next_inode;
        self.next_inode += 1;
        self.change(dir, DirOp::Set(name, Entry::File(inode)))?;
        self.inodes.insert(inode, Inode::empty());
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

    fn unlink(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.linked = false;
            self.orphans.insert(number);
            if self.medium.stale_blocks && inode.cache.len() > 0 {
                self.medium.given_up = inode.cache.clone();
            }
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
        if let (Some(quota), false) = (self.faults.quota, self.faults.quota_at_sync)
            && at + take > len
        {
            let room = index(quota.saturating_sub(self.used()));
            take = take.min((len + room).saturating_sub(at));
            if take == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let astray = self.faults.astray.take();
        if let Some(inode) = self.inodes.get_mut(&inode) {
            match astray {
                None => inode.write(at, &buf[..take]),
                Some(by) => inode.write_astray(at, &buf[..take], at.checked_add_signed(by)),
            }
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
            if self.medium.stale_blocks && len < now {
                self.medium.given_up = inode.cache.clone();
            }
            inode.set_len(index(len));
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
        // Without power nothing happens at all, whatever a failed sync would do.
        let dead = self.faults.is_off() && verdict.is_err();
        if let (Some(inode), false) = (self.inodes.get_mut(&inode), dead) {
            match &verdict {
                Ok(()) => inode.sync(),
                Err(_) => inode.sync_failed(self.faults.fsync),
            }
        }
        verdict
    }
}

impl Dir {
    /// A directory of which everything is on the medium.
    pub(in crate::vfs) fn at_rest(names: BTreeMap<OsString, Entry>) -> Self {
        Self { durable: names.clone(), names, ops: Vec::new() }
    }

    /// The oldest `count` operations reach the medium.
    fn write_back(&mut self, count: usize) {
        for op in self.ops.drain(..count) {
            op.apply(&mut self.durable);
        }
    }

    /// The files that a power cut may leave a name of.
    pub(in crate::vfs) fn files_on_medium(&self) -> impl Iterator<Item = u64> {
        let made = self.ops.iter().filter_map(|op| match op {
            DirOp::Set(_, entry) => Some(*entry),
            DirOp::Remove(_) | DirOp::Rename(..) => None,
        });
        self.durable.values().copied().chain(made).filter_map(|entry| match entry {
            Entry::File(inode) => Some(inode),
            Entry::Dir => None,
        })
    }
}

pub(super) fn split(path: &Path) -> io::Result<(&Path, OsString)> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) => Ok((dir, name.to_os_string())),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

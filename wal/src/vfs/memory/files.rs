//! The disk in memory as a [`Vfs`].

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::MemVfs;
use super::disk::{Dir, DirOp, Disk, Entry, SECTOR, split};
use super::journal::Call;
use crate::sync::Lock;
use crate::vfs::faults::OpKind;
use crate::vfs::{DirItem, OpenMode, Vfs, VfsFile, VfsLock};
use crate::width::index;

impl Disk {
    /// Counts, fails if that is planned, does it, and notes how it went.
    fn run<T>(
        &mut self,
        call: Call<'_>,
        work: impl FnOnce(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let outcome = self.faults.begin(call.kind).and_then(|()| work(self));
        self.journal.note(call, outcome.as_ref().err().map(io::Error::kind));
        outcome
    }

    fn create_dirs(&mut self, dir: &Path) -> io::Result<()> {
        let mut chain: Vec<&Path> = dir.ancestors().collect();
        chain.reverse();
        for path in chain {
            if self.dirs.contains_key(path) {
                continue;
            }
            let (parent, name) = split(path)?;
            if self.dirs.get(parent).is_some_and(|d| d.names.contains_key(&name)) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.change(parent, DirOp::Set(name, Entry::Dir))?;
            self.dirs.insert(path.to_path_buf(), Dir::default());
        }
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        let Some(found) = self.dirs.get(dir) else {
            let is_file = self.inode(dir).is_ok();
            let kind = if is_file { io::ErrorKind::NotADirectory } else { io::ErrorKind::NotFound };
            return Err(kind.into());
        };
        let item = |(name, entry): (&OsString, &Entry)| match entry {
            Entry::Dir => DirItem::new(name.clone(), 0, true),
            Entry::File(inode) => {
                let bytes = self.inodes.get(inode).map_or(0, |i| i.cache.len() as u64);
                DirItem::new(name.clone(), bytes, false)
            }
        };
        Ok(found.names.iter().map(item).collect())
    }

    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<u64> {
        match (self.inode(path), mode) {
            (Ok(_), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(inode), _) => Ok(inode),
            (Err(e), OpenMode::CreateNew) if e.kind() == io::ErrorKind::NotFound => {
                self.create(path)
            }
            (Err(e), _) => Err(e),
        }
    }

    fn hold(&mut self, path: &Path) -> io::Result<()> {
        if self.locks.contains(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.inode(path).is_err() {
            self.create(path)?;
        }
        self.locks.insert(path.to_path_buf());
        Ok(())
    }

    fn read(&self, inode: u64, buf: &mut [u8], offset: u64) -> usize {
        let Some(inode) = self.inodes.get(&inode) else { return 0 };
        let from = index(offset).min(inode.cache.len());
        let mut n = buf.len().min(inode.cache.len() - from);
        if self.faults.short_reads && n > SECTOR {
            n = n / 2 + 1;
        }
        inode.cache.read(from, &mut buf[..n]);
        n
    }
}

impl Vfs for MemVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.run(Call::on(OpKind::CreateDir, dir), |disk| disk.create_dirs(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.lock().run(Call::on(OpKind::List, dir), |disk| disk.list(dir))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = self.disk.lock();
        let inode = disk.run(Call::on(OpKind::Open, path), |disk| disk.open(path, mode))?;
        disk.opened(inode);
        let (writable, path) = (mode != OpenMode::Read, path.to_path_buf());
        Ok(Arc::new(MemFile { disk: Arc::clone(&self.disk), inode, path, writable }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.lock().run(Call::on(OpKind::Rename, from), |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.lock().run(Call::on(OpKind::Remove, path), |disk| disk.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.lock().run(Call::on(OpKind::SyncDir, dir), |disk| disk.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.disk.lock().run(Call::on(OpKind::Lock, path), |disk| disk.hold(path))?;
        Ok(Box::new(MemLock { disk: Arc::clone(&self.disk), path: path.to_path_buf() }))
    }

    fn entropy(&self) -> io::Result<u128> {
        let mut disk = self.disk.lock();
        disk.run(Call::on(OpKind::Entropy, Path::new("")), |disk| {
            let high = crate::vfs::crash::mix(&mut disk.entropy);
            let low = crate::vfs::crash::mix(&mut disk.entropy);
            Ok(u128::from(high) << 64 | u128::from(low))
        })
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
    /// The name at the open; only for the log of operations.
    path: PathBuf,
    writable: bool,
}

impl Drop for MemFile {
    fn drop(&mut self) {
        self.disk.lock().closed(self.inode);
    }
}

impl MemFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
    }

    fn call(&self, kind: OpKind, offset: u64, bytes: usize) -> Call<'_> {
        Call { kind, path: &self.path, offset, bytes }
    }

    fn sync(&self, kind: OpKind) -> io::Result<()> {
        let mut disk = self.disk.lock();
        // A failing sync has effects of its own, so it counts itself.
        let outcome = disk.sync(self.inode, kind);
        disk.journal.note(self.call(kind, 0, 0), outcome.as_ref().err().map(io::Error::kind));
        outcome
    }
}

impl VfsFile for MemFile {
    fn len(&self) -> io::Result<u64> {
        self.disk.lock().run(self.call(OpKind::Len, 0, 0), |disk| {
            Ok(disk.inodes.get(&self.inode).map_or(0, |i| i.cache.len() as u64))
        })
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let call = self.call(OpKind::Read, offset, buf.len());
        self.disk.lock().run(call, |disk| Ok(disk.read(self.inode, buf, offset)))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.check_writable()?;
        let call = self.call(OpKind::Write, offset, buf.len());
        self.disk.lock().run(call, |disk| disk.write(self.inode, buf, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(OpKind::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(OpKind::SyncAll)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let call = self.call(OpKind::SetLen, len, 0);
        self.disk.lock().run(call, |disk| disk.set_len(self.inode, len))
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.disk.lock().run(self.call(OpKind::DropCache, 0, 0), |disk| {
            disk.drop_cache(self.inode);
            Ok(())
        })
    }
}

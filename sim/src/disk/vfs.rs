//! [`SimVfs`]: the disk as one life of a process has it.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use quorate_wal::vfs::{DirItem, MemVfs, OpKind, OpenMode, Vfs, VfsFile, VfsLock};

use super::crash::Change;
use super::faults::{SyncFault, WriteFault};
use super::latency::Cost;
use super::state::{Open, Shared, State};
use super::trace::About;
use crate::rng::Rng;

/// EIO.
const IO_ERROR: i32 = 5;

/// The file system of one life of a process: a [`Vfs`] for `quorate-wal`, or for your own storage.
///
/// After [`SimDisk::crash`](crate::SimDisk::crash) it, its files and its locks answer errors and
/// have no effect, for ever: what the destructors of a killed process do comes to nothing. The next
/// life gets one of its own from [`SimDisk::vfs`](crate::SimDisk::vfs).
///
/// # Examples
/// ```
/// use quorate_sim::{CrashDisk, DiskConfig, SimDisk, SimVfs};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(7, DiskConfig::default());
/// let vfs: SimVfs = disk.vfs();
/// let file = vfs.open("f".as_ref(), OpenMode::CreateNew)?;
/// vfs.sync_dir("".as_ref())?;
/// disk.crash(CrashDisk::LoseUnsynced);
/// assert!(file.write_at(b"too late", 0).is_err() && vfs.list("".as_ref()).is_err());
/// assert_eq!(disk.vfs().list("".as_ref())?.len(), 1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimVfs {
    shared: Arc<Shared>,
    life: u64,
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimVfs").field("life", &self.life).finish_non_exhaustive()
    }
}

impl SimVfs {
    pub(super) const fn new(shared: Arc<Shared>, life: u64) -> Self {
        Self { shared, life }
    }

    /// Something about names that takes as long as a write, and changes what is there.
    fn change<T>(
        &self,
        kind: OpKind,
        path: &Path,
        work: impl FnOnce(&MemVfs) -> io::Result<T>,
    ) -> io::Result<T> {
        let how = (Change::Yes, Cost::Write(0));
        self.shared.lock().on_name(self.life, (kind, path), how, |state| work(&state.medium))
    }
}

impl Vfs for SimVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.change(OpKind::CreateDir, dir, |medium| medium.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        let (what, how) = ((OpKind::List, dir), (Change::No, Cost::Read(0)));
        self.shared.lock().on_name(self.life, what, how, |state| state.medium.list(dir))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let creates = mode == OpenMode::CreateNew;
        let how = if creates { (Change::Yes, Cost::Write(0)) } else { (Change::No, Cost::Read(0)) };
        let mut state = self.shared.lock();
        let handle = state.on_name(self.life, (OpKind::Open, path), how, |state| {
            let file = state.medium.open(path, mode)?;
            let (id, path) = (state.medium.file_id(path)?, path.into());
            let handle = state.handle();
            state.files.insert(handle, Open { file, id, path });
            Ok(handle)
        })?;
        Ok(Arc::new(SimFile { vfs: self.clone(), handle }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(OpKind::Rename, from, |medium| medium.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(OpKind::Remove, path, |medium| medium.remove(path))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (what, how) = ((OpKind::SyncDir, dir), (Change::Yes, Cost::Sync));
        self.shared.lock().on_name(self.life, what, how, |state| {
            if matches!(state.faults.syncs.front(), Some(SyncFault::Lie)) {
                state.faults.syncs.pop_front();
                state.lie(|medium| medium.sync_dir(dir));
            } else {
                state.medium.sync_dir(dir)?;
            }
            state.stats.syncs += 1;
            Ok(())
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        let (what, how) = ((OpKind::Lock, path), (Change::Yes, Cost::Read(0)));
        let handle = self.shared.lock().on_name(self.life, what, how, |state| {
            let lock = state.medium.lock(path)?;
            let handle = state.handle();
            state.locks.insert(handle, lock);
            Ok(handle)
        })?;
        Ok(Box::new(SimLock { vfs: self.clone(), handle }))
    }

    fn entropy(&self) -> io::Result<u128> {
        let what = (OpKind::Entropy, Path::new(""));
        let how = (Change::No, Cost::Fixed(std::time::Duration::ZERO));
        self.shared.lock().on_name(self.life, what, how, |state| {
            let rng: &mut Rng = &mut state.streams.entropy;
            Ok(u128::from(rng.word()) << 64 | u128::from(rng.word()))
        })
    }
}

/// A held lock: it ends with its process, whenever it is dropped.
#[derive(Debug)]
struct SimLock {
    vfs: SimVfs,
    handle: u64,
}

impl VfsLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.vfs.shared.lock();
        if state.life == self.vfs.life {
            state.locks.remove(&self.handle);
        }
    }
}

/// An open file: a number, so that a handle of a dead process holds nothing.
#[derive(Debug)]
struct SimFile {
    vfs: SimVfs,
    handle: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.vfs.shared.lock();
        if state.life == self.vfs.life {
            state.files.remove(&self.handle);
        }
    }
}

/// What an operation on a file is about, beside the file.
#[derive(Clone, Copy)]
struct Place {
    kind: OpKind,
    offset: u64,
    bytes: u64,
    crc: u32,
}

impl Place {
    const fn whole(kind: OpKind) -> Self {
        Self { kind, offset: 0, bytes: 0, crc: 0 }
    }
}

impl SimFile {
    /// An operation on the file, from the beginning to the end; `work` gets the file out of the
    /// table of the process for as long.
    fn run<T>(
        &self,
        place: Place,
        change: Change,
        work: impl FnOnce(&mut State, &Open) -> io::Result<T>,
    ) -> io::Result<T> {
        let state: &mut State = &mut self.vfs.shared.lock();
        state.begin(self.vfs.life, change)?;
        let gone = || io::Error::other("the file is closed");
        let open = state.files.remove(&self.handle).ok_or_else(gone)?;
        let outcome = work(state, &open);
        let Place { kind, offset, bytes, crc } = place;
        let about = About { kind, path: &open.path, subject: open.id, offset, bytes, crc };
        state.end(about, &outcome);
        state.files.insert(self.handle, open);
        outcome
    }

    fn sync(&self, kind: OpKind) -> io::Result<()> {
        self.run(Place::whole(kind), Change::Yes, |state, open| {
            state.charge(Cost::Sync);
            let sync = || match kind {
                OpKind::SyncAll => open.file.sync_all(),
                _ => open.file.sync_data(),
            };
            match state.faults.syncs.pop_front() {
                None => sync()?,
                Some(SyncFault::Lie) => state.lie(|medium| sync_file(medium, open.id)),
                Some(SyncFault::Error(model)) => {
                    // H10: what a failed sync leaves is the model's business, not "try again".
                    state.medium.fsync_failure(model);
                    state.medium.fail_nth_errno(kind, 1, IO_ERROR);
                    state.stats.sync_errors.effective += 1;
                    sync()?;
                }
            }
            state.stats.syncs += 1;
            Ok(())
        })
    }
}

/// Syncs the file of this number. One without a name counts as gone, though a crash before its
/// directory is synced may bring it back.
fn sync_file(medium: &MemVfs, file: u64) -> io::Result<()> {
    let mut paths = medium.files().into_iter().map(|(path, _)| path);
    let path = paths.find(|path| medium.file_id(path).is_ok_and(|of| of == file));
    path.map_or(Ok(()), |path| medium.open(&path, OpenMode::Write)?.sync_all())
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl VfsFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.run(Place::whole(OpKind::Len), Change::No, |_, open| open.file.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let place = Place { kind: OpKind::Read, offset, bytes: wide(buf.len()), crc: 0 };
        self.run(place, Change::No, |state, open| {
            let n = open.file.read_at(buf, offset)?;
            state.charge(Cost::Read(wide(n)));
            if state.faults.read(open.id, &(offset..offset + wide(n)), &mut state.stats) {
                return Err(io::Error::from_raw_os_error(IO_ERROR));
            }
            state.stats.reads += 1;
            state.stats.bytes_read += wide(n);
            Ok(n)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let crc = crc32fast::hash(buf);
        let place = Place { kind: OpKind::Write, offset, bytes: wide(buf.len()), crc };
        self.run(place, Change::Yes, |state, open| {
            let n = write(state, open, buf, offset)?;
            state.faults.written(open.id, &(offset..offset + wide(n)));
            state.stats.writes += 1;
            state.stats.bytes_written += wide(n);
            Ok(n)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(OpKind::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(OpKind::SyncAll)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let place = Place { kind: OpKind::SetLen, offset: len, bytes: 0, crc: 0 };
        self.run(place, Change::Yes, |state, open| {
            state.charge(Cost::Write(0));
            state.check_limits(len, 0)?;
            open.file.set_len(len)?;
            state.faults.written(open.id, &(len..u64::MAX));
            Ok(())
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.run(Place::whole(OpKind::DropCache), Change::No, |_, open| open.file.drop_cache())
    }
}

/// A write, with the fault that waits for it.
fn write(state: &mut State, open: &Open, buf: &[u8], offset: u64) -> io::Result<usize> {
    state.charge(Cost::Write(wide(buf.len())));
    state.check_limits(offset.saturating_add(wide(buf.len())), wide(buf.len()))?;
    let fault = match state.faults.writes.front() {
        // A byte cannot be cut, and where nothing goes does not matter.
        Some(WriteFault::Short) if buf.len() < 2 => None,
        Some(WriteFault::Astray(_)) if buf.is_empty() => None,
        fault => fault.copied(),
    };
    let mut part = buf;
    match fault {
        Some(WriteFault::Short) => part = &buf[..1 + state.streams.fault.index(buf.len() - 1)],
        Some(WriteFault::Astray(sectors)) => state.medium.misdirect_write(sectors),
        None => {}
    }
    let n = open.file.write_at(part, offset)?;
    if let Some(fault) = fault {
        state.faults.writes.pop_front();
        match fault {
            WriteFault::Short => state.stats.short_writes.effective += 1,
            WriteFault::Astray(_) => state.stats.misdirects.effective += 1,
        }
    }
    Ok(n)
}

//! The file system as the log sees it; every durable effect of the crate goes through it.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
mod crash;
#[cfg(any(test, feature = "testing"))]
mod faults;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod std_fs;

#[cfg(any(test, feature = "testing"))]
pub use crash::{CrashStates, DirOrder, Left, PowerCut};
#[cfg(any(test, feature = "testing"))]
pub use faults::{FsyncFailure, OpKind};
#[cfg(any(test, feature = "testing"))]
pub use memory::{MemVfs, Operation};
pub use std_fs::StdVfs;

/// How a file is opened.
///
/// # Examples
/// ```
/// use quorate_wal::vfs::OpenMode;
/// assert_ne!(OpenMode::Read, OpenMode::CreateNew);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    Write,
    /// Reading and writing a new file; `AlreadyExists` if the name is taken.
    CreateNew,
}

/// One name in a directory.
///
/// # Examples
/// ```
/// use quorate_wal::vfs::DirItem;
/// let item = DirItem::new("LOCK".into(), 5, false);
/// assert_eq!(item.bytes, 5);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirItem {
    /// The name inside the directory.
    pub name: OsString,
    /// Length of the file; 0 for a directory.
    pub bytes: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

impl DirItem {
    /// An item with these fields.
    #[must_use]
    pub const fn new(name: OsString, bytes: u64, is_dir: bool) -> Self {
        Self { name, bytes, is_dir }
    }
}

/// A file system. [`StdVfs`] is the real one; tests and simulators bring others, each checked by
/// `conformance::run` (feature `testing`).
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
/// let disk = MemVfs::new();
/// disk.create_dir_all(Path::new("d"))?;
/// let file = disk.open(Path::new("d/f"), OpenMode::CreateNew)?;
/// file.write_at(b"abc", 0)?;
/// assert_eq!(disk.list(Path::new("d"))?[0].bytes, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait Vfs: Debug + Send + Sync + 'static {
    /// Creates `dir` and its parents; fine if they exist.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in `dir`, in any order. The empty path is the current directory, here and in
    /// [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, or what the system says.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>>;

    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` with [`OpenMode::CreateNew`]; or what the system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name; open files stay usable.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the exclusive lock on `path`, creating the file; `WouldBlock` if it is held, also
    /// within this process. Released by drop and by the death of the process.
    ///
    /// # Errors
    /// `WouldBlock`, or what the system says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>>;

    /// 128 bits that no other call, process or machine got: unique, not secret.
    ///
    /// # Errors
    /// What the system says.
    fn entropy(&self) -> io::Result<u128>;
}

/// An open file. All calls take `&self` and may run at the same time.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs, VfsFile};
/// let disk = MemVfs::new();
/// disk.create_dir_all(Path::new("d"))?;
/// let file = disk.open(Path::new("d/f"), OpenMode::CreateNew)?;
/// file.write_at(b"abc", 1)?;
/// file.sync_data()?;
/// assert_eq!(file.len()?, 4);
/// # Ok::<(), std::io::Error>(())
/// ```
#[expect(clippy::len_without_is_empty, reason = "a file's length, asked of the system")]
pub trait VfsFile: Debug + Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the system says.
    fn len(&self) -> io::Result<u64>;

    /// Reads at `offset`; may be short; 0 at the end of the file.
    ///
    /// # Errors
    /// What the system says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; may be short.
    ///
    /// # Errors
    /// `Interrupted` is repeated by the caller; or what the system says.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;

    /// Makes the content durable, and the length if content depends on it.
    ///
    /// # Errors
    /// What the system says; after an error nothing is known about what was written before.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes content, length and attributes durable.
    ///
    /// # Errors
    /// Like [`sync_data`](Self::sync_data).
    fn sync_all(&self) -> io::Result<()>;

    /// Sets the length; new bytes are zero.
    ///
    /// # Errors
    /// What the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes room up to `len` bytes; never shrinks the file, never changes what is in it.
    ///
    /// # Errors
    /// What the system says.
    fn reserve(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    /// Asks the system to forget cached pages, so that the next read goes to the medium.
    ///
    /// # Errors
    /// What the system says.
    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    /// The content as a memory map, if the file system has one. Asked for only while the log
    /// neither writes the file nor gives it up.
    ///
    /// # Errors
    /// What the system says.
    fn map(&self) -> io::Result<Option<bytes::Bytes>> {
        Ok(None)
    }
}

/// A held lock; dropping it releases it.
///
/// # Examples
/// ```
/// # use std::path::Path;
/// use quorate_wal::vfs::{MemVfs, Vfs, VfsLock};
/// let disk = MemVfs::new();
/// disk.create_dir_all(Path::new("d"))?;
/// let lock: Box<dyn VfsLock> = disk.lock(Path::new("d/LOCK"))?;
/// assert!(disk.lock(Path::new("d/LOCK")).is_err());
/// drop(lock);
/// assert!(disk.lock(Path::new("d/LOCK")).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait VfsLock: Debug + Send + Sync {}

/// Reads until `buf` is full or the file ends; how many bytes were read.
pub(crate) fn read_full(file: &dyn VfsFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `buf`: short writes continue, `Interrupted` repeats, 0 is an error (H27).
pub(crate) fn write_full(file: &dyn VfsFile, buf: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.write_at(&buf[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

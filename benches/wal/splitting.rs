//! The real file system, but a write takes at most 64 KiB.

use crate::floors::STEP_SMALL;
use quorate_wal::vfs::{DirItem, OpenMode, StdVfs, Vfs, VfsFile, VfsLock};
use std::io;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct SplitVfs;

#[derive(Debug)]
struct SplitFile(Arc<dyn VfsFile>);

impl VfsFile for SplitFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(&buf[..buf.len().min(STEP_SMALL)], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}

impl Vfs for SplitVfs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        StdVfs.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        StdVfs.list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(SplitFile(StdVfs.open(path, mode)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        StdVfs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        StdVfs.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        StdVfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        StdVfs.lock(path)
    }

    fn entropy(&self) -> io::Result<u128> {
        StdVfs.entropy()
    }
}

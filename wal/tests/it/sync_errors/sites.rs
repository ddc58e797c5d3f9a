//! From where in the crate the file system is called: a [`Vfs`] that looks at the call stack.

use std::backtrace::Backtrace;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use quorate_wal::vfs::{DirItem, MemVfs, OpKind, OpenMode, Vfs, VfsFile, VfsLock};

/// For each kind of operation the places it was called from, in order.
pub(crate) type Sites = BTreeMap<OpKind, Vec<String>>;

/// A disk that notes who calls it.
#[derive(Debug)]
pub(crate) struct Watched {
    disk: MemVfs,
    sites: Arc<Mutex<Sites>>,
}

impl Watched {
    pub(crate) fn new(disk: &MemVfs) -> (Self, Arc<Mutex<Sites>>) {
        let sites = Arc::new(Mutex::new(Sites::new()));
        (Self { disk: disk.clone(), sites: Arc::clone(&sites) }, sites)
    }
}

/// The innermost line of the crate that is not the file system itself.
fn note(sites: &Mutex<Sites>, kind: OpKind) {
    let stack = Backtrace::force_capture().to_string();
    let line = stack
        .lines()
        .filter_map(|line| line.trim().strip_prefix("at ")?.split_once("src/"))
        .map(|(before, line)| (before.ends_with("./") || before.ends_with("wal/"), line))
        .find(|(ours, line)| *ours && !line.starts_with("vfs"))
        .map_or("?", |(_, line)| line);
    let line = line.rsplit_once(':').map_or(line, |(line, _)| line);
    sites.lock().unwrap().entry(kind).or_default().push(line.to_owned());
}

#[derive(Debug)]
struct WatchedFile(Arc<dyn VfsFile>, Arc<Mutex<Sites>>);

impl Vfs for Watched {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        note(&self.sites, OpKind::CreateDir);
        self.disk.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        note(&self.sites, OpKind::Open);
        let file = self.disk.open(path, mode)?;
        Ok(Arc::new(WatchedFile(file, Arc::clone(&self.sites))))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        note(&self.sites, OpKind::Rename);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        note(&self.sites, OpKind::Remove);
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        note(&self.sites, OpKind::SyncDir);
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn VfsLock>> {
        self.disk.lock(path)
    }
    fn entropy(&self) -> io::Result<u128> {
        self.disk.entropy()
    }
}

impl VfsFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        note(&self.1, OpKind::Write);
        self.0.write_at(buf, offset)
    }
    fn sync_data(&self) -> io::Result<()> {
        note(&self.1, OpKind::SyncData);
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        note(&self.1, OpKind::SyncAll);
        self.0.sync_all()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        note(&self.1, OpKind::SetLen);
        self.0.set_len(len)
    }
    fn reserve(&self, len: u64) -> io::Result<()> {
        self.0.reserve(len)
    }
}

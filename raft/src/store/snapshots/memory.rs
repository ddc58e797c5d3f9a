//! [`MemorySnapshots`]: snapshots that are lost with the process.

use super::{SnapshotFile, SnapshotReceiver, SnapshotStore, SnapshotWriter, format};
use crate::SnapshotMeta;
use crate::sync::lock;
use bytes::Bytes;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// Snapshots in memory; clones share them, like [`MemoryLog`](crate::MemoryLog).
///
/// # Examples
/// ```
/// use quorate_raft::{MemorySnapshots, SnapshotStore};
///
/// let disk = MemorySnapshots::new();
/// assert_eq!(disk.clone().latest().unwrap(), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    latest: Option<(SnapshotMeta, Bytes)>,
    partial: Option<(SnapshotMeta, Vec<u8>)>,
}

impl MemorySnapshots {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[derive(Debug)]
struct File(Bytes);

impl SnapshotFile for File {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = self.0.get(offset..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

struct Writer {
    shared: Arc<Mutex<Shared>>,
    meta: SnapshotMeta,
    content: Vec<u8>,
}

impl Write for Writer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.content.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SnapshotWriter for Writer {
    fn finish(self: Box<Self>) -> io::Result<()> {
        lock(&self.shared).install(self.meta, self.content.into());
        Ok(())
    }
}

impl Shared {
    fn install(&mut self, meta: SnapshotMeta, content: Bytes) {
        if self.latest.as_ref().is_none_or(|(old, _)| old.last.index <= meta.last.index) {
            self.latest = Some((meta, content));
        }
    }
}

struct Receiver {
    shared: Arc<Mutex<Shared>>,
    id: SnapshotMeta,
    content: Vec<u8>,
    /// Of so many bytes of it.
    summed: (usize, crc32fast::Hasher),
}

impl SnapshotReceiver for Receiver {
    fn offset(&self) -> u64 {
        self.content.len() as u64
    }

    fn crc(&mut self) -> io::Result<u32> {
        let (upto, crc) = &mut self.summed;
        crc.update(&self.content[*upto..]);
        *upto = self.content.len();
        Ok(crc.clone().finalize())
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.content.extend_from_slice(piece);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.content.clear();
        self.summed = (0, crc32fast::Hasher::new());
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<SnapshotMeta> {
        let content: Bytes = std::mem::take(&mut self.content).into();
        let meta = format::verify(&File(content.clone()))?;
        if meta.last != self.id.last || meta.maker != self.id.maker {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "another snapshot's content"));
        }
        lock(&self.shared).install(meta.clone(), content);
        Ok(meta)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.content.is_empty() {
            let content = std::mem::take(&mut self.content);
            lock(&self.shared).partial = Some((self.id.clone(), content));
        }
    }
}

impl SnapshotStore for MemorySnapshots {
    fn latest(&self) -> io::Result<Option<SnapshotMeta>> {
        Ok(lock(&self.shared).latest.as_ref().map(|(meta, _)| meta.clone()))
    }

    fn open(&self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotFile>> {
        let shared = lock(&self.shared);
        let found = shared.latest.as_ref().filter(|(m, _)| m == meta);
        let (_, content) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(File(content.clone())))
    }

    fn create(&mut self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotWriter>> {
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(Writer { shared, meta: meta.clone(), content: Vec::new() }))
    }

    fn receive(&mut self, id: &SnapshotMeta) -> io::Result<Box<dyn SnapshotReceiver>> {
        let partial = lock(&self.shared).partial.take();
        let any_maker = crate::plant::planted("resume_of_any_maker");
        let same = partial.filter(|(m, _)| m.last == id.last && (m.maker == id.maker || any_maker));
        let content = same.map(|(_, content)| content).unwrap_or_default();
        let (shared, summed) = (Arc::clone(&self.shared), (0, crc32fast::Hasher::new()));
        Ok(Box::new(Receiver { shared, id: id.clone(), content, summed }))
    }
}

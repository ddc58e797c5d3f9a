//! What time, firmware and hands do to a file: always on the medium and in the cache alike.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::MemVfs;
use super::disk::{Disk, SECTOR};
use super::inode::Inode;
use crate::vfs::Vfs;
use crate::vfs::crash::mix;
use crate::width::index;

/// Damage. Every method answers `NotFound` for a name that is not there and `InvalidInput` for a
/// place beyond the end of the file.
impl MemVfs {
    /// Puts `bytes` into the file as if they had always been there.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn set_contents(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.rot(path, |inode| {
            inode.settle(bytes.into(), bytes.into());
            Ok(())
        })
    }

    /// Flips one bit, counted from the start of the file.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    pub fn flip(&self, path: &Path, bit: u64) -> io::Result<()> {
        let at = bit / 8;
        self.over(path, at..at + 1, |bytes| bytes[0] ^= 1 << (bit % 8))
    }

    /// Zeroes a range; whether that changed anything.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    pub fn zero(&self, path: &Path, range: Range<u64>) -> io::Result<bool> {
        let mut changed = false;
        self.over(path, range, |bytes| {
            changed = bytes.iter().any(|byte| *byte != 0);
            bytes.fill(0);
        })?;
        Ok(changed)
    }

    /// Fills a range with noise; the same seed gives the same noise.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    pub fn randomize(&self, path: &Path, range: Range<u64>, seed: u64) -> io::Result<()> {
        self.over(path, range, |bytes| {
            let mut state = seed;
            for byte in bytes {
                *byte = mix(&mut state).to_le_bytes()[0];
            }
        })
    }

    /// A lost write: the sector holds again what it held before the last write that touched it.
    /// Whether that changed anything.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    ///
    /// # Examples
    /// ```
    /// # use std::path::Path;
    /// use quorate_wal::vfs::{MemVfs, OpenMode, Vfs};
    /// let disk = MemVfs::new();
    /// let file = disk.open(Path::new("f"), OpenMode::CreateNew)?;
    /// file.write_at(b"old", 0)?;
    /// file.write_at(b"new", 0)?;
    /// assert!(disk.stale_sector(Path::new("f"), 0)?);
    /// assert_eq!(disk.contents(Path::new("f"))?, b"old");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stale_sector(&self, path: &Path, sector: u64) -> io::Result<bool> {
        let mut changed = false;
        self.rot(path, |inode| {
            let range = sector_range(inode, sector)?;
            let old = inode.past.slice(range.clone());
            changed = inode.cache.slice(range.clone()) != old;
            inode.rot(range.start, &old);
            Ok(())
        })?;
        Ok(changed)
    }

    /// A misdirected write: what was last written to sector `from` went to sector `to` of the
    /// same or another file, and `from` holds what it held before.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end.
    pub fn misdirect(&self, from: (&Path, u64), to: (&Path, u64)) -> io::Result<()> {
        let at = |sector: u64| sector * SECTOR as u64;
        self.copy((from.0, at(from.1)), (to.0, at(to.1)), SECTOR as u64)?;
        if from != to {
            self.stale_sector(from.0, from.1)?;
        }
        Ok(())
    }

    /// Copies `bytes` bytes from a place of one file to a place of the same or another one.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` beyond the end of either.
    pub fn copy(&self, from: (&Path, u64), to: (&Path, u64), bytes: u64) -> io::Result<()> {
        let source = self.contents(from.0)?;
        let range = clipped(source.len(), &(from.1..from.1 + bytes))?;
        let data = &source[range];
        let end = to.1 + data.len() as u64;
        self.over(to.0, to.1..end, |place| place.copy_from_slice(&data[..place.len()]))
    }

    /// Cuts the file to `len` bytes.
    ///
    /// # Errors
    /// `NotFound`; `InvalidInput` if it is shorter already.
    pub fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        self.rot(path, |inode| {
            if index(len) > inode.cache.len() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let mut bytes = inode.cache.clone();
            bytes.resize(index(len));
            inode.settle(bytes, inode.past.clone());
            Ok(())
        })
    }

    /// Appends bytes that nobody wrote.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn extend(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.rot(path, |inode| {
            let mut whole = inode.cache.clone();
            whole.write(whole.len(), bytes);
            inode.settle(whole, inode.past.clone());
            Ok(())
        })
    }

    /// Removes the file, durably.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn delete(&self, path: &Path) -> io::Result<()> {
        self.remove(path)?;
        self.sync_dir(path.parent().unwrap_or_else(|| Path::new("")))
    }

    /// Exchanges the contents of two files.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn swap(&self, one: &Path, other: &Path) -> io::Result<()> {
        let (a, b) = (self.contents(one)?, self.contents(other)?);
        self.set_contents(one, &b)?;
        self.set_contents(other, &a)
    }

    fn rot(
        &self,
        path: &Path,
        damage: impl FnOnce(&mut Inode) -> io::Result<()>,
    ) -> io::Result<()> {
        let disk: &mut Disk = &mut self.disk.lock();
        let inode = disk.inode(path)?;
        damage(disk.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?)
    }

    fn over(
        &self,
        path: &Path,
        range: Range<u64>,
        damage: impl FnOnce(&mut [u8]),
    ) -> io::Result<()> {
        self.rot(path, |inode| {
            let range = clipped(inode.cache.len(), &range)?;
            let mut bytes = inode.cache.slice(range.clone());
            if !bytes.is_empty() {
                damage(&mut bytes);
            }
            inode.rot(range.start, &bytes);
            Ok(())
        })
    }
}

/// The part of `range` that lies in the file.
fn clipped(len: usize, range: &Range<u64>) -> io::Result<Range<usize>> {
    let (from, to) = (index(range.start), index(range.end.max(range.start)));
    if from >= len && from != to {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(from.min(len)..to.min(len))
}

fn sector_range(inode: &Inode, sector: u64) -> io::Result<Range<usize>> {
    let from = sector * SECTOR as u64;
    clipped(inode.cache.len(), &(from..from + SECTOR as u64))
}

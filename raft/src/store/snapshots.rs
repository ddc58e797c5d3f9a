//! Snapshots: their file format, the trait of their store, a folder of files and a store in memory.
//! Layout: FORMAT.md.

mod dir;
mod format;
mod memory;

pub use dir::SnapshotDir;
pub use format::{read_machine, read_sessions, write_snapshot, write_snapshot_with};
pub use memory::MemorySnapshots;

use crate::SnapshotMeta;
use core::fmt::Debug;
use std::io;

/// Where snapshots are kept. Only complete and verified ones are ever `latest`.
///
/// # How to drive it
/// The driver makes a snapshot with [`create`](Self::create), takes one in with
/// [`receive`](Self::receive), sends and restores from [`open`](Self::open). Writers and files are
/// objects of their own, used on other threads.
///
/// # Examples
/// ```
/// use quorate_raft::*;
/// use std::io::Write;
///
/// let mut store = MemorySnapshots::new();
/// let meta = SnapshotMeta::new(LogId::new(1, 9), Membership::default());
/// let mut writer = store.create(&meta).unwrap();
/// let state = Box::new(|w: &mut dyn Write| w.write_all(b"x"));
/// write_snapshot(&mut writer, &meta, state).unwrap();
/// writer.finish().unwrap();
/// assert_eq!(store.latest().unwrap(), Some(meta));
/// ```
pub trait SnapshotStore: Send + 'static {
    /// The newest complete snapshot.
    ///
    /// # Errors
    /// What the medium says. A file that fails verification is no error but ignored, and kept.
    fn latest(&self) -> io::Result<Option<SnapshotMeta>>;

    /// The bytes of a snapshot, header and trailer included.
    ///
    /// # Errors
    /// `NotFound`, or what the medium says.
    fn open(&self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotFile>>;

    /// Begins a snapshot of the local state.
    ///
    /// # Errors
    /// What the medium says.
    fn create(&mut self, meta: &SnapshotMeta) -> io::Result<Box<dyn SnapshotWriter>>;

    /// Begins to take in, or goes on taking in, the snapshot `id` from another node. Partial
    /// content of other ids is discarded.
    ///
    /// # Errors
    /// What the medium says.
    fn receive(&mut self, id: &SnapshotMeta) -> io::Result<Box<dyn SnapshotReceiver>>;
}

/// A complete snapshot, readable at any place. Stays readable while newer ones replace it.
///
/// # Examples
/// ```
/// # use quorate_raft::SnapshotFile;
/// fn first_bytes(file: &dyn SnapshotFile) -> std::io::Result<[u8; 4]> {
///     let mut magic = [0; 4];
///     file.read_at(&mut magic, 0)?;
///     Ok(magic)
/// }
/// ```
pub trait SnapshotFile: Debug + Send + Sync {
    /// Bytes of the file.
    fn bytes(&self) -> u64;

    /// Reads at `offset`; fewer bytes than asked for only at the end.
    ///
    /// # Errors
    /// What the medium says.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// A snapshot being written. Dropped unfinished it leaves nothing behind.
///
/// # Examples
/// ```
/// use quorate_raft::{SnapshotMeta, SnapshotStore, write_snapshot};
/// use std::io::{self, Write};
///
/// fn save(store: &mut dyn SnapshotStore, meta: &SnapshotMeta, state: Vec<u8>) -> io::Result<()> {
///     let mut writer = store.create(meta)?;
///     write_snapshot(&mut writer, meta, Box::new(move |w: &mut dyn Write| w.write_all(&state)))?;
///     writer.finish()
/// }
/// ```
pub trait SnapshotWriter: io::Write + Send {
    /// Everything is written: makes it durable, then makes it the latest.
    ///
    /// # Errors
    /// What the medium says; the former snapshot is still the latest.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A snapshot arriving in pieces. Dropped unfinished it is kept for resuming.
///
/// # Examples
/// ```
/// use quorate_raft::{SnapshotMeta, SnapshotStore};
/// use std::io;
///
/// /// `file` from where an earlier attempt ended.
/// fn take_in(store: &mut dyn SnapshotStore, id: &SnapshotMeta, file: &[u8]) -> io::Result<()> {
///     let mut receiver = store.receive(id)?;
///     let from = usize::try_from(receiver.offset()).unwrap_or(file.len());
///     receiver.write(&file[from..])?;
///     assert_eq!(&receiver.finish()?, id);
///     Ok(())
/// }
/// ```
pub trait SnapshotReceiver: Send {
    /// The next offset wanted.
    fn offset(&self) -> u64;

    /// CRC-32 of everything up to the offset.
    ///
    /// # Errors
    /// What the medium says.
    fn crc(&mut self) -> io::Result<u32>;

    /// The piece at the offset.
    ///
    /// # Errors
    /// What the medium says.
    fn write(&mut self, piece: &[u8]) -> io::Result<()>;

    /// Forgets everything and begins anew.
    ///
    /// # Errors
    /// What the medium says.
    fn restart(&mut self) -> io::Result<()>;

    /// Everything arrived: verifies the whole file, makes it durable, then makes it the latest.
    ///
    /// # Errors
    /// `InvalidData` if the content is not the snapshot it should be; what the medium says else.
    fn finish(self: Box<Self>) -> io::Result<SnapshotMeta>;
}

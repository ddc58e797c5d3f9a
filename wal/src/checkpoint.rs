//! Copying a log that is in use to another directory, so that the copy opens clean (§5.9, H54).
//!
//! The order makes an unfinished copy something else than a log: first a mark that the copy is
//! not finished, then segments under temporary names, all synced; then their names; MANIFEST last.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::core::Core;
use crate::create;
use crate::error::{InDoubt, OpenError, WriteError};
use crate::format::crc::Place;
use crate::format::frame::{FRAME_HEADER, FrameHeader};
use crate::format::manifest::Manifest;
use crate::lsn::Lsn;
use crate::marks::set_place;
use crate::prepare::{is_full, segment_name};
use crate::read_only::WalReader;
use crate::recover::look;
use crate::report::{RecoveryReport, Tail};
use crate::scan::{Cursor, Image, Stopped, WINDOW};
use crate::segments::Segment;
use crate::vfs::{OpenMode, Vfs, VfsFile, read_full, write_full};
use crate::waiters::DurablePlace;
use crate::wal::Wal;

/// Stands in the target as long as the copy is not finished.
const UNFINISHED: &str = "CHECKPOINT.unfinished";

/// Why there is no copy.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// use quorate_wal::{CheckpointError, Config, Wal, vfs::MemVfs};
/// let disk = Arc::new(MemVfs::new());
/// let (wal, _) = Wal::open_on(disk, Path::new("log"), Config::embedded().build()?, None)?;
/// let onto_itself = wal.checkpoint_to(Path::new("log"));
/// assert!(matches!(onto_itself, Err(CheckpointError::NotEmpty(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Effect: nothing was touched. The target holds something; a retry needs another target.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// Effect: nothing was copied. The log takes no writes, so it cannot be synced.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// Effect: nothing was copied. The sync failed and the log stopped.
    #[error(transparent)]
    InDoubt(#[from] InDoubt),
    /// Effect: the target holds an unfinished copy that does not open; remove it. The log itself
    /// is as it was. Retry when there is room.
    #[error("no space for the copy of {}", .0.display())]
    NoSpace(PathBuf),
    /// Effect: the target holds a copy that does not open clean; remove it. The log has rotted
    /// since it was opened: the report is that of the copy.
    #[error("the copy is damaged in {} places, its tail is {:?}", .0.damage.len(), .0.tail)]
    Corruption(Box<RecoveryReport>),
    /// Effect: the target may hold an unfinished copy that does not open; remove it. A retry may
    /// help.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl CheckpointError {
    /// Whether the same call can succeed later, with an empty target.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NoSpace(_) | Self::Io { .. })
    }

    /// Whether damage on the medium is the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.is_corruption(),
            Self::Corruption(_) => true,
            _ => false,
        }
    }
}

/// An error with its file.
fn at_path(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError + use<> {
    let path = path.to_path_buf();
    move |source| {
        if is_full(&source) {
            CheckpointError::NoSpace(path)
        } else {
            CheckpointError::Io { path, source }
        }
    }
}

fn of_open(error: OpenError) -> CheckpointError {
    match error {
        OpenError::Io { path, source } => at_path(&path)(source),
        OpenError::NoSpace { .. } => CheckpointError::NoSpace(PathBuf::from("MANIFEST")),
        other => {
            let source = io::Error::other(other.to_string());
            CheckpointError::Io { path: PathBuf::new(), source }
        }
    }
}

impl Wal {
    /// Copies the log to an empty or new directory of the same file system ([`Vfs`]), while
    /// others go on using it: everything that was staged before the call is in the copy, which
    /// opens clean and has the same identity. The newest number in it.
    ///
    /// Copying the files of an open log by other means gives something that looks damaged.
    ///
    /// # Cost
    /// One sync of the log; reads all segments and writes them, then reads and verifies the copy.
    /// No segment is given up meanwhile. Blocks the calling thread.
    ///
    /// # Errors
    /// See [`CheckpointError`]; a copy that was cut short is not taken for a log.
    pub fn checkpoint_to(&self, dir: &Path) -> Result<Lsn, CheckpointError> {
        let core = self.core();
        enter(core, dir)?;
        self.sync()?.wait()?;
        copy_log(core, dir)
    }
}

impl WalReader {
    /// Like [`Wal::checkpoint_to`], of what the last look has found and without writing to the
    /// log. Nothing holds its segments here: beside a live writer the copy fails if one of them
    /// is given up meanwhile.
    ///
    /// # Errors
    /// See [`CheckpointError`]; `Refused` if the look found damage that is not accepted.
    pub fn checkpoint_to(&self, dir: &Path) -> Result<Lsn, CheckpointError> {
        enter(self.core(), dir)?;
        if !self.report().damage.is_empty() {
            return Err(WriteError::Damaged.into());
        }
        copy_log(self.core(), dir)
    }
}

/// Copies what is durable.
fn copy_log(core: &Core, dir: &Path) -> Result<Lsn, CheckpointError> {
    let (place, chain, main_low) = {
        let staging = core.staging.lock();
        let segments = core.segments.lock();
        let place = core.progress.lock().place;
        (place, segments.chain(place.seq), staging.table.main_low)
    };
    let vfs = core.vfs.as_ref();
    let unfinished = dir.join(UNFINISHED);
    let marked = vfs.open(&unfinished, OpenMode::CreateNew).and_then(|file| file.sync_all());
    marked.and_then(|()| vfs.sync_dir(dir)).map_err(at_path(&unfinished))?;
    let values = if chain.is_empty() {
        empty(core, dir)?
    } else {
        segments(core, dir, &chain, place)?;
        let oldest = chain.first().map_or(1, |(segment, _)| segment.seq);
        let (uuid, newest) = (core.uuid, place.seq);
        let mut values =
            Manifest { uuid, oldest, newest, main_low, clean: true, ..Manifest::default() };
        set_place(&mut values, place);
        values
    };
    create::manifest(vfs, dir, &values).map_err(of_open)?;
    verify(core, dir)?;
    let removed = vfs.remove(&unfinished).and_then(|()| vfs.sync_dir(dir));
    removed.map_err(at_path(&unfinished))?;
    Ok(Lsn::new(place.lsn))
}

/// Only what is new or empty becomes a copy.
fn enter(core: &Core, dir: &Path) -> Result<(), CheckpointError> {
    match core.vfs.list(dir) {
        Ok(items) if !items.is_empty() => return Err(CheckpointError::NotEmpty(dir.to_path_buf())),
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at_path(dir)(e)),
        _ => {}
    }
    create::directories(core.vfs.as_ref(), dir).map_err(of_open)
}

/// A log that was never written.
fn empty(core: &Core, dir: &Path) -> Result<Manifest, CheckpointError> {
    let vfs = core.vfs.as_ref();
    create::first_segment(vfs, dir, core.uuid, &core.config).map_err(of_open)?;
    vfs.sync_dir(dir).map_err(at_path(dir))?;
    let uuid = core.uuid;
    Ok(Manifest { uuid, oldest: 1, newest: 1, main_low: 1, ..Manifest::default() })
}

/// Copies the segments; they get their names when all of them are on the medium.
fn segments(
    core: &Core,
    dir: &Path,
    chain: &[(Arc<Segment>, u32)],
    place: DurablePlace,
) -> Result<(), CheckpointError> {
    let vfs = core.vfs.as_ref();
    let tmp = |seq| dir.join(format!("{}.tmp", segment_name(seq)));
    for (segment, end) in chain {
        let is_last = segment.seq == place.seq;
        let end = if is_last { place.off } else { *end };
        let tail = if is_last { Some(end_frame(core, segment, place)?) } else { None };
        copy(vfs, segment, &tmp(segment.seq), end, tail)?;
    }
    for (segment, _) in chain {
        let to = dir.join(segment_name(segment.seq));
        vfs.rename(&tmp(segment.seq), &to).map_err(at_path(&to))?;
    }
    vfs.sync_dir(dir).map_err(at_path(dir))
}

fn copy(
    vfs: &dyn Vfs,
    segment: &Segment,
    to: &Path,
    end: u32,
    tail: Option<[u8; FRAME_HEADER]>,
) -> Result<(), CheckpointError> {
    let from = vfs.open(&segment.path, OpenMode::Read).map_err(at_path(&segment.path))?;
    let len = from.len().map_err(at_path(&segment.path))?;
    let target = vfs.open(to, OpenMode::CreateNew).map_err(at_path(to))?;
    let mut window = vec![0; WINDOW];
    let mut offset = 0;
    while offset < u64::from(end) {
        let most = usize::try_from(u64::from(end) - offset).unwrap_or(WINDOW).min(WINDOW);
        let n = read_full(from.as_ref(), &mut window[..most], offset);
        let n = n.map_err(at_path(&segment.path))?;
        if n == 0 {
            return Err(at_path(&segment.path)(io::ErrorKind::UnexpectedEof.into()));
        }
        write_full(target.as_ref(), &window[..n], offset).map_err(at_path(to))?;
        offset += n as u64;
    }
    let finished = match tail {
        // The log goes on in this one: it is written to its length, as preparation does.
        Some(tail) => write_full(target.as_ref(), &tail, offset)
            .and_then(|()| zeros(target.as_ref(), offset + tail.len() as u64, len)),
        None => target.set_len(len.max(offset)),
    };
    finished.and_then(|()| target.sync_all()).map_err(at_path(to))
}

fn zeros(file: &dyn VfsFile, mut offset: u64, len: u64) -> io::Result<()> {
    let zeros = vec![0; WINDOW];
    while offset < len {
        let n = usize::try_from(len - offset).unwrap_or(WINDOW).min(WINDOW);
        write_full(file, &zeros[..n], offset)?;
        offset += n as u64;
    }
    Ok(())
}

/// The End frame for the place up to which the log is durable; another frame may stand there now.
fn end_frame(
    core: &Core,
    segment: &Segment,
    place: DurablePlace,
) -> Result<[u8; FRAME_HEADER], CheckpointError> {
    let path = &segment.path;
    let file = core.vfs.open(path, OpenMode::Read).map_err(at_path(path))?;
    let read =
        Box::new(move |offset: u32, buf: &mut [u8]| read_full(file.as_ref(), buf, offset.into()));
    let mut image = Image::over(read, segment.seq, segment.salt, place.off);
    let hit = core.segments.lock().before(segment.seq, place.off);
    let chain = match hit {
        Some(hit) if hit.offset < place.off => {
            let cursor = Cursor { at: hit.offset, lsn: hit.lsn, chain: None };
            image
                .run(cursor, place.off, &mut |_| Ok(()))
                .map(|stop| stop.chain.filter(|_| stop.at == place.off))
        }
        // Nothing but the Link.
        _ => image.link().map(|link| link.map(|(_, found)| found.crc)),
    };
    let chain = chain.map_err(|stopped| match stopped {
        Stopped::Io(_, e) => at_path(path)(e),
        Stopped::Unsupported(what) => at_path(path)(io::Error::other(what.what)),
    })?;
    let rotten = || at_path(path)(io::Error::other("the last frames do not verify any more"));
    let chain = chain.ok_or_else(rotten)?;
    let here = Place { salt: segment.salt, seq: segment.seq, offset: place.off };
    Ok(FrameHeader::end(place.off, place.lsn + 1, chain).encode(here).0)
}

/// Opens the copy, as it would be opened, without writing.
fn verify(core: &Core, dir: &Path) -> Result<(), CheckpointError> {
    let config: &Config = &core.config;
    let found = look(core.vfs.as_ref(), dir, config);
    let mut report = match found {
        Ok(found) => found.report,
        Err(error) => return Err(of_open(error)),
    };
    if report.tail == Tail::Clean && report.damage.is_empty() {
        return Ok(());
    }
    // Not to be opened by mistake.
    let path = dir.join("MANIFEST");
    core.vfs.remove(&path).map_err(at_path(&path))?;
    report.created = false;
    Err(CheckpointError::Corruption(Box::new(report)))
}

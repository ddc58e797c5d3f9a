//! Segments made ready ahead of need: written and synced, so that appends never allocate and
//! never meet a full disk (§5.6).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Prealloc;
use crate::core::{Core, wake};
use crate::error::{FailedOp, Failure};
use crate::event::Event;
use crate::format::crc::Place;
use crate::format::frame::FrameHeader;
use crate::format::segment::{COPY_AT, HEADER_BYTES, SegmentHeader};
use crate::plan::Spare;
use crate::plant::planted;
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::vfs::{OpenMode, Vfs, VfsFile, write_full};

/// Large writes make large folios in the page cache, and Linux then does more for each small
/// overwrite within one: 64 KiB keeps appends as quick as in a file that was written in small
/// pieces.
const STEP: usize = 64 << 10;
const STEPS_PER_SYNC: usize = 128;

/// The file name of a segment.
pub(crate) fn segment_name(seq: u64) -> String {
    format!("{seq:020}.qwal")
}

/// The number in a segment's file name.
pub(crate) fn segment_seq(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".qwal")?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    let seq = digits.parse().ok().filter(|&seq: &u64| seq > 0 && seq < 1 << 63);
    if all_digits { seq } else { None }
}

/// The name under which a segment is made.
pub(crate) fn tmp_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{}.tmp", segment_name(seq)))
}

/// A prepared file with its final name; the directory is not synced yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) segment: Segment,
    pub(crate) file: Arc<dyn VfsFile>,
}

/// How a preparation failed.
#[derive(Debug)]
pub(crate) enum PrepareError {
    /// The disk is full; nothing is left behind.
    NoSpace,
    /// Something else; where the names stand is unknown.
    Failed(Failure),
}

/// Whether an error says that the disk, or a quota, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Writes a segment under a temporary name, syncs it, and gives it its number (H19, H21).
pub(crate) fn prepare(
    vfs: &dyn Vfs,
    dir: &Path,
    header: SegmentHeader,
    prealloc: Prealloc,
) -> Result<Prepared, PrepareError> {
    let tmp = tmp_path(dir, header.seq);
    let made = fresh(vfs, &tmp).and_then(|file| {
        match prealloc {
            Prealloc::Zero => zero_fill(file.as_ref(), header.segment_bytes)?,
            Prealloc::Reserve => file.reserve(header.segment_bytes.into())?,
            Prealloc::Grow => {}
        }
        begin_file(file.as_ref(), header)?;
        file.sync_all()?;
        Ok(file)
    });
    match made {
        Ok(file) => give_number(vfs, dir, tmp, header, file),
        Err(e) => Err(unmade(vfs, tmp, e)),
    }
}

/// What a failure to write the file means.
pub(crate) fn unmade(vfs: &dyn Vfs, tmp: PathBuf, error: io::Error) -> PrepareError {
    if is_full(&error) {
        // H29, H30: a full disk refuses the next batch, and leaves the numbers dense.
        // Best effort: an open removes what stays behind.
        drop(vfs.remove(&tmp));
        return PrepareError::NoSpace;
    }
    PrepareError::Failed(Failure::new(FailedOp::Write, tmp, 0, error))
}

/// The finished file, `from` until now, gets its final name.
pub(crate) fn give_number(
    vfs: &dyn Vfs,
    dir: &Path,
    from: PathBuf,
    header: SegmentHeader,
    file: Arc<dyn VfsFile>,
) -> Result<Prepared, PrepareError> {
    let path = dir.join(segment_name(header.seq));
    let named = vfs.rename(&from, &path);
    named.map_err(|e| PrepareError::Failed(Failure::new(FailedOp::Rename, from, 0, e)))?;
    let SegmentHeader { seq, salt, segment_bytes: bytes, grows, .. } = header;
    Ok(Prepared { segment: Segment { seq, salt, path, bytes, grows }, file })
}

/// A new, empty file. A leftover of an earlier try may be short or half filled: never reused (H34).
pub(crate) fn fresh(vfs: &dyn Vfs, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
    match vfs.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    vfs.open(path, OpenMode::CreateNew)
}

/// Writes zeros in steps, syncing on the way: one large sync would stall the commits of the log
/// that is running.
pub(crate) fn zero_fill(file: &dyn VfsFile, bytes: u32) -> io::Result<()> {
    let zeros = vec![0; STEP.min(bytes as usize)];
    let total = u64::from(bytes);
    let mut offset = 0;
    let mut steps = 0;
    while offset < total {
        let left = usize::try_from(total - offset).unwrap_or(usize::MAX);
        let n = left.min(zeros.len());
        write_full(file, &zeros[..n], offset)?;
        offset += n as u64;
        steps += 1;
        if steps % STEPS_PER_SYNC == 0 {
            file.sync_data()?;
        }
    }
    Ok(())
}

/// Header page and the End of preparation: whatever else is in the file belongs to no life. Not
/// synced yet.
pub(crate) fn begin_file(file: &dyn VfsFile, header: SegmentHeader) -> io::Result<()> {
    let mut page = [0; HEADER_BYTES as usize];
    let copy = header.encode();
    page[..copy.len()].copy_from_slice(&copy);
    page[COPY_AT..COPY_AT + copy.len()].copy_from_slice(&copy);
    write_full(file, &page, 0)?;
    if !planted("no_end_of_preparation") {
        let place = Place { salt: header.salt, seq: header.seq, offset: HEADER_BYTES };
        let (end, _) = FrameHeader::end(0, 0, 0).encode(place);
        write_full(file, &end, HEADER_BYTES.into())?;
    }
    Ok(())
}

/// A salt that no other life of any segment has.
pub(crate) fn salt(vfs: &dyn Vfs) -> io::Result<u64> {
    let bits = vfs.entropy()?;
    let mut low = [0; 8];
    low.copy_from_slice(&bits.to_le_bytes()[..8]);
    // 0 is no salt.
    Ok(u64::from_le_bytes(low).max(1))
}

impl Core {
    /// Prepares segments while there are too few; whether it has to be tried again later.
    pub(crate) fn prepare_ahead(&self) -> Result<bool, Failure> {
        let mut preparing = self.preparing.lock();
        loop {
            let spare = {
                let staging = self.staging.lock();
                if !matches!(staging.gate, Gate::Open | Gate::Accepting) {
                    return Ok(false);
                }
                staging.plan.spares()
            };
            // The reserve first: it is what a full disk is left with.
            let has_reserve = self.keep_reserve(&mut preparing)?;
            if spare >= self.config.spare_segments {
                return Ok(!has_reserve);
            }
            // A log that stops meanwhile is noticed at the top of the loop.
            if !(has_reserve && self.prepare_one()?) {
                self.no_space();
                self.use_reserve(&mut preparing)?;
                return Ok(true);
            }
        }
    }

    fn prepare_one(&self) -> Result<bool, Failure> {
        let bytes = self.config.segment_bytes;
        let have = self.segments.lock().bytes();
        if have.saturating_add(bytes.into()) > self.config.log_bytes_max {
            return Ok(false);
        }
        let header = self.next_header(bytes)?;
        match prepare(self.vfs.as_ref(), &self.dir, header, self.config.prealloc) {
            Ok(prepared) => {
                self.adopt(prepared, false)?;
                Ok(true)
            }
            Err(PrepareError::NoSpace) => {
                add(&self.counters.prepare_failures, 1);
                Ok(false)
            }
            Err(PrepareError::Failed(failure)) => Err(failure),
        }
    }

    /// The header of the next segment: a number and a salt that were never used.
    pub(crate) fn next_header(&self, segment_bytes: u32) -> Result<SegmentHeader, Failure> {
        let seq = self.segments.lock().next_seq;
        let salt = salt(self.vfs.as_ref())
            .map_err(|e| Failure::new(FailedOp::Write, self.dir.clone(), 0, e))?;
        Ok(SegmentHeader {
            uuid: self.uuid,
            seq,
            salt,
            segment_bytes,
            align: self.config.align.bytes(),
            grows: self.config.prealloc == Prealloc::Grow,
        })
    }

    /// Announces a prepared segment, then lets staging use it (H35).
    pub(crate) fn adopt(&self, prepared: Prepared, is_reserve: bool) -> Result<(), Failure> {
        if matches!(self.staging.lock().gate, Gate::Poisoned(_)) {
            // The log stopped meanwhile; the next open finds the file, or does not.
            return Ok(());
        }
        self.sync_names()?;
        let Segment { seq, bytes, .. } = prepared.segment;
        self.marks.lock().write(|m| m.newest = m.newest.max(seq))?;
        {
            let mut segments = self.segments.lock();
            segments.insert(prepared.segment, Role::Prepared, 0, 0);
            segments.set_writer(seq, prepared.file);
        }
        add(&self.counters.prepared, 1);
        let mut staging = self.staging.lock();
        staging.plan.add(Spare { seq, bytes, is_reserve });
        let was_full = !is_reserve && std::mem::take(&mut staging.no_space);
        drop(staging);
        if was_full {
            self.tell([Event::SpaceBack]);
        }
        self.room_changed();
        Ok(())
    }

    /// Makes the names in the directory durable.
    pub(crate) fn sync_names(&self) -> Result<(), Failure> {
        if planted("no_dir_sync") {
            return Ok(());
        }
        let synced = self.vfs.sync_dir(&self.dir);
        synced.map_err(|e| Failure::new(FailedOp::SyncDir, self.dir.clone(), 0, e))
    }

    fn no_space(&self) {
        let mut staging = self.staging.lock();
        let news = !std::mem::replace(&mut staging.no_space, true);
        drop(staging);
        if news {
            self.tell([Event::NoSpace]);
            tracing::warn!(dir = %self.dir.display(), "no space for another segment");
            self.room_changed();
        }
    }

    /// Those who wait for room look again.
    pub(crate) fn room_changed(&self) {
        let wakers = self.progress.lock().take_room();
        self.done.notify_all();
        wake(wakers);
    }
}

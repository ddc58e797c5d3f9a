//! Segments made ready ahead of need: zero-filled and synced, so that appends never allocate
//! and never meet a full disk (§5.6).

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::core::{Core, wake};
use crate::error::{FailedOp, Failure};
use crate::format::crc::Place;
use crate::format::frame::FrameHeader;
use crate::format::segment::{COPY_AT, HEADER_BYTES, SegmentHeader};
use crate::plant::planted;
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::vfs::{OpenMode, Vfs, VfsFile, write_full};

const STEP: usize = 1 << 20;
const STEPS_PER_SYNC: usize = 8;

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
) -> Result<Prepared, PrepareError> {
    let path = dir.join(segment_name(header.seq));
    let tmp = dir.join(format!("{}.tmp", segment_name(header.seq)));
    let file = match fill(vfs, &tmp, header) {
        Ok(file) => file,
        Err(e) if is_full(&e) => {
            // H29, H30: a full disk refuses the next batch, and leaves the numbers dense.
            // Best effort: an open removes what stays behind.
            drop(vfs.remove(&tmp));
            return Err(PrepareError::NoSpace);
        }
        Err(e) => {
            return Err(PrepareError::Failed(Failure::new(FailedOp::Write, tmp, 0, e)));
        }
    };
    let named = vfs.rename(&tmp, &path);
    named.map_err(|e| PrepareError::Failed(Failure::new(FailedOp::Rename, tmp, 0, e)))?;
    let segment = Segment { seq: header.seq, salt: header.salt, path };
    Ok(Prepared { segment, file })
}

fn fill(vfs: &dyn Vfs, tmp: &Path, header: SegmentHeader) -> io::Result<Arc<dyn VfsFile>> {
    // A leftover of an earlier try may be short or half filled: never reused (H34).
    match vfs.remove(tmp) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = vfs.open(tmp, OpenMode::CreateNew)?;
    let zeros = vec![0; STEP.min(header.segment_bytes as usize)];
    let total = u64::from(header.segment_bytes);
    let mut offset = 0;
    let mut steps = 0;
    while offset < total {
        let left = usize::try_from(total - offset).unwrap_or(usize::MAX);
        let n = left.min(zeros.len());
        write_full(file.as_ref(), &zeros[..n], offset)?;
        offset += n as u64;
        steps += 1;
        // Small syncs: a large one would stall the commits of the log that is running.
        if steps % STEPS_PER_SYNC == 0 {
            file.sync_data()?;
        }
    }
    let copy = header.encode();
    write_full(file.as_ref(), &copy, 0)?;
    write_full(file.as_ref(), &copy, COPY_AT as u64)?;
    let place = Place { salt: header.salt, seq: header.seq, offset: HEADER_BYTES };
    let (end, _) = FrameHeader::end(0, 0, 0).encode(place);
    write_full(file.as_ref(), &end, HEADER_BYTES.into())?;
    file.sync_all()?;
    Ok(file)
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
    /// Prepares one segment if there are too few; whether it has to be tried again later.
    pub(crate) fn prepare_ahead(&self) -> Result<bool, Failure> {
        let _turn = self.preparing.lock();
        loop {
            let spare = {
                let staging = self.staging.lock();
                if !matches!(staging.gate, Gate::Open) {
                    return Ok(false);
                }
                staging.plan.spare.len()
            };
            if spare >= self.config.spare_segments {
                return Ok(false);
            }
            // A log that stops meanwhile is noticed at the top of the loop.
            if !self.prepare_one()? {
                return Ok(true);
            }
        }
    }

    fn prepare_one(&self) -> Result<bool, Failure> {
        let (seq, have) = {
            let segments = self.segments.lock();
            (segments.next_seq, segments.len() as u64)
        };
        let bytes = u64::from(self.config.segment_bytes);
        if (have + 1).saturating_mul(bytes) > self.config.log_bytes_max {
            self.no_space();
            return Ok(false);
        }
        let salt = salt(self.vfs.as_ref())
            .map_err(|e| Failure::new(FailedOp::Write, self.dir.clone(), 0, e))?;
        let segment_bytes = self.config.segment_bytes;
        let header = SegmentHeader { uuid: self.uuid, seq, salt, segment_bytes };
        match prepare(self.vfs.as_ref(), &self.dir, header) {
            Ok(prepared) => {
                self.adopt(prepared)?;
                Ok(true)
            }
            Err(PrepareError::NoSpace) => {
                add(&self.counters.prepare_failures, 1);
                self.no_space();
                Ok(false)
            }
            Err(PrepareError::Failed(failure)) => Err(failure),
        }
    }

    /// Announces a prepared segment, then lets staging use it (H35).
    fn adopt(&self, prepared: Prepared) -> Result<(), Failure> {
        if matches!(self.staging.lock().gate, Gate::Poisoned(_)) {
            // The log stopped meanwhile; the next open finds the file, or does not.
            return Ok(());
        }
        if !planted("no_dir_sync") {
            let synced = self.vfs.sync_dir(&self.dir);
            synced.map_err(|e| Failure::new(FailedOp::SyncDir, self.dir.clone(), 0, e))?;
        }
        let seq = prepared.segment.seq;
        self.marks.lock().write(|m| m.newest = m.newest.max(seq))?;
        {
            let mut segments = self.segments.lock();
            segments.insert(prepared.segment, Role::Prepared, 0, 0);
            segments.set_writer(seq, prepared.file);
        }
        add(&self.counters.prepared, 1);
        let mut staging = self.staging.lock();
        staging.plan.spare.push_back(seq);
        staging.no_space = false;
        drop(staging);
        self.room_changed();
        Ok(())
    }

    fn no_space(&self) {
        let mut staging = self.staging.lock();
        let news = !std::mem::replace(&mut staging.no_space, true);
        drop(staging);
        if news {
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

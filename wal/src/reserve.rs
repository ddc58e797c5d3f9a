//! `RESERVE`: a small file written in advance. On a full disk it becomes a segment for the
//! operations that free space, so that a full log can be emptied by its own means (G10).

use std::io;
use std::path::Path;

use crate::core::Core;
use crate::error::{FailedOp, Failure};
use crate::prepare::{
    PrepareError, begin_file, fresh, give_number, is_full, tmp_path, unmade, zero_fill,
};
use crate::segments::Segment;
use crate::stats::add;
use crate::vfs::OpenMode;

/// The file's name, and its name while it is made.
pub(crate) const RESERVE: &str = "RESERVE";
pub(crate) const RESERVE_TMP: &str = "RESERVE.tmp";

/// How long the reserve of a log with such segments is.
pub(crate) const fn reserve_bytes(segment_bytes: u32) -> u32 {
    let part = segment_bytes / 64 / 4096 * 4096;
    if part < 16 << 10 {
        16 << 10
    } else if part > 1 << 20 {
        1 << 20
    } else {
        part
    }
}

/// What is made ahead beside the segments; held while any of it changes.
#[derive(Debug, Default)]
pub(crate) struct Preparing {
    /// `RESERVE` is there, whole and durable.
    pub(crate) reserve: bool,
}

impl Core {
    /// Makes `RESERVE` if it is missing; whether it is there now.
    pub(crate) fn keep_reserve(&self, preparing: &mut Preparing) -> Result<bool, Failure> {
        if preparing.reserve {
            return Ok(true);
        }
        let vfs = self.vfs.as_ref();
        let tmp = self.dir.join(RESERVE_TMP);
        let bytes = reserve_bytes(self.config.segment_bytes);
        let made = fresh(vfs, &tmp)
            .and_then(|file| zero_fill(file.as_ref(), bytes).and_then(|()| file.sync_all()));
        match made {
            Ok(()) => {}
            Err(e) if is_full(&e) => {
                drop(vfs.remove(&tmp));
                return Ok(false);
            }
            Err(e) => return Err(Failure::new(FailedOp::Write, tmp, 0, e)),
        }
        self.name_reserve(preparing)?;
        Ok(true)
    }

    fn name_reserve(&self, preparing: &mut Preparing) -> Result<(), Failure> {
        let tmp = self.dir.join(RESERVE_TMP);
        let named = self.vfs.rename(&tmp, &self.dir.join(RESERVE));
        named.map_err(|e| Failure::new(FailedOp::Rename, tmp, 0, e))?;
        self.sync_names()?;
        preparing.reserve = true;
        Ok(())
    }

    /// With nothing prepared and no room to prepare: the reserve becomes the next segment.
    pub(crate) fn use_reserve(&self, preparing: &mut Preparing) -> Result<(), Failure> {
        if !preparing.reserve || !self.staging.lock().plan.has_no_spare() {
            return Ok(());
        }
        preparing.reserve = false;
        let mut header = self.next_header(reserve_bytes(self.config.segment_bytes))?;
        header.grows = false;
        let vfs = self.vfs.as_ref();
        let tmp = tmp_path(&self.dir, header.seq);
        let (from, failed) = (self.dir.join(RESERVE), FailedOp::Rename);
        vfs.rename(&from, &tmp).map_err(|e| Failure::new(failed, from, 0, e))?;
        let begun = vfs.open(&tmp, OpenMode::Write).and_then(|file| {
            begin_file(file.as_ref(), header)?;
            file.sync_all()?;
            Ok(file)
        });
        let prepared = match begun {
            Ok(file) => give_number(vfs, &self.dir, tmp, header, file),
            Err(e) => Err(unmade(vfs, tmp, e)),
        };
        match prepared {
            Ok(prepared) => {
                add(&self.counters.reserve_uses, 1);
                tracing::warn!(segment = header.seq, "the reserve is in use");
                self.adopt(prepared, true)
            }
            // A file system that does not overwrite in place: the reserve is gone for now.
            Err(PrepareError::NoSpace) => Ok(()),
            Err(PrepareError::Failed(failure)) => Err(failure),
        }
    }

    /// A segment that is not needed any more becomes the reserve again, if that is missing and
    /// the size fits; whether it did.
    pub(crate) fn refill_reserve(
        &self,
        preparing: &mut Preparing,
        segment: &Segment,
    ) -> Result<bool, Failure> {
        let bytes = reserve_bytes(self.config.segment_bytes);
        if preparing.reserve || segment.bytes != bytes || segment.grows {
            return Ok(false);
        }
        let tmp = self.dir.join(RESERVE_TMP);
        let failure = |op, path: &Path, e| Failure::new(op, path.to_path_buf(), 0, e);
        let moved = self.vfs.rename(&segment.path, &tmp);
        moved.map_err(|e| failure(FailedOp::Rename, &segment.path, e))?;
        let cleared = || -> io::Result<()> {
            let file = self.vfs.open(&tmp, OpenMode::Write)?;
            zero_fill(file.as_ref(), bytes)?;
            file.sync_all()
        };
        match cleared() {
            Ok(()) => {}
            Err(e) if is_full(&e) => {
                drop(self.vfs.remove(&tmp));
                add(&self.counters.unlinked, 1);
                return Ok(true);
            }
            Err(e) => return Err(failure(FailedOp::Write, &tmp, e)),
        }
        self.name_reserve(preparing)?;
        add(&self.counters.recycled, 1);
        Ok(true)
    }
}

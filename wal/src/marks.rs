//! MANIFEST on disk: two slots written in turn, each synced before the other is touched (H31).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{FailedOp, Failure};
use crate::format::manifest::{MANIFEST_BYTES, Manifest, SLOT_STRIDE};
use crate::plant::planted;
use crate::vfs::{VfsFile, write_full};
use crate::waiters::DurablePlace;

/// The open MANIFEST and its newest values.
#[derive(Debug)]
pub(crate) struct Marks {
    /// `None`: MANIFEST was lost, and the damage is not accepted yet.
    file: Option<Arc<dyn VfsFile>>,
    path: PathBuf,
    now: Manifest,
    /// How often a slot was written.
    pub(crate) writes: u64,
}

impl Marks {
    pub(crate) const fn new(file: Option<Arc<dyn VfsFile>>, path: PathBuf, now: Manifest) -> Self {
        Self { file, path, now, writes: 0 }
    }

    /// Whether there is a file to write to.
    pub(crate) const fn exists(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) const fn now(&self) -> &Manifest {
        &self.now
    }

    /// Changes the values and makes them durable in the older slot.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), Failure> {
        change(&mut self.now);
        self.now.slot_seq += 1;
        let slot = if planted("slots_not_alternated") { 0 } else { self.now.slot_seq % 2 };
        let offset = slot * SLOT_STRIDE as u64;
        self.writes += 1;
        let Some(file) = &self.file else {
            let lost = io::Error::other("the manifest is lost");
            return Err(Failure::new(FailedOp::Manifest, self.path.clone(), offset, lost));
        };
        write_full(file.as_ref(), &self.now.encode(), offset)
            .and_then(|()| file.sync_data())
            .map_err(|e| Failure::new(FailedOp::Manifest, self.path.clone(), offset, e))
    }

    /// The same in both slots: before a file is deleted that the older slot still names, so that
    /// either slot alone is a truth the directory agrees with.
    pub(crate) fn write_both(&mut self, change: impl FnOnce(&mut Manifest)) -> Result<(), Failure> {
        self.write(change)?;
        self.write(|_| ())
    }
}

/// Puts a durable position into a manifest: the place of a sync, never of a write (H24).
pub(crate) const fn set_place(manifest: &mut Manifest, place: DurablePlace) {
    manifest.durable_seq = place.seq;
    manifest.durable_salt = place.salt;
    manifest.durable_off = place.off;
    manifest.durable_lsn = place.lsn;
}

/// A whole new file with both slots sound; `values` go into the newer.
pub(crate) fn fresh(values: &Manifest) -> ([u8; MANIFEST_BYTES], Manifest) {
    let mut file = [0; MANIFEST_BYTES];
    let mut newest = *values;
    for _ in 0..2 {
        newest.slot_seq += 1;
        let slot = newest.encode();
        let from = if newest.slot_seq.is_multiple_of(2) { 0 } else { SLOT_STRIDE };
        file[from..from + slot.len()].copy_from_slice(&slot);
    }
    (file, newest)
}

//! One file of a disk in memory: what readers see, what is on the medium, and the way between.

use bytes::Bytes;

use super::disk::SECTOR;
use super::pages::Pages;
use crate::vfs::faults::FsyncFailure;

/// With more unsynced units or bytes than this the older half reaches the medium by itself, as a
/// kernel writes back what has been dirty for long: memory stays bounded if nobody ever syncs.
const UNITS_MAX: usize = 16 << 10;
const UNIT_BYTES_MAX: usize = 64 << 20;

#[derive(Clone, Debug)]
pub(in crate::vfs) struct Inode {
    pub(in crate::vfs) cache: Pages,
    pub(in crate::vfs) durable: Pages,
    pub(in crate::vfs) units: Vec<Unit>,
    /// For each sector what it held before the last write that touched it.
    pub(in crate::vfs) past: Pages,
    /// Whether a name leads here, as readers see the directories.
    pub(super) linked: bool,
    /// Open handles.
    pub(super) handles: u32,
    /// Whether the units make the cache of the medium: not after a failed sync, a misdirected
    /// write or rot.
    exact: bool,
    unit_bytes: usize,
}

/// A change on its way to the medium.
#[derive(Clone, Debug)]
pub(in crate::vfs) enum Unit {
    Write {
        at: usize,
        data: Bytes,
    },
    Len(usize),
    /// Data on the way to a place that is not its own; it makes no file longer.
    Stray {
        at: usize,
        data: Bytes,
    },
}

impl Unit {
    fn apply(&self, bytes: &mut Pages) {
        match self {
            Self::Write { at, data } => bytes.write(*at, data),
            Self::Len(len) => bytes.resize(*len),
            Self::Stray { at, data } => bytes.write_within(*at, data),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Write { data, .. } | Self::Stray { data, .. } => data.len(),
            Self::Len(_) => 0,
        }
    }
}

impl Inode {
    pub(super) fn empty() -> Self {
        Self::at_rest(Pages::default(), Pages::default())
    }

    /// A file of which everything is on the medium.
    pub(in crate::vfs) fn at_rest(bytes: Pages, mut past: Pages) -> Self {
        past.resize(bytes.len());
        Self {
            cache: bytes.clone(),
            durable: bytes,
            units: Vec::new(),
            past,
            linked: true,
            handles: 0,
            exact: true,
            unit_bytes: 0,
        }
    }

    /// Becomes a file at rest with these bytes; who has it open keeps it.
    pub(super) fn settle(&mut self, bytes: Pages, past: Pages) {
        let Self { linked, handles, .. } = *self;
        *self = Self { linked, handles, ..Self::at_rest(bytes, past) };
    }

    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        self.remember(at, data.len());
        self.cache.write(at, data);
        self.past.resize(self.cache.len());
        self.push(Unit::Write { at, data: Bytes::copy_from_slice(data) });
    }

    /// The cache has the data where it belongs, the medium gets it at `astray`, or nowhere.
    pub(super) fn write_astray(&mut self, at: usize, data: &[u8], astray: Option<usize>) {
        let before = self.cache.len();
        self.remember(at, data.len());
        self.cache.write(at, data);
        self.past.resize(self.cache.len());
        self.exact = false;
        if self.cache.len() > before {
            self.push(Unit::Len(self.cache.len()));
        }
        if let Some(at) = astray {
            self.push(Unit::Stray { at, data: Bytes::copy_from_slice(data) });
        }
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.cache.resize(len);
        self.past.resize(len);
        self.push(Unit::Len(len));
    }

    /// Puts damage into the cache and onto the medium.
    pub(super) fn rot(&mut self, at: usize, bytes: &[u8]) {
        self.cache.write(at, bytes);
        self.durable.write_within(at, bytes);
        self.exact = false;
    }

    /// Keeps what the sectors of a write held before it.
    fn remember(&mut self, at: usize, len: usize) {
        let from = at - at % SECTOR;
        let to = (at + len).next_multiple_of(SECTOR).min(self.cache.len());
        if from < to {
            self.past.take_over(&self.cache, from..to);
        }
    }

    fn push(&mut self, unit: Unit) {
        self.unit_bytes += unit.bytes();
        self.units.push(unit);
        while self.units.len() > UNITS_MAX || self.unit_bytes > UNIT_BYTES_MAX {
            // H29 of the simulator: nothing grows for ever.
            self.write_back(self.units.len().div_ceil(2));
        }
    }

    /// The oldest `count` units reach the medium.
    fn write_back(&mut self, count: usize) {
        for unit in self.units.drain(..count) {
            self.unit_bytes -= unit.bytes();
            match unit {
                // Whole pages are shared with the cache instead of copied.
                Unit::Write { at, data } if self.exact && at + data.len() <= self.cache.len() => {
                    let end = at + data.len();
                    self.durable.resize(self.durable.len().max(end));
                    self.durable.take_over(&self.cache, at..end);
                }
                unit => unit.apply(&mut self.durable),
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.write_back(self.units.len());
    }

    /// What a failed sync leaves.
    pub(super) fn sync_failed(&mut self, model: FsyncFailure) {
        if model == FsyncFailure::KeepDirty || self.units.is_empty() {
            return;
        }
        self.units.clear();
        self.unit_bytes = 0;
        self.exact = false;
        if model == FsyncFailure::DropPages {
            self.drop_cache();
        }
    }

    /// Forgets clean pages: what a failed sync marked clean without writing it shows now.
    pub(super) fn drop_cache(&mut self) {
        self.cache.clone_from(&self.durable);
        for unit in &self.units {
            unit.apply(&mut self.cache);
        }
        self.past.resize(self.cache.len());
        self.exact = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> Inode {
        Inode::at_rest(bytes.into(), Pages::default())
    }

    #[test]
    fn a_sync_makes_the_medium_what_the_cache_is() {
        let mut inode = file(&[1; 9000]);
        inode.write(0, &[2; 4096]);
        inode.set_len(5000);
        inode.write(6000, &[3; 4096]);
        inode.write(4096, &[0; 100]);
        inode.set_len(100);
        inode.write(4096, &[4; 8192]);
        let seen = inode.cache.to_vec();
        inode.sync();
        assert_eq!(inode.durable.to_vec(), seen);
        inode.drop_cache();
        assert_eq!(inode.cache.to_vec(), seen);
    }

    #[test]
    fn what_was_marked_clean_stays_lost_when_its_neighbour_is_written() {
        let mut inode = file(&[1; 8192]);
        inode.write(0, &[2; 4096]);
        inode.sync_failed(FsyncFailure::MarkClean);
        inode.write(4096, &[3; 4096]);
        inode.write(10, &[4; 10]);
        inode.sync();
        let medium = inode.durable.to_vec();
        assert_eq!((medium[0], medium[10], medium[20], medium[4096]), (1, 4, 1, 3));
        assert_eq!(inode.cache.to_vec()[0], 2);
    }

    #[test]
    fn what_nobody_syncs_is_written_back_in_the_end() {
        let mut inode = file(&[]);
        for n in 0..3 * UNITS_MAX {
            inode.write(n, b"x");
            assert!(inode.units.len() <= UNITS_MAX);
        }
        assert!(inode.durable.len() > UNITS_MAX);
        inode.write(0, &vec![7; UNIT_BYTES_MAX]);
        inode.write(0, &vec![8; UNIT_BYTES_MAX / 2 + 1]);
        assert!(inode.unit_bytes <= UNIT_BYTES_MAX);
        inode.sync();
        assert_eq!((inode.durable.to_vec(), inode.unit_bytes), (inode.cache.to_vec(), 0));
    }
}

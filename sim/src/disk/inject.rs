//! Putting a fault where it belongs: into a queue, or onto the medium.

use std::ops::Range;
use std::path::Path;

use super::faults::{Damage, DiskFault, SyncFault, WriteFault};
use super::state::State;

/// A sector.
const SECTOR: u64 = 512;
/// How often a place is drawn for a damage until it changes something.
const DRAWS: usize = 16;

impl State {
    /// Whether the fault applies; counts it.
    pub(super) fn inject(&mut self, fault: DiskFault) -> bool {
        let (done, count) = match fault {
            DiskFault::SyncError(model) => {
                (self.await_sync(SyncFault::Error(model)), &mut self.stats.sync_errors)
            }
            DiskFault::LyingSync => (self.await_sync(SyncFault::Lie), &mut self.stats.lying_syncs),
            DiskFault::ShortWrite => {
                (self.await_write(WriteFault::Short), &mut self.stats.short_writes)
            }
            DiskFault::Misdirect { sectors } => {
                let fault = WriteFault::Astray(sectors);
                (sectors != 0 && self.await_write(fault), &mut self.stats.misdirects)
            }
            DiskFault::Stall(time) => {
                let (stall, faults) = &mut self.faults.stall;
                (*stall, *faults) = (stall.saturating_add(time), *faults + 1);
                (true, &mut self.stats.stalls)
            }
            DiskFault::NoSpace { capacity_bytes } => {
                self.faults.capacity = Some(capacity_bytes);
                self.faults.capacity_met = false;
                self.set_capacity();
                (true, &mut self.stats.no_space)
            }
            DiskFault::ReadError { file, range } => {
                let id = self.medium.file_id(&file).ok().filter(|_| !range.is_empty());
                let done = self.damage(id, range, Damage::Unreadable);
                (done, &mut self.stats.read_errors)
            }
            DiskFault::BitFlip { file, bit } => {
                let flipped = self.medium.flip(&file, bit).is_ok();
                let id = self.medium.file_id(&file).ok().filter(|_| flipped);
                let at = bit / 8;
                (self.damage(id, at..at + 1, Damage::Flipped), &mut self.stats.bit_flips)
            }
            DiskFault::ZeroSector => {
                (self.rot_somewhere(Damage::Zeroed), &mut self.stats.zero_sectors)
            }
            DiskFault::StaleSector => {
                (self.rot_somewhere(Damage::Stale), &mut self.stats.stale_sectors)
            }
        };
        count.injected += u64::from(done);
        self.stats.skipped += u64::from(!done);
        done
    }

    fn await_sync(&mut self, fault: SyncFault) -> bool {
        let room = !self.faults.is_full();
        self.faults.syncs.extend(room.then_some(fault));
        room
    }

    fn await_write(&mut self, fault: WriteFault) -> bool {
        let room = !self.faults.is_full();
        self.faults.writes.extend(room.then_some(fault));
        room
    }

    fn damage(&mut self, file: Option<u64>, range: Range<u64>, damage: Damage) -> bool {
        if let Some(file) = file {
            self.faults.place(file, range, damage);
        }
        file.is_some()
    }

    /// Damages some sector of some file, each sector as likely.
    fn rot_somewhere(&mut self, damage: Damage) -> bool {
        let files = self.medium.files();
        let sectors: u64 = files.iter().map(|(_, len)| len.div_ceil(SECTOR)).sum();
        for _ in 0..DRAWS {
            let mut sector = self.streams.fault.below(sectors);
            for (path, len) in &files {
                let here = len.div_ceil(SECTOR);
                if sector >= here {
                    sector -= here;
                    continue;
                }
                if self.rot(path, sector, damage) {
                    let range = sector * SECTOR..(*len).min((sector + 1) * SECTOR);
                    let id = self.medium.file_id(path).ok();
                    return self.damage(id, range, damage);
                }
                break;
            }
        }
        false
    }

    /// Whether that changed the sector.
    fn rot(&self, path: &Path, sector: u64, damage: Damage) -> bool {
        if damage == Damage::Stale {
            return self.medium.stale_sector(path, sector).unwrap_or(false);
        }
        let range = sector * SECTOR..(sector + 1) * SECTOR;
        self.medium.zero(path, range).unwrap_or(false)
    }
}

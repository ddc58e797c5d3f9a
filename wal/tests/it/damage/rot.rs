//! Kinds of rot, applied to a place.

use std::path::PathBuf;

use quorate_wal::vfs::MemVfs;

use super::places::{Map, Place};
use crate::rig::Rng;

/// What happens to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rot {
    Flip,
    Zero,
    Random,
    Stale,
    Misdirect,
    Copy,
    Truncate,
    Extend,
    Delete,
    Swap,
}

pub(crate) const KINDS: [Rot; 10] = [
    Rot::Flip,
    Rot::Zero,
    Rot::Random,
    Rot::Stale,
    Rot::Misdirect,
    Rot::Copy,
    Rot::Truncate,
    Rot::Extend,
    Rot::Delete,
    Rot::Swap,
];

impl Rot {
    /// Whether it makes sense for a place: files vanish as a whole only.
    pub(crate) fn fits(self, place: &Place) -> bool {
        let whole = place.group == "whole file";
        match self {
            Self::Delete | Self::Swap | Self::Extend => whole,
            Self::Stale | Self::Misdirect | Self::Flip => !whole,
            Self::Zero | Self::Random | Self::Copy | Self::Truncate => true,
        }
    }

    /// Does it, and says in words what was done.
    pub(crate) fn apply(self, disk: &MemVfs, map: &Map, place: &Place, rng: &mut Rng) -> String {
        let path = &place.path;
        let (from, to) = (place.range.start as u64, place.range.end as u64);
        let len = map.files[path].len() as u64;
        // A third of the time the damage is larger than the field it is aimed at.
        let grow = if rng.below(3) == 0 { rng.below(700) } else { 0 };
        let range = from..(to + grow).min(len);
        let sector = from / 512;
        let what = match self {
            Self::Flip => {
                let bit = from * 8 + rng.below((to - from) * 8);
                disk.flip(path, bit).unwrap();
                format!("bit {bit}")
            }
            Self::Zero => {
                disk.zero(path, range.clone()).unwrap();
                format!("{range:?}")
            }
            Self::Random => {
                disk.randomize(path, range.clone(), rng.next()).unwrap();
                format!("{range:?}")
            }
            Self::Stale => {
                disk.stale_sector(path, sector).unwrap();
                format!("sector {sector}")
            }
            Self::Misdirect => {
                let (other, at) = elsewhere(map, rng);
                disk.misdirect((path, sector), (&other, at)).unwrap();
                format!("sector {sector} to {} sector {at}", other.display())
            }
            Self::Copy => {
                let (other, at) = elsewhere(map, rng);
                let bytes = 512 * (1 + rng.below(3));
                disk.copy((&other, at * 512), (path, sector * 512), bytes).unwrap();
                format!("{bytes} bytes of {} at {}", other.display(), at * 512)
            }
            Self::Truncate => {
                let at = if place.group == "whole file" { rng.below(len) } else { from };
                disk.truncate(path, at).unwrap();
                format!("at {at}")
            }
            Self::Extend => {
                let bytes: Vec<u8> = (0..1 + rng.below(5000)).map(|_| rng.next() as u8).collect();
                disk.extend(path, &bytes).unwrap();
                format!("by {}", bytes.len())
            }
            Self::Delete => {
                disk.delete(path).unwrap();
                String::new()
            }
            Self::Swap => {
                let (other, _) = elsewhere(map, rng);
                disk.swap(path, &other).unwrap();
                format!("with {}", other.display())
            }
        };
        format!("{self:?} of {} in {}: {what}", place.group, path.display())
    }
}

/// Some sector of some file.
fn elsewhere(map: &Map, rng: &mut Rng) -> (PathBuf, u64) {
    let n = usize::try_from(rng.below(map.files.len() as u64)).unwrap();
    let (path, bytes) = map.files.iter().nth(n).unwrap();
    (path.clone(), rng.below(bytes.len() as u64 / 512))
}

//! Disk faults as text, and under which classes they count.

use super::parse_time;
use super::word::{unword, word};
use crate::disk::{CrashDisk, DiskFault, DiskStats};
use crate::{Class, Coverage, FsyncFailure, SimTime};
use std::fmt;
use std::path::{Path, PathBuf};

impl fmt::Display for CrashDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random => f.write_str("random"),
            Self::LoseUnsynced => f.write_str("lose-unsynced"),
            Self::KeepAll => f.write_str("keep-all"),
            Self::State(state) => write!(f, "state:{state}"),
        }
    }
}

pub(super) fn parse_crash(text: &str) -> Option<CrashDisk> {
    Some(match text {
        "random" => CrashDisk::Random,
        "lose-unsynced" => CrashDisk::LoseUnsynced,
        "keep-all" => CrashDisk::KeepAll,
        other => CrashDisk::State(other.strip_prefix("state:")?.parse().ok()?),
    })
}

const fn model_name(model: FsyncFailure) -> &'static str {
    match model {
        FsyncFailure::DropPages => "drop-pages",
        FsyncFailure::KeepDirty => "keep-dirty",
        _ => "mark-clean",
    }
}

/// One word: white space and per cent signs of a path are written as `%20` and `%25`.
impl fmt::Display for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SyncError(model) => write!(f, "sync-error={}", model_name(*model)),
            Self::ReadError { file, range } => {
                write!(f, "read-error={}:{}..{}", path_text(file), range.start, range.end)
            }
            Self::BitFlip { file, bit } => write!(f, "bit-flip={}:{bit}", path_text(file)),
            Self::ZeroSector => f.write_str("zero-sector"),
            Self::StaleSector => f.write_str("stale-sector"),
            Self::Misdirect { sectors } => write!(f, "misdirect={sectors}"),
            Self::ShortWrite => f.write_str("short-write"),
            Self::NoSpace { capacity_bytes } => write!(f, "no-space={capacity_bytes}"),
            Self::LyingSync => f.write_str("lying-sync"),
            Self::Stall(d) => write!(f, "stall={}", SimTime::ZERO.saturating_add(*d)),
        }
    }
}

pub(super) fn parse_fault(text: &str) -> Option<DiskFault> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    Some(match (name, value) {
        ("sync-error", "mark-clean") => DiskFault::SyncError(FsyncFailure::MarkClean),
        ("sync-error", "drop-pages") => DiskFault::SyncError(FsyncFailure::DropPages),
        ("sync-error", "keep-dirty") => DiskFault::SyncError(FsyncFailure::KeepDirty),
        ("read-error", _) => {
            let (path, range) = value.rsplit_once(':')?;
            let (start, end) = range.split_once("..")?;
            let range = start.parse().ok()?..end.parse().ok()?;
            DiskFault::ReadError { file: parse_path(path)?, range }
        }
        ("bit-flip", _) => {
            let (path, bit) = value.rsplit_once(':')?;
            DiskFault::BitFlip { file: parse_path(path)?, bit: bit.parse().ok()? }
        }
        ("zero-sector", "") => DiskFault::ZeroSector,
        ("stale-sector", "") => DiskFault::StaleSector,
        ("misdirect", _) => DiskFault::Misdirect { sectors: value.parse().ok()? },
        ("short-write", "") => DiskFault::ShortWrite,
        ("no-space", _) => DiskFault::NoSpace { capacity_bytes: value.parse().ok()? },
        ("lying-sync", "") => DiskFault::LyingSync,
        ("stall", _) => DiskFault::Stall(parse_time(value)?.since(SimTime::ZERO)),
        _ => return None,
    })
}

fn path_text(path: &Path) -> String {
    word(&path.to_string_lossy())
}

fn parse_path(text: &str) -> Option<PathBuf> {
    unword(text).map(PathBuf::from)
}

/// The class of a disk fault.
#[expect(clippy::unnecessary_wraps, reason = "faults to come may mend")]
pub(crate) const fn class_of(fault: &DiskFault) -> Option<Class> {
    Some(match fault {
        DiskFault::SyncError(_) | DiskFault::LyingSync => Class::DiskSyncError,
        DiskFault::Stall(_) => Class::DiskStall,
        DiskFault::NoSpace { .. } | DiskFault::ShortWrite => Class::DiskSpace,
        _ => Class::DiskRot,
    })
}

/// Adds what came true of the faults of one disk.
pub(crate) const fn count(stats: &DiskStats, all: &mut Coverage) {
    let rot = stats.read_errors.effective
        + stats.bit_flips.effective
        + stats.zero_sectors.effective
        + stats.stale_sectors.effective
        + stats.misdirects.effective;
    all.effective_times(Class::DiskRot, rot);
    let sync = stats.sync_errors.effective + stats.lying_syncs.effective;
    all.effective_times(Class::DiskSyncError, sync);
    all.effective_times(Class::DiskStall, stats.stalls.effective);
    all.effective_times(Class::DiskSpace, stats.no_space.effective + stats.short_writes.effective);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn disk_faults_are_read_back() {
        let file = PathBuf::from("a dir/50%/f:1");
        let faults = [
            DiskFault::SyncError(FsyncFailure::MarkClean),
            DiskFault::SyncError(FsyncFailure::DropPages),
            DiskFault::SyncError(FsyncFailure::KeepDirty),
            DiskFault::ReadError { file: file.clone(), range: 5..17 },
            DiskFault::BitFlip { file, bit: 9 },
            DiskFault::ZeroSector,
            DiskFault::StaleSector,
            DiskFault::Misdirect { sectors: -3 },
            DiskFault::ShortWrite,
            DiskFault::NoSpace { capacity_bytes: 4096 },
            DiskFault::LyingSync,
            DiskFault::Stall(Duration::from_micros(1_500)),
        ];
        for fault in faults {
            let text = fault.to_string();
            assert!(!text.contains(' '), "{text}");
            assert_eq!(parse_fault(&text), Some(fault), "{text}");
        }
        for wrong in ["", "sync-error", "stall=5", "read-error=f", "bit-flip=:1", "lying-sync=1"] {
            assert_eq!(parse_fault(wrong), None, "{wrong}");
        }
        for crash in [CrashDisk::Random, CrashDisk::KeepAll, CrashDisk::State(7)] {
            assert_eq!(parse_crash(&crash.to_string()), Some(crash));
        }
    }
}

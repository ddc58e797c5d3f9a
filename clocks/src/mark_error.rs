//! [`MarkError`]: why a mark file could not be opened, created or raised.

use crate::{MarkFalls, MarkKind};
use core::fmt;
use std::io;
use std::path::PathBuf;

/// Why a [`FileMark`](crate::FileMark) refused.
///
/// # Examples
/// ```
/// use quorate_clocks::{FileMark, MarkError, MarkKind};
///
/// let dir = tempfile::tempdir()?;
/// let missing = FileMark::open(dir.path().join("mark"), MarkKind::User).unwrap_err();
/// assert!(matches!(missing, MarkError::NotFound { .. }));
/// assert!(!missing.is_retryable() && !missing.is_corruption());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum MarkError {
    /// Effect: none. There is no such file; a retry cannot help. A mark that was there before is
    /// lost, and starting anew may repeat values: take a new node id then.
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Effect: none. The file is there already; a retry cannot help, `open` does.
    Exists {
        /// Where it is.
        path: PathBuf,
    },
    /// Effect: none. Another handle has the file open; a retry helps once it is closed.
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Effect: none. The file is a mark of another kind; a retry cannot help.
    Kind {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        expected: MarkKind,
        /// The number of the kind that the file holds.
        found: u16,
    },
    /// Effect: none, the file was not touched. Its value cannot be told; a retry cannot help.
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: MarkDamage,
    },
    /// Effect: whether the last raise is on the disk is unknown; the mark still shows the value
    /// before and refuses every raise. A retry cannot help, opening the file again tells.
    Poisoned {
        /// The file.
        path: PathBuf,
        /// What failed first.
        op: MarkOp,
        /// How.
        kind: io::ErrorKind,
    },
    /// Effect: none. A mark never falls; a retry cannot help.
    Falls(
        /// Both values.
        MarkFalls,
    ),
    /// Effect: none. The file was raised 2⁶⁴ − 1 times; a retry cannot help.
    Exhausted {
        /// The file.
        path: PathBuf,
    },
    /// Effect: no mark was opened, and no value changed. A creation may have left the finished file
    /// or an unfinished one with `.new` at the end of its name; both do no harm. A retry (of
    /// `open_or_create`, after a creation) helps as far as the reason passes.
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        op: MarkOp,
        /// How.
        source: io::Error,
    },
}

impl MarkError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::Io { .. })
    }

    /// Whether damage to the file is the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

impl fmt::Display for MarkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "no mark file {}", path.display()),
            Self::Exists { path } => write!(f, "mark file {} exists", path.display()),
            Self::Locked { path } => write!(f, "mark file {} is in use", path.display()),
            Self::Kind { path, expected, found } => write!(
                f,
                "mark file {} is of kind {found}, expected {} ({expected})",
                path.display(),
                expected.code()
            ),
            Self::Corrupt { path, damage } => {
                write!(f, "mark file {} is corrupt: {damage}", path.display())
            }
            Self::Poisoned { path, op, kind } => {
                write!(f, "mark file {} is poisoned: {op} failed: {kind}", path.display())
            }
            Self::Falls(falls) => falls.fmt(f),
            Self::Exhausted { path } => write!(f, "mark file {} is used up", path.display()),
            Self::Io { path, op, source } => {
                write!(f, "mark file {}: {op} failed: {source}", path.display())
            }
        }
    }
}

impl core::error::Error for MarkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Falls(falls) => Some(falls),
            _ => None,
        }
    }
}

/// The operation that failed.
///
/// # Examples
/// ```
/// assert_eq!(quorate_clocks::MarkOp::SyncDir.to_string(), "sync of the directory");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkOp {
    /// Opening or creating the file.
    Open,
    /// Locking it.
    Lock,
    /// Reading it.
    Read,
    /// Writing a slot.
    Write,
    /// Making a slot durable.
    Sync,
    /// Giving a new file its name.
    Rename,
    /// Making that name durable.
    SyncDir,
}

impl fmt::Display for MarkOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Lock => "lock",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Rename => "rename",
            Self::SyncDir => "sync of the directory",
        })
    }
}

/// What is wrong with a mark file.
///
/// # Examples
/// ```
/// use quorate_clocks::MarkDamage;
/// assert_eq!(MarkDamage::Length { bytes: 7 }.to_string(), "7 bytes, expected 1024");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkDamage {
    /// It is not 1,024 bytes long.
    Length {
        /// How long it is.
        bytes: u64,
    },
    /// Neither slot can be read; or one is of a form this version does not know, and must not be
    /// written over.
    Slots {
        /// What is wrong with the slot at 0, if anything.
        first: Option<SlotError>,
        /// What is wrong with the slot at 512, if anything.
        second: Option<SlotError>,
    },
    /// Two whole slots contradict each other: the later one holds the smaller value, or they are of
    /// one age and differ.
    Contradiction {
        /// Sequence and value of the slot at 0.
        first: (u64, u64),
        /// Sequence and value of the slot at 512.
        second: (u64, u64),
    },
}

impl fmt::Display for MarkDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { bytes } => write!(f, "{bytes} bytes, expected 1024"),
            Self::Slots { first, second } => {
                for (offset, slot) in [(0, first), (512, second)] {
                    match slot {
                        Some(error) => write!(f, "[slot at {offset}: {error}]")?,
                        None => write!(f, "[slot at {offset}: whole]")?,
                    }
                }
                Ok(())
            }
            Self::Contradiction { first, second } => write!(
                f,
                "value {} of sequence {} against value {} of sequence {}",
                first.1, first.0, second.1, second.0
            ),
        }
    }
}

/// What is wrong with one slot of a mark file.
///
/// # Examples
/// ```
/// use quorate_clocks::SlotError;
/// assert_eq!(SlotError::Version { found: 2 }.to_string(), "version 2, expected 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotError {
    /// It does not begin like a slot.
    Magic {
        /// What is there instead.
        found: u32,
    },
    /// Torn or rotten.
    Checksum {
        /// That of the bytes.
        expected: u32,
        /// The one in the slot.
        found: u32,
    },
    /// Whole, and of another version of the format.
    Version {
        /// Which.
        found: u16,
    },
    /// Whole, and something stands where this version has zeros.
    Reserved {
        /// What.
        found: u32,
    },
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic { found } => write!(f, "magic {found:#010x}, expected 0x4b524d51"),
            Self::Checksum { expected, found } => {
                write!(f, "checksum {found:#010x}, expected {expected:#010x}")
            }
            Self::Version { found } => write!(f, "version {found}, expected 1"),
            Self::Reserved { found } => write!(f, "{found:#x} in the reserved field"),
        }
    }
}

//! [`Limits`]: how large entries and blocks may be.

use super::ENTRY_HEADER_LEN;
#[cfg(feature = "tokio")]
use super::HEADER_LEN;
#[cfg(feature = "tokio")]
use crate::conf_change::CHANGE_BYTES_MAX;

/// What a block may hold. Checked when one is built and when one is decoded.
///
/// # Shape
/// Bytes count payloads and the 8-byte header of each entry.
///
/// # Examples
/// ```
/// use quorate_raft::{EntryBody, Limits, Proposal};
///
/// let limits = Limits::default().entry_bytes_max(4);
/// assert!(Proposal::new(&limits).push(EntryBody::Normal(b"12345")).is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(super) entry_bytes_max: u32,
    pub(super) block_bytes_max: u32,
    pub(super) block_entries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // With what surrounds it, it fits a write of 1 MiB, which an embedded `Wal` takes.
            entry_bytes_max: (1 << 20) - (4 << 10),
            block_bytes_max: 512 << 10,
            block_entries_max: 16_384,
        }
    }
}

impl Limits {
    pub(crate) const UNLIMITED: Self =
        Self { entry_bytes_max: 1 << 30, block_bytes_max: 1 << 30, block_entries_max: u32::MAX };

    /// Largest payload of one entry, the 24 bytes of a session's request included. Default 1 MiB
    /// less 4 KiB.
    #[must_use]
    pub const fn entry_bytes_max(mut self, bytes: u32) -> Self {
        self.entry_bytes_max = bytes;
        self
    }

    /// Size at which a block takes no further entry. Default 512 KiB. An entry that alone is larger
    /// gets a block of its own.
    #[must_use]
    pub const fn block_bytes_max(mut self, bytes: u32) -> Self {
        self.block_bytes_max = bytes;
        self
    }

    /// Most entries of a block. Default 16,384.
    #[must_use]
    pub const fn block_entries_max(mut self, entries: u32) -> Self {
        self.block_entries_max = entries;
        self
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn entry_max(&self) -> u32 {
        self.entry_bytes_max
    }

    /// The largest block within these limits, header included.
    #[cfg(feature = "tokio")]
    pub(crate) const fn block_max(&self) -> u64 {
        let body = self.body_bytes_max();
        let change = CHANGE_BYTES_MAX as u64 + ENTRY_HEADER_LEN as u64;
        HEADER_LEN as u64 + if body > change { body } else { change }
    }

    /// A block of several entries, or one that is a single large entry.
    pub(super) const fn body_bytes_max(&self) -> u64 {
        let single = self.entry_bytes_max as u64 + ENTRY_HEADER_LEN as u64;
        if single > self.block_bytes_max as u64 { single } else { self.block_bytes_max as u64 }
    }
}

/// An entry or a block would exceed a limit; nothing was added.
///
/// # Examples
/// ```
/// use quorate_raft::{EntryBody, Limits, Proposal, TooLarge};
///
/// let limits = Limits::default().entry_bytes_max(1);
/// let refused: TooLarge = Proposal::new(&limits).push(EntryBody::Normal(b"ab")).unwrap_err();
/// assert_eq!(refused.to_string(), "entry of 2 bytes exceeds the limit of 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of {found} bytes exceeds the limit of {max}")]
#[non_exhaustive]
pub struct TooLarge {
    /// What was too large: `entry`, or `block` when the next entry belongs into the next block.
    pub what: &'static str,
    /// Its size in bytes.
    pub found: u64,
    /// The limit in bytes.
    pub max: u64,
}

//! [`DiskLimit`]: a disk in memory is not for more than memory holds.

/// A limit of the simulation that was exceeded, not a fault: the source of the `io::Error` that
/// the operation answers.
///
/// # Examples
/// ```
/// use quorate_sim::{DiskConfig, DiskLimit, SimDisk};
/// use quorate_wal::vfs::{OpenMode, Vfs};
/// let disk = SimDisk::new(1, DiskConfig::ssd().file_bytes_max(1 << 20).build()?);
/// let file = disk.vfs().open("f".as_ref(), OpenMode::CreateNew)?;
/// assert!(file.set_len(1 << 21).is_err());
/// assert_eq!(disk.limit(), Some(DiskLimit::File { found: 1 << 21, max: 1 << 20 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskLimit {
    /// Effect: the operation changed nothing. It fails again.
    #[error("a file of {found} bytes is longer than file_bytes_max {max}")]
    File {
        /// Bytes the file would have.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// Effect: the operation changed nothing. It succeeds once files were removed.
    #[error("files that take {found} bytes are more than stored_bytes_max {max}")]
    Stored {
        /// Bytes of memory.
        found: u64,
        /// The limit.
        max: u64,
    },
}

impl DiskLimit {
    /// Whether the same operation can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Stored { .. })
    }
}

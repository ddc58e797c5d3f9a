//! What can go wrong, one type per outcome: refused, in doubt, unreadable, unopenable.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::lsn::{Lsn, LsnSpan, StreamId};
use crate::report::{Damage, RecoveryReport};

/// A write was refused: it left nothing behind and used no number.
///
/// # Examples
/// ```
/// use quorate_wal::WriteError;
/// assert!(WriteError::Busy { staged: 10, max: 8 }.is_retryable());
/// assert!(!WriteError::TooLarge { bytes: 10, max: 8 }.is_retryable());
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Effect: nothing was staged. The batch is over `batch_bytes_max`; a retry cannot help.
    #[error("batch of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Worst-case size of the batch.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// Effect: nothing was staged. There is no room at this moment; retry after the next group,
    /// or wait with [`Wal::reserve`](crate::Wal::reserve).
    #[error("no room to stage now: {staged} bytes staged of {max}")]
    Busy {
        /// Bytes staged and not yet written.
        staged: u64,
        /// The limit.
        max: u64,
    },
    /// Effect: nothing was staged. The disk, or `log_bytes_max`, is full; a retry helps once
    /// records were truncated or the disk has room again.
    #[error("no space for {needed} bytes")]
    NoSpace {
        /// Bytes that did not fit.
        needed: u64,
    },
    /// Effect: nothing was staged. The block does not start where the stream ends; a retry
    /// cannot help.
    #[error("stream {stream}: block starts at {found}, expected {expected}")]
    Gap {
        /// The stream.
        stream: StreamId,
        /// Where the next block must start.
        expected: u64,
        /// Where it would have started.
        found: u64,
    },
    /// Effect: nothing was staged. The index was already given up; a retry cannot help.
    #[error("stream {stream}: index {found} is below the low mark {low}")]
    Compacted {
        /// The stream.
        stream: StreamId,
        /// Its low mark.
        low: u64,
        /// The index asked for.
        found: u64,
    },
    /// Effect: nothing was staged. The call breaks a rule; a retry cannot help.
    #[error("{op}: {why}")]
    Invalid {
        /// The operation.
        op: &'static str,
        /// The rule.
        why: &'static str,
    },
    /// Effect: nothing was staged. The log was opened with damage that was not accepted yet;
    /// [`Wal::accept_damage`](crate::Wal::accept_damage) opens it for writing.
    #[error("log was opened with damage that is not accepted")]
    Damaged,
    /// Effect: nothing was staged. A write or sync failed before and the log stopped; only a
    /// reopen helps.
    #[error("log stopped: {0}")]
    Poisoned(Arc<Failure>),
    /// Effect: nothing was staged. The log was shut down; a retry cannot help.
    #[error("log is shut down")]
    Closed,
}

impl WriteError {
    /// Whether the same call can succeed later on this open log.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::NoSpace { .. })
    }

    /// Whether damage on the medium is the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Damaged)
    }
}

/// The operation of a [`Failure`].
///
/// # Examples
/// ```
/// use quorate_wal::FailedOp;
/// assert_eq!(FailedOp::Sync.to_string(), "sync");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailedOp {
    /// Writing a segment.
    Write,
    /// Syncing a segment.
    Sync,
    /// Syncing the directory.
    SyncDir,
    /// Giving a prepared segment its name, or removing an old one.
    Rename,
    /// Writing or syncing MANIFEST.
    Manifest,
    /// The commit path panicked: a bug in this crate or in a `Vfs`.
    CommitPanic,
    /// Not an I/O failure: the log was closed before the awaited number was written.
    Closed,
}

impl std::fmt::Display for FailedOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDir => "directory sync",
            Self::Rename => "rename or remove",
            Self::Manifest => "manifest update",
            Self::CommitPanic => "commit (panic)",
            Self::Closed => "close",
        })
    }
}

/// Why the log stopped; the first failure is kept, nothing is ever retried.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{AppendError, Config, FailedOp, Wal, vfs::{MemVfs, OpKind}};
/// let disk = MemVfs::new();
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(disk.clone()), Path::new("log"), config, None)?;
/// wal.append_blocking(b"fine")?;
/// disk.fail_nth(OpKind::SyncData, 1, std::io::ErrorKind::Other);
/// let Err(AppendError::InDoubt(doubt)) = wal.append_blocking(b"?") else { panic!() };
/// assert_eq!(doubt.cause.op, FailedOp::Sync);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{op} of {} at {offset} failed: {source}", path.display())]
#[non_exhaustive]
pub struct Failure {
    /// What failed.
    pub op: FailedOp,
    /// On which file.
    pub path: PathBuf,
    /// At which offset.
    pub offset: u64,
    /// What the system said.
    pub source: io::Error,
}

impl Failure {
    pub(crate) const fn new(op: FailedOp, path: PathBuf, offset: u64, source: io::Error) -> Self {
        Self { op, path, offset, source }
    }
}

/// Records that were staged when the log stopped: each may or may not be there after a reopen.
///
/// Read the log after reopening it to find out; appending again may store a record twice.
///
/// # Examples
/// ```
/// fn report(doubt: &quorate_wal::InDoubt) -> String {
///     format!("records {} unknown: {}", doubt.lsns, doubt.cause)
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[error("records {lsns} may or may not be stored: {cause}")]
#[must_use = "the records may be stored: neither success nor failure"]
#[non_exhaustive]
pub struct InDoubt {
    /// The records.
    pub lsns: LsnSpan,
    /// Why the log stopped.
    pub cause: Arc<Failure>,
}

/// What an append or commit that was waited for can answer instead of a number.
///
/// # Examples
/// ```
/// use quorate_wal::AppendError;
/// fn stored_nothing(error: &AppendError) -> bool {
///     matches!(error, AppendError::Refused(_))
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// Effect: nothing was staged. See the [`WriteError`] for whether a retry helps.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// Effect: staged, fate unknown until the log is reopened; a retry may store twice.
    #[error(transparent)]
    InDoubt(#[from] InDoubt),
}

impl AppendError {
    /// Whether the same call can succeed later on this open log without storing twice.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(refused) => refused.is_retryable(),
            Self::InDoubt(_) => false,
        }
    }
}

/// Why a record could not be read.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, Lsn, ReadError, Wal, vfs::MemVfs};
/// let config = Config::embedded().build()?;
/// let (wal, _) = Wal::open_on(Arc::new(MemVfs::new()), Path::new("log"), config, None)?;
/// assert!(matches!(wal.get(Lsn::new(1)), Err(ReadError::NotYet { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Effect: none. The record was truncated away; a retry cannot help.
    #[error("truncated: the first record kept is {low}")]
    Truncated {
        /// First number (or, in a stream, index) that is kept.
        low: u64,
    },
    /// Effect: none. The record is not there yet, or not written; retry later.
    #[error("not there yet: readable up to {bound}")]
    NotYet {
        /// How far reads go now.
        bound: u64,
    },
    /// Effect: none. The record was lost to damage that was found at open; a retry cannot help.
    #[error("lost to damage: records {lsns}")]
    Lost {
        /// The lost numbers.
        lsns: LsnSpan,
    },
    /// Effect: none. The number belongs to a stream operation, a truncation, or a record that
    /// `truncate_suffix` removed; a retry cannot help.
    #[error("number {0} is not a record of the plain log")]
    NotARecord(Lsn),
    /// Effect: none. So many readers are open already; retry when one of them is dropped.
    #[error("{max} readers are open already")]
    TooManyReaders {
        /// The limit.
        max: u64,
    },
    /// Effect: counted; the log stays open. The bytes on the medium fail their checksum; a retry
    /// helps only if the medium does.
    #[error("damaged: {0}")]
    Corruption(Box<Damage>),
    /// Effect: none. Reading failed; a retry may help.
    #[error("reading {} at {offset}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
}

impl ReadError {
    /// Whether the same call can succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::NotYet { .. } | Self::TooManyReaders { .. } | Self::Io { .. })
    }

    /// Whether damage on the medium is the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::Corruption(_))
    }
}

/// Why a log could not be opened.
///
/// # Examples
/// ```
/// # use std::{path::Path, sync::Arc};
/// # use quorate_wal::{Config, OpenError, Wal, vfs::MemVfs};
/// let disk = Arc::new(MemVfs::new());
/// let config = Config::embedded().build()?;
/// let (_wal, _) = Wal::open_on(disk.clone(), Path::new("log"), config.clone(), None)?;
/// let second = Wal::open_on(disk, Path::new("log"), config, None);
/// assert!(matches!(second, Err(OpenError::Locked { .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Effect: nothing was touched. Another process, or another handle of this one, has the log
    /// open; retry when it is closed.
    #[error("locked by {}", holder_name(*holder))]
    Locked {
        /// Process id of the holder, if the lock file names one.
        holder: Option<u32>,
    },
    /// Effect: nothing was written. Acknowledged data is damaged; the report names what is lost.
    /// A `Salvage` open reads the rest; a retry gives the same answer.
    #[error("{} damaged places, the first: {}", .0.damage.len(), first_damage(.0))]
    Corruption(Box<RecoveryReport>),
    /// Effect: nothing was written. `tail(Refuse)` was asked for and the last group is torn or
    /// damaged; a retry gives the same answer.
    #[error("the last group cannot be told from a torn write: {:?}", .0.tail)]
    Unverifiable(Box<RecoveryReport>),
    /// Effect: nothing that was there has changed. The disk has no room for the first segment;
    /// retry when it has.
    #[error("no space for {needed} bytes")]
    NoSpace {
        /// Bytes that did not fit.
        needed: u64,
    },
    /// Effect: nothing was touched. A newer version wrote this log; only that can open it.
    #[error("unsupported {what}: {found}")]
    Unsupported {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// Effect: nothing was touched. The path is a file, or a directory that holds something else:
    /// a retry cannot help. For a read-only open also one that holds no log yet: retry later.
    #[error("{} is not a log", .0.display())]
    NotALog(PathBuf),
    /// Effect: unknown operations of an unfinished creation may remain; they are completed by
    /// the next open. Never a verdict about the data; a retry may help.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder_name(holder: Option<u32>) -> String {
    holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn first_damage(report: &RecoveryReport) -> String {
    report.damage.first().map(Damage::to_string).unwrap_or_default()
}

impl OpenError {
    /// Whether the same call can succeed later without anybody changing the files.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::NoSpace { .. } | Self::Io { .. })
    }

    /// Whether damage on the medium is the reason.
    #[must_use]
    pub const fn is_corruption(&self) -> bool {
        matches!(self, Self::Corruption(_) | Self::Unverifiable(_))
    }
}

//! A segmented write-ahead log for one process: durable appends in groups, many logs on one
//! fsync, and recovery that tells damage from an interrupted write.
//!
//! It is a library of records (bytes) with numbers; runtime-agnostic futures and blocking calls
//! over one core; an injectable file system. It is not a key-value store, a message broker, a
//! log for several processes, or an encryption layer, and it has no rules of a consensus
//! protocol: a Raft term is an opaque tag here.
//!
//! ```
//! use quorate_wal::{Config, ReadBound, Wal};
//!
//! let dir = tempfile::tempdir()?;
//! let config = Config::embedded().build()?;
//! let (wal, _) = Wal::open(dir.path(), config.clone())?;
//! wal.append_blocking(b"hello")?; // synced to the medium when it returns
//! wal.shutdown().wait()?;
//!
//! let (wal, report) = Wal::open(dir.path(), config)?;
//! for record in wal.read(report.first, ReadBound::Durable) {
//!     assert_eq!(&record?.bytes[..], b"hello");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Patterns
//! Write-Ahead Log: [`Wal::append`], [`Staged`]. Segmented Log: the files of a [`Wal`].
//! Singular Update Queue: the group commit behind [`Wal::stage`]. Low-Water Mark:
//! [`Wal::truncate_prefix`], [`Batch::keep_from`]. High-Water Mark: [`Wal::advance_high`],
//! [`ReadBound::High`]. Storage of a Replicated Log: [`StreamLog`].
//!
//! # Guarantees
//! What each `Ok`, each error and each verdict means, and what is assumed of device and file
//! system: [`guide::durability`]. Streams, and Raft on them: [`guide::streams`].
//!
//! Each property, its condition, and the suite in `tests/it` that shows it:
//! - G1: a durable record is there after any crash, with its number, if sync is not off: `crash`,
//!   `kill`.
//! - G2: nothing recovered has an unrecovered record before it, unless that is named: `crash`,
//!   `damage`.
//! - G3: a batch is recovered whole or not at all: `crash`.
//! - G4: after any single damage to one file an acknowledged record is readable, or named as
//!   lost, or covered by [`Tail::Unverifiable`]: `damage`, `reference`.
//! - G5: a crash alone, without rot, is never reported as corruption: `crash`.
//! - G6: what one recovery discarded never comes back; nothing is invented: `crash`, `damage`,
//!   `h04`.
//! - G7: after the first failed write or sync nothing more is acknowledged, and no call hangs:
//!   `sync_errors`, `loom`.
//! - G8: a [`WriteError`] left nothing behind; an error after staging is [`InDoubt`]:
//!   `bad_input`, `sync_errors`.
//! - G9: recovery changes no byte of a segment; opening twice gives one answer; a read-only open
//!   writes nothing: `crash`, `read_only`.
//! - G10: on a full disk open, reads and truncation work, nothing is lost, and appends resume
//!   after giving something up, where the file system overwrites in place: `full_disk`, `carry`.
//! - G11: a segment is deleted or recycled only when nothing live and no reader needs it and that
//!   is durable: `h45`, `h47`, `h51`.
//! - G12: memory is bounded, see the limits: `zero_alloc`, `mutations`.
//! - G13: [`Health::Intact`] proves that a stream lost nothing: `damage`.
//!
//! What is not claimed: the numbers of an unverifiable tail are given out again, and a log whose
//! files were copied while it was open looks damaged: [`Wal::checkpoint_to`] copies it (`h54`).
//!
//! # Limits
//! Numbers below 2^63; 65,536 segments of 16 KiB to 1 GiB; 65,535 operations in a batch;
//! records up to `batch_bytes_max` less 11 B, blocks less 64 B; 16 metadata cells of 4 KiB and
//! 1,048,576 live blocks in a stream; 1,048,576 streams. Memory: what is staged
//! (`staged_bytes_max`), an index entry of 8 B for each frame but at most one for 2 KiB of log,
//! 48 to 60 B for each live block, all metadata, and during open 1 MiB for each of
//! `verify_threads`. 1,024 readers; 1,024 events waiting to be read; 4,096 damaged places
//! accepted. How many futures wait is counted, not limited.
//!
//! # How to drive it
//! Nothing to drive: two threads belong to an open log, one commits for futures, one prepares,
//! carries, recycles and deletes segments. Blocking callers commit on their own thread.
//! [`Wal::stage`] never blocks; when it answers `Busy`, wait with [`Wal::reserve`]. With
//! [`Driver::Manual`] there is no thread and no clock: [`Wal::turn`] does one unit of work. What
//! an operator should know comes from [`Wal::stats`] and [`Wal::events`].
//!
//! # Failure model
//! fsync is honest; a sector of 512 B is not torn by a power cut; nobody else changes the files.
//! Any subset of the unsynced sectors may survive a crash. After a failed sync nothing is known
//! about the page cache: the log stops, and the next open writes what it cannot prove to be on
//! the medium again before it reports it. Deleting entries before what replaces them is durable
//! is the caller's error and cannot be noticed here.
//!
//! # Features
//! Default: none. `testing`: `vfs::MemVfs`, a file system in memory with power cuts and
//! faults, and `vfs::conformance`, the list every [`vfs::Vfs`] must pass. `stream`: [`Tailer`]
//! is a `futures_core::Stream`. `mmap`: reads of sealed segments on the real file system go
//! through memory maps, still verified on every read; a `Bytes` that was read holds its segment
//! (it is neither deleted nor recycled meanwhile), and a medium that fails to deliver a page kills
//! the process with SIGBUS instead of an error. The one unsafe block is in `mapped.rs`.
//! `metrics`: `Wal::record_metrics`, for the `metrics` facade.
//!
//! # Sources
//! Joshi, *Patterns of Distributed Systems* (2023); Mohan et al., ARIES (TODS 1992); Pillai et
//! al., *All File Systems Are Not Created Equal* (OSDI'14); Rebello et al., *Can Applications
//! Recover from fsync Failures?* (ATC'20); Alagappan et al., *Protocol-Aware Recovery*
//! (FAST'18).

#![cfg_attr(not(feature = "mmap"), forbid(unsafe_code))]
#![cfg_attr(feature = "mmap", deny(unsafe_code))]
mod ahead;
mod assemble;
mod batch;
mod carry;
mod checkpoint;
mod close;
mod commit;
mod config;
mod core;
mod create;
mod driver;
mod error;
mod event;
mod format;
pub mod guide;
mod leftover;
mod lsn;
#[cfg(feature = "mmap")]
mod mapped;
mod marks;
#[cfg(feature = "metrics")]
mod metrics;
mod plan;
mod plant;
mod prepare;
#[cfg(any(test, feature = "testing"))]
pub mod probe;
mod read_only;
mod reader;
mod reclaim;
mod recover;
mod replay;
mod report;
mod reserve;
mod scan;
mod scrub;
mod segments;
mod staged;
mod staging;
mod stats;
mod stream;
mod sync;
mod table;
mod tailer;
mod turn;
mod verdict;
pub mod vfs;
mod waiters;
mod wal;
mod width;

/// The example of the README, run as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use batch::Batch;
pub use checkpoint::CheckpointError;
pub use config::{
    Align, Config, ConfigBuilder, ConfigError, Driver, Prealloc, Recovery, TailPolicy,
};
pub use error::{AppendError, FailedOp, Failure, InDoubt, OpenError, ReadError, WriteError};
pub use event::{Event, Events};
pub use lsn::{Ack, Lsn, LsnSpan, Marks, ReadBound, Slot, StreamId};
pub use read_only::WalReader;
pub use reader::{Reader, Record};
pub use report::{Damage, DamageKind, Evidence, Health, RecoveryReport, Replayed, Tail};
pub use scrub::{Pace, Scrub, ScrubCounts, ScrubStep};
pub use staged::{Permit, Reserve, Staged};
pub use stats::Stats;
pub use stream::{Block, BlockInfo, StreamLog};
pub use tailer::Tailer;
pub use turn::Turn;
pub use wal::{Lagging, Shutdown, Wal};

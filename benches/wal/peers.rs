//! The other logs, each behind one closure: append a record as writer so-and-so.

mod plain;
mod raft;
mod stores;

pub(crate) use plain::{
    chunked, commitlog, mrecordlog, nano, okay, open_wal, simple, staged_open_wal, wal_db,
};
pub(crate) use raft::{LogEntry, Raft, raft_engine};
pub(crate) use stores::{WALRUS_DIR, fjall, rusqlite, walrus};

/// The record of most lanes.
pub(crate) const RECORD: [u8; 256] = [7; 256];

/// Whether an append waits for the medium or for the page cache.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Durable,
    Written,
}

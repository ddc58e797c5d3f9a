//! What the log stores of both openraft have in common: commands, the newest entries in memory,
//! and our WAL below them in the durable lane.

use bytes::Bytes;
use quorate_wal::{Ack, Batch, Slot, Staged, StreamId, Wal};
use std::collections::VecDeque;
use std::fmt;
use std::ops::{Bound, RangeBounds};

/// A command. Small ones are kept inline: that is the quickest an openraft user can have them.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Small([u8; 16]),
    Large(Bytes),
}

impl Command {
    pub(crate) fn new(client: u64, number: u64, size: usize) -> Self {
        let mut head = [0; 16];
        head[..8].copy_from_slice(&client.to_le_bytes());
        head[8..].copy_from_slice(&number.to_le_bytes());
        if size <= head.len() {
            return Self::Small(head);
        }
        let mut data = Vec::with_capacity(size);
        data.extend_from_slice(&head);
        data.resize(size, 7);
        Self::Large(data.into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.as_bytes().len())
    }
}

/// Entries in order of their index, without gaps. (openraft's own benchmark has a `BTreeMap` here;
/// a queue is quicker.)
#[derive(Debug)]
pub(crate) struct Window<E> {
    first: u64,
    entries: VecDeque<E>,
}

impl<E> Default for Window<E> {
    fn default() -> Self {
        Self { first: 0, entries: VecDeque::new() }
    }
}

impl<E: Clone> Window<E> {
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn last(&self) -> Option<&E> {
        self.entries.back()
    }

    pub(crate) fn push(&mut self, index: u64, entry: E) {
        if self.entries.is_empty() {
            self.first = index;
        }
        assert_eq!(index, self.end(), "a gap");
        self.entries.push_back(entry);
    }

    pub(crate) fn get(&self, range: &impl RangeBounds<u64>) -> Vec<E> {
        let from = match range.start_bound() {
            Bound::Included(at) => *at,
            Bound::Excluded(at) => at + 1,
            Bound::Unbounded => self.first,
        };
        let to = match range.end_bound() {
            Bound::Included(at) => at + 1,
            Bound::Excluded(at) => *at,
            Bound::Unbounded => self.end(),
        };
        let (from, to) = (from.max(self.first), to.min(self.end()));
        if from >= to {
            return Vec::new();
        }
        let at = |index: u64| (index - self.first) as usize;
        self.entries.range(at(from)..at(to)).cloned().collect()
    }

    /// Drops everything at `from` and above.
    pub(crate) fn truncate(&mut self, from: u64) {
        self.entries.truncate(from.saturating_sub(self.first) as usize);
    }

    /// Drops everything below `keep`.
    pub(crate) fn purge(&mut self, keep: u64) {
        let gone = keep.saturating_sub(self.first).min(self.entries.len() as u64);
        self.entries.drain(..gone as usize);
        self.first += gone;
    }
}

const STREAM: StreamId = StreamId::new(9, 1);
const VOTE: Slot = Slot::new(0).unwrap();

/// Our WAL as a log of openraft: entries appended together are one block in one batch.
#[derive(Debug)]
pub(crate) struct Durable {
    wal: Wal,
    body: Vec<u8>,
    batch: Batch,
    next: u64,
}

/// What is written of an entry.
pub(crate) struct Written<'a> {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) data: &'a [u8],
}

impl Durable {
    pub(crate) fn new(wal: Wal) -> Self {
        Self { wal, body: Vec::new(), batch: Batch::new(), next: 0 }
    }

    /// Stages entries as one block; await what it returns for their being synced. The WAL begins to
    /// write at once, and takes more meanwhile.
    pub(crate) fn append<'a>(&mut self, entries: impl Iterator<Item = Written<'a>>) -> Staged {
        self.body.clear();
        let (mut first, mut last, mut term, mut count) = (None, 0, 0, 0);
        for entry in entries {
            first = first.or(Some(entry.index));
            (last, term, count) = (entry.index, entry.term, count + 1);
            for word in [entry.term, entry.node, entry.data.len() as u64] {
                self.body.extend_from_slice(&word.to_le_bytes());
            }
            self.body.extend_from_slice(entry.data);
        }
        let first = first.expect("an entry at least");
        self.batch.clear();
        if self.next == 0 || first == self.next {
            self.batch.extend(STREAM, first, count, term, &self.body);
        } else {
            self.batch.replace(STREAM, first, count, term, &self.body);
        }
        self.next = last + 1;
        self.stage(Ack::Durable)
    }

    fn stage(&self, ack: Ack) -> Staged {
        match self.wal.stage(&self.batch, ack) {
            Ok(staged) => staged,
            Err(_) => {
                let permit = self.wal.reserve(self.batch.bytes() as u32).wait().expect("room");
                permit.stage(&self.batch, ack).expect("it was reserved")
            }
        }
    }

    /// Writes a vote and syncs it.
    pub(crate) fn vote(&mut self, text: &str) -> Staged {
        self.batch.clear();
        self.batch.meta(STREAM, VOTE, text.as_bytes());
        self.stage(Ack::Durable)
    }

    /// Gives room back; nobody waits for it.
    pub(crate) fn purge(&mut self, keep: u64) {
        self.batch.clear();
        self.batch.keep_from(STREAM, keep);
        drop(self.stage(Ack::Staged));
    }
}

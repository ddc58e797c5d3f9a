//! The parts of the node, pure: who is there, what is stored, how the log is opened.

use quorate_sim::{ChannelId, Monotonic, NodeId, SimVfs};
use quorate_wal::{Config, Driver, Prealloc, ReadBound, Wal};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(super) const STORE: ChannelId = ChannelId::new(16);
pub(super) const BEATS: ChannelId = ChannelId::new(17);
pub(super) const KEYS: [&str; 3] = ["a", "b", "c"];
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(200);

/// Each key has one node.
pub(super) fn owner(key: &str) -> NodeId {
    let at = KEYS.iter().position(|of| *of == key).unwrap();
    NodeId::new(at as u64 + 1)
}

pub(super) fn peers(me: NodeId) -> impl Iterator<Item = NodeId> {
    (1..=3).map(NodeId::new).filter(move |peer| *peer != me)
}

/// Who was heard of lately.
#[derive(Debug)]
pub(super) struct Liveness {
    next: Monotonic,
    heard: BTreeMap<NodeId, Monotonic>,
}

impl Liveness {
    pub(super) fn new(now: Monotonic) -> Self {
        Self { next: now, heard: BTreeMap::new() }
    }

    pub(super) fn handle_message(&mut self, now: Monotonic, from: NodeId) {
        self.heard.insert(from, now);
    }

    /// Time to beat; whether somebody was silent for ten beats, who is forgotten.
    pub(super) fn handle_timeout(&mut self, now: Monotonic) -> bool {
        self.next = now.saturating_add(BEAT_EVERY);
        let before = self.heard.len();
        self.heard.retain(|_, heard| now.since(*heard) < 10 * BEAT_EVERY);
        self.heard.len() < before
    }

    pub(super) const fn poll_timeout(&self) -> Monotonic {
        self.next
    }
}

/// What the keys hold, each with the place in the log that says so.
#[derive(Debug, Default)]
pub(super) struct Store {
    values: BTreeMap<String, (u64, String)>,
}

impl Store {
    /// Applies a record of the log; an older one than was applied changes nothing.
    pub(super) fn apply(&mut self, lsn: u64, record: &[u8]) {
        let record = std::str::from_utf8(record).unwrap();
        let (key, value) = record.split_once(' ').unwrap();
        let held = self.values.entry(key.to_owned()).or_default();
        if lsn > held.0 {
            *held = (lsn, value.to_owned());
        }
    }

    pub(super) fn read(&self, key: &str) -> String {
        self.values.get(key).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// Opens the log and reads what it holds.
pub(super) fn open(
    vfs: SimVfs,
    wake: impl Fn() + Send + Sync + 'static,
) -> Result<(Wal, Store), String> {
    let config = Config::embedded()
        .segment_bytes(64 << 10)
        .batch_bytes_max(4 << 10)
        .staged_bytes_max(32 << 10)
        .prealloc(Prealloc::Reserve)
        .driver(Driver::manual(wake))
        .build()
        .unwrap();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let opened = Wal::open_on(Arc::new(vfs), Path::new("log"), config, None);
    let (wal, report) = opened.map_err(|error| text(&error))?;
    let mut store = Store::default();
    for record in wal.read(report.first, ReadBound::Durable) {
        let record = record.map_err(|error| text(&error))?;
        store.apply(record.lsn.as_u64(), &record.bytes);
    }
    Ok((wal, store))
}

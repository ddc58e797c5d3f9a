//! The logs, each behind the same few verbs.

use protobuf::descriptor::UninterpretedOption;
use quorate_wal::{Config, Lsn, ReadBound, Tail, Wal};
use raft_engine::{Engine, LogBatch, MessageExt, ReadableSize};
use std::path::Path;

/// What a log says when it is opened and read.
pub(crate) enum Said {
    /// Opening or reading answered an error.
    Refused,
    /// The records, in order, and what the open told about those that are missing.
    Read { records: Vec<Vec<u8>>, told: Told },
}

/// What an open tells of records that are gone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// Something was cut off, acknowledged or not.
    Cut,
    /// Records from this position on may be gone (counted from 0).
    From(u64),
}

/// An open log.
pub(crate) trait Log {
    /// Appends; `Ok` is durable.
    fn append(&mut self, record: &[u8]) -> bool;
}

pub(crate) trait Subject {
    fn name(&self) -> &'static str;
    /// A log to append to; `None` if it does not open.
    fn open(&self, dir: &Path) -> Option<Box<dyn Log>>;
    /// Opens and reads everything, and closes.
    fn read(&self, dir: &Path) -> Said;
}

pub(crate) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Ours),
        Box::new(RaftEngine),
        Box::new(WalDb(false)),
        Box::new(WalDb(true)),
        Box::new(OpenWal),
    ]
}

/// Small, so that there are several segments.
const SEGMENT: u64 = 16 << 10;

struct Ours;

impl Ours {
    fn wal(dir: &Path) -> Option<(Wal, quorate_wal::RecoveryReport)> {
        let config = Config::embedded().segment_bytes(SEGMENT).batch_bytes_max(4 << 10);
        let config = config.staged_bytes_max(16 << 10).verify_threads(1).build();
        Wal::open(dir, config.expect("in range")).ok()
    }
}

struct OursLog(Wal);

impl Log for OursLog {
    fn append(&mut self, record: &[u8]) -> bool {
        self.0.append_blocking(record).is_ok()
    }
}

impl Subject for Ours {
    fn name(&self) -> &'static str {
        "quorate-wal"
    }

    fn open(&self, dir: &Path) -> Option<Box<dyn Log>> {
        Some(Box::new(OursLog(Self::wal(dir)?.0)))
    }

    fn read(&self, dir: &Path) -> Said {
        let Some((wal, report)) = Self::wal(dir) else { return Said::Refused };
        let mut records = Vec::new();
        for record in wal.read(Lsn::new(1), ReadBound::Durable) {
            let Ok(record) = record else { return Said::Refused };
            records.push(record.bytes.to_vec());
        }
        let told = match report.tail {
            Tail::Unverifiable { lsns } => Told::From(lsns.from.as_u64() - 1),
            // It is said to be provably unacknowledged: a claim, and no excuse.
            _ => Told::Nothing,
        };
        Said::Read { records, told }
    }
}

struct RaftEngine;

struct Entry;

impl MessageExt for Entry {
    type Entry = UninterpretedOption;

    fn index(entry: &Self::Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

struct RaftLog(Engine, u64);

impl Log for RaftLog {
    fn append(&mut self, record: &[u8]) -> bool {
        let mut entry = UninterpretedOption::new();
        entry.set_positive_int_value(self.1);
        entry.set_string_value(record.to_vec());
        self.1 += 1;
        let mut batch = LogBatch::default();
        batch.add_entries::<Entry>(1, &[entry]).is_ok() && self.0.write(&mut batch, true).is_ok()
    }
}

impl RaftEngine {
    fn engine(dir: &Path) -> Option<Engine> {
        let config = raft_engine::Config {
            dir: dir.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize(SEGMENT),
            recovery_threads: 1,
            ..raft_engine::Config::default()
        };
        Engine::open(config).ok()
    }
}

impl Subject for RaftEngine {
    fn name(&self) -> &'static str {
        "raft-engine 0.4.2"
    }

    fn open(&self, dir: &Path) -> Option<Box<dyn Log>> {
        let engine = Self::engine(dir)?;
        let next = engine.last_index(1).map_or(1, |last| last + 1);
        Some(Box::new(RaftLog(engine, next)))
    }

    fn read(&self, dir: &Path) -> Said {
        let Some(engine) = Self::engine(dir) else { return Said::Refused };
        let (first, last) = (engine.first_index(1), engine.last_index(1));
        let mut entries: Vec<UninterpretedOption> = Vec::new();
        if let (Some(first), Some(last)) = (first, last) {
            let fetched = engine.fetch_entries_to::<Entry>(1, first, last + 1, None, &mut entries);
            if fetched.is_err() {
                return Said::Refused;
            }
        }
        let records = entries.iter().map(|e| e.get_string_value().to_vec()).collect();
        Said::Read { records, told: Told::Nothing }
    }
}

/// As it comes, or with its strict open.
struct WalDb(bool);

type Segmented = wal_db::Wal<wal_db::SegmentedStore>;

impl WalDb {
    fn wal(&self, dir: &Path) -> Option<Segmented> {
        let mut config = wal_db::WalConfig::new();
        if self.0 {
            config = config.with_open_policy(wal_db::OpenPolicy::Strict);
        }
        Segmented::open_segmented_with(dir, SEGMENT, config).ok()
    }
}

struct WalDbLog(Segmented);

impl Log for WalDbLog {
    fn append(&mut self, record: &[u8]) -> bool {
        self.0.append_and_sync(record).is_ok()
    }
}

impl Subject for WalDb {
    fn name(&self) -> &'static str {
        if self.0 { "wal-db 1.1.0, strict open" } else { "wal-db 1.1.0" }
    }

    fn open(&self, dir: &Path) -> Option<Box<dyn Log>> {
        Some(Box::new(WalDbLog(self.wal(dir)?)))
    }

    fn read(&self, dir: &Path) -> Said {
        let Some(wal) = self.wal(dir) else { return Said::Refused };
        let Ok(found) = wal.iter() else { return Said::Refused };
        let mut records = Vec::new();
        for record in found {
            let Ok(record) = record else { return Said::Refused };
            records.push(record.into_data());
        }
        let told = if wal.truncated_on_open() > 0 { Told::Cut } else { Told::Nothing };
        Said::Read { records, told }
    }
}

struct OpenWal;

struct OpenWalLog(open_wal::Wal);

impl Log for OpenWalLog {
    fn append(&mut self, record: &[u8]) -> bool {
        self.0.append(record).is_ok() && self.0.commit().is_ok()
    }
}

impl OpenWal {
    fn wal(dir: &Path) -> Option<(open_wal::Wal, open_wal::RecoveryReport)> {
        let config = open_wal::WalConfig { segment_size: SEGMENT, max_record_size: 4 << 10 };
        open_wal::Wal::open(dir, config).ok()
    }
}

impl Subject for OpenWal {
    fn name(&self) -> &'static str {
        "open-wal 0.2.1"
    }

    fn open(&self, dir: &Path) -> Option<Box<dyn Log>> {
        Some(Box::new(OpenWalLog(Self::wal(dir)?.0)))
    }

    fn read(&self, dir: &Path) -> Said {
        let Some((wal, report)) = Self::wal(dir) else { return Said::Refused };
        let Ok(mut reader) = wal.reader_from(open_wal::Lsn(0)) else { return Said::Refused };
        let mut records = Vec::new();
        while let Some(record) = reader.next() {
            let Ok((_, bytes)) = record else { return Said::Refused };
            records.push(bytes.to_vec());
        }
        let cut = report.tail_state != open_wal::TailState::Clean;
        Said::Read { records, told: if cut { Told::Cut } else { Told::Nothing } }
    }
}

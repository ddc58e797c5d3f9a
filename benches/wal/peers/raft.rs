//! raft-engine 0.4.2: many groups in one log; `write(batch, true)`, compression off.

use super::{RECORD, Wait};
use protobuf::descriptor::UninterpretedOption;
use quorate_benches::crew::Op;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A protobuf message with a number and bytes, which is what its entries must be.
pub(crate) struct LogEntry;

impl LogEntry {
    pub(crate) fn of(index: u64, bytes: &[u8]) -> UninterpretedOption {
        let mut entry = UninterpretedOption::new();
        entry.set_positive_int_value(index);
        entry.set_string_value(bytes.to_vec());
        entry
    }
}

impl MessageExt for LogEntry {
    type Entry = UninterpretedOption;

    fn index(entry: &Self::Entry) -> u64 {
        entry.get_positive_int_value()
    }
}

pub(crate) struct Raft {
    pub(crate) engine: Engine,
}

impl Raft {
    pub(crate) fn open(dir: &Path) -> Self {
        let config = Config {
            dir: dir.to_string_lossy().into_owned(),
            batch_compression_threshold: ReadableSize(0),
            target_file_size: ReadableSize::mb(64),
            ..Config::default()
        };
        Self { engine: Engine::open(config).expect("raft-engine opens") }
    }
}

/// Each writer has a region of its own, as its users have.
pub(crate) fn raft_engine(dir: &Path, wait: Wait) -> Op {
    let raft = Raft::open(dir);
    let writers: Vec<_> = (0..64).map(|_| Mutex::new((LogBatch::default(), 1_u64))).collect();
    Arc::new(move |writer| {
        let mut state = writers[writer].lock().expect("no panic under it");
        let (batch, index) = &mut *state;
        let entry = LogEntry::of(*index, &RECORD);
        batch.add_entries::<LogEntry>(writer as u64 + 1, &[entry]).expect("fits");
        raft.engine.write(batch, wait == Wait::Durable).expect("written");
        *index += 1;
    })
}

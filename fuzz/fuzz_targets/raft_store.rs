//! Any bytes as the records beside a log, hard state and start, and as a block in it: the log is
//! opened or refused, without a panic; what is opened is opened alike again.
//!
//! First byte: which of the three is given, and whether its checksum is mended.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_raft::{GroupId, LogStore as _, Owner, WalLog};
use quorate_transport::{ClusterId, NodeId};
use quorate_wal::vfs::MemVfs;
use quorate_wal::{Batch, Config, Slot, StreamId, Wal};
use std::path::Path;
use std::sync::Arc;

const GROUP: GroupId = GroupId::new(1);
const STREAM: StreamId = StreamId::new(1, 1);

/// The last four bytes are the checksum of the others.
fn mend(record: &mut [u8]) {
    if let Some(at) = record.len().checked_sub(4) {
        let crc = crc32fast::hash(&record[..at]);
        record[at..].copy_from_slice(&crc.to_le_bytes());
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes[..bytes.len().min(4 << 10)].to_vec();
    if how & 4 != 0 {
        mend(&mut bytes);
    }
    let config = Config::embedded().segment_bytes(64 << 10).batch_bytes_max(16 << 10);
    let config = config.staged_bytes_max(64 << 10).build().expect("within its ranges");
    let disk = Arc::new(MemVfs::new());
    let (wal, _) = Wal::open_on(disk, Path::new("log"), config, None).expect("an empty disk");
    let owner = Owner::new(ClusterId::new(7), NodeId::new(1));
    let mut log = WalLog::new(wal.clone());
    log.open(GROUP, owner).expect("a new log");
    let mut batch = Batch::new();
    match how & 3 {
        slot @ 0..2 => batch.meta(STREAM, Slot::new(slot).expect("a slot"), &bytes),
        _ => batch.extend(STREAM, 1, 1, 1, &bytes),
    };
    if wal.commit_blocking(&batch).is_err() {
        return; // the log has limits of its own
    }
    let opened = log.open(GROUP, owner);
    let again = log.open(GROUP, owner);
    assert_eq!(format!("{opened:?}"), format!("{again:?}"));
});

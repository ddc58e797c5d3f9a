//! Any bytes as a snapshot file that arrives: refused, or complete; what is complete can be read
//! to its end, sessions and state, without a panic.
//!
//! First byte: whether the trailer is mended.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_raft::{
    LogId, Membership, MemorySnapshots, SnapshotMeta, SnapshotStore as _, read_machine,
    read_sessions,
};
use std::io::Read as _;

/// Length, checksum, magic: the last 16 bytes.
fn mend(file: &mut [u8]) {
    let len = file.len() as u64;
    let Some(at) = file.len().checked_sub(16) else { return };
    let (content, trailer) = file.split_at_mut(at);
    trailer[..8].copy_from_slice(&len.to_le_bytes());
    trailer[8..12].copy_from_slice(&crc32fast::hash(content).to_le_bytes());
    trailer[12..].copy_from_slice(b"QRSF");
}

fuzz_target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 != 0 {
        mend(&mut bytes);
    }
    // The receiver was promised this one; other bits of the first byte say which.
    let last = LogId::new(u64::from(how >> 1 & 7), u64::from(how >> 4));
    let mut store = MemorySnapshots::new();
    let id = SnapshotMeta::new(last, Membership::default());
    let mut receiver = store.receive(&id).expect("memory takes everything");
    for piece in bytes.chunks(1 << 10) {
        receiver.write(piece).expect("memory takes everything");
    }
    let Ok(meta) = receiver.finish() else {
        assert_eq!(store.latest().expect("readable"), None, "refused means not there");
        return;
    };
    assert_eq!(meta.last, last);
    let file = store.open(&meta).expect("it was accepted");
    let _ = read_sessions(&*file);
    if let Ok(mut state) = read_machine(&*file) {
        let mut content = Vec::new();
        let _ = state.read_to_end(&mut content);
        assert!(content.len() <= bytes.len(), "a state is no longer than its file");
    }
});

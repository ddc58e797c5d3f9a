//! Any bytes as a block of the log: no panic; what is accepted is these bytes, counts what it says,
//! and each part of it is a block again.
//!
//! First byte: whether the checksums are mended, which would refuse nearly everything.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use quorate_raft::{Block, EntryKind, Limits, LogIndex};

/// Length and checksums of FORMAT.md, as if a writer had put them there.
fn mend(block: &mut [u8]) {
    if block.len() < 64 {
        return;
    }
    let (head, entries) = block.split_at_mut(64);
    head[52..56].copy_from_slice(&(entries.len() as u32).to_le_bytes());
    head[56..60].copy_from_slice(&crc32fast::hash(entries).to_le_bytes());
    let crc = crc32fast::hash(&head[..60]);
    head[60..].copy_from_slice(&crc.to_le_bytes());
}

fuzz_target!(|data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let mut bytes = bytes.to_vec();
    if how & 1 != 0 {
        mend(&mut bytes);
    }
    let limits = Limits::default().entry_bytes_max(1 << 16).block_bytes_max(1 << 20);
    let bytes = Bytes::from(bytes);
    let Ok(block) = Block::decode(bytes.clone(), &limits) else { return };
    assert_eq!(block.as_bytes(), &bytes);
    let (prefix, len) = Block::decode_prefix(&bytes, &limits).expect("it was accepted whole");
    assert_eq!((prefix, len), (block.clone(), bytes.len()));
    let entries: Vec<_> = block.iter().collect();
    assert_eq!(entries.len(), block.count() as usize);
    for entry in &entries {
        let is_change = entry.kind == EntryKind::Conf;
        assert!(is_change || entry.body().is_some(), "checked when the block was");
    }
    let middle = LogIndex::new(block.first().value() + u64::from(block.count() / 2));
    let parts = [block.prefix(middle), block.suffix(middle)];
    for part in parts.into_iter().flatten() {
        let again = Block::decode(part.as_bytes().clone(), &limits);
        assert_eq!(again.as_ref(), Ok(&part));
    }
});

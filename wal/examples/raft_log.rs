//! The log of a Raft group as a stream: append, conflict, compaction, boot.

use std::error::Error;
use std::path::Path;

use quorate_wal::{Ack, Batch, Config, Slot, StreamId, Tail, Wal};

/// Writes the log of group 1 and reads it back as a restarted node would.
pub(crate) fn run(dir: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let config = Config::embedded().build()?;
    let group = StreamId::new(1, 1);
    let vote = Slot::new(0).ok_or("slots are 0 to 15")?;
    let (wal, _) = Wal::open(dir, config.clone())?;
    let mut batch = Batch::new();

    // Entries and hard state in one atomic batch; many groups would share it and its fsync.
    batch.extend(group, 1, 4, 1, b"entries 1 to 4, term 1").meta(group, vote, b"1:1");
    let staged = wal.stage(&batch, Ack::Durable)?; // does not block
    staged.wait()?; // or .await, or poll_durable

    // A new leader replaces the conflicting suffix; the old block is cut at index 4.
    batch.clear();
    batch.replace(group, 4, 2, 2, b"entries 4 and 5, term 2").meta(group, vote, b"2:2");
    wal.commit_blocking(&batch)?;

    // A snapshot covers entries 1 and 2 and is durable: give them up.
    batch.clear();
    batch.keep_from(group, 3);
    wal.commit_blocking(&batch)?;
    wal.shutdown().wait()?;

    // Boot: bounds, metadata, blocks.
    let (wal, report) = Wal::open(dir, config)?;
    assert_eq!(report.tail, Tail::Clean);
    let mut lines = Vec::new();
    for id in wal.streams(1) {
        let stream = wal.stream(id);
        let bounds = stream.bounds();
        let state = stream.meta(vote).ok_or("the vote was stored")?;
        let state = String::from_utf8(state.to_vec())?;
        let (term, node) = state.split_once(':').ok_or("term:node")?;
        let (at, number) = (format!("{bounds:?}"), id.id());
        lines.push(format!("group {number}: entries {at}, vote for node {node} in term {term}"));
        let mut blocks = Vec::new();
        let mut next = bounds.start;
        while next < bounds.end {
            next = stream.read(next..bounds.end, 1 << 20, &mut blocks)?;
        }
        for block in blocks {
            lines.push(format!("entries {:?} of term {}", block.live, block.tag));
        }
    }
    Ok(lines)
}

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("qwal-raft-{}", std::process::id()));
    for line in run(&dir)? {
        println!("{line}");
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

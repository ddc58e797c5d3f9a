//! What is still needed of an old segment, thing by thing.

use crate::batch::{EntriesOp, Op};
use crate::lsn::{Slot, StreamId};
use crate::plant::planted;
use crate::table::{BlockRef, Table};

/// One thing to be written again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leftover {
    Block { stream: StreamId, block: BlockRef },
    Cell { stream: StreamId, slot: Slot, seq: u64 },
    Low { stream: StreamId, seq: u64 },
}

impl Table {
    /// What streams still need of the segment, of at most about `bytes` together.
    ///
    /// Cost: looks at every stream.
    pub(crate) fn leftovers(&self, seq: u64, bytes: u64) -> Vec<Leftover> {
        let mut found = Vec::new();
        let mut sum = 0;
        for (&stream, s) in &self.streams {
            if s.hint_seq == Some(seq) {
                found.push(Leftover::Low { stream, seq });
            }
            for cell in s.cells.iter().filter(|c| c.seq == seq) {
                if let Some(slot) = Slot::new(cell.slot) {
                    found.push(Leftover::Cell { stream, slot, seq });
                    sum += cell.bytes.len() as u64;
                }
            }
            for block in s.blocks.iter().filter(|b| b.seq == seq) {
                found.push(Leftover::Block { stream, block: *block });
                sum += u64::from(block.len);
            }
            if sum >= bytes {
                break;
            }
        }
        found
    }

    /// The operation that writes it again, if it is still needed there; `len`: of its bytes.
    pub(crate) fn still(&self, left: &Leftover, len: usize) -> Option<Op> {
        match *left {
            Leftover::Block { stream, block } => {
                let BlockRef { first, tag, count, .. } = block;
                let kept = if planted("carried_after_truncate") {
                    block.kept
                } else {
                    let s = self.streams.get(&stream)?;
                    let at = s.blocks.partition_point(|b| b.first < first);
                    let now = s
                        .blocks
                        .get(at)
                        .filter(|b| b.first == first && b.spot() == block.spot())?;
                    now.kept
                };
                let (replace, carried, at) = (false, Some(kept), 0);
                let op = EntriesOp { stream, replace, carried, first, count, tag, at, len };
                Some(Op::Entries(op))
            }
            Leftover::Cell { stream, slot, seq } => {
                let cells = &self.streams.get(&stream)?.cells;
                cells.iter().find(|c| c.slot == slot.as_u8() && c.seq == seq)?;
                Some(Op::Meta { stream, slot, carried: true, at: 0, len })
            }
            Leftover::Low { stream, seq } => {
                let s = self.streams.get(&stream)?;
                (s.hint_seq == Some(seq)).then_some(Op::Keep { stream, low: s.low })
            }
        }
    }
}

//! Rebuilding the table and the index from verified frames, in order.

use bytes::Bytes;

use crate::ahead::Ahead;
use crate::format::Unsupported;
use crate::format::frame::FrameKind;
use crate::format::record::{Entries, Hole, Record};
use crate::lsn::{Lsn, LsnSpan};
use crate::report::Replayed;
use crate::scan::Frame;
use crate::segments::INDEX_STEP;
use crate::table::{BlockRef, Spot, Table};
use crate::verdict::Sink;
use crate::width::off;

/// A function that is shown every operation.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(Replayed<'_>);

/// The sink of a real open.
pub(crate) struct Replay<'a> {
    pub(crate) table: Table,
    /// Frames for the sparse index: segment, first number, offset, whether to index always.
    pub(crate) index: Vec<(u64, u64, u32, bool)>,
    /// Damage that was accepted earlier.
    pub(crate) accepted: Vec<Hole>,
    visit: Option<Visit<'a>>,
    last: (u64, u32),
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<'a> Replay<'a> {
    pub(crate) fn new(main_low: u64, visit: Option<Visit<'a>>) -> Self {
        let mut table = Table::new();
        table.main_low = table.main_low.max(main_low);
        Self { table, index: Vec::new(), accepted: Vec::new(), visit, last: (0, 0) }
    }

    fn show(&mut self, op: Replayed<'_>) {
        if let Some(visit) = &mut self.visit {
            visit(op);
        }
    }

    /// Applies one operation; `len`: of its bytes, which a block verified ahead has no longer.
    fn record(&mut self, record: Record<'_>, len: u32, spot: Spot) {
        let lsn = Lsn::new(spot.lsn);
        match record {
            Record::Data { bytes } => {
                self.table.put_main(spot.lsn, spot.seq);
                if spot.lsn >= self.table.main_low {
                    self.show(Replayed::Record { lsn, bytes });
                }
            }
            Record::Entries(entries) => self.block(&entries, len, spot),
            Record::Meta { stream, back, slot, bytes, .. } => {
                self.table.judge_back(stream, spot.lsn, back, None);
                self.table.put_meta(stream, spot, slot, Bytes::copy_from_slice(bytes));
                self.show(Replayed::Meta { lsn, stream, slot, bytes });
            }
            Record::Drop { stream, .. } => {
                self.table.drop_stream(stream);
                self.show(Replayed::Dropped { lsn, stream });
            }
            Record::TruncateSuffix { from } => {
                self.table.cut_main(from, spot.lsn);
                self.show(Replayed::Cut { lsn, from: Lsn::new(from) });
            }
            Record::Hole(hole) => {
                self.table.accept_hole(hole.from_lsn);
                self.accepted.push(hole);
            }
            Record::KeepStream { stream, low } => {
                self.table.replay_keep(stream, low, spot.seq);
                self.show(Replayed::KeepFrom { stream, low });
            }
            Record::KeepMain { low } => self.table.keep_main(low),
            Record::High { lsn } => self.table.high = self.table.high.max(lsn),
        }
    }

    fn block(&mut self, entries: &Entries<'_>, len: u32, spot: Spot) {
        let Entries { replace, carried, stream, back, first, count, tag, bytes } = *entries;
        let kept = carried.unwrap_or(count);
        let Spot { lsn, seq, offset } = spot;
        let block = BlockRef { first, tag, lsn, seq, offset, count, kept, len };
        let is_next = !replace && carried.is_none() && self.table.replay_next(stream, block, back);
        if !is_next {
            // Where a carried block stands says nothing about what came before it.
            self.table.judge_back(stream, spot.lsn, back, carried.is_none().then_some(first));
            if carried.is_some() {
                self.table.fill_block(stream, block);
            } else {
                self.table.put_block(stream, block, replace);
            }
        }
        let lsn = Lsn::new(spot.lsn);
        self.show(Replayed::Block { lsn, stream, replace, carried, first, count, tag, bytes });
    }
}

impl Sink for Replay<'_> {
    fn frame(&mut self, seq: u64, frame: &Frame<'_>, restart: bool) -> Result<(), Unsupported> {
        let mut lsn = frame.header.first_lsn;
        if self.table.first_lsn == 0 {
            self.table.first_lsn = lsn;
        }
        if frame.header.kind == FrameKind::Data {
            let far = self.last.0 != seq || frame.offset >= self.last.1 + INDEX_STEP;
            if far || restart {
                self.index.push((seq, lsn, frame.offset, restart));
                self.last = (seq, frame.offset);
            }
        }
        if frame.plain && self.visit.is_none() {
            self.table.put_main(frame.last_lsn(), seq);
            return Ok(());
        }
        // The scan has checked that every record can be read.
        for record in frame.records().flatten() {
            let spot = Spot { lsn, seq, offset: frame.offset };
            let len = match record {
                Record::Entries(Entries { bytes, .. }) => off(bytes.len()),
                _ => 0,
            };
            self.record(record, len, spot);
            lsn += u64::from(record.has_lsn());
        }
        Ok(())
    }

    fn run(&mut self, seq: u64, run: &Ahead) -> Result<(), Unsupported> {
        if self.table.first_lsn == 0 && run.stop.at > run.cursor.at {
            self.table.first_lsn = run.cursor.lsn;
        }
        for &(lsn, offset) in &run.index {
            self.index.push((seq, lsn, offset, false));
            self.last = (seq, offset);
        }
        if let Some(lsn) = run.main_last {
            self.table.put_main(lsn, seq);
        }
        for note in &run.notes {
            let spot = Spot { lsn: note.lsn, seq, offset: note.offset };
            self.record(note.record(), note.len, spot);
        }
        Ok(())
    }

    fn hole(&mut self, lost: LsnSpan) {
        if self.table.first_lsn == 0 {
            self.table.first_lsn = lost.from.as_u64();
        }
        if !lost.is_empty() {
            self.table.holes.push(lost);
        }
    }
}

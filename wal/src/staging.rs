//! The staging buffer: records are encoded and placed here, under one short lock; checksums and
//! I/O come later, outside it.

use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{COUNT_MAX, EntriesOp, INDEX_MAX, META_MAX, OPS_MAX, Op};
use crate::config::Config;
use crate::error::{Failure, WriteError};
use crate::format::frame::{FRAME_HEADER, FrameKind, LINK_FRAME};
use crate::format::record::{Entries, Record};
use crate::format::segment::HEADER_BYTES;
use crate::leftover::Leftover;
use crate::lsn::{Ack, LsnSpan, StreamId};
use crate::plan::{Class, Plan, Room, Spare};
use crate::plant::planted;
use crate::table::{BlockRef, Spot, Table};
use crate::width::{off, pad8, wide};

/// The most streams in one log.
const STREAMS_MAX: usize = 1 << 20;
/// The most live blocks in one stream.
const BLOCKS_MAX: usize = 1 << 20;

/// The most that a batch takes in the buffer beside its records: a header, padding, and at a roll
/// the End of one segment and the Link of the next. Padding before the End comes on top.
const OVERHEAD: usize = FRAME_HEADER + 8 + FRAME_HEADER + LINK_FRAME;

/// A frame in the buffer; its header is filled in at commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) kind: FrameKind,
    /// Of the header, in the buffer.
    pub(crate) start: usize,
    pub(crate) len: usize,
    pub(crate) records: u16,
    pub(crate) first_lsn: u64,
    pub(crate) lsns: u32,
}

/// Frames that go into one segment with one write; 40 bytes for End follow the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) seq: u64,
    /// In the file.
    pub(crate) offset: u32,
    /// In the buffer.
    pub(crate) start: usize,
    /// Index of the first frame.
    pub(crate) frames: usize,
    pub(crate) is_roll: bool,
}

/// Everything staged at one moment.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) buf: Vec<u8>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) parts: Vec<Part>,
    pub(crate) ticket: u64,
    pub(crate) last_lsn: u64,
    pub(crate) sync: bool,
    pub(crate) main_low: u64,
    /// The low mark goes to MANIFEST with this group: there was no room for its hint.
    pub(crate) mark: bool,
    pub(crate) batches: u64,
    /// Operations, and the bytes users gave for them.
    pub(crate) records: u64,
    pub(crate) payload: u64,
}

impl Group {
    pub(crate) fn clear(&mut self) {
        self.buf.clear();
        self.slots.clear();
        self.parts.clear();
    }
}

/// Whether writes are taken.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    Open,
    Damaged,
    /// Damage is being accepted: segments are prepared, writes are still refused.
    Accepting,
    Poisoned(Arc<Failure>),
    Closed,
}

/// What staging gave a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) ticket: u64,
    pub(crate) lsns: LsnSpan,
    pub(crate) lsn: u64,
    pub(crate) rolled: bool,
}

#[derive(Debug)]
pub(crate) struct Staging {
    group: Group,
    open: bool,
    pub(crate) plan: Plan,
    pub(crate) table: Table,
    pub(crate) gate: Gate,
    pub(crate) next_lsn: u64,
    pub(crate) ticket: u64,
    /// Batches of users since the log was opened.
    pub(crate) accepted: u64,
    /// Bytes taken by the leader and not yet written.
    pub(crate) inflight: usize,
    /// Most bytes taken by a leader at once.
    pub(crate) peak: usize,
    /// Bytes set aside for permits.
    promised: usize,
    /// Preparation failed for lack of space.
    pub(crate) no_space: bool,
    /// A number somebody waits to be durable.
    pub(crate) wanted_lsn: u64,
    frame_bytes: usize,
    batch_max: usize,
    staged_max: usize,
}

impl Staging {
    pub(crate) fn new(config: &Config, plan: Plan, table: Table, next_lsn: u64) -> Self {
        Self {
            group: Group::default(),
            open: false,
            plan,
            table,
            gate: Gate::Open,
            next_lsn,
            ticket: 0,
            accepted: 0,
            inflight: 0,
            peak: 0,
            promised: 0,
            no_space: false,
            wanted_lsn: 0,
            frame_bytes: config.frame_bytes,
            batch_max: config.batch_bytes_max,
            staged_max: config.staged_bytes_max,
        }
    }

    /// Sets room aside for a batch of `worst` bytes.
    pub(crate) fn promise(&mut self, worst: usize) -> Result<(), WriteError> {
        self.check_gate()?;
        self.check_size(worst)?;
        if !self.plan.promise(worst) {
            return Err(self.no_room(worst));
        }
        self.promised += worst + self.overhead();
        Ok(())
    }

    /// Gives room that was set aside back.
    pub(crate) fn redeem(&mut self, worst: usize) {
        self.plan.redeem(worst);
        self.promised = self.promised.saturating_sub(worst + self.overhead());
    }

    const fn overhead(&self) -> usize {
        OVERHEAD + self.plan.slack()
    }

    /// Bytes staged and not written.
    pub(crate) fn staged(&self) -> usize {
        self.group.buf.len() + self.inflight
    }

    pub(crate) fn check_gate(&self) -> Result<(), WriteError> {
        match &self.gate {
            Gate::Open => Ok(()),
            Gate::Damaged | Gate::Accepting => Err(WriteError::Damaged),
            Gate::Poisoned(failure) => Err(WriteError::Poisoned(Arc::clone(failure))),
            Gate::Closed => Err(WriteError::Closed),
        }
    }

    /// Whether a batch of this size can ever be taken, and can be now.
    pub(crate) fn check_size(&self, worst: usize) -> Result<(), WriteError> {
        if worst > self.batch_max {
            return Err(WriteError::TooLarge { bytes: wide(worst), max: wide(self.batch_max) });
        }
        if self.staged() + self.promised + worst + self.overhead() > self.staged_max {
            return Err(self.busy());
        }
        Ok(())
    }

    fn busy(&self) -> WriteError {
        WriteError::Busy { staged: wide(self.staged()), max: wide(self.staged_max) }
    }

    /// The answer when the plan has no room.
    pub(crate) fn no_room(&self, worst: usize) -> WriteError {
        if self.no_space { WriteError::NoSpace { needed: wide(worst) } } else { self.busy() }
    }

    /// Takes a batch of a user; all of it or nothing. Uses no number if it is refused (G8).
    pub(crate) fn stage(
        &mut self,
        ops: &[Op],
        data: &[u8],
        worst: usize,
        ack: Ack,
    ) -> Result<Given, WriteError> {
        let given = self.place(ops, data, worst, ack)?;
        self.accepted += 1;
        Ok(given)
    }

    /// Encodes and places a batch.
    fn place(
        &mut self,
        ops: &[Op],
        data: &[u8],
        worst: usize,
        ack: Ack,
    ) -> Result<Given, WriteError> {
        self.check_gate()?;
        // A record alone cannot break a rule of streams or of batches.
        let is_plain = matches!(ops, [Op::Record { .. }]);
        if !is_plain {
            check_ops(ops)?;
        }
        self.check_size(worst)?;
        if self.next_lsn + wide(ops.len()) >= 1 << 63 {
            return Err(WriteError::Invalid { op: "stage", why: "record numbers are used up" });
        }
        if !is_plain {
            self.check_limits(ops)?;
            self.table.check(ops)?;
        }
        let rolled = self.make_room(ops, worst)?;
        let first = self.next_lsn;
        for op in ops {
            self.encode(op, data);
        }
        self.close_plan();
        self.ticket += 1;
        self.group.batches += 1;
        self.group.records += wide(ops.len());
        self.group.payload += wide(data.len());
        self.group.sync |= ack == Ack::Durable;
        #[cfg(debug_assertions)]
        if ops.len() > 1 && self.table.streams.len() < 16 {
            self.table.check_invariants();
        }
        let lsn = self.next_lsn - 1;
        let lsns = LsnSpan::new(crate::Lsn::new(first), Some(crate::Lsn::new(lsn)));
        Ok(Given { ticket: self.ticket, lsns, lsn, rolled })
    }

    fn check_limits(&self, ops: &[Op]) -> Result<(), WriteError> {
        let invalid = |why| Err(WriteError::Invalid { op: "stage", why });
        if self.table.streams.len() + ops.len() > STREAMS_MAX {
            let new = |op: &Op| stream_of(op).is_some_and(|s| !self.table.streams.contains_key(&s));
            if ops.iter().filter(|op| new(op)).count() + self.table.streams.len() > STREAMS_MAX {
                return invalid("more than 1,048,576 streams");
            }
        }
        if self.table.most_blocks + ops.len() > BLOCKS_MAX
            && self.table.most_after(ops) > BLOCKS_MAX
        {
            return invalid("more than 1,048,576 blocks in a stream");
        }
        for op in ops {
            if let Op::TruncateSuffix { from } = *op {
                self.check_cut(from)?;
            }
        }
        Ok(())
    }

    fn check_cut(&self, from: u64) -> Result<(), WriteError> {
        let invalid = |why| Err(WriteError::Invalid { op: "truncate_suffix", why });
        if from < self.table.main_low.max(1) {
            return invalid("below the low mark");
        }
        if from <= self.table.high {
            return invalid("at or below the high-water mark");
        }
        if from > self.next_lsn {
            return invalid("above the end");
        }
        Ok(())
    }

    /// Makes the last frame of the buffer one that takes `worst` more bytes.
    fn make_room(&mut self, ops: &[Op], worst: usize) -> Result<bool, WriteError> {
        let class = class_of(ops);
        if self.open && self.grows(ops.len(), worst, class) {
            return Ok(false);
        }
        let frame = FRAME_HEADER + pad8(worst);
        let Some(room) = self.plan.room(frame, class) else { return Err(self.no_room(worst)) };
        self.close();
        let rolled = matches!(room, Room::Roll(_));
        if let Room::Roll(next) = room {
            self.roll(next);
        }
        if self.group.parts.is_empty() {
            self.begin_part(false);
        }
        self.push_slot(FrameKind::Data, 0);
        self.open = true;
        Ok(rolled)
    }

    fn grows(&self, ops: usize, worst: usize, class: Class) -> bool {
        let Some(last) = self.group.slots.last() else { return false };
        let bytes = last.len + worst;
        let (Some(part), records) = (self.group.parts.last(), usize::from(last.records)) else {
            return false;
        };
        let start = part.offset + off(last.start - part.start);
        bytes <= self.frame_bytes
            && records + ops <= OPS_MAX
            && self.plan.may_grow(start, FRAME_HEADER + pad8(bytes), class)
    }

    fn roll(&mut self, next: Spare) {
        if !self.group.parts.is_empty() {
            self.push_end();
        }
        self.plan.roll(next);
        self.begin_part(true);
        self.push_slot(FrameKind::Link, LINK_FRAME - FRAME_HEADER);
        self.table.freed = true;
    }

    fn begin_part(&mut self, is_roll: bool) {
        let offset = if is_roll { HEADER_BYTES } else { self.plan.offset };
        let (start, frames) = (self.group.buf.len(), self.group.slots.len());
        self.group.parts.push(Part { seq: self.plan.seq, offset, start, frames, is_roll });
    }

    fn push_slot(&mut self, kind: FrameKind, len: usize) {
        let start = self.group.buf.len();
        let first_lsn = self.next_lsn;
        self.group.slots.push(Slot { kind, start, len, records: 0, first_lsn, lsns: 0 });
        self.group.buf.resize(start + FRAME_HEADER + len, 0);
    }

    /// Room for the End frame, where it may stand.
    fn push_end(&mut self) {
        let pad = self.plan.pad();
        if pad > 0 {
            self.push_slot(FrameKind::Pad, pad - FRAME_HEADER);
            self.plan.offset += off(pad);
        }
        let len = self.group.buf.len();
        self.group.buf.resize(len + FRAME_HEADER, 0);
    }

    /// Pads the open frame; it takes no more.
    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let len = pad8(self.group.buf.len());
            self.group.buf.resize(len, 0);
        }
    }

    fn frame_start(&self) -> Option<(usize, u32)> {
        let (slot, part) = (self.group.slots.last()?, self.group.parts.last()?);
        Some((slot.start, part.offset + off(slot.start - part.start)))
    }

    /// Tells the plan how long the open frame has become.
    fn close_plan(&mut self) {
        let Some((start, offset)) = self.frame_start() else { return };
        let len = self.group.buf.len() - start;
        if let Some(slot) = self.group.slots.last_mut() {
            slot.len = len - FRAME_HEADER;
        }
        self.plan.offset = offset + off(pad8(len));
    }

    fn encode(&mut self, op: &Op, data: &[u8]) {
        let offset = self.frame_start().map_or(0, |(_, offset)| offset);
        let lsn = self.next_lsn;
        let spot = Spot { lsn, seq: self.plan.seq, offset };
        let table = &mut self.table;
        let record = match *op {
            Op::Record { at, len } => {
                table.put_main(lsn, spot.seq);
                Record::Data { bytes: &data[at..at + len] }
            }
            Op::Entries(op) => encode_entries(table, op, data, spot),
            Op::Meta { stream, slot, carried, at, len } => {
                let (bytes, slot) = (&data[at..at + len], slot.as_u8());
                let back = table.put_meta(stream, spot, slot, Bytes::copy_from_slice(bytes));
                Record::Meta { carried, stream, back, slot, bytes }
            }
            Op::Keep { stream, low } => {
                // The mark itself, not what was asked for: an older hint may be gone by then.
                let mark = table.keep_from(stream, low, spot.seq);
                let low = if planted("low_as_asked") { low } else { mark };
                Record::KeepStream { stream, low }
            }
            Op::Drop { stream } => {
                let last = table.drop_stream(stream);
                let back = if last > 0 { lsn - last } else { 0 };
                Record::Drop { stream, back }
            }
            Op::TruncateSuffix { from } => {
                table.cut_main(from, lsn);
                Record::TruncateSuffix { from }
            }
            Op::KeepMain { low } => {
                table.keep_main(low);
                Record::KeepMain { low }
            }
            Op::High { lsn } => {
                table.high = table.high.max(lsn);
                Record::High { lsn }
            }
            Op::Hole(hole) => {
                table.accept_hole(hole.from_lsn);
                Record::Hole(hole)
            }
        };
        let counts = record.has_lsn();
        record.encode(&mut self.group.buf);
        if let Some(slot) = self.group.slots.last_mut() {
            slot.records += 1;
            slot.lsns += u32::from(counts);
        }
        self.next_lsn += u64::from(counts);
    }

    /// Everything staged, closed; `spare` becomes the new, empty buffer.
    pub(crate) fn take(&mut self, spare: &mut Group) {
        self.close();
        if !self.group.parts.is_empty() {
            self.push_end();
        }
        spare.clear();
        self.group.ticket = self.ticket;
        self.group.last_lsn = self.next_lsn - 1;
        self.group.main_low = self.table.main_low;
        std::mem::swap(&mut self.group, spare);
        spare.sync |= self.wanted_lsn > 0;
        if self.wanted_lsn < self.next_lsn {
            self.wanted_lsn = 0;
        }
        (self.group.sync, self.group.mark) = (false, false);
        (self.group.batches, self.group.records, self.group.payload) = (0, 0, 0);
        self.peak = self.peak.max(spare.buf.len());
        self.inflight = spare.buf.len();
    }

    /// Writes something again that is still needed of an old segment, if it still is: checked
    /// under the lock that also takes truncations, so that nothing truncated comes back (H46).
    pub(crate) fn carry(
        &mut self,
        left: &Leftover,
        bytes: &[u8],
    ) -> Result<Option<Given>, WriteError> {
        let Some(op) = self.table.still(left, bytes.len()) else { return Ok(None) };
        self.place(&[op], bytes, op.worst(), Ack::Staged).map(Some)
    }

    /// On a full disk, if next to nothing in the segment being written is needed any more (at
    /// most `carry` bytes): goes on in the reserve, so that this segment can be given back.
    /// The ticket to wait for, if it does.
    pub(crate) fn leave_for_reserve(&mut self, carry: u64) -> Option<u64> {
        let full = self.no_space && matches!(self.gate, Gate::Open) && self.plan.spares() == 0;
        let seq = self.plan.seq;
        let few = self.table.need(seq).is_none_or(|need| need.bytes <= carry);
        if !full || !few || self.plan.has_promised() || self.table.main_needs(seq) {
            return None;
        }
        let op = Op::KeepMain { low: self.table.main_low };
        let frame = FRAME_HEADER + pad8(op.worst());
        let reserve = self.plan.reserve_for(frame)?;
        self.close();
        self.roll(reserve);
        self.push_slot(FrameKind::Data, 0);
        self.open = true;
        self.encode(&op, &[]);
        self.close_plan();
        self.ticket += 1;
        self.group.sync = true;
        Some(self.ticket)
    }

    /// What is given for all that was staged so far.
    pub(crate) fn newest(&self) -> Given {
        let lsn = self.next_lsn - 1;
        let lsns = LsnSpan::new(crate::Lsn::new(self.next_lsn), Some(crate::Lsn::new(lsn)));
        Given { ticket: self.ticket, lsns, lsn, rolled: false }
    }

    /// The low mark rises without a hint in the log, for which there is no room: the next group
    /// writes it to MANIFEST.
    pub(crate) fn keep_main_without_hint(&mut self, low: u64) {
        self.table.keep_main(low);
        self.ticket += 1;
        (self.group.mark, self.group.sync) = (true, true);
    }

    /// The next group syncs.
    pub(crate) const fn want_sync(&mut self) {
        self.group.sync = true;
    }

    /// Batches that wait for the next group.
    pub(crate) const fn waiting(&self) -> u64 {
        self.group.batches
    }
}

fn encode_entries<'d>(table: &mut Table, op: EntriesOp, data: &'d [u8], spot: Spot) -> Record<'d> {
    let EntriesOp { stream, replace, carried, first, count, tag, at, len } = op;
    let kept = carried.unwrap_or(count);
    let Spot { lsn, seq, offset } = spot;
    let block = BlockRef { first, tag, lsn, seq, offset, count, kept, len: off(len) };
    let back = if carried.is_some() {
        table.fill_block(stream, block)
    } else {
        table.put_block(stream, block, replace)
    };
    let bytes = &data[at..at + len];
    Record::Entries(Entries { replace, carried, stream, back, first, count, tag, bytes })
}

/// What a full disk lets a batch use.
fn class_of(ops: &[Op]) -> Class {
    let is_meta = |op: &Op| matches!(op, Op::Meta { .. });
    if !ops.iter().all(|op| op.frees() || is_meta(op)) {
        Class::Any
    } else if ops.iter().any(is_meta) {
        Class::Meta
    } else {
        Class::Frees
    }
}

const fn stream_of(op: &Op) -> Option<StreamId> {
    match *op {
        Op::Entries(EntriesOp { stream, .. })
        | Op::Meta { stream, .. }
        | Op::Keep { stream, .. }
        | Op::Drop { stream } => Some(stream),
        _ => None,
    }
}

/// The rules that need no state (§12).
fn check_ops(ops: &[Op]) -> Result<(), WriteError> {
    let invalid = |op, why| Err(WriteError::Invalid { op, why });
    if ops.is_empty() {
        return invalid("stage", "the batch is empty");
    }
    if ops.len() > OPS_MAX {
        return invalid("stage", "more than 65,535 operations in a batch");
    }
    for op in ops {
        if stream_of(op) == Some(StreamId::MAIN) {
            return invalid("stream", "the plain log has no blocks or metadata");
        }
        match *op {
            Op::Entries(EntriesOp { first, count, .. }) => {
                if count == 0 || count > COUNT_MAX {
                    return invalid("block", "count is not within 1..=2^24");
                }
                if first >= INDEX_MAX - u64::from(count) {
                    return invalid("block", "index is not below 2^63");
                }
            }
            Op::Meta { len, .. } if len > META_MAX => {
                return invalid("meta", "over 4 KiB");
            }
            Op::Keep { low, .. } if low >= INDEX_MAX => {
                return invalid("keep_from", "index is not below 2^63");
            }
            _ => {}
        }
    }
    Ok(())
}

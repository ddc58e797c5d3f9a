//! Carrying: what little is still needed of the oldest segment is written again at the end of
//! the log, so that an idle stream does not hold a whole segment for ever (H47, H48).

use std::sync::Arc;

use bytes::Bytes;

use crate::core::Core;
use crate::error::{Failure, ReadError, WriteError};
use crate::leftover::Leftover;
use crate::reader::{ReadFrame, Window};
use crate::segments::{Role, Segment};
use crate::staging::Gate;
use crate::stats::add;
use crate::stream::entry_bytes;
use crate::table::BlockRef;
use crate::width::at;

/// Bytes read beyond a block, for its frame and its neighbours.
const MARGIN: usize = 4096;

impl Core {
    /// Carries a bounded part of the oldest segment's leftovers, if they are few enough; whether
    /// there may be more to carry.
    pub(crate) fn carry(&self) -> Result<bool, Failure> {
        let Some((segment, leftovers)) = self.leftovers() else { return Ok(false) };
        let mut frame = None;
        let mut carried = 0;
        for left in &leftovers {
            let Some(bytes) = self.bytes_of(&segment, left, &mut frame) else { return Ok(false) };
            match self.carry_one(left, &bytes) {
                Ok(n) => carried += n,
                // No room now; the next roll, truncation or preparation asks again.
                Err(_) => return Ok(false),
            }
        }
        tracing::debug!(segment = segment.seq, bytes = carried, "carried to the end of the log");
        Ok(carried > 0)
    }

    /// The oldest segment and what streams need of it: only if the plain log needs nothing of
    /// it, and a later segment is durable.
    fn leftovers(&self) -> Option<(Arc<Segment>, Vec<Leftover>)> {
        if self.config.carry_live_percent_max == 0 {
            return None;
        }
        let staging = self.staging.lock();
        if !matches!(staging.gate, Gate::Open) {
            return None;
        }
        let segments = self.segments.lock();
        let (seq, role, _) = segments.oldest()?;
        let segment = segments.get(seq)?;
        let durable = self.progress.lock().place.seq;
        if role != Role::Member || seq >= durable || staging.table.main_needs(seq) {
            return None;
        }
        let need = staging.table.need(seq)?;
        if need.bytes > self.carry_bytes_max(segment.bytes) {
            return None;
        }
        let left = staging.table.leftovers(seq, self.config.carry_bytes_per_turn);
        Some((segment, left))
    }

    /// How many bytes of a segment may be carried.
    pub(crate) fn carry_bytes_max(&self, segment_bytes: u32) -> u64 {
        u64::from(segment_bytes) * u64::from(self.config.carry_live_percent_max) / 100
    }

    /// The bytes to be written again; `None` if they cannot be read, which leaves the segment.
    fn bytes_of(
        &self,
        segment: &Arc<Segment>,
        left: &Leftover,
        frame: &mut Option<(u32, ReadFrame)>,
    ) -> Option<Bytes> {
        match *left {
            Leftover::Low { .. } => Some(Bytes::new()),
            Leftover::Cell { stream, slot, .. } => {
                let staging = self.staging.lock();
                let cells = &staging.table.streams.get(&stream).map(|s| &s.cells);
                let cell = cells.and_then(|c| c.iter().find(|c| c.slot == slot.as_u8()));
                Some(cell.map_or_else(Bytes::new, |c| c.bytes.clone()))
            }
            Leftover::Block { block, .. } => match self.block_bytes(segment, &block, frame) {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::warn!(%error, segment = segment.seq, "cannot carry a block");
                    None
                }
            },
        }
    }

    fn block_bytes(
        &self,
        segment: &Arc<Segment>,
        block: &BlockRef,
        frame: &mut Option<(u32, ReadFrame)>,
    ) -> Result<Option<Bytes>, ReadError> {
        let offset = block.offset;
        let known = frame.as_ref().is_some_and(|(at, _)| *at == offset);
        if !known {
            let size = at(block.len) + MARGIN;
            let mut window = Window::open(self, Arc::clone(segment), u32::MAX, size)?;
            *frame = Some((offset, window.frame(self, offset, None)?));
        }
        Ok(frame.as_ref().and_then(|(_, frame)| entry_bytes(frame, block.lsn)))
    }

    /// Stages one thing, committing what is staged if the buffer is full; how many bytes.
    fn carry_one(&self, left: &Leftover, bytes: &[u8]) -> Result<u64, WriteError> {
        loop {
            let (given, full) = {
                let mut staging = self.staging.lock();
                let full = staging.staged() > 0;
                (staging.carry(left, bytes), full)
            };
            match given {
                Ok(None) => return Ok(0),
                Ok(Some(given)) => {
                    let rolled = given.rolled;
                    if rolled {
                        self.chore(|c| c.prepare = true);
                    }
                    self.ask_for_flush();
                    add(&self.counters.rolls, u64::from(rolled));
                    add(&self.counters.carried_bytes, bytes.len() as u64);
                    add(&self.counters.carried, 1);
                    return Ok(1 + bytes.len() as u64);
                }
                Err(WriteError::Busy { .. }) if full && self.lead_if_free() => {}
                Err(e) => return Err(e),
            }
        }
    }
}

//! Where staged frames will stand: decided at staging, so that nothing staged can fail for space.

use std::collections::VecDeque;

use crate::format::frame::{FRAME_HEADER, LINK_FRAME};
use crate::format::segment::HEADER_BYTES;
use crate::width::{at, off};

const FIRST: usize = HEADER_BYTES as usize;

/// Offsets of the segment being filled, and the prepared segments behind it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seq: u64,
    /// Where the next frame goes.
    pub(crate) offset: u32,
    segment_bytes: u32,
    pub(crate) spare: VecDeque<u64>,
    /// Worst-case bytes promised to permits, and to how many.
    reserved: u64,
    /// The largest frame a batch can make.
    frame_max: u32,
    /// Room at the end of the last segment that only operations that free space may use (G10).
    holdback: u32,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Here,
    Roll(u64),
}

impl Plan {
    pub(crate) fn new(seq: u64, offset: u32, segment_bytes: u32, batch_max: usize) -> Self {
        let frame_max = off(FRAME_HEADER + batch_max + 8);
        let holdback = (segment_bytes / 64).clamp(1024, 64 << 10);
        let spare = VecDeque::new();
        Self { seq, offset, segment_bytes, spare, reserved: 0, frame_max, holdback }
    }

    /// Room for a frame of `bytes`, header and padding included; `frees`: it frees space.
    pub(crate) fn room(&self, bytes: usize, frees: bool) -> Option<Room> {
        if self.fits_here(at(self.offset), bytes, frees) {
            return self.keeps_promises(self.offset, bytes, self.spare.len()).then_some(Room::Here);
        }
        let &seq = self.spare.front()?;
        let start = off(FIRST + LINK_FRAME);
        let spare = self.spare.len() - 1;
        let fits = at(start) + bytes + FRAME_HEADER <= at(self.segment_bytes);
        (fits && self.keeps_promises(start, bytes, spare)).then_some(Room::Roll(seq))
    }

    /// Whether a frame that starts at `start` may grow to `bytes`.
    pub(crate) fn may_grow(&self, start: u32, bytes: usize, frees: bool) -> bool {
        self.fits_here(at(start), bytes, frees)
            && self.keeps_promises(start, bytes, self.spare.len())
    }

    fn fits_here(&self, start: usize, bytes: usize, frees: bool) -> bool {
        let held = if frees || !self.spare.is_empty() { 0 } else { at(self.holdback) };
        start + bytes + FRAME_HEADER + held <= at(self.segment_bytes)
    }

    /// Whether what permits were promised still fits, in whatever order and sizes it comes: each
    /// segment can be left with less than one largest frame unused.
    fn keeps_promises(&self, start: u32, bytes: usize, spare: usize) -> bool {
        self.reserved == 0 || self.capacity(at(start) + bytes, spare) >= self.reserved
    }

    fn capacity(&self, used: usize, spare: usize) -> u64 {
        let lost = at(self.frame_max) + FRAME_HEADER + at(self.holdback);
        let here = at(self.segment_bytes).saturating_sub(used + lost);
        let each = at(self.segment_bytes).saturating_sub(FIRST + LINK_FRAME + lost);
        here as u64 + each as u64 * spare as u64
    }

    /// Sets room for `bytes` of payload aside.
    pub(crate) fn promise(&mut self, bytes: usize) -> bool {
        let need = promised(bytes);
        let fits = self.capacity(at(self.offset), self.spare.len()) >= self.reserved + need;
        if fits {
            self.reserved += need;
        }
        fits
    }

    /// Gives a promise back, used or not.
    pub(crate) fn redeem(&mut self, bytes: usize) {
        self.reserved = self.reserved.saturating_sub(promised(bytes));
    }

    /// Moves on to the next prepared segment.
    pub(crate) fn roll(&mut self) -> u64 {
        if let Some(seq) = self.spare.pop_front() {
            self.seq = seq;
            self.offset = off(FIRST + LINK_FRAME);
        }
        self.seq
    }

    /// Room that is left without another segment, for the answer `Busy`.
    pub(crate) const fn left(&self) -> u32 {
        self.segment_bytes.saturating_sub(self.offset)
    }
}

/// Worst case of a batch: its bytes, a header, padding.
const fn promised(bytes: usize) -> u64 {
    (bytes + FRAME_HEADER + 8) as u64
}

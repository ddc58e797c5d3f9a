//! Where staged frames will stand: decided at staging, so that nothing staged can fail for space.

use std::collections::VecDeque;

use crate::format::frame::{FRAME_HEADER, LINK_FRAME};
use crate::format::segment::HEADER_BYTES;
use crate::width::{at, off};

const FIRST: usize = HEADER_BYTES as usize;

/// What a batch is for: when the disk is full only some may use the reserve (G10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Any,
    /// Metadata, perhaps with operations that free space.
    Meta,
    /// Only operations that free space.
    Frees,
}

/// A prepared segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spare {
    pub(crate) seq: u64,
    pub(crate) bytes: u32,
    /// It was the reserve: small, and not for everything.
    pub(crate) is_reserve: bool,
}

/// Offsets of the segment being filled, and the prepared segments behind it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seq: u64,
    /// Where the next frame goes.
    pub(crate) offset: u32,
    /// Length of the segment being filled.
    bytes: u32,
    is_reserve: bool,
    spare: VecDeque<Spare>,
    /// Worst-case bytes promised to permits.
    promised: u64,
    /// The most bytes of a batch.
    batch_max: usize,
    /// End frames begin at a multiple of this; 0: anywhere.
    align: u32,
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Here,
    Roll(Spare),
}

impl Plan {
    /// A plan that goes on at `offset` of a segment of this length.
    pub(crate) fn new(current: Spare, offset: u32, align: u32, batch_max: usize) -> Self {
        Self {
            seq: current.seq,
            offset,
            bytes: current.bytes,
            is_reserve: current.is_reserve,
            spare: VecDeque::new(),
            promised: 0,
            batch_max,
            align,
        }
    }

    /// Room for a frame of `bytes`, header and padding included.
    pub(crate) fn room(&self, bytes: usize, class: Class) -> Option<Room> {
        if self.fits_here(at(self.offset), bytes, class) {
            let keeps = self.keeps_promises(self.here(), self.offset, bytes, self.spares());
            return keeps.then_some(Room::Here);
        }
        let next = self.next_for(class)?;
        let start = off(FIRST + LINK_FRAME);
        let left = self.spares() - usize::from(!next.is_reserve);
        let fits = fits(&next, at(start) + bytes + self.slack(), class);
        (fits && self.keeps_promises(next, start, bytes, left)).then_some(Room::Roll(next))
    }

    /// Whether a frame that starts at `start` may grow to `bytes`.
    pub(crate) fn may_grow(&self, start: u32, bytes: usize, class: Class) -> bool {
        self.fits_here(at(start), bytes, class)
            && self.keeps_promises(self.here(), start, bytes, self.spares())
    }

    /// The segment being filled.
    const fn here(&self) -> Spare {
        Spare { seq: self.seq, bytes: self.bytes, is_reserve: self.is_reserve }
    }

    /// Whether permits are out.
    pub(crate) const fn has_promised(&self) -> bool {
        self.promised > 0
    }

    fn fits_here(&self, start: usize, bytes: usize, class: Class) -> bool {
        fits(&self.here(), start + bytes + self.slack(), class)
    }

    /// The prepared segment for this class: a whole one if there is one, else the reserve.
    fn next_for(&self, class: Class) -> Option<Spare> {
        let whole = self.spare.iter().find(|s| !s.is_reserve);
        let reserve = self.spare.front().filter(|_| class != Class::Any);
        whole.or(reserve).copied()
    }

    /// The prepared reserve, if the log is not in it and it takes such a frame.
    pub(crate) fn reserve_for(&self, bytes: usize) -> Option<Spare> {
        let reserve = self.spare.front().filter(|s| s.is_reserve && !self.is_reserve)?;
        let end = FIRST + LINK_FRAME + bytes + self.slack();
        fits(reserve, end, Class::Frees).then_some(*reserve)
    }

    /// What the padding before an End frame can take.
    pub(crate) const fn slack(&self) -> usize {
        if self.align == 0 { 0 } else { at(self.align) + FRAME_HEADER }
    }

    /// How much padding, its header included, puts the End frame where it may stand (H40).
    pub(crate) const fn pad(&self) -> usize {
        if self.align == 0 || self.offset.is_multiple_of(self.align) {
            return 0;
        }
        let gap = at(self.align - self.offset % self.align);
        if gap < FRAME_HEADER { gap + at(self.align) } else { gap }
    }

    /// Whole prepared segments.
    pub(crate) fn spares(&self) -> usize {
        self.spare.iter().filter(|s| !s.is_reserve).count()
    }

    /// Whether no prepared segment is left, not even the reserve.
    pub(crate) fn has_no_spare(&self) -> bool {
        self.spare.is_empty()
    }

    /// A prepared segment that may be used from now on.
    pub(crate) fn add(&mut self, spare: Spare) {
        self.spare.push_back(spare);
    }

    /// Whether what permits were promised still fits, in whatever order and sizes it comes.
    fn keeps_promises(&self, target: Spare, start: u32, bytes: usize, spare: usize) -> bool {
        self.promised == 0
            || self.capacity(target, at(start) + bytes + self.slack(), spare) >= self.promised
    }

    /// What surely fits into `target` behind `used` and into so many whole prepared segments. A
    /// segment is left with less unused than the largest batch takes: that batch is what did not
    /// fit. The last segment is not left.
    fn capacity(&self, target: Spare, used: usize, spare: usize) -> u64 {
        let room = |bytes: u32, used: usize| at(bytes).saturating_sub(used + FRAME_HEADER) as u64;
        let here = if target.is_reserve { 0 } else { room(target.bytes, used) };
        let Some(others) = spare.checked_sub(1) else { return here };
        let whole = self.spare.iter().find(|s| !s.is_reserve).map_or(0, |s| s.bytes);
        let each = room(whole, FIRST + LINK_FRAME);
        let largest = self.worst(self.batch_max);
        let left = here.saturating_sub(largest);
        left + each + each.saturating_sub(largest) * others as u64
    }

    /// Sets room for `bytes` of payload aside.
    pub(crate) fn promise(&mut self, bytes: usize) -> bool {
        let need = self.worst(bytes);
        let used = at(self.offset) + self.slack();
        let fits = self.capacity(self.here(), used, self.spares()) >= self.promised + need;
        if fits {
            self.promised += need;
        }
        fits
    }

    /// Gives a promise back, used or not.
    pub(crate) fn redeem(&mut self, bytes: usize) {
        self.promised = self.promised.saturating_sub(self.worst(bytes));
    }

    /// Worst case of a batch: its bytes, a header, padding.
    const fn worst(&self, bytes: usize) -> u64 {
        (bytes + FRAME_HEADER + 8 + self.slack()) as u64
    }

    /// Moves on to this prepared segment; those before it are never used.
    pub(crate) fn roll(&mut self, next: Spare) {
        while self.spare.pop_front().is_some_and(|skipped| skipped != next) {}
        (self.seq, self.bytes, self.is_reserve) = (next.seq, next.bytes, next.is_reserve);
        self.offset = off(FIRST + LINK_FRAME);
    }

    /// Room that is left without another segment.
    pub(crate) const fn left(&self) -> u32 {
        self.bytes.saturating_sub(self.offset)
    }
}

/// Whether frames may reach `end` in this segment, with an End frame behind them. Of the reserve
/// metadata may take half, so that the other half can always free space.
fn fits(segment: &Spare, end: usize, class: Class) -> bool {
    let limit = match (segment.is_reserve, class) {
        (true, Class::Any) => return false,
        (true, Class::Meta) => FIRST + (at(segment.bytes) - FIRST) / 2,
        (true, Class::Frees) | (false, _) => at(segment.bytes),
    };
    end + FRAME_HEADER <= limit
}

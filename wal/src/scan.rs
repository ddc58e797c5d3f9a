//! Reading frames off a segment through a window, and searching for headers where a run stopped
//! (R3).

use std::io;

use crate::format::Unsupported;
use crate::format::crc::{self, Place};
use crate::format::frame::{self, FRAME_HEADER, FrameHeader, FrameKind, Link};
use crate::format::record::{RecordFault, Records, is_plain};
use crate::format::segment::HEADER_BYTES;
use crate::plant::planted;
use crate::width::{at, index, off};

/// How far a plausible header's number may be from the expected one.
const LSN_REACH: u64 = 1 << 32;
/// Bytes read at once; a frame that is larger gets a window of its own.
pub(crate) const WINDOW: usize = 1 << 20;

/// Reads bytes of one segment: all that was asked for, or up to the end of the file.
pub(crate) type Reading<'a> = Box<dyn FnMut(u32, &mut [u8]) -> io::Result<usize> + Send + 'a>;

/// Gives access to the bytes of a segment, from any thread.
pub(crate) type Load<'a> = &'a (dyn Fn(u64) -> io::Result<Reading<'a>> + Sync);

/// Why there is no decision.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// An error is no answer about the bytes (H6); with the number of the segment.
    Io(u64, io::Error),
    Unsupported(Unsupported),
}

impl From<Unsupported> for Stopped {
    fn from(what: Unsupported) -> Self {
        Self::Unsupported(what)
    }
}

/// One segment, seen through a window, and what is needed to check it.
pub(crate) struct Image<'a> {
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    /// What lies behind is not part of the segment.
    end: u32,
    read: Reading<'a>,
    /// `buf[..have]` are the bytes from `base` on. What lies behind is never cleared.
    buf: Vec<u8>,
    base: u32,
    have: usize,
    /// How far the bytes were looked at.
    reach: u32,
}

impl std::fmt::Debug for Image<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// A frame whose header and payload verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) offset: u32,
    pub(crate) header: FrameHeader,
    /// Payload with padding.
    pub(crate) payload: &'a [u8],
    /// All its records are of the plain log.
    pub(crate) plain: bool,
}

impl<'a> Frame<'a> {
    pub(crate) fn is_data(&self) -> bool {
        self.header.kind == FrameKind::Data
    }

    /// The number of the last record that has one.
    pub(crate) fn last_lsn(&self) -> u64 {
        (self.header.first_lsn + u64::from(self.header.lsns)).saturating_sub(1)
    }

    /// The records, for a Data frame.
    pub(crate) fn records(&self) -> Records<'a> {
        let count = if self.is_data() { self.header.records } else { 0 };
        Records::new(&self.payload[..at(self.header.stored_len)], count)
    }
}

/// A header that verified, wherever it was found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) offset: u32,
    pub(crate) header: FrameHeader,
    pub(crate) crc: u32,
}

/// Where a run of frames is to begin; `None` accepts what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) at: u32,
    pub(crate) lsn: u64,
    pub(crate) chain: Option<u32>,
}

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A valid End frame stands here.
    End,
    /// The limit was reached exactly.
    Limit,
    /// No header that continues the run.
    Header,
    /// The header is good, the payload is not.
    Payload,
}

/// Where and how a run stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) at: u32,
    pub(crate) lsn: u64,
    pub(crate) chain: Option<u32>,
    pub(crate) why: Why,
    /// The highest durable position that the frames of the run claim.
    pub(crate) proven: u32,
}

impl Stop {
    /// Before the first step.
    pub(crate) const fn at(cursor: Cursor) -> Self {
        let Cursor { at, lsn, chain } = cursor;
        Self { at, lsn, chain, why: Why::Header, proven: 0 }
    }
}

impl<'a> Image<'a> {
    /// The first `end` bytes of a segment; `buf` is memory to be used again.
    pub(crate) fn new(
        load: Load<'a>,
        seq: u64,
        salt: u64,
        end: u32,
        buf: Vec<u8>,
    ) -> Result<Self, Stopped> {
        let read = load(seq).map_err(|e| Stopped::Io(seq, e))?;
        Ok(Self { buf, ..Self::over(read, seq, salt, end) })
    }

    /// The first `end` bytes of what `read` reads.
    pub(crate) const fn over(read: Reading<'a>, seq: u64, salt: u64, end: u32) -> Self {
        Self { seq, salt, end, read, buf: Vec::new(), base: 0, have: 0, reach: 0 }
    }

    /// The Link at the beginning, if one stands there.
    pub(crate) fn link(&mut self) -> Result<Option<(Link, Found)>, Stopped> {
        let Some(found) = self.header(HEADER_BYTES)? else { return Ok(None) };
        if found.header.kind != FrameKind::Link {
            return Ok(None);
        }
        let link = self.open(&found)?.and_then(|frame| Link::decode(frame.payload));
        Ok(link.map(|link| (link, found)))
    }

    /// Gives the memory back, and how many bytes were looked at.
    pub(crate) fn into_parts(self) -> (Vec<u8>, u32) {
        (self.buf, self.reach)
    }

    /// The end of the segment as an offset.
    pub(crate) const fn end(&self) -> u32 {
        self.end
    }

    /// Somebody else has looked at the bytes up to here.
    pub(crate) fn reached(&mut self, offset: u32) {
        self.reach = self.reach.max(offset.min(self.end));
    }

    /// The bytes at `offset`; `None` if they are not all there. H36: the length is checked
    /// against the file before anything is allocated.
    fn bytes(&mut self, offset: u32, len: usize) -> Result<Option<&[u8]>, Stopped> {
        let short = offset > self.end || len > at(self.end - offset);
        if planted("length_trusted") && short {
            self.buf.resize(len, 0);
        }
        if short {
            return Ok(None);
        }
        let inside = offset >= self.base && at(offset - self.base) + len <= self.have;
        if !inside {
            self.fill(offset, len)?;
        }
        let from = at(offset - self.base);
        Ok(self.buf[..self.have].get(from..from + len))
    }

    fn fill(&mut self, offset: u32, len: usize) -> Result<(), Stopped> {
        let size = len.max(WINDOW).min(at(self.end - offset));
        if self.buf.len() < size {
            self.buf.resize(size, 0);
        } else if self.buf.len() > WINDOW && size <= WINDOW {
            // The window of a large frame is not kept.
            self.buf.truncate(WINDOW);
            self.buf.shrink_to_fit();
        }
        let read = (self.read)(offset, &mut self.buf[..size]);
        self.have = match read {
            Err(_) if planted("eio_as_end") => 0,
            read => read.map_err(|e| Stopped::Io(self.seq, e))?,
        };
        self.base = offset;
        Ok(())
    }

    /// The header at `offset`, if one verifies there.
    pub(crate) fn header(&mut self, offset: u32) -> Result<Option<Found>, Stopped> {
        let place = Place { salt: self.salt, seq: self.seq, offset };
        let Some(bytes) = self.bytes(offset, FRAME_HEADER)? else { return Ok(None) };
        let found = FrameHeader::decode(bytes, place)?;
        Ok(found.map(|(header, crc)| Found { offset, header, crc }))
    }

    /// The payload of a found header, if it verifies and its records can be read.
    pub(crate) fn open(&mut self, found: &Found) -> Result<Option<Frame<'_>>, Stopped> {
        let Some(bytes) = self.bytes(found.offset, found.header.frame_len())? else {
            return Ok(None);
        };
        let Some(payload) = frame::payload(bytes, 0, &found.header) else { return Ok(None) };
        let FrameHeader { kind, records, stored_len, lsns, .. } = found.header;
        let plain = kind == FrameKind::Data
            && lsns == u32::from(records)
            && is_plain(&payload[..at(stored_len)], records);
        let frame = Frame { offset: found.offset, header: found.header, payload, plain };
        if plain {
            return Ok(Some(frame));
        }
        let mut records = frame.records();
        let mut lsns = 0_u32;
        for record in records.by_ref() {
            match record {
                Ok(record) => lsns += u32::from(record.has_lsn()),
                Err(RecordFault::Malformed) => return Ok(None),
                Err(RecordFault::Unsupported(what)) => return Err(what.into()),
            }
        }
        let is_data = found.header.kind == FrameKind::Data;
        let sound = !is_data || (records.is_done() && lsns == found.header.lsns);
        Ok(sound.then_some(frame))
    }

    /// Follows frames from `cursor` until one does not continue the run, or `limit`.
    pub(crate) fn run(
        &mut self,
        cursor: Cursor,
        limit: u32,
        each: &mut dyn FnMut(&Frame<'_>) -> Result<(), Unsupported>,
    ) -> Result<Stop, Stopped> {
        let Cursor { at: mut here, mut lsn, mut chain } = cursor;
        let mut proven = 0;
        let unchained = planted("torn_tail_resumed");
        let why = loop {
            if here == limit {
                break Why::Limit;
            }
            let Some(found) = self.header(here)? else { break Why::Header };
            let header = &found.header;
            let continues =
                header.first_lsn == lsn && (chain.is_none_or(|c| c == header.chain) || unchained);
            if !continues || header.kind == FrameKind::Link {
                break Why::Header;
            }
            if header.kind == FrameKind::End {
                proven = proven.max(header.durable_off);
                break Why::End;
            }
            let next = frame::after(here, header);
            let Some(frame) = self.open(&found)? else { break Why::Payload };
            if next > limit {
                break Why::Header;
            }
            each(&frame)?;
            proven = proven.max(header.durable_off);
            lsn += u64::from(header.lsns);
            chain = Some(found.crc);
            here = next;
        };
        self.reached(here.saturating_add(off(FRAME_HEADER)));
        Ok(Stop { at: here, lsn, chain, why, proven })
    }

    /// The first header that verifies at `from` or later, in steps of 8, before `limit`.
    ///
    /// H39: what imitates a frame inside a payload would have to know the salt and its own
    /// offset; H42: a frame copied elsewhere does not verify.
    pub(crate) fn plausible(
        &mut self,
        from: u32,
        limit: u32,
        lsn: u64,
    ) -> Result<Option<Found>, Stopped> {
        let limit = limit.min(self.end);
        let (seq, salt) = (self.seq, self.salt);
        let mut offset = from.next_multiple_of(8);
        while offset < limit && self.bytes(offset, FRAME_HEADER)?.is_some() {
            let window = &self.buf[at(offset - self.base)..self.have];
            let place = Place { salt, seq, offset };
            let (next, found) = search(window, place, limit, lsn);
            self.reached(next);
            if found.is_some() {
                return Ok(found);
            }
            offset = next;
        }
        self.reached(limit);
        Ok(None)
    }

    /// The first whole frame at `from` or later that can come after number `lsn`.
    pub(crate) fn resume(
        &mut self,
        mut from: u32,
        limit: u32,
        lsn: u64,
    ) -> Result<Option<Found>, Stopped> {
        while let Some(found) = self.plausible(from, limit, lsn)? {
            let fits = found.header.first_lsn >= lsn
                && found.header.kind != FrameKind::Link
                && frame::after(found.offset, &found.header) <= limit;
            if fits && self.open(&found)?.is_some() {
                return Ok(Some(found));
            }
            from = found.offset + 8;
        }
        Ok(None)
    }

    /// The one bit, counted from the start of the frame, whose flip makes the frame at `offset`
    /// verify; searched in frames of at most 4 KiB.
    pub(crate) fn single_bit(&mut self, offset: u32, lsn: u64) -> Result<Option<u64>, Stopped> {
        let len = at(self.end.saturating_sub(offset)).min(4096);
        let place = Place { salt: self.salt, seq: self.seq, offset };
        let Some(rest) = self.bytes(offset, len)? else { return Ok(None) };
        Ok(single_bit(rest, place, lsn))
    }
}

/// Unused space.
const BLANK: [u8; 256] = [0; 256];

/// The first plausible header in a window that begins at `place`; how far the search got.
fn search(window: &[u8], place: Place, limit: u32, lsn: u64) -> (u32, Option<Found>) {
    let mut offset = place.offset;
    let mut at = 0;
    while let Some(bytes) = window.get(at..at + FRAME_HEADER) {
        if offset >= limit {
            break;
        }
        // Most of what is searched is unused space: it is stepped over in blocks.
        if window.get(at..at + BLANK.len()) == Some(&BLANK) {
            at += BLANK.len();
            offset = offset.saturating_add(off(BLANK.len()));
            continue;
        }
        at += 8;
        // What a newer version might have written cannot be judged here; it is no evidence.
        let found = FrameHeader::decode(bytes, Place { offset, ..place }).ok().flatten();
        let found = found.filter(|(h, _)| h.first_lsn.abs_diff(lsn) < LSN_REACH);
        if let Some((header, crc)) = found {
            return (offset + 8, Some(Found { offset, header, crc }));
        }
        offset += 8;
    }
    (offset, None)
}

fn single_bit(rest: &[u8], place: Place, lsn: u64) -> Option<u64> {
    let good = |bytes: &[u8]| match FrameHeader::decode(bytes, place) {
        Ok(Some((header, _))) if header.first_lsn == lsn => Some(header),
        _ => None,
    };
    let mut head = rest.get(..FRAME_HEADER)?.to_vec();
    let Some(header) = good(&head) else {
        return (0..FRAME_HEADER * 8)
            .find(|bit| {
                head[bit / 8] ^= 1 << (bit % 8);
                let fixed = good(&head).is_some();
                head[bit / 8] ^= 1 << (bit % 8);
                fixed
            })
            .map(|bit| bit as u64);
    };
    let len = header.frame_len();
    let payload = rest.get(FRAME_HEADER..len)?;
    let bit = crc::flipped_bit(payload, header.payload_crc)?;
    // The frame must also be one that could have been written.
    let mut fixed = rest[..len].to_vec();
    let bit = (FRAME_HEADER * 8) as u64 + bit;
    fixed[index(bit / 8)] ^= 1 << (bit % 8);
    frame::payload(&fixed, 0, &header).map(|_| bit)
}

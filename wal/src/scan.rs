//! Reading frames off a segment image, and searching for headers where a run stopped (R3).

use crate::format::Unsupported;
use crate::format::crc::{self, Place};
use crate::format::frame::{self, FRAME_HEADER, FrameHeader, FrameKind};
use crate::format::record::{RecordFault, Records};
use crate::width::{at, index, off};

/// How far a plausible header's number may be from the expected one.
const LSN_REACH: u64 = 1 << 32;

/// The bytes of one segment and what is needed to check them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) seq: u64,
    pub(crate) salt: u64,
}

/// A frame whose header and payload verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) offset: u32,
    pub(crate) header: FrameHeader,
    /// Payload with padding.
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The records, for a Data frame.
    pub(crate) fn records(&self) -> Records<'a> {
        let count = if self.header.kind == FrameKind::Data { self.header.records } else { 0 };
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
#[derive(Clone, Copy, Debug)]
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

impl<'a> Image<'a> {
    /// The end of the file as an offset.
    pub(crate) fn end(&self) -> u32 {
        off(self.bytes.len())
    }

    /// The header at `offset`, if one verifies there.
    pub(crate) fn header(&self, offset: u32) -> Result<Option<Found>, Unsupported> {
        let from = at(offset);
        let Some(bytes) = self.bytes.get(from..from + FRAME_HEADER) else { return Ok(None) };
        let place = Place { salt: self.salt, seq: self.seq, offset };
        let found = FrameHeader::decode(bytes, place)?;
        Ok(found.map(|(header, crc)| Found { offset, header, crc }))
    }

    /// The payload of a found header, if it verifies and its records can be read.
    pub(crate) fn open(&self, found: &Found) -> Result<Option<Frame<'a>>, Unsupported> {
        let Some(payload) = frame::payload(self.bytes, found.offset, &found.header) else {
            return Ok(None);
        };
        let frame = Frame { offset: found.offset, header: found.header, payload };
        let mut records = frame.records();
        let mut lsns = 0_u32;
        for record in records.by_ref() {
            match record {
                Ok(record) => lsns += u32::from(record.has_lsn()),
                Err(RecordFault::Malformed) => return Ok(None),
                Err(RecordFault::Unsupported(what)) => return Err(what),
            }
        }
        let is_data = found.header.kind == FrameKind::Data;
        let sound = !is_data || (records.is_done() && lsns == found.header.lsns);
        Ok(sound.then_some(frame))
    }

    /// Follows frames from `cursor` until one does not continue the run, or `limit`.
    pub(crate) fn run(
        &self,
        cursor: Cursor,
        limit: u32,
        each: &mut dyn FnMut(&Frame<'a>) -> Result<(), Unsupported>,
    ) -> Result<Stop, Unsupported> {
        let Cursor { at: mut here, mut lsn, mut chain } = cursor;
        let mut proven = 0;
        let why = loop {
            if here == limit {
                break Why::Limit;
            }
            let Some(found) = self.header(here)? else { break Why::Header };
            let header = &found.header;
            let continues =
                header.first_lsn == lsn && chain.is_none_or(|chain| chain == header.chain);
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
        Ok(Stop { at: here, lsn, chain, why, proven })
    }

    /// Headers that verify at `from` or later, in steps of 8, before `limit`.
    ///
    /// H39: what imitates a frame inside a payload would have to know the salt and its own
    /// offset; H42: a frame copied elsewhere does not verify.
    pub(crate) fn plausible(
        &self,
        from: u32,
        limit: u32,
        lsn: u64,
    ) -> impl Iterator<Item = Found> + use<'a> {
        let image = *self;
        (from.next_multiple_of(8)..limit).step_by(8).filter_map(move |offset| {
            // What a newer version might have written cannot be judged here; it is no evidence.
            let found = image.header(offset).ok().flatten()?;
            (found.header.first_lsn.abs_diff(lsn) < LSN_REACH).then_some(found)
        })
    }

    /// The first whole frame at `from` or later that can come after number `lsn`.
    pub(crate) fn resume(
        &self,
        from: u32,
        limit: u32,
        lsn: u64,
    ) -> Result<Option<Found>, Unsupported> {
        for found in self.plausible(from, limit, lsn) {
            let fits = found.header.first_lsn >= lsn
                && found.header.kind != FrameKind::Link
                && frame::after(found.offset, &found.header) <= limit;
            if fits && self.open(&found)?.is_some() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// The one bit, counted from the start of the frame, whose flip makes the frame at `offset`
/// verify; searched in frames of at most 4 KiB.
pub(crate) fn single_bit(image: &Image<'_>, offset: u32, lsn: u64) -> Option<u64> {
    let rest = image.bytes.get(at(offset)..)?;
    let place = Place { salt: image.salt, seq: image.seq, offset };
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
    if len > 4096 || len > rest.len() {
        return None;
    }
    let payload = &rest[FRAME_HEADER..len];
    let bit = crc::flipped_bit(payload, header.payload_crc)?;
    // The frame must also be one that could have been written.
    let mut fixed = rest[..len].to_vec();
    let bit = (FRAME_HEADER * 8) as u64 + bit;
    fixed[index(bit / 8)] ^= 1 << (bit % 8);
    frame::payload(&fixed, 0, &header).map(|_| bit)
}

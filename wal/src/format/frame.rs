//! Frame headers and the Link payload.

use super::Unsupported;
use super::crc::{self, Place};
use crate::width::{at, pad8, u16_at, u32_at, u64_at};

/// Bytes of a frame header; an End frame is nothing else.
pub(crate) const FRAME_HEADER: usize = 40;
/// Bytes of a Link payload.
pub(crate) const LINK_LEN: usize = 48;
/// Bytes of a whole Link frame.
pub(crate) const LINK_FRAME: usize = FRAME_HEADER + LINK_LEN;

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameKind {
    Data = 1,
    Link = 2,
    End = 3,
    Pad = 4,
}

/// A frame header without its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) records: u16,
    pub(crate) stored_len: u32,
    pub(crate) durable_off: u32,
    pub(crate) first_lsn: u64,
    pub(crate) lsns: u32,
    pub(crate) payload_crc: u32,
    pub(crate) chain: u32,
}

impl FrameHeader {
    /// An End frame: what follows is not part of the log.
    pub(crate) const fn end(durable_off: u32, next_lsn: u64, chain: u32) -> Self {
        Self {
            kind: FrameKind::End,
            records: 0,
            stored_len: 0,
            durable_off,
            first_lsn: next_lsn,
            lsns: 0,
            payload_crc: 0,
            chain,
        }
    }

    /// The header for `place`, and its checksum (the next frame's chain).
    pub(crate) fn encode(&self, place: Place) -> ([u8; FRAME_HEADER], u32) {
        let mut out = [0; FRAME_HEADER];
        out[4] = self.kind as u8;
        out[6..8].copy_from_slice(&self.records.to_le_bytes());
        out[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.durable_off.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_lsn.to_le_bytes());
        out[24..28].copy_from_slice(&self.lsns.to_le_bytes());
        out[28..32].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[32..36].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc::bound(place, &out);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Reads the header at `place`: `Ok(None)` if nothing sound stands there.
    pub(crate) fn decode(bytes: &[u8], place: Place) -> Result<Option<(Self, u32)>, Unsupported> {
        // The kind first: unused space is zero, and most positions of a search end here (H37).
        if bytes.len() < FRAME_HEADER || bytes[4] == 0 {
            return Ok(None);
        }
        let durable_off = u32_at(bytes, 12);
        if u32_at(bytes, 36) != 0 || durable_off > place.offset {
            return Ok(None);
        }
        let crc = u32_at(bytes, 0);
        if crc != crc::bound(place, bytes) {
            return Ok(None);
        }
        let kind = match bytes[4] {
            1 => FrameKind::Data,
            2 => FrameKind::Link,
            3 => FrameKind::End,
            4 => FrameKind::Pad,
            other => return Err(Unsupported { what: "frame kind", found: other.into() }),
        };
        if bytes[5] != 0 {
            // H38: a codec this version does not know is refused, never decoded.
            return Err(Unsupported { what: "frame flags", found: bytes[5].into() });
        }
        let header = Self {
            kind,
            records: u16_at(bytes, 6),
            stored_len: u32_at(bytes, 8),
            durable_off,
            first_lsn: u64_at(bytes, 16),
            lsns: u32_at(bytes, 24),
            payload_crc: u32_at(bytes, 28),
            chain: u32_at(bytes, 32),
        };
        Ok(header.is_sound().then_some((header, crc)))
    }

    fn is_sound(&self) -> bool {
        let counts = match self.kind {
            FrameKind::Data => self.records > 0 && self.lsns <= u32::from(self.records),
            FrameKind::Link => {
                self.records == 0 && self.lsns == 0 && at(self.stored_len) == LINK_LEN
            }
            FrameKind::End => {
                let nothing = self.stored_len == 0 && self.payload_crc == 0;
                self.records == 0 && self.lsns == 0 && nothing
            }
            FrameKind::Pad => self.records == 0 && self.lsns == 0,
        };
        counts && self.first_lsn < 1 << 63
    }

    /// Bytes of the frame with header and padding.
    pub(crate) const fn frame_len(&self) -> usize {
        FRAME_HEADER + pad8(at(self.stored_len))
    }
}

/// What the first frame of a segment says about the segment before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) prev_seq: u64,
    pub(crate) prev_salt: u64,
    pub(crate) prev_end: u32,
    pub(crate) prev_chain: u32,
    pub(crate) prev_last_lsn: u64,
    pub(crate) main_low: u64,
}

impl Link {
    pub(crate) fn encode(&self) -> [u8; LINK_LEN] {
        let mut out = [0; LINK_LEN];
        out[..8].copy_from_slice(&self.prev_seq.to_le_bytes());
        out[8..16].copy_from_slice(&self.prev_salt.to_le_bytes());
        out[16..20].copy_from_slice(&self.prev_end.to_le_bytes());
        out[20..24].copy_from_slice(&self.prev_chain.to_le_bytes());
        out[24..32].copy_from_slice(&self.prev_last_lsn.to_le_bytes());
        out[32..40].copy_from_slice(&self.main_low.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < LINK_LEN || u64_at(bytes, 40) != 0 {
            return None;
        }
        let numbers = [0, 24, 32].map(|at| u64_at(bytes, at));
        if numbers.iter().any(|&n| n >= 1 << 63) {
            return None;
        }
        Some(Self {
            prev_seq: u64_at(bytes, 0),
            prev_salt: u64_at(bytes, 8),
            prev_end: u32_at(bytes, 16),
            prev_chain: u32_at(bytes, 20),
            prev_last_lsn: u64_at(bytes, 24),
            main_low: u64_at(bytes, 32),
        })
    }
}

/// The payload of the frame at `offset` of `image`, padding included, if its checksum holds.
///
/// H36: the length is checked against the image before anything is read or allocated.
pub(crate) fn payload<'a>(image: &'a [u8], offset: u32, header: &FrameHeader) -> Option<&'a [u8]> {
    let from = at(offset) + FRAME_HEADER;
    let padded = pad8(at(header.stored_len));
    let bytes = image.get(from..from.checked_add(padded)?)?;
    (crc::of(bytes) == header.payload_crc).then_some(bytes)
}

/// The offset just behind the frame at `offset`.
pub(crate) fn after(offset: u32, header: &FrameHeader) -> u32 {
    // A length with a good checksum may still be wild (H36).
    offset.saturating_add(u32::try_from(header.frame_len()).unwrap_or(u32::MAX))
}

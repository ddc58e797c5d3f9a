//! The header page of a segment: two equal copies, at 0 and at 2048.

use super::{Unsupported, VERSION, crc};
use crate::width::{u16_at, u32_at, u64_at, u128_at};

/// First byte after the header page: where frames begin.
pub(crate) const HEADER_BYTES: u32 = 4096;
/// Where the second copy stands.
pub(crate) const COPY_AT: usize = 2048;
/// Bytes of one copy that carry meaning; the rest is zero.
pub(crate) const HEADER_LEN: usize = 96;
const MAGIC: [u8; 8] = [0x51, 0x57, 0x41, 0x4c, 0x0d, 0x0a, 0x1a, 0x0a];
const ALGO_CRC32: u8 = 1;

/// What a segment says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) uuid: u128,
    pub(crate) seq: u64,
    pub(crate) salt: u64,
    pub(crate) segment_bytes: u32,
    /// End frames begin at a multiple of this; 0: anywhere.
    pub(crate) align: u32,
    /// The file is as long as what was written, not `segment_bytes`.
    pub(crate) grows: bool,
}

/// Flag: the file grows.
const GROWS: u8 = 1;

impl SegmentHeader {
    /// One copy.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = ALGO_CRC32;
        out[11] = if self.grows { GROWS } else { 0 };
        out[12..16].copy_from_slice(&HEADER_BYTES.to_le_bytes());
        out[16..32].copy_from_slice(&self.uuid.to_le_bytes());
        out[32..40].copy_from_slice(&self.seq.to_le_bytes());
        out[40..48].copy_from_slice(&self.salt.to_le_bytes());
        out[48..52].copy_from_slice(&self.segment_bytes.to_le_bytes());
        out[52..56].copy_from_slice(&self.align.to_le_bytes());
        let crc = crc::of(&out[..92]);
        out[92..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads one copy: `Ok(None)` if it is not a sound header.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, Unsupported> {
        if bytes.len() < HEADER_LEN || bytes[..8] != MAGIC {
            return Ok(None);
        }
        if u32_at(bytes, 92) != crc::of(&bytes[..92]) {
            return Ok(None);
        }
        let version = u16_at(bytes, 8);
        if version != VERSION {
            return Err(Unsupported { what: "segment version", found: version.into() });
        }
        if bytes[10] != ALGO_CRC32 {
            return Err(Unsupported { what: "checksum algorithm", found: bytes[10].into() });
        }
        if bytes[11] & !GROWS != 0 {
            return Err(Unsupported { what: "segment flags", found: bytes[11].into() });
        }
        let align = u32_at(bytes, 52);
        if !matches!(align, 0 | 512 | 4096) {
            return Err(Unsupported { what: "segment alignment", found: align.into() });
        }
        let header = Self {
            uuid: u128_at(bytes, 16),
            seq: u64_at(bytes, 32),
            salt: u64_at(bytes, 40),
            segment_bytes: u32_at(bytes, 48),
            align,
            grows: bytes[11] & GROWS != 0,
        };
        let sound = u32_at(bytes, 12) == HEADER_BYTES
            && header.salt != 0
            && bytes[56..92].iter().all(|&b| b == 0);
        Ok(sound.then_some(header))
    }
}

//! CRC-32/ISO-HDLC, and its binding of a frame header to one place in one life of one file.

use crate::plant::planted;
use crate::width::wide;

/// Where a frame stands; a header is valid nowhere else (H5, H42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) seq: u64,
    pub(crate) offset: u32,
}

/// The checksum of a payload or of a header page.
pub(crate) fn of(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The one bit whose flip gives `bytes` the checksum `expected`.
///
/// The checksum is linear: a flipped bit changes it by a value that depends on its distance from
/// the end only, and each step away from the end is one step of the checksum over a zero bit.
pub(crate) fn flipped_bit(bytes: &[u8], expected: u32) -> Option<u64> {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let wanted = of(bytes) ^ expected;
    let mut change = POLYNOMIAL;
    for bit in (0..wide(bytes.len()) * 8).rev() {
        if change == wanted {
            return Some(bit);
        }
        change = change >> 1 ^ if change & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

/// The checksum of a frame header: over salt, segment number and offset, then bytes 4..40.
pub(crate) fn bound(place: Place, header: &[u8]) -> u32 {
    let mut input = [0; 60];
    let salt = if planted("salt_left_out") { 0 } else { place.salt };
    input[..8].copy_from_slice(&salt.to_le_bytes());
    input[8..16].copy_from_slice(&place.seq.to_le_bytes());
    input[16..24].copy_from_slice(&u64::from(place.offset).to_le_bytes());
    input[24..].copy_from_slice(&header[4..40]);
    crc32fast::hash(&input)
}

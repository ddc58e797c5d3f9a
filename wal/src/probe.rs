//! Doors for fuzzers and mutation tests to what is not public (feature `testing`): decoders that
//! take any bytes. No promise is made about them.

use crate::format::crc::Place;
use crate::format::frame::{FrameHeader, FrameKind, payload};
use crate::format::manifest::Manifest;
use crate::format::record::Records;
use crate::format::segment::SegmentHeader;
use crate::width::at;

/// Reads a frame as if it stood at `offset` of segment `seq` in a life with this salt; how many
/// records it has, if all of it is sound.
///
/// # Examples
/// ```
/// assert_eq!(quorate_wal::probe::frame(1, 1, 4096, &[0; 64]), None);
/// ```
#[must_use]
pub fn frame(salt: u64, seq: u64, offset: u32, bytes: &[u8]) -> Option<usize> {
    let place = Place { salt, seq, offset };
    let (header, _) = FrameHeader::decode(bytes, place).ok().flatten()?;
    let load = payload(bytes, 0, &header)?;
    if header.kind != FrameKind::Data {
        return Some(0);
    }
    let mut records = Records::new(load.get(..at(header.stored_len))?, header.records);
    let count = records.by_ref().take_while(Result::is_ok).count();
    (records.is_done() && count == usize::from(header.records)).then_some(count)
}

/// Reads header copies and MANIFEST slots out of any bytes; whether any was sound.
///
/// # Examples
/// ```
/// assert!(!quorate_wal::probe::heads(&[0; 8192]));
/// ```
#[must_use]
pub fn heads(bytes: &[u8]) -> bool {
    let header = SegmentHeader::decode(bytes).is_ok_and(|found| found.is_some());
    header || Manifest::newest_of(bytes).is_ok_and(|(found, _)| found.is_some())
}

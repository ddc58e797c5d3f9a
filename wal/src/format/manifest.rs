//! MANIFEST: two slots, written in turn; every claim in it is a lower bound.

use super::{Unsupported, VERSION, crc};
use crate::width::{u16_at, u32_at, u64_at, u128_at};

/// Length of the file.
pub(crate) const MANIFEST_BYTES: usize = 8192;
/// Distance of the two slots.
pub(crate) const SLOT_STRIDE: usize = 4096;
/// Bytes of one slot.
pub(crate) const SLOT_LEN: usize = 128;
const MAGIC: [u8; 8] = *b"QWALMAN1";
const CLEAN: u16 = 1;

/// The values of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) slot_seq: u64,
    pub(crate) clean: bool,
    pub(crate) uuid: u128,
    pub(crate) oldest: u64,
    pub(crate) newest: u64,
    pub(crate) durable_seq: u64,
    pub(crate) durable_salt: u64,
    pub(crate) durable_lsn: u64,
    pub(crate) durable_off: u32,
    pub(crate) main_low: u64,
}

impl Manifest {
    pub(crate) fn encode(&self) -> [u8; SLOT_LEN] {
        let mut out = [0; SLOT_LEN];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(if self.clean { CLEAN } else { 0 }).to_le_bytes());
        out[16..24].copy_from_slice(&self.slot_seq.to_le_bytes());
        out[24..40].copy_from_slice(&self.uuid.to_le_bytes());
        out[40..48].copy_from_slice(&self.oldest.to_le_bytes());
        out[48..56].copy_from_slice(&self.newest.to_le_bytes());
        out[56..64].copy_from_slice(&self.durable_seq.to_le_bytes());
        out[64..72].copy_from_slice(&self.durable_salt.to_le_bytes());
        out[72..80].copy_from_slice(&self.durable_lsn.to_le_bytes());
        out[80..84].copy_from_slice(&self.durable_off.to_le_bytes());
        out[88..96].copy_from_slice(&self.main_low.to_le_bytes());
        let crc = crc::of(&out[..124]);
        out[124..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the slot at index `slot`: `Ok(None)` if it is not sound.
    pub(crate) fn decode(bytes: &[u8], slot: u64) -> Result<Option<Self>, Unsupported> {
        if bytes.len() < SLOT_LEN || bytes[..8] != MAGIC {
            return Ok(None);
        }
        if u32_at(bytes, 124) != crc::of(&bytes[..124]) {
            return Ok(None);
        }
        let version = u16_at(bytes, 8);
        if version != VERSION {
            return Err(Unsupported { what: "manifest version", found: version.into() });
        }
        let flags = u16_at(bytes, 10);
        if flags & !CLEAN != 0 {
            return Err(Unsupported { what: "manifest flags", found: flags.into() });
        }
        let found = Self {
            slot_seq: u64_at(bytes, 16),
            clean: flags & CLEAN != 0,
            uuid: u128_at(bytes, 24),
            oldest: u64_at(bytes, 40),
            newest: u64_at(bytes, 48),
            durable_seq: u64_at(bytes, 56),
            durable_salt: u64_at(bytes, 64),
            durable_lsn: u64_at(bytes, 72),
            durable_off: u32_at(bytes, 80),
            main_low: u64_at(bytes, 88),
        };
        let zeros = u32_at(bytes, 12) == 0
            && u32_at(bytes, 84) == 0
            && bytes[96..124].iter().all(|&b| b == 0);
        let numbers = [found.oldest, found.newest, found.durable_seq, found.durable_lsn];
        let small = numbers.iter().chain([&found.main_low]).all(|&n| n < 1 << 63)
            && found.slot_seq < 1 << 63;
        Ok((zeros && small && found.slot_seq % 2 == slot).then_some(found))
    }

    /// The newest sound slot of the file, and how many slots were not sound.
    pub(crate) fn newest_of(file: &[u8]) -> Result<(Option<Self>, u32), Unsupported> {
        let mut best: Option<Self> = None;
        let mut bad = 0;
        for slot in 0..2_usize {
            let from = slot * SLOT_STRIDE;
            let bytes = file.get(from..from + SLOT_LEN).unwrap_or(&[]);
            match Self::decode(bytes, slot as u64)? {
                None => bad += 1,
                Some(found) => {
                    if best.is_none_or(|b| found.slot_seq > b.slot_seq) {
                        best = Some(found);
                    }
                }
            }
        }
        Ok((best, bad))
    }
}

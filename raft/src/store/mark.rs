//! The Mark: where a log starts, kept beside its blocks and at the head of snapshot files. Layout:
//! FORMAT.md.

use crate::error::StoreError;
use crate::{LogId, Membership, SnapshotMeta, StoreId};
use bytes::{Buf as _, BufMut as _};
use quorate_transport::NodeId;

const MARK_MAGIC: u32 = u32::from_le_bytes(*b"QRS1");
pub(super) const VERSION: u8 = 1;
const MARK_HEAD_LEN: usize = 56;
const FLAG_AUTO_LEAVE: u8 = 1;
/// Most members of a list in a mark.
const MEMBERS_MAX: usize = 64;

/// Magic, version and trailing CRC.
pub(super) fn check(record: &[u8], magic: u32) -> Result<(), &'static str> {
    let Some((body, crc)) = record.split_last_chunk::<4>() else { return Err("truncated") };
    if body.len() < 5 || body[..4] != magic.to_le_bytes() {
        return Err("magic");
    }
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err("checksum");
    }
    if body[4] == VERSION { Ok(()) } else { Err("version is not 1") }
}

pub(crate) fn encode_mark(meta: &SnapshotMeta) -> Vec<u8> {
    let m = &meta.membership;
    let lists = [&m.voters, &m.outgoing, &m.learners, &m.learners_next];
    let mut out = Vec::with_capacity(MARK_HEAD_LEN + 4 + 8 * m.members().len());
    out.put_u32_le(MARK_MAGIC);
    out.put_u8(VERSION);
    out.put_u8(if m.auto_leave { FLAG_AUTO_LEAVE } else { 0 });
    out.put_u16_le(0);
    out.put_u64_le(meta.last.term.value());
    out.put_u64_le(meta.last.index.value());
    out.put_u64_le(meta.time_ms);
    out.put_u128_le(meta.maker.value());
    for list in lists {
        out.put_u16_le(u16::try_from(list.len()).unwrap_or(u16::MAX)); // ≤ MEMBERS_MAX
    }
    lists.into_iter().flatten().for_each(|id| out.put_u64_le(id.value()));
    let crc = crc32fast::hash(&out);
    out.put_u32_le(crc);
    out
}

pub(crate) fn decode_mark(bytes: &[u8]) -> Result<SnapshotMeta, StoreError> {
    let damaged = |what: &str| StoreError::Damaged { what: format!("mark record: {what}").into() };
    check(bytes, MARK_MAGIC).map_err(damaged)?;
    if bytes.len() < MARK_HEAD_LEN + 4 {
        return Err(damaged("truncated"));
    }
    let mut r = &bytes[5..bytes.len() - 4];
    let auto_leave = r.get_u8() & FLAG_AUTO_LEAVE != 0;
    let _zero = r.get_u16_le();
    let last = LogId::new(r.get_u64_le(), r.get_u64_le());
    let (time_ms, maker) = (r.get_u64_le(), StoreId::new(r.get_u128_le()));
    let counts: [usize; 4] = std::array::from_fn(|_| usize::from(r.get_u16_le()));
    if counts.iter().any(|n| *n > MEMBERS_MAX) || r.len() != counts.iter().sum::<usize>() * 8 {
        return Err(damaged("member lists do not fit its length"));
    }
    let mut lists: [Vec<NodeId>; 4] = Default::default();
    for (list, count) in lists.iter_mut().zip(counts) {
        for _ in 0..count {
            list.push(NodeId::try_new(r.get_u64_le()).ok_or_else(|| damaged("node is zero"))?);
        }
    }
    let [voters, outgoing, learners, learners_next] = lists;
    let membership = Membership { voters, outgoing, learners, learners_next, auto_leave };
    let mut meta = SnapshotMeta::new(last, membership);
    meta.time_ms = time_ms;
    meta.maker = maker;
    Ok(meta)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> SnapshotMeta {
        let ids = |n: &[u64]| n.iter().map(|id| NodeId::new(*id)).collect::<Vec<_>>();
        let members = Membership::of_voters(&ids(&[1, 2, 3])).with_learners(&ids(&[4]));
        let mut meta = SnapshotMeta::new(LogId::new(5, 6), members);
        meta.time_ms = 7;
        meta.maker = StoreId::new(8);
        meta
    }

    #[test]
    fn marks_round_trip() {
        assert_eq!(decode_mark(&encode_mark(&mark())).unwrap(), mark());
    }

    /// Golden vector: never edited, only added to.
    #[test]
    fn golden() {
        let hex: String = encode_mark(&mark()).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_MARK);
    }

    const GOLDEN_MARK: &str = "5152533101000000050000000000000006000000000000000700000000000000\
        0800000000000000000000000000000003000000010000000100000000000000\
        020000000000000003000000000000000400000000000000c5cd5dc3";

    #[test]
    fn every_flipped_bit_and_every_length_is_refused() {
        let record = encode_mark(&mark());
        for bit in 0..record.len() * 8 {
            let mut bytes = record.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_mark(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(decode_mark(&record[..len]).is_err(), "cut to {len}");
        }
        let longer = [&record[..], &[0]].concat();
        assert!(decode_mark(&longer).is_err());
    }
}

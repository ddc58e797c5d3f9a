//! The Mark: where a log starts, kept beside its blocks and at the head of snapshot files. Layout:
//! FORMAT.md.

use crate::error::StoreError;
use crate::quorum::VOTERS_MAX;
use crate::{LogId, LogIndex, MEMBERS_MAX, Membership, SnapshotMeta, StoreId};
use bytes::{Buf as _, BufMut as _};
use quorate_transport::NodeId;

const MARK_MAGIC: u32 = u32::from_le_bytes(*b"QRS1");
pub(super) const VERSION: u8 = 1;
const MARK_HEAD_LEN: usize = 72;
const FLAG_AUTO_LEAVE: u8 = 1;
/// Bytes of a promotion: learner, whom it replaces.
const PROMOTION_LEN: usize = 16;
/// Bytes of a known disk: node, store id.
const STORE_LEN: usize = 24;

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
        out.put_u16_le(count(list.len()));
    }
    out.put_u16_le(count(m.promotions.len()));
    out.put_u16_le(count(m.stores.len()));
    out.put_u32_le(0);
    out.put_u64_le(m.index.value());
    lists.into_iter().flatten().for_each(|id| out.put_u64_le(id.value()));
    for (learner, replaces) in &m.promotions {
        out.put_u64_le(learner.value());
        out.put_u64_le(replaces.map_or(0, NodeId::value));
    }
    for (node, store) in &m.stores {
        out.put_u64_le(node.value());
        out.put_u128_le(store.value());
    }
    let crc = crc32fast::hash(&out);
    out.put_u32_le(crc);
    out
}

/// At most `MEMBERS_MAX`: memberships are kept to it.
fn count(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
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
    let counts: [usize; 6] = std::array::from_fn(|_| usize::from(r.get_u16_le()));
    let _zero = r.get_u32_le();
    let index = LogIndex::new(r.get_u64_le());
    let [voters, outgoing, ..] = counts;
    if voters.max(outgoing) > VOTERS_MAX {
        return Err(damaged("more than 15 voters"));
    }
    let [lists @ .., promotions, stores] = counts;
    let ids = lists.iter().sum::<usize>() * 8;
    let expected = ids + promotions * PROMOTION_LEN + stores * STORE_LEN;
    if counts.iter().any(|n| *n > MEMBERS_MAX) || r.len() != expected {
        return Err(damaged("member lists do not fit its length"));
    }
    let node = |id| NodeId::try_new(id).ok_or_else(|| damaged("node is zero"));
    let mut membership = Membership { index, auto_leave, ..Membership::default() };
    let m = &mut membership;
    let targets = [&mut m.voters, &mut m.outgoing, &mut m.learners, &mut m.learners_next];
    for (list, count) in targets.into_iter().zip(lists) {
        for _ in 0..count {
            list.push(node(r.get_u64_le())?);
        }
        if !list.is_sorted_by(|a, b| a < b) {
            return Err(damaged("a member list is not in order"));
        }
    }
    for _ in 0..promotions {
        let learner = node(r.get_u64_le())?;
        m.promotions.insert(learner, NodeId::try_new(r.get_u64_le()));
    }
    for _ in 0..stores {
        let member = node(r.get_u64_le())?;
        m.stores.insert(member, StoreId::new(r.get_u128_le()));
    }
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
        let stores = [(NodeId::new(1), StoreId::new(9))];
        let mut members =
            Membership::of_voters(&ids(&[1, 2, 3])).with_learners(&ids(&[4])).with_stores(stores);
        members.index = LogIndex::new(5);
        members.promotions.insert(NodeId::new(4), Some(NodeId::new(1)));
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
        0800000000000000000000000000000003000000010000000100010000000000\
        0500000000000000010000000000000002000000000000000300000000000000\
        0400000000000000040000000000000001000000000000000100000000000000\
        09000000000000000000000000000000d0e75812";

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

//! The Meta: whose log it is, and its hard state. One metadata cell of a [`WalLog`](super::WalLog).
//! Layout: FORMAT.md.

use super::mark::{VERSION, check};
use crate::error::StoreError;
use crate::store::Owner;
use crate::{GroupId, HardState, LogIndex, StoreId, Term};
use bytes::{Buf as _, BufMut as _};
use core::time::Duration;
use quorate_transport::{ClusterId, NodeId};

const META_LEN: usize = 128;
const NANOS_PER_MS: u128 = 1_000_000;
const META_MAGIC: u32 = u32::from_le_bytes(*b"QRM1");

/// Who owns the log, and its hard state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) group: GroupId,
    pub(crate) owner: Owner,
    pub(crate) store: StoreId,
    pub(crate) hard: HardState,
}

impl Meta {
    pub(crate) fn encode(&self) -> [u8; META_LEN] {
        let mut out = [0_u8; META_LEN];
        let mut w = &mut out[..];
        w.put_u32_le(META_MAGIC);
        w.put_u8(VERSION);
        w.put_bytes(0, 3);
        w.put_u64_le(self.group.value());
        w.put_u128_le(self.owner.cluster.value());
        w.put_u64_le(self.owner.node.value());
        w.put_u128_le(self.store.value());
        w.put_u64_le(self.hard.term.value());
        w.put_u64_le(self.hard.vote.map_or(0, NodeId::value));
        w.put_u64_le(self.hard.commit.value());
        // Rounded up: a restart must not wait for less than was promised. // H29
        let promise_ms = self.hard.promise.as_nanos().div_ceil(NANOS_PER_MS);
        w.put_u64_le(u64::try_from(promise_ms).unwrap_or(u64::MAX));
        w.put_u64_le(self.hard.lost.value());
        // 96: zeros up to the CRC.
        let crc = crc32fast::hash(&out[..META_LEN - 4]);
        out[META_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged =
            |what: &str| StoreError::Damaged { what: format!("meta record: {what}").into() };
        let record: &[u8; META_LEN] = bytes
            .try_into()
            .map_err(|_| damaged(&format!("expected {META_LEN} bytes, found {}", bytes.len())))?;
        check(record, META_MAGIC).map_err(damaged)?;
        let mut r = &record[8..];
        let group = GroupId::new(r.get_u64_le());
        let cluster = ClusterId::new(r.get_u128_le());
        let node = NodeId::try_new(r.get_u64_le()).ok_or_else(|| damaged("node is zero"))?;
        let store = StoreId::new(r.get_u128_le());
        let term = Term::new(r.get_u64_le());
        let vote = NodeId::try_new(r.get_u64_le());
        let commit = LogIndex::new(r.get_u64_le());
        let promise = Duration::from_millis(r.get_u64_le());
        let lost = LogIndex::new(r.get_u64_le());
        let hard = HardState { term, vote, commit, promise, lost };
        Ok(Self { group, owner: Owner::new(cluster, node), store, hard })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        Meta {
            group: GroupId::new(1),
            owner: Owner::new(ClusterId::new(2), NodeId::new(3)),
            store: StoreId::new(4),
            hard: HardState::new(Term::new(5), Some(NodeId::new(6)), LogIndex::new(7)),
        }
    }

    #[test]
    fn metas_round_trip() {
        assert_eq!(Meta::decode(&meta().encode()).unwrap(), meta());
        let unvoted = Meta { hard: HardState::new(Term::new(5), None, LogIndex::ZERO), ..meta() };
        assert_eq!(Meta::decode(&unvoted.encode()).unwrap(), unvoted);
        assert_eq!(Meta::decode(&promised().encode()).unwrap(), promised());
    }

    /// The same on a node that serves leases.
    fn promised() -> Meta {
        let promise = Duration::from_millis(300);
        Meta { hard: HardState { promise, ..meta().hard }, ..meta() }
    }

    #[test]
    fn a_promise_is_never_stored_shorter() {
        let promise = Duration::from_nanos(300_000_001);
        let stored = Meta { hard: HardState { promise, ..meta().hard }, ..meta() }.encode();
        assert_eq!(Meta::decode(&stored).unwrap().hard.promise, Duration::from_millis(301));
    }

    /// Golden vector: never edited, only added to.
    #[test]
    fn golden() {
        let hex: String = meta().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_META);
        let hex: String = promised().encode().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, GOLDEN_PROMISED);
    }

    const GOLDEN_PROMISED: &str = "51524d3101000000010000000000000002000000000000000000000000000000\
        0300000000000000040000000000000000000000000000000500000000000000\
        060000000000000007000000000000002c010000000000000000000000000000\
        00000000000000000000000000000000000000000000000000000000b0ee7243";

    const GOLDEN_META: &str = "51524d3101000000010000000000000002000000000000000000000000000000\
        0300000000000000040000000000000000000000000000000500000000000000\
        0600000000000000070000000000000000000000000000000000000000000000\
        000000000000000000000000000000000000000000000000000000001523a163";

    #[test]
    fn every_flipped_bit_and_every_length_is_refused() {
        let record = meta().encode();
        for bit in 0..record.len() * 8 {
            let mut bytes = record;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Meta::decode(&bytes).is_err(), "bit {bit}");
        }
        for len in 0..record.len() {
            assert!(Meta::decode(&record[..len]).is_err(), "cut to {len}");
        }
        assert!(Meta::decode(&[&record[..], &[0]].concat()).is_err());
    }
}

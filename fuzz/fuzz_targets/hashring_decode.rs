//! Any bytes as a topology, a table, a view or a map of ranges: no panic, what is accepted encodes
//! to what was read, and can be worked with.
//!
//! First byte: the kind, and whether length, digest and checksum are mended.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_hashring::{
    Assign, BalanceReport, DecodeError, KeyHash, Locate, PartitionTable, Quorum, RangeMap,
    Replicate, Segmented, SipKey, Topology, Transition, View, diff,
};

/// Seals the bytes again, so that the checks behind the sums are met too.
fn mend(bytes: &mut [u8], kind: u8) {
    if bytes.len() < 28 {
        return;
    }
    let end = bytes.len() - 4;
    bytes[..8].copy_from_slice(&[b'Q', b'H', b'R', b'1', kind, 1, 0, 0]);
    bytes[8..12].copy_from_slice(&((end - 24) as u32).to_le_bytes());
    bytes[12..16].fill(0);
    let digested = [&bytes[4..6], &bytes[24..end]].concat();
    bytes[16..24].copy_from_slice(&KeyHash::xxh3(0).hash(&digested).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum.to_le_bytes());
}

fn table_works(table: &PartitionTable) {
    let ids = table.node_ids().len();
    for hash in [0, 1 << 63, u64::MAX] {
        assert_eq!(table.owner_at(hash), table.replicas_at(hash)[0]);
        assert!(table.replicas_at(hash).iter().all(|at| usize::from(at.value()) < ids));
    }
    assert!(diff(table, table).expect("one space").is_empty());
    let _ = BalanceReport::of(table).to_string();
    // Large ones take long to solve.
    if table.bits() <= 6 && ids <= 64 {
        let again = Assign::new(table.topology(), table.rules()).previous(table).solve();
        let _ = again.map(|solved| assert!(solved.moves() >= solved.load_bound()));
    }
}

fn view_works(view: &View) {
    for hash in [0, 1 << 63, u64::MAX] {
        let route = view.route_at(hash);
        assert!(!route.read.is_empty() && route.tag <= view.epoch());
        let mut tally = route.write.tally(Quorum::Majority);
        for at in route.write.nodes() {
            let _ = tally.ack(at);
        }
        assert_eq!(tally.outcome(), quorate_hashring::Outcome::Reached);
    }
    if let Ok(mut transition) = Transition::resume(view, Quorum::Majority, &[]) {
        let _ = (transition.poll_view(), transition.waiting_for(), transition.abort());
        let _ = transition.poll_view();
    }
    if view.table().bits() <= 8 {
        let _ = view.doubled();
    }
}

fn ranges_work(map: &RangeMap) {
    for key in [&b""[..], b"m", &[0xFF; 9]] {
        let range = map.locate(key);
        assert!(range.contains(key));
        assert_eq!(map.get(range.id), Some(range));
    }
    assert_eq!(map.iter().count(), map.len());
}

fn check<T>(
    bytes: &[u8],
    decoded: Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let value = decoded.map_err(|error| error.to_string()).ok()?;
    assert_eq!(encode(&value), bytes);
    Some(value)
}

fuzz_target!(|data: &[u8]| {
    let Some((&how, bytes)) = data.split_first() else { return };
    let (kind, mut bytes) = (how % 4 + 1, bytes.to_vec());
    if how & 4 != 0 {
        mend(&mut bytes, kind);
    }
    let key = (how & 8 != 0).then(|| KeyHash::siphash13(SipKey::new(1, 2)));
    match kind {
        1 => {
            if let Some(topology) = check(&bytes, Topology::decode(&bytes), Topology::encode) {
                assert!(topology.nodes().iter().any(|node| !node.weight_of().is_zero()));
                let again = topology.to_builder().build().expect("it was one");
                assert_eq!(again.digest(), topology.digest());
            }
        }
        2 => {
            let table = check(&bytes, PartitionTable::decode(&bytes, key), PartitionTable::encode);
            table.iter().for_each(table_works);
        }
        3 => check(&bytes, View::decode(&bytes, key), View::encode).iter().for_each(view_works),
        _ => check(&bytes, RangeMap::decode(&bytes), RangeMap::encode).iter().for_each(ranges_work),
    }
});

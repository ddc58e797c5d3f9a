//! The bytes of a range map.

use super::assert_in_format;
use quorate_hashring::{Epoch, NodeId, RangeId, RangeMap};

#[test]
fn golden_range_map() {
    let [a, b, c] = [7, 2, 300].map(NodeId::new);
    let map = RangeMap::new(RangeId::new(1), &[a, b]).unwrap();
    let map = map.split(RangeId::new(1), Epoch::new(1), b"mid", RangeId::new(2)).unwrap();
    let map = map.reassign(RangeId::new(2), Epoch::new(2), &[c, a]).unwrap();
    assert_in_format("Golden range map", &map.encode());
    assert_eq!(RangeMap::decode(&map.encode()).unwrap(), map);
}

//! The bytes of a range map, as FORMAT.md prints them.

use expect_test::expect;
use quorate_hashring::{Epoch, NodeId, RangeId, RangeMap};

#[test]
fn two_ranges_on_three_nodes() {
    let [a, b, c] = [7, 2, 300].map(NodeId::new);
    let map = RangeMap::new(RangeId::new(1), &[a, b]).unwrap();
    let map = map.split(RangeId::new(1), Epoch::new(1), b"mid", RangeId::new(2)).unwrap();
    let map = map.reassign(RangeId::new(2), Epoch::new(2), &[c, a]).unwrap();
    let hex: Vec<String> = map
        .encode()
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    expect![[r#"
        51485231040100004f00000000000000
        ad01de5bc8daa2680300020000000000
        000007000000000000002c0100000000
        00000200000001000000000000000200
        00000000000000000201000000020000
        0000000000030000000000000003006d
        6964020200010002a5af91"#]]
    .assert_eq(&hex.join("\n"));
    assert_eq!(RangeMap::decode(&map.encode()).unwrap(), map);
}

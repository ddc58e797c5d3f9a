//! The readable views of the feature `serde`.

use crate::random::{self, Random, seeds};
use quorate_hashring::{
    Assign, BalanceReport, Level, Node, NodeId, Ring, RingConfig, Rules, Topology, Weight,
};
use serde_json::{Value, json};

#[test]
fn topologies_read_as_people_would_write_them() {
    let topology = Topology::builder()
        .node(Node::new(NodeId::new(2)).at(Level::Zone, "b").weight(Weight::ZERO))
        .node(Node::new(NodeId::new(1)).at(Level::Region, "eu").at(Level::Host, "h1"))
        .build()
        .unwrap();
    let expected = json!([
        { "id": 1, "weight": 65_536, "region": "eu", "host": "h1" },
        { "id": 2, "weight": 0, "zone": "b" },
    ]);
    assert_eq!(serde_json::to_value(&topology).unwrap(), expected);
}

#[test]
fn topologies_and_rules_come_back_as_they_were() {
    for seed in seeds(200) {
        let random = &mut Random::new(seed);
        let shape = [2, 3, 2, 4];
        let count = 1 + random.below(12);
        let topology = random::topology(random, count, shape, &[0, 1, 50]);
        let text = serde_json::to_string(&topology).unwrap();
        let back: Topology = serde_json::from_str(&text).unwrap();
        assert_eq!((&back, back.digest()), (&topology, topology.digest()), "seed {seed}: {text}");
        assert_eq!(back.encode(), topology.encode());

        let rules = random::rules(random, 3, shape, true);
        let rules = if random.once_in(2) { rules.allow_short() } else { rules };
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<Rules>(&text).unwrap(), rules, "seed {seed}: {text}");
    }
}

/// What no builder would take is not taken from text either.
#[test]
fn topologies_that_cannot_be_are_refused() {
    for (text, reason) in [
        (r#"[{"id":0,"weight":1}]"#, "node id zero"),
        (r#"[{"id":1,"weight":0}]"#, "no node has a weight above zero"),
        (r#"[{"id":1,"weight":1},{"id":1,"weight":1}]"#, "node 1 given twice"),
        (r#"[{"id":1,"weight":1,"row":"x"}]"#, "unknown field `row`"),
        (r#"[{"id":1,"weight":4294967296}]"#, "invalid value"),
        (r#"[{"id":1}]"#, "missing field `weight`"),
    ] {
        let error = serde_json::from_str::<Topology>(text).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    // Rules are checked where they are used, as those that were built are.
    let text = serde_json::to_string(&Rules::new(0)).unwrap();
    assert!(serde_json::from_str::<Rules>(&text).unwrap().validate().is_err());
}

#[test]
fn reports_say_what_their_getters_say() {
    let topology = crate::contract::cluster(7);
    let rules = Rules::new(3).at_most_soft(Level::Region, 1);
    let table = Assign::new(&topology, &rules).partition_bits(5).solve().unwrap();
    let ring = Ring::build(&topology, &Rules::new(1), &RingConfig::default()).unwrap();
    for report in [table.report(), &BalanceReport::of(&ring)] {
        let text = serde_json::to_string(report).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let nodes = value["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 7);
        for (node, of) in nodes.iter().zip(report.nodes()) {
            assert_eq!(node["node"], of.node().value());
            assert_eq!(node["peers"], of.peers());
            // Shares of a ring may be beyond 64 bits: the text has them exactly.
            assert!(text.contains(&format!("\"load\":{},", of.load())), "{text}");
            let (num, den) = of.target();
            assert!(text.contains(&format!("\"target\":[{num},{den}]")), "{text}");
        }
        assert_eq!(value["relaxed"].as_array().unwrap().len(), report.relaxed().len());
    }
    let value = serde_json::to_value(table.report().relaxed()).unwrap();
    assert_eq!(value, json!([{ "AtMost": { "level": "Region", "asked": 1, "given": 3 } }]));
}

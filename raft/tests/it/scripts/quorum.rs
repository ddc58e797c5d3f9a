//! The `quorum/` scripts: commit index and vote outcome of majorities and joint quorums.

use super::parse::Case;
use quorate_raft::quorum::{self, VoteResult};
use quorate_transport::NodeId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(super) fn run(case: &Case) -> String {
    let incoming = nodes(&case.numbers("cfg"));
    let outgoing = match case.value("cfgj") {
        Some("zero") | None => Vec::new(),
        Some(_) => nodes(&case.numbers("cfgj")),
    };
    match case.verb.as_str() {
        "committed" => committed(&incoming, &outgoing, &values(case, "idx", &incoming, &outgoing)),
        "vote" => vote(&incoming, &outgoing, &values(case, "votes", &incoming, &outgoing)),
        verb => panic!("unknown verb {verb}"),
    }
}

fn nodes(ids: &[u64]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId::new(*id)).collect()
}

/// The values belong to the ids of both halves, each id once, in order of first appearance.
fn values(case: &Case, key: &str, a: &[NodeId], b: &[NodeId]) -> BTreeMap<NodeId, Option<String>> {
    let mut ids: Vec<NodeId> = Vec::new();
    for id in a.iter().chain(b) {
        if !ids.contains(id) {
            ids.push(*id);
        }
    }
    let given = case.arg(key).map_or(&[][..], |arg| &arg.values);
    let known = |v: &String| (v != "_" && !v.is_empty()).then(|| v.clone());
    ids.iter().zip(given).map(|(id, v)| (*id, known(v))).collect()
}

fn committed(a: &[NodeId], b: &[NodeId], values: &BTreeMap<NodeId, Option<String>>) -> String {
    let indexes: BTreeMap<NodeId, Option<u64>> =
        values.iter().map(|(id, v)| (*id, v.as_ref().map(|v| v.parse().unwrap()))).collect();
    let acked = |id: NodeId| indexes.get(&id).copied().flatten().unwrap_or(0);
    let result = quorum::committed(a, b, acked);
    assert_eq!(quorum::committed(b, a, acked), result, "swapping the halves changes nothing");
    if b.is_empty() {
        assert_eq!(quorum::committed(&[], a, acked), result, "joined with the empty set");
        assert_eq!(quorum::committed(a, a, acked), result, "joined with itself");
    }
    lowering_changes_nothing(a, b, &indexes, result);
    let number = result.map_or_else(|| "∞".to_owned(), |index| index.to_string());
    table(&indexes) + &number
}

/// Values below the result do not matter: by one less, or zero, it stays the same.
fn lowering_changes_nothing(
    a: &[NodeId],
    b: &[NodeId],
    indexes: &BTreeMap<NodeId, Option<u64>>,
    result: Option<u64>,
) {
    for (lowered, value) in indexes.iter().filter_map(|(id, v)| v.map(|v| (*id, v))) {
        if result.is_none_or(|r| value >= r) {
            continue;
        }
        for less in [value.saturating_sub(1), 0] {
            let acked = |id: NodeId| {
                if id == lowered { less } else { indexes.get(&id).copied().flatten().unwrap_or(0) }
            };
            assert_eq!(quorum::committed(a, b, acked), result, "{lowered} lowered to {less}");
        }
    }
}

fn table(indexes: &BTreeMap<NodeId, Option<u64>>) -> String {
    let n = indexes.len();
    if n == 0 {
        return "<empty majority quorum>".to_owned();
    }
    let mut out = format!("{}    idx\n", " ".repeat(n));
    for (id, index) in indexes {
        let bar = index.map_or_else(
            || format!("?{}", " ".repeat(n)),
            |own| {
                let smaller = indexes.values().filter(|v| v.unwrap_or(0) < own).count();
                format!("{}>{}", "x".repeat(smaller), " ".repeat(n - smaller))
            },
        );
        writeln!(out, "{bar} {:>5}    (id={:x})", index.unwrap_or(0), id.value()).unwrap();
    }
    out
}

fn vote(a: &[NodeId], b: &[NodeId], values: &BTreeMap<NodeId, Option<String>>) -> String {
    let voted = |id: NodeId| values.get(&id).cloned().flatten().map(|v| v == "y");
    let result = quorum::vote(a, b, voted);
    assert_eq!(quorum::vote(b, a, voted), result, "swapping the halves changes nothing");
    if b.is_empty() {
        assert_eq!(quorum::vote(a, &[], voted), result, "joined with the empty set");
        assert_eq!(quorum::vote(&[], a, voted), result, "joined with the empty set");
        assert_eq!(quorum::vote(a, a, voted), result, "joined with itself");
    }
    match result {
        VoteResult::Won => "VoteWon".to_owned(),
        VoteResult::Pending => "VotePending".to_owned(),
        VoteResult::Lost => "VoteLost".to_owned(),
        other => panic!("unknown result {other:?}"),
    }
}

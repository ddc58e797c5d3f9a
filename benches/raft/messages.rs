//! Lane P4: messages between nodes for one proposal that comes alone, three nodes, counted until
//! nothing is left to say. Heartbeats are not counted: they come anyway. What followers do not
//! know by then (with `Lazy` the commit index) the next heartbeat or append tells them.

use crate::Bench;
use crate::applier::Payloads;
use crate::cores::Cores;
use crate::peers::{Propose, RawNodes};
use quorate_benches::sheet::Line;
use quorate_raft::{CommitNotify, Config};

/// Proposals that are counted, one after the other.
const PROPOSALS: u64 = 100;

pub(crate) fn lane(bench: &mut Bench) {
    let raft = of_raft();
    let ways = [
        ("Lazy", CommitNotify::Lazy, Some(4.0)),
        ("OneWay (default)", CommitNotify::OneWay, Some(6.0)),
        ("Append", CommitNotify::Append, None),
    ];
    for (name, notify, target) in ways {
        let (count, told_by_then, told_later) = of_ours(notify);
        let mut line = Line::new(&format!("P4 messages of an isolated commit, {name}"))
            .value(&format!("{count}"), count, "messages")
            .peer("raft 0.7.0", &format!("{raft}"), raft / count);
        line = match target {
            Some(target) => line.goal(&format!("{target}"), count == target),
            None => line.note("as the reference implementation: 8"),
        };
        let by_then = if told_by_then { "at once" } else { "with the next heartbeat" };
        assert!(told_later, "every follower applied it after a heartbeat");
        bench.sheet.push(line.note(&format!("followers apply {by_then}")));
    }
}

/// Messages of a proposal; whether the followers had applied it when all was said, and after the
/// next heartbeat.
fn of_ours(notify: CommitNotify) -> (f64, bool, bool) {
    let config = Config::lan().commit_notify(notify).build().expect("a preset is valid");
    let heartbeat = config.election_timeout_value() / 10;
    let mut cores = Cores::new(config);
    let mut payloads = Payloads::new(16);
    let (mut count, mut told_by_then) = (0, true);
    for _ in 0..PROPOSALS {
        let before = cores.messages;
        cores.commit(1, &mut payloads);
        count += cores.messages - before;
        let expected = payloads.expected();
        assert_eq!(cores.appliers[0], expected, "the leader applied it");
        told_by_then &= cores.appliers.iter().all(|applier| *applier == expected);
        cores.advance(heartbeat);
    }
    let expected = payloads.expected();
    let told_later = cores.appliers.iter().all(|applier| *applier == expected);
    (count as f64 / PROPOSALS as f64, told_by_then, told_later)
}

fn of_raft() -> f64 {
    let mut group = RawNodes::new();
    let mut payloads = Payloads::new(16);
    let before = group.messages;
    for _ in 0..PROPOSALS {
        group.commit(1, &mut payloads, Propose::Each);
    }
    let expected = payloads.expected();
    assert!(group.appliers.iter().all(|applier| *applier == expected), "all applied it");
    (group.messages - before) as f64 / PROPOSALS as f64
}

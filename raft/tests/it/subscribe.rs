//! Following what a node applies: in order, each once, and what becomes of those who are slow.

use crate::cluster::{Cluster, applied, config, guard};
use quorate_raft::{
    Applied, AppliedEntry, EntryKind, Lagged, LogIndex, Outcome, Read, SubscribeError,
};
use std::time::Duration;

const FIRST: LogIndex = LogIndex::new(1);

/// Entries up to the one at `last`; nothing may be missing.
async fn up_to(entries: &mut Applied, last: LogIndex) -> Vec<AppliedEntry> {
    let mut all = Vec::new();
    while all.last().is_none_or(|e: &AppliedEntry| e.id.index < last) {
        all.push(guard(entries.next()).await.unwrap().unwrap());
    }
    all
}

fn texts(entries: &[AppliedEntry]) -> Vec<String> {
    entries.iter().map(|e| String::from_utf8(e.data.to_vec()).unwrap()).collect()
}

async fn propose(cluster: &Cluster, i: usize, data: &str) -> LogIndex {
    applied(guard(cluster.node(i).propose(data.to_owned())).await).0
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gives_what_is_applied_in_order_and_once() {
    let cluster = Cluster::start(3, config()).await;
    let mut streams: Vec<Applied> =
        (0..3).map(|i| cluster.node(i).subscribe(FIRST).unwrap()).collect();
    // What a subscription begins behind is told first; here nothing of ours.
    for stream in &mut streams {
        let _noop = propose(&cluster, 0, "begin=1").await;
        if guard(stream.next()).await.unwrap().is_err() {
            guard(stream.next()).await.unwrap().unwrap();
        }
    }
    let session = guard(cluster.node(1).session(Duration::from_secs(60))).await.unwrap();
    let mut last = LogIndex::ZERO;
    let mut expected = Vec::new();
    for n in 0..100 {
        let text = format!("k={n}");
        last = match n % 10 {
            0 => applied(guard(session.propose(text.clone())).await).0,
            _ => propose(&cluster, n % 3, &text).await,
        };
        expected.push(text);
    }
    for stream in &mut streams {
        let all = up_to(stream, last).await;
        let ours: Vec<String> =
            texts(&all).into_iter().filter(|text| text.starts_with("k=")).collect();
        assert_eq!(ours, expected);
        assert!(all.is_sorted_by(|a, b| a.id.index < b.id.index));
        let of_session = all.iter().filter(|e| e.kind == EntryKind::Session).count();
        assert_eq!(of_session, 10, "opening it is not the application's");
        assert!(all.iter().all(|e| matches!(e.kind, EntryKind::Normal | EntryKind::Session)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_before_is_told_as_missing() {
    let cluster = Cluster::start(1, config()).await;
    let before = propose(&cluster, 0, "k=1").await;
    let mut entries = cluster.node(0).subscribe(FIRST).unwrap();
    assert_eq!(guard(entries.next()).await, Some(Err(Lagged { next: before.next() })));
    let second = propose(&cluster, 0, "k=2").await;
    assert_eq!(guard(entries.next()).await.unwrap().unwrap().id.index, second);
    // The ring has it by now: another one need not miss it.
    let mut later = cluster.node(0).subscribe(second).unwrap();
    assert_eq!(guard(later.next()).await.unwrap().unwrap().data, "k=2");
    // One that begins in the future waits for it.
    let mut future = cluster.node(0).subscribe(second.plus(2)).unwrap();
    propose(&cluster, 0, "k=3").await;
    propose(&cluster, 0, "k=4").await;
    assert_eq!(guard(future.next()).await.unwrap().unwrap().data, "k=4");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_is_told_where_to_go_on_and_holds_up_nobody() {
    let cluster = Cluster::start(1, config()).await;
    let begin = propose(&cluster, 0, "k=0").await;
    let mut slow = cluster.node(0).subscribe(begin.next()).unwrap();
    let mut last = begin;
    for _ in 0..5 {
        let data = (0..4_000).map(|n| format!("k={n}").into()).collect();
        for outcome in guard(cluster.node(0).propose_many(data)).await {
            assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            last = last.max(applied(outcome).0);
        }
    }
    let Some(Err(Lagged { next })) = guard(slow.next()).await else { panic!("20,000 are kept") };
    assert!(next > begin.next() && next < last);
    let rest = up_to(&mut slow, last).await;
    assert_eq!(rest[0].id.index, next);
    assert_eq!(rest.len() as u64, last.value() - next.value() + 1, "nothing is missing");
    let stats = cluster.node(0).stats();
    assert_eq!((stats.subscribers, stats.subscribers_lagged), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_a_limit_of_subscribers() {
    let cluster = Cluster::start(1, config()).await;
    let node = cluster.node(0);
    let mut all: Vec<Applied> = (0..256).map(|_| node.subscribe(FIRST).unwrap()).collect();
    assert_eq!(node.subscribe(FIRST).unwrap_err(), SubscribeError::TooMany { max: 256 });
    assert_eq!(node.stats().subscribers, 256);
    all.pop();
    all.push(node.subscribe(FIRST).unwrap());
    assert!(node.subscribe(FIRST).is_err());
    all.clear();
    assert_eq!(node.stats().subscribers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_a_gap() {
    let mut cluster = Cluster::start(1, config()).await;
    let mut last = LogIndex::ZERO;
    for n in 0..10 {
        last = propose(&cluster, 0, &format!("{n}=v")).await;
    }
    let id = cluster.join().await;
    let mut entries = cluster.node(1).subscribe(FIRST).unwrap();
    guard(cluster.node(0).members().add_learner(id)).await.unwrap();
    let Some(Err(Lagged { next })) = guard(entries.next()).await else { panic!("no snapshot") };
    assert!(next > last, "its state is that of a snapshot");
    let keys = guard(cluster.node(1).read(Read::Local, |m| m.0.len())).await.unwrap();
    assert_eq!(keys, 10, "the state was there before the news");
    last = propose(&cluster, 0, "after=1").await;
    assert_eq!(texts(&up_to(&mut entries, last).await), ["after=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_node_ends_it() {
    let mut cluster = Cluster::start(1, config()).await;
    let begin = propose(&cluster, 0, "k=1").await;
    let mut entries = cluster.node(0).subscribe(begin.next()).unwrap();
    propose(&cluster, 0, "k=2").await;
    let (node, _endpoint) = cluster.members[0].running.take().unwrap();
    let other = node.clone();
    guard(node.shutdown()).await.unwrap();
    assert_eq!(guard(entries.next()).await.unwrap().unwrap().data, "k=2", "what is left");
    assert_eq!(guard(entries.next()).await, None);
    assert_eq!(guard(entries.next()).await, None);
    assert_eq!(other.subscribe(FIRST).unwrap_err(), SubscribeError::Stopped);
}

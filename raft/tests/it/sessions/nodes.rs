//! Sessions over whole nodes: repeated forwards, leader changes, snapshots, restarts.

use crate::cluster::{Cluster, Map, applied, config, founded, guard};
use crate::group::{GROUP, heartbeat, index, message, node, snapshot};
use crate::store::{append, owner};
use bytes::{BufMut as _, Bytes, BytesMut};
use quorate_raft::{
    Block, Body, Config, EntryBody, HardState, Limits, LogId, LogStore as _, MemoryLog,
    MemorySnapshots, Message, Node, Outcome, Proposal, ProposeError, Read, Session, SessionId,
    SessionLimits, SessionTable, SessionVerdict, SnapshotStore as _, Stats, Term, read_sessions,
    wire, write_snapshot_with,
};
use quorate_transport::{
    BodyCheck, Channel, ChannelId, ChannelOptions, ClusterId, Endpoint, EndpointConfig, Identity,
    Inbound, Incarnation, Lane, MemoryNetwork, Responder,
};
use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn request(session: u64, seq: u64, ack: u64) -> EntryBody<'static> {
    EntryBody::Session { session: SessionId::new(session), seq, ack, data: b"+k" }
}

fn block(term: u64, prev: LogId, time_ms: u64, entries: &[EntryBody<'_>]) -> Block {
    let mut p = Proposal::new(&Limits::default());
    entries.iter().for_each(|body| p.push(*body).unwrap());
    p.stamp(GROUP, Term::new(term), prev, time_ms)
}

/// A log with these blocks, all committed.
fn log_of(blocks: &[Block]) -> MemoryLog {
    let mut log = founded(MemoryLog::new(), owner(), &[node(1)]);
    add(&mut log, blocks);
    log
}

/// With nothing in the log behind it, only the snapshot knows the group's time: the next one made
/// after a restart must not begin it anew, or sessions would live on that have expired elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn group_time_goes_on_behind_a_snapshot_and_a_restart() {
    let (log, snapshots) = (MemoryLog::new(), MemorySnapshots::new());
    let mut before = 0;
    for life in 1..=3 {
        let (node, endpoint) = alone(&log, &snapshots).await;
        if life == 1 {
            guard(time_passes(&node, &snapshots)).await;
        }
        guard(node.snapshot()).await.unwrap();
        guard(node.shutdown()).await.unwrap();
        guard(endpoint.shutdown()).await.unwrap();
        let time_ms = snapshots.latest().unwrap().unwrap().time_ms;
        assert!(time_ms > 0 && time_ms >= before, "life {life}: {time_ms}, before it {before}");
        before = time_ms;
    }
}

/// Waits for a snapshot whose time is that of a leader that has been one for a while.
async fn time_passes(node: &Node<Map>, snapshots: &MemorySnapshots) {
    while snapshots.latest().unwrap().is_none_or(|meta| meta.time_ms == 0) {
        applied(node.propose("x=1").await);
        node.snapshot().await.unwrap();
    }
}

/// Further blocks at the end of a log, committed.
fn add(log: &mut MemoryLog, blocks: &[Block]) {
    let last = blocks.last().unwrap().last();
    append(log, Some(HardState::new(last.term, None, last.index)), blocks, None);
}

/// A node on this disk, alone in its group.
async fn alone(log: &MemoryLog, snapshots: &MemorySnapshots) -> (Node<Map>, Endpoint) {
    let identity = Identity::new(ClusterId::new(7), node(1), Incarnation::new(1));
    let endpoint =
        Endpoint::start(MemoryNetwork::new().node(identity), EndpointConfig::default()).unwrap();
    let config = Config::local()
        .election_timeout(Duration::from_millis(100))
        .log_trailing_bytes(0)
        .build()
        .unwrap();
    let node = Node::<Map>::builder(&endpoint)
        .founders(&[node(1)])
        .log(log.clone())
        .snapshots(snapshots.clone())
        .config(config)
        .start(Map::default())
        .await
        .unwrap();
    (node, endpoint)
}

fn k(map: &Map) -> Option<String> {
    map.0.get("k").cloned()
}

async fn count(node: &Node<Map>) -> Option<String> {
    guard(node.read(Read::Linearizable, k)).await.unwrap()
}

/// Waits until the statistics say so: they are published a moment after the answers.
async fn stats_tell(node: &Node<Map>, told: impl Fn(&Stats) -> bool) {
    guard(async {
        while !told(&node.stats()) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// The sessions of the newest snapshot.
fn table_in(snapshots: &MemorySnapshots) -> SessionTable {
    let latest = snapshots.latest().unwrap().unwrap();
    read_sessions(&*snapshots.open(&latest).unwrap()).unwrap()
}

/// A session of a minute, and requests at these moments of group time.
fn history(times: &[u64]) -> Vec<Block> {
    let open = EntryBody::Open(SessionLimits::new(MINUTE));
    let mut blocks = vec![block(1, LogId::ZERO, 1_000, &[open])];
    for (time, seq) in times.iter().zip(1_u64..) {
        let prev = blocks.last().unwrap().last();
        blocks.push(block(1, prev, *time, &[request(1, seq, seq - 1)]));
    }
    blocks
}

/// Replicas that asked their own clocks would disagree: here minutes of group time pass within no
/// time at all, and a replica that starts from a snapshot sees them pass at another moment.
pub(crate) async fn sessions_expire_by_group_time() {
    // The third comes exactly after a minute, the fourth 1 ms later than that.
    let blocks = history(&[2_000, 30_000, 90_000, 150_001, 150_002]);
    let mut tables = Vec::new();
    for through_snapshot in [false, true] {
        let (log, mut snapshots) = (log_of(&blocks), MemorySnapshots::new());
        if through_snapshot {
            snapshot_after_two(&mut snapshots);
        }
        let (node, _endpoint) = alone(&log, &snapshots).await;
        assert_eq!(count(&node).await.as_deref(), Some("3"), "snapshot: {through_snapshot}");
        stats_tell(&node, |s| (s.session_refusals, s.sessions) == (2, 0)).await;
        guard(node.snapshot()).await.unwrap();
        tables.push(table_in(&snapshots));
    }
    assert_eq!(tables[0], tables[1]);
}

/// The state of `history` behind its second request.
fn snapshot_after_two(snapshots: &mut MemorySnapshots) {
    let mut table = SessionTable::new();
    let id = table.open(index(1), 1_000, &SessionLimits::new(MINUTE));
    for (seq, time) in [(1, 2_000), (2, 30_000)] {
        assert_eq!(table.request(time, id, seq, seq - 1), SessionVerdict::Apply);
        table.answered(id, seq, seq.to_string().as_bytes());
    }
    let mut meta = snapshot(LogId::new(1, 3), &[1]);
    meta.time_ms = 30_000;
    let mut writer = snapshots.create(&meta).unwrap();
    let state = Box::new(|w: &mut dyn Write| w.write_all(b"k=2\n"));
    write_snapshot_with(&mut writer, &meta, &table.freeze(), state).unwrap();
    writer.finish().unwrap();
}

// --- a leader that loses answers -----------------------------------------------------------------

/// A replica whose leader is the test.
struct Played {
    replica: Node<Map>,
    channel: Channel,
    _endpoints: [Endpoint; 2],
}

async fn played() -> Played {
    let network = MemoryNetwork::new();
    let start = |id: u64| {
        let identity = Identity::new(ClusterId::new(7), node(id), Incarnation::new(1));
        Endpoint::start(network.node(identity), EndpointConfig::default()).unwrap()
    };
    let (follower, leader) = (start(1), start(2));
    // No election comes in between.
    let config = Config::local().election_timeout(Duration::from_secs(500)).build().unwrap();
    let owner = owner();
    let replica = Node::<Map>::builder(&follower)
        .log(founded(MemoryLog::new(), owner, &[node(1), node(2)]))
        .snapshots(MemorySnapshots::new())
        .config(config)
        .start(Map::default())
        .await
        .unwrap();
    let options = ChannelOptions::new().body_check(BodyCheck::Payload);
    let channel = leader.channel(ChannelId::RAFT, options).unwrap();
    let played = Played { replica, channel, _endpoints: [follower, leader] };
    played.say(1, heartbeat(0, 0));
    let mut watch = played.replica.watch();
    guard(watch.wait_for(|s| s.leader == Some(node(2)))).await.unwrap();
    played
}

impl Played {
    fn say(&self, term: u64, body: Body) {
        let m: Message = message(term, body);
        let body = quorate_transport::Body::parts(wire::encode(&m, 0).unwrap());
        self.channel.send(node(1), Lane::Data, body).unwrap();
    }

    /// Replicates entries of `term` behind `prev` and commits them.
    fn replicate(&self, term: u64, prev: LogId, entries: &[EntryBody<'_>]) {
        let block = block(term, prev, 5, entries);
        let commit = block.last().index;
        self.say(term, Body::Append { prev, commit, blocks: vec![block] });
    }

    async fn next_call(&mut self) -> (Bytes, Responder) {
        loop {
            if let Inbound::Call { body, reply, .. } = guard(self.channel.recv()).await.unwrap() {
                return (body, reply);
            }
        }
    }

    /// Opens a session: the entry at 1.
    async fn session(&mut self) -> Session<Map> {
        let replica = self.replica.clone();
        let opening = tokio::spawn(async move { replica.session(MINUTE).await });
        let (_, reply) = self.next_call().await;
        reply.reply(placed(1, 1)).unwrap();
        self.replicate(1, LogId::ZERO, &[EntryBody::Open(SessionLimits::new(MINUTE))]);
        let session = guard(opening).await.unwrap().unwrap();
        assert_eq!(session.id(), SessionId::new(1));
        session
    }
}

/// "Your entries stand from `first` on, in `term`."
fn placed(term: u64, first: u64) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&[1, 1, 0, 0, 0, 0, 0, 0]);
    out.put_u64_le(term);
    out.put_u64_le(first);
    let crc = crc32fast::hash(&out);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.freeze()
}

/// A leader that answers nothing may have appended. It had: both copies are committed, the request
/// takes effect once, and whoever asked gets its reply.
#[tokio::test(flavor = "multi_thread")]
async fn h41_a_forwarded_request_of_a_session_is_repeated_and_takes_effect_once() {
    let mut played = played().await;
    let session = played.session().await;
    let asking = tokio::spawn(async move {
        let outcome = session.propose("+k").await;
        (session, outcome)
    });
    let (first, lost) = played.next_call().await;
    drop(lost); // taken, and never answered
    let (again, reply) = played.next_call().await;
    assert_eq!(first, again, "the same request, not a new one");
    reply.reply(placed(1, 3)).unwrap();
    played.replicate(1, LogId::new(1, 1), &[request(1, 1, 0), request(1, 1, 0)]);
    let (session, outcome) = guard(asking).await.unwrap();
    let expected = Outcome::Applied { id: LogId::new(1, 3), reply: "1".into() };
    assert_eq!(outcome, expected);
    assert_eq!(guard(session.read(Read::Local, k)).await.unwrap().as_deref(), Some("1"));
    stats_tell(&played.replica, |s| (s.session_retries, s.session_repeats) == (1, 1)).await;
}

/// The leader said where the request stands, and died with it: no entry of the next leader may ever
/// come to stand there. The request is asked again as soon as there is another term.
#[tokio::test(flavor = "multi_thread")]
async fn h41_what_a_leader_took_along_is_asked_of_the_next() {
    let mut played = played().await;
    let session = played.session().await;
    let asking = tokio::spawn(async move { session.propose("+k").await });
    let (_, reply) = played.next_call().await;
    reply.reply(placed(1, 7)).unwrap();
    // Whether that comes before or after the news of another term, it is asked again.
    played.replicate(2, LogId::new(1, 1), &[EntryBody::Noop]);
    let (_, reply) = played.next_call().await;
    reply.reply(placed(2, 3)).unwrap();
    played.replicate(2, LogId::new(2, 2), &[request(1, 1, 0)]);
    assert_eq!(applied(guard(asking).await.unwrap()), (index(3), "1".to_owned()));
}

/// "Expired" is definite only if nothing was tried before: an earlier try may have taken effect
/// while the session lived.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_after_a_lost_try_is_unknown() {
    let definite = Outcome::Rejected(ProposeError::SessionExpired);
    let unknown = Outcome::Unknown { at: Some(LogId::new(1, 3)) };
    for (lost, expected) in [(0, definite), (1, unknown)] {
        let mut played = played().await;
        let session = played.session().await;
        let asking = tokio::spawn(async move { session.propose("+k").await });
        for _ in 0..lost {
            drop(played.next_call().await);
        }
        let (_, reply) = played.next_call().await;
        reply.reply(placed(1, 3)).unwrap();
        let closed = EntryBody::Close(SessionId::new(1));
        played.replicate(1, LogId::new(1, 1), &[closed, request(1, 1, 0)]);
        assert_eq!(guard(asking).await.unwrap(), expected, "{lost} tries lost");
    }
}

// --- leaders come and go -------------------------------------------------------------------------

/// Patient: what is under way when a leader dies is asked again until there is another.
fn patient() -> Config {
    let t = Duration::from_millis(150);
    let draft = Config::local().election_timeout(t).propose_deadline(Duration::from_secs(25));
    draft.log_trailing_bytes(0).build().unwrap()
}

/// Every request counts one up and is told to what. If one were applied twice, or not at all,
/// the numbers would not be 1, 2, 3 … each once.
#[tokio::test(flavor = "multi_thread")]
async fn requests_take_effect_once_over_a_leader_change() {
    const EACH: u64 = 40;
    let mut cluster = Cluster::start(3, patient()).await;
    applied(guard(cluster.node(0).propose("x=1")).await);
    let leader = cluster.leader().await;
    let followers: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
    let mut asking = Vec::new();
    for follower in &followers {
        let session = Arc::new(guard(cluster.node(*follower).session(MINUTE)).await.unwrap());
        for _ in 0..EACH {
            let session = Arc::clone(&session);
            asking.push(tokio::spawn(async move { session.propose("+k").await }));
        }
    }
    // In the middle of it.
    let first = guard(asking.remove(0)).await.unwrap();
    cluster.kill(leader).await;
    let mut told = BTreeSet::from([applied(first).1.parse::<u64>().unwrap()]);
    for outcome in asking {
        told.insert(applied(guard(outcome).await.unwrap()).1.parse().unwrap());
    }
    assert_eq!(told, (1..=2 * EACH).collect());
    // The one that died replays the same.
    cluster.run(leader).await;
    for i in 0..3 {
        assert_eq!(count(cluster.node(i)).await, Some((2 * EACH).to_string()));
    }
}

/// A leader that is cut off has taken requests it can no longer commit.
#[tokio::test(flavor = "multi_thread")]
async fn requests_of_a_leader_that_is_cut_off_take_effect_once_it_is_back() {
    let cluster = Cluster::start(3, patient()).await;
    applied(guard(cluster.node(0).propose("x=1")).await);
    let old = cluster.leader().await;
    let session = guard(cluster.node(old).session(MINUTE)).await.unwrap();
    let appended = cluster.node(old).stats().entries_proposed;
    let others: Vec<usize> = (0..3).filter(|i| *i != old).collect();
    for i in &others {
        cluster.network.cut(cluster.members[old].id, cluster.members[*i].id);
    }
    let asking = tokio::spawn(async move { session.propose("+k").await });
    guard(async {
        while cluster.node(old).stats().entries_proposed == appended {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let other = cluster.node(others[0]);
    let elsewhere = guard(other.session(MINUTE)).await.unwrap();
    assert_eq!(applied(guard(elsewhere.propose("+k")).await).1, "1");
    for i in &others {
        cluster.network.heal(cluster.members[old].id, cluster.members[*i].id);
    }
    assert_eq!(applied(guard(asking).await.unwrap()).1, "2");
    assert_eq!(count(other).await.as_deref(), Some("2"));
}

// --- snapshots and restarts ----------------------------------------------------------------------

/// The log that held the requests is gone; a repetition is still known, and what was acknowledged
/// stays acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_survives_snapshot_compaction_and_restart() {
    let (mut log, snapshots) = (MemoryLog::new(), MemorySnapshots::new());
    let (node, endpoint) = alone(&log, &snapshots).await;
    let session = guard(node.session(MINUTE)).await.unwrap();
    let id = session.id().value();
    for n in 1..=3 {
        assert_eq!(applied(guard(session.propose("+k")).await).1, n.to_string());
    }
    guard(node.snapshot()).await.unwrap();
    assert_eq!(table_in(&snapshots).len(), 1);
    stats_tell(&node, |s| s.first > index(id)).await;
    drop(session);
    guard(node.shutdown()).await.unwrap();
    guard(endpoint.shutdown()).await.unwrap();

    let open = log.open(GROUP, owner()).unwrap();
    let time = snapshots.latest().unwrap().unwrap().time_ms;
    let late = [request(id, 3, 2), request(id, 2, 1), request(id, 4, 3)];
    add(&mut log, &[block(open.hard.term.value(), open.last, time, &late)]);
    let (node, _endpoint) = alone(&log, &snapshots).await;
    assert_eq!(count(&node).await.as_deref(), Some("4"), "only the fourth was new");
    let told = |s: &Stats| (s.sessions, s.session_repeats, s.session_refusals) == (1, 1, 1);
    stats_tell(&node, told).await;
}

/// A member that gets a snapshot instead of the log gets the sessions with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_sent_brings_the_sessions() {
    let mut cluster = Cluster::start(3, patient()).await;
    applied(guard(cluster.node(0).propose("x=1")).await);
    let leader = cluster.leader().await;
    let victim = (leader + 1) % 3;
    cluster.kill(victim).await;
    let session = guard(cluster.node(leader).session(MINUTE)).await.unwrap();
    let needed = applied(guard(session.propose("+k")).await).0;
    guard(async {
        while cluster.node(leader).stats().first <= needed {
            cluster.node(leader).snapshot().await.unwrap();
            applied(cluster.node(leader).propose("x=2").await);
        }
    })
    .await;
    cluster.run(victim).await;
    let last = applied(guard(session.propose("+k")).await).0;
    cluster.caught_up(last).await;
    let mut tables = Vec::new();
    for i in [leader, victim] {
        guard(cluster.node(i).snapshot()).await.unwrap();
        tables.push(table_in(&cluster.members[i].snapshots));
    }
    assert_eq!(cluster.node(victim).stats().snapshots_received, 1);
    assert_eq!(tables[0], tables[1]);
    assert_eq!(tables[1].len(), 1);
}

// --- what is refused -----------------------------------------------------------------------------

/// On one thread: the node answers nothing while a future is polled.
#[tokio::test]
async fn sessions_are_refused_what_exceeds_their_limits() {
    let limits = Limits::default().entry_bytes_max(100);
    let config = Config::local()
        .election_timeout(Duration::from_millis(150))
        .session_ttl_max(MINUTE)
        .session_window(1)
        .limits(limits)
        .build()
        .unwrap();
    let cluster = Cluster::start(1, config).await;
    let node = cluster.node(0);
    let ttl = || Outcome::Rejected(ProposeError::SessionTtl { max: MINUTE });
    for refused in [Duration::ZERO, Duration::from_micros(999), MINUTE + Duration::from_nanos(1)] {
        assert_eq!(guard(node.session(refused)).await.unwrap_err(), ttl());
    }
    let session = guard(node.session(MINUTE)).await.unwrap();
    let large = guard(session.propose(vec![b'x'; 77])).await;
    assert_eq!(large, Outcome::Rejected(ProposeError::TooLarge { max: 76 }));
    applied(guard(session.propose(vec![b'x'; 76])).await);
    // Two at once, where one may be under way.
    let (first, second) =
        guard(async { tokio::join!(session.propose("+k"), session.propose("+k")) }).await;
    assert_eq!(applied(first).1, "1");
    assert_eq!(second, Outcome::Rejected(ProposeError::SessionWindow { max: 1 }));
    // A request that is given up leaves its place, and is not proposed if it was not yet.
    let mut dropped = Box::pin(session.propose("+k"));
    let polled = std::future::poll_fn(|cx| Poll::Ready(dropped.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    drop(dropped);
    assert_eq!(applied(guard(session.propose("+k")).await).1, "2");
    applied(guard(session.close()).await);
    assert_eq!(guard(node.snapshot()).await.map(|_| node.stats().sessions), Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_session_makes_room() {
    let draft = Config::local().election_timeout(Duration::from_millis(150)).sessions_max(1);
    let cluster = Cluster::start(1, draft.build().unwrap()).await;
    let first = guard(cluster.node(0).session(MINUTE)).await.unwrap();
    let second = guard(cluster.node(0).session(MINUTE)).await.unwrap();
    let outcome = guard(first.propose("+k")).await;
    assert_eq!(outcome, Outcome::Rejected(ProposeError::SessionExpired));
    assert_eq!(applied(guard(second.propose("+k")).await).1, "1");
    applied(guard(first.close()).await);
}

/// As any proposal: nobody is told that it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_when_the_node_stops_is_unknown_then_definite() {
    let cluster = Cluster::start(1, config()).await;
    let session = guard(cluster.node(0).session(MINUTE)).await.unwrap();
    let outcome = guard(session.propose("panic")).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    let outcome = guard(session.propose("+k")).await;
    assert_eq!(outcome, Outcome::Rejected(ProposeError::Stopped));
}

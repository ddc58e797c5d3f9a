//! What one life of a node leaves to the next, and what a slow machine may not do to the group.

use crate::group::GROUP;
use crate::store::{append, owner};
use quorate_clocks::{Clock as _, Monotonic, SystemClock};
use quorate_raft::{
    Batch, Block, Body, Boot, Config, EntryBody, GroupId, HardState, Limits, LogIndex,
    LogStore as _, Membership, MemoryLog, MemorySnapshots, Node, Outcome, Output, Proposal, Raft,
    Read, Replies, SnapshotSource, StateMachine,
};
use quorate_transport::{
    ClusterId, Endpoint, EndpointConfig, Identity, Incarnation, MemoryNetwork, NodeId,
};
use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// A candidate that asked for votes and lost its term and the end of its log in a crash would
/// campaign for that term again, and count the grants of its first life for a log it no longer has.
#[test]
fn h11_a_vote_is_asked_for_only_once_the_candidates_term_and_log_are_durable() {
    let ids = [1, 2, 3].map(NodeId::new);
    for pre_vote in [false, true] {
        let config = Config::lan().pre_vote(pre_vote).build().unwrap();
        let boot = Boot::fresh(ids[0], GroupId::new(1), Membership::of_voters(&ids));
        let mut raft = Raft::new(config, boot, Monotonic::ZERO, 1).unwrap();
        raft.campaign(Monotonic::ZERO).unwrap();
        let mut out = Output::default();
        raft.drain(&mut out);
        if pre_vote {
            // Asking whether to ask binds nobody: it may leave at once.
            assert_eq!(out.send.len(), 2);
            let body = Body::PreVoteResp { granted: true, commit: Default::default() };
            let term = raft.status().hard.term.next();
            let grant = quorate_raft::Message::new(GroupId::new(1), term, body);
            for from in [ids[0], ids[1]] {
                raft.handle_message(Monotonic::ZERO, from, grant.clone()).unwrap();
            }
            raft.drain(&mut out);
        }
        assert!(out.send.iter().all(|e| !matches!(e.message.body, Body::Vote(_))));
        let append = out.append.unwrap();
        assert!(append.sync && append.hard.is_some_and(|h| h.vote == Some(ids[0])));
        let votes = append.gated.iter().filter(|e| matches!(e.message.body, Body::Vote(_)));
        assert_eq!(votes.count(), 2, "they leave when term and vote are durable");
    }
}

/// A machine that keeps its state itself; clones share it, as processes share a disk.
#[derive(Clone, Default)]
pub(crate) struct OnDisk(pub(crate) Arc<Mutex<(u64, Vec<Vec<u8>>)>>);

impl StateMachine for OnDisk {
    fn apply(&mut self, batch: Batch<'_>, out: &mut Replies) {
        let mut state = self.0.lock().unwrap();
        for entry in batch {
            state.0 = entry.id.index.value();
            state.1.push(entry.data.to_vec());
            out.push("");
        }
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotSource>> {
        let lines = self.0.lock().unwrap().1.join(&b'\n');
        Ok(Box::new(move |w: &mut dyn io::Write| w.write_all(&lines)))
    }

    fn restore(&mut self, r: &mut dyn io::Read) -> io::Result<()> {
        let mut bytes = Vec::new();
        r.read_to_end(&mut bytes)?;
        self.0.lock().unwrap().1 = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        Ok(())
    }

    fn applied(&self) -> LogIndex {
        LogIndex::new(self.0.lock().unwrap().0)
    }
}

async fn guard<F: Future>(f: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), f).await.expect("in time")
}

/// A snapshot made right after a start is of an entry the log knows the term of: the next start
/// must not take it for one of another history and drop what was acknowledged since.
#[tokio::test]
async fn a_machine_with_its_own_state_keeps_its_log_across_snapshots_and_starts() {
    let (log, snapshots, machine) = (MemoryLog::new(), MemorySnapshots::new(), OnDisk::default());
    let config = Config::local().election_timeout(Duration::from_millis(100)).build().unwrap();
    let mut expected = Vec::new();
    for life in 1..=4_u64 {
        let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(life));
        let endpoint =
            Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default()).unwrap();
        let node = Node::<OnDisk>::builder(&endpoint)
            .founders(&[me.node])
            .log(log.clone())
            .snapshots(snapshots.clone())
            .config(config.clone())
            .start(machine.clone())
            .await
            .unwrap();
        guard(node.snapshot()).await.unwrap();
        for n in 0..5 {
            let data = format!("life {life} entry {n}").into_bytes();
            let outcome = guard(node.propose(data.clone())).await;
            assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            expected.push(data);
        }
        guard(node.shutdown()).await.unwrap();
        guard(endpoint.shutdown()).await.unwrap();
        assert_eq!(machine.0.lock().unwrap().1, expected, "life {life}");
    }
}

/// Such a machine has what the log says behind the last snapshot, the sessions have not: they must
/// read it again, or a request that is repeated after the restart would be applied twice.
#[tokio::test]
async fn h41_a_machine_with_its_own_state_knows_repeated_requests_after_a_restart() {
    let (log, snapshots, machine) = (MemoryLog::new(), MemorySnapshots::new(), OnDisk::default());
    let config = Config::local().election_timeout(Duration::from_millis(100)).build().unwrap();
    let mut session = None;
    for life in 1..=2_u64 {
        let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(life));
        let endpoint =
            Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default()).unwrap();
        let node = Node::<OnDisk>::builder(&endpoint)
            .founders(&[me.node])
            .log(log.clone())
            .snapshots(snapshots.clone())
            .config(config.clone())
            .start(machine.clone())
            .await
            .unwrap();
        if life == 1 {
            guard(node.snapshot()).await.unwrap();
            let opened = guard(node.session(Duration::from_secs(60))).await.unwrap();
            assert!(matches!(guard(opened.propose("once")).await, Outcome::Applied { .. }));
            session = Some(opened.id());
        } else {
            guard(node.read(Read::Linearizable, |_| ())).await.unwrap();
            guard(repeated_once(&node)).await;
        }
        guard(node.shutdown()).await.unwrap();
        guard(endpoint.shutdown()).await.unwrap();
        if life == 1 {
            let data = b"once";
            repeat(&log, EntryBody::Session { session: session.unwrap(), seq: 1, ack: 0, data });
        }
        assert_eq!(machine.0.lock().unwrap().1, [b"once"], "life {life}");
    }
}

/// Waits for statistics: they are published a moment after the answers.
async fn repeated_once(node: &Node<OnDisk>) {
    while (node.stats().sessions, node.stats().session_repeats) != (1, 1) {
        tokio::task::yield_now().await;
    }
}

/// This entry at the end of the log, committed.
fn repeat(log: &MemoryLog, body: EntryBody<'_>) {
    let mut log = log.clone();
    let open = log.open(GROUP, owner()).unwrap();
    let mut p = Proposal::new(&Limits::default());
    p.push(body).unwrap();
    let time = open.blocks.last().map_or(0, Block::time_ms);
    let block = p.stamp(GROUP, open.last.term, open.last, time);
    let hard = HardState::new(open.hard.term, None, block.last().index);
    append(&mut log, Some(hard), &[block], None);
}

/// H38 of a machine: whoever reads it for long, or applies for long, does not hold up heartbeats.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn h38_a_slow_read_does_not_depose_the_leader() {
    const T: Duration = Duration::from_millis(200);
    let network = MemoryNetwork::new();
    let ids = [1, 2, 3].map(NodeId::new);
    let config = Config::local().election_timeout(T).heartbeat_interval(T / 10).build().unwrap();
    let mut nodes = Vec::new();
    for id in ids {
        let identity = Identity::new(ClusterId::new(7), id, Incarnation::new(1));
        let endpoint = Endpoint::start(network.node(identity), EndpointConfig::default()).unwrap();
        let node = Node::<OnDisk>::builder(&endpoint)
            .founders(&ids)
            .log(MemoryLog::new())
            .snapshots(MemorySnapshots::new())
            .config(config.clone())
            .start(OnDisk::default())
            .await
            .unwrap();
        nodes.push((node, endpoint));
    }
    let leads = nodes[0].0.watch().wait_for(|s| s.leader.is_some()).await.unwrap().leader.unwrap();
    let at = usize::try_from(leads.value()).unwrap() - 1;
    let (leader, follower) = (nodes[at].0.clone(), nodes[(at + 1) % 3].0.clone());
    assert!(matches!(guard(leader.propose("before")).await, Outcome::Applied { .. }));
    let before = leader.state().term;
    let (release, released) = mpsc::channel::<()>();
    let (reading, begun) = mpsc::channel::<()>();
    let slow = leader.clone();
    let handle = tokio::runtime::Handle::current();
    let reader = std::thread::spawn(move || {
        handle.block_on(slow.read(Read::Local, move |_| {
            reading.send(()).unwrap();
            released.recv().unwrap();
        }))
    });
    begun.recv().unwrap();
    // The apply task of the leader now waits for the machine.
    let stuck = tokio::spawn(async move { leader.propose("behind the reader").await });
    let clock = SystemClock::new();
    let until = clock.monotonic().saturating_add(T * 4);
    while clock.monotonic() < until {
        guard(follower.read(Read::Linearizable, |_| ())).await.unwrap();
    }
    assert_eq!(follower.state().term, before, "the leader went on leading");
    release.send(()).unwrap();
    reader.join().unwrap().unwrap();
    assert!(matches!(guard(stuck).await.unwrap(), Outcome::Applied { .. }));
}

/// Such a machine is not given again what it has: who follows what it is given must not take the
/// next entry for the one behind the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_what_a_machine_with_its_own_state_is_not_given_again() {
    let (log, snapshots, machine) = (MemoryLog::new(), MemorySnapshots::new(), OnDisk::default());
    let config = Config::local().election_timeout(Duration::from_millis(100)).build().unwrap();
    let mut seen = LogIndex::ZERO;
    for life in 1..=2_u64 {
        let me = Identity::new(ClusterId::new(7), NodeId::new(1), Incarnation::new(life));
        let endpoint =
            Endpoint::start(MemoryNetwork::new().node(me), EndpointConfig::default()).unwrap();
        let node = Node::<OnDisk>::builder(&endpoint)
            .founders(&[me.node])
            .log(log.clone())
            .snapshots(snapshots.clone())
            .config(config.clone())
            .start(machine.clone())
            .await
            .unwrap();
        if life == 1 {
            let outcome = guard(node.propose("entry")).await;
            let Outcome::Applied { id, .. } = outcome else { panic!("{outcome:?}") };
            seen = id.index;
            let more: Vec<_> = (0..5).map(|n| format!("entry {n}").into()).collect();
            guard(node.propose_many(more)).await;
        } else {
            let mut entries = node.subscribe(seen.next()).unwrap();
            let outcome = guard(node.propose("after")).await;
            assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
            let first = guard(entries.next()).await.unwrap();
            assert!(first.is_err(), "a silent gap: {first:?}");
        }
        guard(node.shutdown()).await.unwrap();
        guard(endpoint.shutdown()).await.unwrap();
    }
}

//! P5, whole nodes: linearizable reads of many tasks, of one by a lease, and on a follower.

use crate::Bench;
use crate::cluster::{Hosted, better, line_of_better};
use crate::group::{Group, propose_turn, read_turn};
use crate::host::{Host, THREADS};
use crate::ours_cluster::{self, Counter, IDS, Ours, Setup};
use crate::peers::{OPENRAFT09, OPENRAFT10, openraft09, openraft10};
use bytes::Bytes;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_raft::{Node, Read};
use quorate_transport::{
    CallOptions, ChannelId, ChannelOptions, ClusterId, Endpoint, EndpointConfig, Identity, Inbound,
    Incarnation, MemoryNetwork,
};
use std::time::{Duration, Instant};

const READERS: u64 = 1_024;
const SIZE: usize = 16;
const LEADER: &str = "on the leader";
const FOLLOWER: &str = "on a follower";
const ROUND_TRIP: &str = "a call";

fn setup(lease: bool) -> Setup {
    Setup { size: SIZE, lease }
}

/// P5, whole nodes.
pub(crate) fn lane(bench: &mut Bench) {
    many(bench);
    lease(bench);
    follower(bench);
}

fn many(bench: &mut Bench) {
    let ours =
        THREADS.map(|t| Hosted::new("ours", t, |h| ours_cluster::in_memory(h, setup(false))));
    let old = THREADS.map(|t| Hosted::new(OPENRAFT09, t, |h| openraft09::start(h, SIZE, None)));
    let new = THREADS.map(|t| Hosted::new(OPENRAFT10, t, |h| openraft10::start(h, SIZE, None)));
    let turn = bench.turn;
    let mut contenders = Vec::new();
    for n in 0..THREADS.len() {
        // Something to read.
        propose_turn(&ours[n].host, &ours[n].group, 16, turn / 4);
        propose_turn(&old[n].host, &old[n].group, 16, turn / 4);
        propose_turn(&new[n].host, &new[n].group, 16, turn / 4);
        contenders.push(ours[n].contender(move |h, g| read_turn(h, g, READERS, turn)));
        contenders.push(old[n].contender(move |h, g| read_turn(h, g, READERS, turn)));
        contenders.push(new[n].contender(move |h, g| read_turn(h, g, READERS, turn)));
    }
    let rounds = take_turns(contenders, bench.rounds);
    let lane = format!("P5 linearizable reads, {READERS} readers");
    let (line, _) = line_of_better(&lane, &rounds, &[OPENRAFT09, OPENRAFT10]);
    let a_second = 1e9 / rounds.ns(&better(&rounds, "ours"));
    bench.sheet.push(line.goal("≥ 1 M/s", a_second >= 1e6));
}

/// Reads one after the other for `time`; nanoseconds for one.
async fn one_by_one<F: Future>(time: Duration, read: impl Fn() -> F) -> f64 {
    let (begun, mut done) = (Instant::now(), 0_u64);
    while begun.elapsed() < time {
        // A look at the clock for sixteen: it costs as much as a read by a lease.
        for _ in 0..16 {
            read().await;
        }
        done += 16;
    }
    begun.elapsed().as_nanos() as f64 / done as f64
}

fn count(machine: &Counter) -> u64 {
    machine.0.values().0
}

fn reader<'a>(
    name: &str,
    host: &'a Host,
    node: &Node<Counter>,
    how: Read,
    time: Duration,
) -> Contender<'a> {
    let node = node.clone();
    Contender::new(name, move || {
        let node = node.clone();
        host.run(async move {
            one_by_one(time, || async { node.read(how, count).await.expect("a leader") }).await
        })
    })
}

/// The only lane with leases on.
fn lease(bench: &mut Bench) {
    let turn = bench.turn;
    let ours = THREADS.map(|t| Hosted::new("ours", t, |h| ours_cluster::in_memory(h, setup(true))));
    let new = THREADS.map(|t| Hosted::new(OPENRAFT10, t, |h| openraft10::start(h, SIZE, None)));
    let mut contenders = Vec::new();
    for n in 0..THREADS.len() {
        let leader = ours[n].group.leader();
        contenders.push(reader(&ours[n].name, &ours[n].host, leader, Read::Lease, turn));
        contenders.push(new[n].contender(move |host, group| {
            let group = group.clone();
            host.run(async move { one_by_one(turn, || group.read_by_lease()).await })
        }));
    }
    let rounds = take_turns(contenders, bench.rounds);
    let (best, peer) = (better(&rounds, "ours"), better(&rounds, OPENRAFT10));
    let stats = ours.each_ref().map(|hosted| hosted.group.leader().stats());
    let by_lease: u64 = stats.iter().map(|stats| stats.lease_reads).sum();
    let refused: u64 = stats.iter().map(|stats| stats.lease_refusals).sum();
    assert!(by_lease > 0, "nothing was read by the lease");
    let line = Line::new("P5 a read by the lease, one reader")
        .value(&time(rounds.ns(&best)), rounds.ns(&best), "ns")
        .peer(&peer, &time(rounds.ns(&peer)), rounds.ratio(&peer, &best))
        .goal("≤ 100 ns", rounds.ns(&best) <= 100.0)
        .note(&format!("{by_lease} by the lease, {refused} without one"));
    bench.sheet.push(line);
}

/// Calls between two ends of a memory network, each after the other.
fn round_trips<'a>(host: &'a Host, time: Duration) -> Contender<'a> {
    let channel = ChannelId::new(16);
    let ends = host.run(async move {
        let network = MemoryNetwork::new();
        let open = |n: usize| {
            let me = Identity::new(ClusterId::new(7), IDS[n], Incarnation::new(1));
            let end = Endpoint::start(network.node(me), EndpointConfig::default());
            let end = end.expect("first start");
            let opened = end.channel(channel, ChannelOptions::new()).expect("not open yet");
            (opened.split(), end)
        };
        let (((sender, kept), asker), ((_, mut receiver), answerer)) = (open(0), open(1));
        drop(tokio::spawn(async move {
            while let Some(inbound) = core::future::poll_fn(|cx| receiver.poll_recv(cx)).await {
                if let Inbound::Call { body, reply, .. } = inbound {
                    reply.reply(body).expect("somebody waits");
                }
            }
        }));
        (sender, kept, asker, answerer)
    });
    Contender::new(ROUND_TRIP, move || {
        let sender = ends.0.clone();
        host.run(async move {
            let call = || async {
                let options = CallOptions::within(Duration::from_secs(5));
                sender.call(IDS[1], Bytes::from_static(b"here?"), options).await.expect("answered")
            };
            one_by_one(time, call).await
        })
    })
}

fn follower(bench: &mut Bench) {
    let turn = bench.turn;
    for threads in THREADS {
        let host = Host::new(threads);
        let group: Ours = ours_cluster::in_memory(&host, setup(false));
        propose_turn(&host, &group, 16, turn / 4);
        group.ledger().check("ours");
        let contenders = vec![
            reader(LEADER, &host, group.leader(), Read::Linearizable, turn),
            reader(FOLLOWER, &host, group.follower(), Read::Linearizable, turn),
            round_trips(&host, turn),
        ];
        let rounds = take_turns(contenders, bench.rounds);
        let (leader, follower) = (rounds.ns(LEADER), rounds.ns(FOLLOWER));
        let more = follower - leader;
        let lane = threads.name("P5 a linearizable read on a follower, one reader");
        let line = Line::new(&lane)
            .value(&time(follower), follower, "ns")
            .floor(&format!("{LEADER} {}", time(leader)), rounds.ratio(FOLLOWER, LEADER))
            .note(&format!("{} more; {ROUND_TRIP} {}", time(more), time(rounds.ns(ROUND_TRIP))))
            .goal("≤ 1 round trip more", more <= rounds.ns(ROUND_TRIP));
        bench.sheet.push(line);
    }
}

//! Campaigns: seeds of faults, and an oracle that knows what every guarantee says.

use crate::datagrams::Datagrams;
use crate::support::*;
use quorate_transport::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const NODES: u64 = 3;

/// Seeds to run, and whether one was asked for.
fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    match number("QUORATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("QUORATE_SEEDS").unwrap_or(200)).collect(),
    }
}

/// Tells how to run a seed again if it fails.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            println!("seed {seed}: QUORATE_SEED={seed} cargo test -p quorate-transport faulty");
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
}

/// What happened at both ends.
#[derive(Default)]
struct Oracle {
    /// How often the handler of a call ran.
    executed: BTreeMap<u64, u64>,
    /// The last message by receiver's life, sender and lane: incarnation, number.
    last: BTreeMap<(u64, u64, NodeId, Lane), (u64, u64)>,
    delivered: u64,
    /// Highest life of a sender heard of, by receiver's life.
    lives: BTreeMap<(u64, u64, NodeId), u64>,
}

struct Member {
    endpoint: Endpoint,
    channel: Channel,
    control: FaultyControl,
    life: u64,
}

struct World {
    rt: Virtual,
    network: MemoryNetwork,
    random: Random,
    members: Vec<Member>,
    oracle: Oracle,
    calls: Vec<(u64, Reply)>,
    next: u64,
    struck: Vec<FaultyStats>,
}

fn body(n: u64) -> Vec<u8> {
    n.to_le_bytes().to_vec()
}

fn number(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().unwrap())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            rt: Virtual::new(),
            network: MemoryNetwork::new(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            members: Vec::new(),
            oracle: Oracle::default(),
            calls: Vec::new(),
            next: 0,
            struck: Vec::new(),
        };
        for n in 1..=NODES {
            let member = world.start(n, 1);
            world.members.push(member);
        }
        world
    }

    fn start(&mut self, n: u64, life: u64) -> Member {
        let seed = self.random.below(u64::MAX);
        let inner = self.network.node(identity(n, life));
        let (faulty, control) = Faulty::new(inner, self.rt.arc(), seed);
        control.set(Fault::Delay, 200);
        control.set(Fault::Break, 10);
        control.set(Fault::BlackHole, 10);
        control.set(Fault::Full, 20);
        control.set_delay(Duration::from_millis(1), Duration::from_millis(40));
        let config = EndpointConfig::local().build().unwrap();
        let endpoint = Endpoint::start_with(faulty, self.rt.arc(), config).unwrap();
        let channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
        Member { endpoint, channel, control, life }
    }

    /// Everything that arrived; some calls are rejected unexecuted, some held for a while.
    fn serve(&mut self) {
        for (me, member) in (1..).zip(&mut self.members) {
            while let Some(inbound) = member.channel.try_recv() {
                match inbound {
                    Inbound::Message { from, lane, body } => {
                        let n = number(&body.clone());
                        self.oracle.message(me, member.life, from, lane, n);
                    }
                    Inbound::Call { body, reply, .. } if self.random.below(5) == 0 => {
                        reply.reject(7, body);
                    }
                    Inbound::Call { from, body, reply } => {
                        self.oracle.life(me, member.life, from);
                        *self.oracle.executed.entry(number(&body)).or_default() += 1;
                        let _ = reply.reply(body);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn step(&mut self) {
        for _ in 0..self.random.below(8) {
            let (from, to) = (self.random.below(NODES), self.random.below(NODES));
            if from == to {
                continue;
            }
            let lane = Lane::ALL[self.random.below(3) as usize];
            let (to, n) = (node(to + 1), self.next);
            self.next += 1;
            let channel = &self.members[from as usize].channel;
            if self.random.below(2) == 0 {
                let _ = channel.send(to, lane, body(n));
            } else {
                let within = CallOptions::within(Duration::from_millis(500)).lane(lane);
                self.calls.push((n, channel.call(to, body(n), within)));
            }
        }
        if self.random.below(60) == 0 {
            let at = self.random.below(NODES);
            let life = self.members[at as usize].life + 1;
            let fresh = self.start(at + 1, life);
            let old = std::mem::replace(&mut self.members[at as usize], fresh);
            self.struck.push(old.control.stats());
            self.rt.run();
        }
        let pause = self.random.below(20);
        self.rt.advance(Duration::from_millis(pause));
        self.serve();
    }

    fn finish(mut self) -> (Vec<FaultyStats>, BTreeMap<&'static str, u64>) {
        self.members.iter().for_each(|member| member.control.calm());
        for _ in 0..100 {
            self.rt.advance(Duration::from_millis(20));
            self.serve();
        }
        let mut outcomes = BTreeMap::<_, u64>::new();
        for (n, reply) in std::mem::take(&mut self.calls) {
            let ran = self.oracle.executed.get(&n).copied().unwrap_or(0);
            assert!(ran <= 1, "call {n} ran {ran} times");
            let name = match self.rt.block_on(reply) {
                Ok(answer) => {
                    assert_eq!((ran, number(&answer)), (1, n), "answered by its own execution");
                    "answered"
                }
                Err(CallError::NotSent(error)) => {
                    assert_eq!(ran, 0, "G5: call {n} ran, and was not sent: {error}");
                    "not sent"
                }
                Err(CallError::Rejected(reject)) => {
                    assert_eq!(ran, 0, "G5: call {n} ran, and was rejected: {reject}");
                    "rejected"
                }
                Err(_) => "maybe",
            };
            *outcomes.entry(name).or_default() += 1;
        }
        *outcomes.entry("messages").or_default() += self.oracle.delivered;
        // Calm again: everybody reaches everybody.
        for (from, to) in [(0, 2), (1, 3), (2, 1)] {
            let channel = &self.members[from].channel;
            let call = channel.call(node(to), body(u64::MAX), seconds(2));
            self.rt.advance(Duration::from_millis(200));
            self.serve();
            assert!(!matches!(self.rt.block_on(call), Err(CallError::MaybeExecuted(_))));
        }
        self.struck.extend(self.members.iter().map(|member| member.control.stats()));
        self.members
            .iter()
            .for_each(|member| assert_eq!(member.endpoint.stats().calls_inflight, 0));
        (self.struck, outcomes)
    }
}

impl Oracle {
    /// G1 and G2: once, in order; G9: never an earlier life after a later one.
    fn message(&mut self, me: u64, my_life: u64, from: Peer, lane: Lane, n: u64) {
        self.delivered += 1;
        self.life(me, my_life, from);
        let last = self.last.insert((me, my_life, from.node, lane), (from.incarnation.value(), n));
        let newer = last.is_none_or(|last| last < (from.incarnation.value(), n));
        assert!(newer, "message {n} of {from:?} on {lane} after {last:?}");
    }

    fn life(&mut self, me: u64, my_life: u64, from: Peer) {
        let life = from.incarnation.value();
        let known = self.lives.entry((me, my_life, from.node)).or_insert(life);
        assert!(*known <= life, "life {life} of {} after {known}", from.node);
        *known = life;
    }
}

#[test]
fn every_guarantee_holds_under_every_fault() {
    let all = seeds();
    let (mut total, mut sums) = (BTreeMap::<_, u64>::new(), FaultyStats::default());
    for seed in &all {
        let _replay = Replay(*seed);
        let mut world = World::new(*seed);
        (0..120).for_each(|_| world.step());
        let (struck, outcomes) = world.finish();
        outcomes.iter().for_each(|(name, n)| *total.entry(*name).or_default() += n);
        for s in struck {
            sums.delayed += s.delayed;
            sums.breaks += s.breaks;
            sums.black_holes += s.black_holes;
            sums.swallowed += s.swallowed;
            sums.full += s.full;
        }
    }
    println!("{} seeds: {total:?} {sums:?}", all.len());
    if all.len() >= 50 {
        let fired = [sums.delayed, sums.breaks, sums.black_holes, sums.swallowed, sums.full];
        assert!(
            fired.iter().all(|n| *n > 100),
            "a fault that never struck proves nothing: {sums:?}"
        );
        for outcome in ["answered", "not sent", "rejected", "maybe", "messages"] {
            assert!(total.get(outcome).is_some_and(|n| *n > 100), "{outcome}: {total:?}");
        }
    }
}

#[test]
fn a_seed_is_a_history() {
    let run = |seed| {
        let mut world = World::new(seed);
        (0..60).for_each(|_| world.step());
        world.finish()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[tokio::test]
async fn datagrams_are_lost_doubled_delayed_and_never_altered() {
    let rt = Virtual::new();
    let network = MemoryNetwork::new();
    let (a, control) = Faulty::new(network.node(identity(1, 1)), rt.arc(), 5);
    let b = network.node(identity(2, 1));
    let (_at_a, mut at_b) = (Datagrams::of(&*a), Datagrams::of(&*b));
    for fault in [
        Fault::DatagramLoss,
        Fault::DatagramDuplication,
        Fault::DatagramCorruption,
        Fault::DatagramDelay,
    ] {
        control.set(fault, 150);
    }
    for n in 0..2_000_u64 {
        a.send_datagram(node(2), CHANNEL, &n.to_le_bytes()).unwrap();
        rt.advance(Duration::from_millis(1));
    }
    rt.advance(Duration::from_secs(1));
    let stats = control.stats();
    assert!(a.send_datagram(node(2), CHANNEL, &[0; 1_193]).is_err());
    control.calm();
    a.send_datagram(node(2), CHANNEL, &u64::MAX.to_le_bytes()).unwrap();
    let mut arrived = Vec::new();
    while arrived.last() != Some(&u64::MAX) {
        arrived.push(number(&at_b.next().await.2));
    }
    let distinct: BTreeSet<u64> = arrived.iter().copied().collect();
    let lost = stats.datagrams_lost + stats.datagrams_corrupted;
    assert_eq!(distinct.len() as u64, 2_001 - lost, "each loss is counted");
    assert_eq!((arrived.len() - distinct.len()) as u64, stats.datagrams_duplicated);
    assert!(arrived.iter().all(|n| *n < 2_000 || *n == u64::MAX), "altered");
    assert!(!arrived.is_sorted(), "none overtook another");
    let fired = [lost, stats.datagrams_corrupted, stats.datagrams_delayed];
    assert!(fired.iter().all(|n| *n > 100), "{stats:?}");
}

/// A sink that only counts what comes back.
struct Back(std::sync::Mutex<(u64, Vec<LinkEvent>)>);

impl Sink for Back {
    fn on_frame(&self, _: Peer, _: Lane, _: SessionId, _: Frame) {}
    fn on_event(&self, event: LinkEvent) {
        self.0.lock().unwrap().1.push(event);
    }
    fn on_unsent(&self, _: NodeId, _: Lane, frames: &mut dyn Iterator<Item = Frame>) {
        self.0.lock().unwrap().0 += frames.count() as u64;
    }
}

#[test]
fn a_black_hole_ends_with_its_session() {
    let rt = Virtual::new();
    let network = MemoryNetwork::new();
    let (a, control) = Faulty::new(network.node(identity(1, 1)), rt.arc(), 5);
    let b = network.node(identity(2, 1));
    let back = Arc::new(Back(std::sync::Mutex::default()));
    a.start(back.clone()).unwrap();
    b.start(Arc::new(Back(std::sync::Mutex::default()))).unwrap();
    let send = || a.send(node(2), Lane::Data, Frame::message(CHANNEL, &b"x"[..])).unwrap();
    send();
    let session = a.lane(node(2), Lane::Data).session.unwrap();
    control.set(Fault::BlackHole, 1_000);
    send();
    control.calm();
    let arrived = b.stats().frames_in;
    (0..10).for_each(|_| send());
    assert_eq!((b.stats().frames_in, control.stats().swallowed), (arrived, 10));
    assert_eq!(a.lane(node(2), Lane::Data).session, Some(session), "up, for all that shows");
    rt.advance(Duration::from_millis(50));
    let seen = back.0.lock().unwrap();
    assert!(
        seen.1
            .iter()
            .any(|e| matches!(e, LinkEvent::Down { session: ended, .. } if *ended == session))
    );
    drop(seen);
    send();
    assert_eq!(b.stats().frames_in, arrived + 1);
}

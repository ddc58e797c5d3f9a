//! Seeded campaigns over sockets of loopback, plain and TLS: resets, restarts, zombies, removals,
//! sinks that stall and panic. Threads and the kernel take part, so a seed replays the script, not
//! the run.
//!
//! `QUORATE_SOCKET_SEEDS=200 cargo test --release -p quorate-transport --all-features --test it
//! sockets -- --nocapture`

mod judge;
mod tap;

use crate::support::*;
use crate::tcp::guarded;
use bytes::Bytes;
use judge::{Counts, Judge, life};
use quorate_transport::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tap::{Next, Tap};
use tokio::task::JoinSet;

const NODES: u64 = 3;
const STEPS: u32 = 120;

struct Node {
    endpoint: Endpoint,
    transport: Arc<TcpTransport>,
    tap: Arc<Tap>,
    sender: ChannelSender,
    caller: Arc<IdempotentCaller>,
}

struct World {
    random: u64,
    sealed: Option<Tls>,
    judge: Arc<Mutex<Judge>>,
    nodes: Vec<Node>,
    /// Former lives that do not know it.
    zombies: Vec<Node>,
    calls: JoinSet<()>,
    next_life: u64,
    next_id: u64,
}

#[cfg(feature = "tls")]
type Tls = crate::tls::Authority;
#[cfg(not(feature = "tls"))]
type Tls = std::convert::Infallible;

#[cfg(feature = "tls")]
fn authority() -> Tls {
    Tls::new()
}

#[cfg(feature = "tls")]
fn config(tls: Option<&Tls>, n: u64) -> TcpConfigBuilder {
    tls.map_or_else(TcpConfig::local, |tls| crate::tls::config(tls.identity(n)))
}

#[cfg(not(feature = "tls"))]
fn config(_: Option<&Tls>, _: u64) -> TcpConfigBuilder {
    TcpConfig::local()
}

/// Executes what its id says: answers, refuses, drops.
fn serve(mut receiver: ChannelReceiver, judge: Arc<Mutex<Judge>>) {
    tokio::spawn(async move {
        while let Some(inbound) = receiver.recv().await {
            let Inbound::Call { body, reply, .. } = inbound else { continue };
            let id = u64::from_le_bytes(body[..8].try_into().unwrap());
            if id % 7 == 3 {
                reply.reject(1, "not me".into());
                continue;
            }
            judge.lock().unwrap().executes(id);
            if id % 11 != 5 {
                let _ = reply.reply(body);
            }
        }
    });
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            #[cfg(feature = "tls")]
            sealed: seed.is_multiple_of(3).then(authority),
            #[cfg(not(feature = "tls"))]
            sealed: None,
            judge: Arc::default(),
            nodes: Vec::new(),
            zombies: Vec::new(),
            calls: JoinSet::new(),
            next_life: 1,
            next_id: 1,
        };
        for n in 1..=NODES {
            let node = world.start(n);
            world.nodes.push(node);
        }
        for n in 0..world.nodes.len() {
            world.introduce(n);
        }
        world
    }

    fn start(&mut self, n: u64) -> Node {
        let config = config(self.sealed.as_ref(), n)
            .drain_max(Duration::from_millis(100))
            .handover_max(Duration::from_secs(20))
            .build()
            .unwrap();
        let identity = identity(n, self.next_life);
        self.next_life += 1;
        let transport = TcpTransport::bind(identity, config).unwrap();
        let tap = Tap::new(transport.clone(), &self.judge);
        let endpoint = Endpoint::start(tap.clone(), EndpointConfig::default()).unwrap();
        let channel = endpoint.channel(CHANNEL, ChannelOptions::new()).unwrap();
        let caller = Arc::new(channel.idempotent(SessionKey::random(&**endpoint.runtime())));
        let (sender, receiver) = channel.split();
        serve(receiver, self.judge.clone());
        Node { endpoint, transport, tap, sender, caller }
    }

    /// Node `n` and the others know each other's addresses.
    fn introduce(&self, n: usize) {
        let address = |node: &Node| [node.transport.local_addr().unwrap().into()];
        let new = &self.nodes[n];
        for other in self.nodes.iter().filter(|other| other.id() != new.id()) {
            other.endpoint.set_peer(new.id(), &address(new));
            new.endpoint.set_peer(other.id(), &address(other));
        }
    }

    /// A number below `n`. (xorshift64*)
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A node and another one.
    fn pair(&mut self) -> (usize, NodeId) {
        let from = self.below(NODES);
        let to = (from + 1 + self.below(NODES - 1)) % NODES;
        (from as usize, node(to + 1))
    }

    async fn run(mut self) -> Counts {
        for _ in 0..STEPS {
            for _ in 0..1 + self.below(8) {
                self.act();
            }
            if self.below(4) == 0 {
                self.disturb().await;
            }
            self.pass_time().await;
        }
        self.make_peace().await;
        self.finish().await
    }

    fn act(&mut self) {
        let (from, to) = self.pair();
        let (id, lane) = (self.id(), Lane::ALL[self.below(3) as usize]);
        let zombie = self.below(4) == 0;
        let len = [0, 500, 20_000][self.below(3) as usize];
        let dice = self.below(3);
        let origin = self.zombies.first().filter(|z| zombie && z.id() != to);
        let origin = origin.unwrap_or(&self.nodes[from]);
        let body: Bytes = id.to_le_bytes().into_iter().chain(vec![7; len]).collect();
        if dice == 0 {
            let _ = origin.sender.send(to, lane, body);
            return;
        }
        let (judge, idempotent) = (self.judge.clone(), dice == 1);
        judge.lock().unwrap().call_begins(id, idempotent);
        let (sender, caller) = (origin.sender.clone(), origin.caller.clone());
        let options = CallOptions::within(Duration::from_millis(400)).lane(lane);
        self.calls.spawn(async move {
            let outcome = if idempotent {
                caller.call(to, body, options).await
            } else {
                sender.call(to, body, options).await
            };
            judge.lock().unwrap().call_ends(id, &outcome.map(drop));
        });
    }

    async fn disturb(&mut self) {
        let (n, other) = self.pair();
        let me = life(self.nodes[n].endpoint.identity());
        match self.below(16) {
            0..5 => {
                self.judge.lock().unwrap().counts.resets += 1;
                let lane = Lane::ALL[self.below(3) as usize];
                self.nodes[n].transport.reset(other, lane);
            }
            5..8 => self.nodes[n].tap.mood.set(Next::Hold),
            8..11 => self.nodes.iter().for_each(|node| node.tap.mood.set(Next::Deliver)),
            11 => self.nodes[n].tap.mood.set(Next::Panic),
            12 if self.zombies.iter().all(|zombie| zombie.id() != other) => {
                // Whom nobody impersonates.
                self.judge.lock().unwrap().counts.removals += 1;
                self.judge.lock().unwrap().forgets(me, other);
                self.nodes[n].endpoint.remove_peer(other);
                let at = self.nodes.iter().find(|node| node.id() == other).unwrap();
                let at = at.transport.local_addr().unwrap();
                self.nodes[n].endpoint.set_peer(other, &[at.into()]);
            }
            13 => self.restart(n, true).await,
            _ => self.restart(n, false).await,
        }
    }

    async fn restart(&mut self, n: usize, stays: bool) {
        let id = self.nodes[n].id();
        while let Some(zombie) = self.zombies.pop() {
            self.stop(zombie).await;
        }
        let new = self.start(id.value());
        let old = std::mem::replace(&mut self.nodes[n], new);
        old.tap.mood.set(Next::Deliver);
        self.introduce(n);
        if stays {
            self.judge.lock().unwrap().counts.zombies += 1;
            self.zombies.push(old);
        } else {
            self.judge.lock().unwrap().counts.restarts += 1;
            self.stop(old).await;
        }
    }

    async fn stop(&self, node: Node) {
        node.tap.mood.set(Next::Deliver);
        let _ = guarded("a shutdown", node.endpoint.shutdown()).await;
        self.judge.lock().unwrap().gone(life(node.endpoint.identity()));
        assert_eq!(node.transport.stats().sessions_open, 0);
    }

    /// About a round trip, or a little more where nobody answers.
    async fn pass_time(&mut self) {
        let (from, to) = self.pair();
        let within = Duration::from_millis(1 + self.below(8));
        let _ = self.ask(from, to, within).await;
    }

    /// A call that is answered if it arrives.
    async fn ask(&mut self, from: usize, to: NodeId, within: Duration) -> Result<Bytes, CallError> {
        let id = (self.id() | 1 << 40) * 77;
        let options = CallOptions::within(within);
        self.nodes[from].sender.call(to, id.to_le_bytes().to_vec(), options).await
    }

    /// No more faults: everybody reaches everybody again.
    async fn make_peace(&mut self) {
        self.nodes.iter().for_each(|node| node.tap.mood.set(Next::Deliver));
        while let Some(zombie) = self.zombies.pop() {
            self.stop(zombie).await;
        }
        while guarded("the end of calls", self.calls.join_next()).await.is_some() {}
        for (from, to) in (0..NODES).flat_map(|from| (1..=NODES).map(move |to| (from, to))) {
            guarded("peace", async {
                while self.ask(from as usize, node(to), Duration::from_secs(1)).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }

    async fn finish(mut self) -> Counts {
        for node in std::mem::take(&mut self.nodes) {
            // What was accepted was written or came back: nothing is counted for ever.
            let queued = || {
                let of = |n| Lane::ALL.map(|lane| node.transport.lane(NodeId::new(n), lane));
                (1..=NODES).flat_map(of).map(|lane| lane.queued_bytes).sum::<u64>()
            };
            guarded("empty queues", async {
                while queued() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            self.stop(node).await;
        }
        let judge = self.judge.lock().unwrap();
        judge.verdict();
        judge.counts
    }
}

impl Node {
    fn id(&self) -> NodeId {
        self.endpoint.identity().node
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("QUORATE_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("QUORATE_SOCKET_SEEDS").unwrap_or(6),
    };
    let mut counts = Counts::default();
    for seed in seeds.clone() {
        println!("QUORATE_SEED={seed}"); // seen if it fails
        counts.add(&World::new(seed).run().await);
    }
    println!("{counts}");
    if seeds.count() >= 6 {
        assert!(counts.silent().is_empty(), "never happened: {:?}", counts.silent());
    }
}

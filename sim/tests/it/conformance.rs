//! The simulated transport obeys the transport's own suite.
//!
//! The suite uses transports from its own threads and waits in real time; so the world runs in a
//! thread of its own, and is told what to do over a channel.

use quorate_sim::{CrashDisk, Fault, Host, NodeId, Sim, SimConfig};
use quorate_transport::conformance::{self, Factory};
use quorate_transport::{
    Address, ChannelId, Frame, Identity, Lane, LaneStatus, Limits, SendError, Sink, StartError,
    Task, Transport, TransportStats,
};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

#[test]
fn the_simulated_transport_obeys_the_suite() {
    let passed = conformance::run(World::new);
    println!("sim: {passed} cases");
    assert_eq!(passed, conformance::CASES);
}

type Order = Box<dyn FnOnce(&mut Sim) + Send>;

/// A world that runs in a thread of its own.
struct World {
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    nodes: Mutex<BTreeMap<NodeId, Lives>>,
}

/// The lives of one node, oldest first, and where the next one comes from.
struct Lives {
    born: Receiver<Host>,
    all: Vec<(u64, Host)>,
}

impl World {
    fn new() -> Self {
        let (orders, todo) = channel();
        let thread = Some(std::thread::spawn(move || run(&todo)));
        Self { orders: Some(orders), thread, nodes: Mutex::default() }
    }

    fn order(&self, order: impl FnOnce(&mut Sim) + Send + 'static) {
        self.orders.as_ref().unwrap().send(Box::new(order)).unwrap();
    }

    /// A life of the node: a new one, or a dead one if there was a later.
    fn life(&self, identity: Identity) -> Host {
        let (node, incarnation) = (identity.node, identity.incarnation);
        let mut nodes = self.nodes.lock().unwrap();
        let is_new = !nodes.contains_key(&node);
        let lives = nodes.entry(node).or_insert_with(|| {
            let (give, born) = channel();
            self.order(move |sim| {
                sim.add_async(node, move |host| -> Task {
                    give.send(host).unwrap();
                    Box::pin(std::future::pending())
                });
            });
            Lives { born, all: Vec::new() }
        });
        if lives.all.last().is_some_and(|(newest, _)| incarnation.value() < *newest) {
            return lives.all[0].1.clone();
        }
        if !is_new {
            self.order(move |sim| {
                sim.set_next_incarnation(node, incarnation);
                sim.apply(Fault::Crash { node, disk: CrashDisk::KeepAll });
                sim.apply(Fault::Restart { node });
            });
        }
        let host = lives.born.recv().unwrap();
        lives.all.push((incarnation.value(), host.clone()));
        host
    }
}

/// Runs the world until nobody gives orders any more.
fn run(todo: &Receiver<Order>) {
    let mut sim = Sim::new(SimConfig::lan(7).build().unwrap());
    sim.allow_any_thread();
    loop {
        match todo.try_recv() {
            Ok(order) => order(&mut sim),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        let before = sim.handled();
        sim.run_for(Duration::from_millis(20)).unwrap();
        if sim.handled() == before {
            // Nothing to do until the suite does something.
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
}

impl Factory for World {
    fn node(&self, identity: Identity) -> Arc<dyn Transport> {
        let inner = self.life(identity).transport();
        Arc::new(Named { inner, identity })
    }

    /// The world is the address book.
    fn introduce(&self, _: &dyn Transport, _: NodeId) {}
}

impl Drop for World {
    fn drop(&mut self) {
        self.orders = None;
        self.thread.take().unwrap().join().unwrap();
    }
}

/// A transport under the suite's own name for it: worlds have one cluster.
struct Named {
    inner: Arc<dyn Transport>,
    identity: Identity,
}

impl Transport for Named {
    fn identity(&self) -> Identity {
        let inner = self.inner.identity();
        assert_eq!(inner.node, self.identity.node);
        self.identity
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    fn start(&self, sink: Arc<dyn Sink>) -> Result<(), StartError> {
        self.inner.start(sink)
    }
    fn set_peer(&self, node: NodeId, addresses: &[Address]) {
        self.inner.set_peer(node, addresses);
    }
    fn remove_peer(&self, node: NodeId) {
        self.inner.remove_peer(node);
    }
    fn send(&self, to: NodeId, lane: Lane, frame: Frame) -> Result<(), SendError> {
        self.inner.send(to, lane, frame)
    }
    fn poll_ready(
        &self,
        to: NodeId,
        lane: Lane,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        self.inner.poll_ready(to, lane, cx)
    }
    fn reset(&self, to: NodeId, lane: Lane) {
        self.inner.reset(to, lane);
    }
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_shutdown(cx)
    }
    fn lane(&self, to: NodeId, lane: Lane) -> LaneStatus {
        self.inner.lane(to, lane)
    }
    fn send_datagram(&self, to: NodeId, channel: ChannelId, body: &[u8]) -> Result<(), SendError> {
        self.inner.send_datagram(to, channel, body)
    }
    fn stats(&self) -> TransportStats {
        self.inner.stats()
    }
}

//! One node of a campaign: an endpoint over a faulty transport, and the components on it.

use super::oracle::{Id, Oracle, Totals};
use crate::support::*;
use bytes::Bytes;
use quorate_transport::*;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What is going on at a node and ends some time.
type Job = Pin<Box<dyn Future<Output = ()>>>;

pub struct Node {
    identity: Identity,
    endpoint: Endpoint,
    control: FaultyControl,
    channel: Channel,
    caller: Arc<IdempotentCaller>,
    jobs: Vec<Job>,
    /// Calls taken and not answered yet.
    held: Vec<(Id, Responder)>,
    received: BTreeMap<Id, (RecvStream, Vec<u8>)>,
    watches: Vec<PeerWatch>,
}

pub type Shared = Arc<Mutex<Oracle>>;

/// A payload that says what it is: an id, and bytes that follow from it.
pub fn payload(id: Id, len: usize) -> Bytes {
    let mut body = id.to_le_bytes().to_vec();
    body.extend((0..len).map(|at| (id as usize).wrapping_mul(31).wrapping_add(at * 7) as u8));
    body.into()
}

fn read_payload(body: &[u8]) -> Id {
    let id = Id::from_le_bytes(body[..8].try_into().expect("G1: cut"));
    assert_eq!(payload(id, body.len() - 8), body, "G1: altered");
    id
}

impl Node {
    pub fn start(
        net: &Net,
        identity: Identity,
        seed: u64,
        peers: impl Iterator<Item = NodeId>,
    ) -> Self {
        let inner = net.network.node(identity);
        let (faulty, control) = Faulty::new(inner, net.rt.arc(), seed);
        let config = EndpointConfig::local()
            .inbox_messages_max(8)
            .peer_streams_max(2)
            .dedup_window(16)
            .dedup_sessions_max(8)
            .build()
            .expect("a valid configuration");
        let endpoint = Endpoint::start_with(faulty, net.rt.arc(), config).expect("starts");
        let channel = endpoint.channel(CHANNEL, ChannelOptions::new()).expect("opens");
        let key = SessionKey::random(&**endpoint.runtime());
        let caller = Arc::new(channel.idempotent(key));
        for peer in peers {
            endpoint.set_peer(peer, &[]);
        }
        Self {
            identity,
            endpoint,
            control,
            channel,
            caller,
            jobs: Vec::new(),
            held: Vec::new(),
            received: BTreeMap::new(),
            watches: Vec::new(),
        }
    }

    pub fn watch(&mut self, node: NodeId) {
        if self.watches.len() < 2 {
            self.watches.push(self.endpoint.watch(node));
        }
    }

    pub fn send(&self, oracle: &Shared, to: NodeId, lane: Lane, id: Id, len: usize) {
        let sent = self.channel.send(to, lane, payload(id, len));
        let mut oracle = oracle.lock().unwrap();
        match sent {
            Ok(()) => oracle.totals.messages_sent += 1,
            Err(_) => oracle.message_refused(id),
        }
    }

    pub fn send_datagram(&self, oracle: &Shared, to: NodeId, id: Id, len: usize) {
        if self.channel.send_datagram(to, &payload(id, len)).is_ok() {
            oracle.lock().unwrap().totals.datagrams_sent += 1;
        }
    }

    pub fn call(&mut self, oracle: &Shared, to: NodeId, id: Id, how: How) {
        oracle.lock().unwrap().call_begins(id, how.idempotent);
        let options = CallOptions::within(how.within).lane(how.lane);
        let body = payload(id, how.len);
        let oracle = oracle.clone();
        if how.idempotent {
            let caller = self.caller.clone();
            self.jobs.push(Box::pin(async move {
                let outcome = caller.call(to, body, options).await;
                ended(&oracle, id, outcome);
            }));
            return;
        }
        let mut reply = self.channel.call(to, body, options);
        let mut patience = how.patience;
        self.jobs.push(Box::pin(std::future::poll_fn(move |cx| {
            if let Poll::Ready(outcome) = Pin::new(&mut reply).poll(cx) {
                ended(&oracle, id, outcome);
                return Poll::Ready(());
            }
            patience -= 1;
            if patience == 0 { Poll::Ready(()) } else { Poll::Pending }
        })));
    }

    pub fn stream(&mut self, oracle: &Shared, to: NodeId, id: Id, len: usize) {
        oracle.lock().unwrap().stream_begins(id);
        let options = StreamOptions::new().stall_max(Duration::from_secs(20));
        let opened = self.channel.open_stream(to, payload(id, 8), options);
        let oracle = oracle.clone();
        self.jobs.push(Box::pin(async move {
            let outcome = match opened {
                Ok(stream) => send_all(stream, payload(id, len)).await,
                Err(error) => Err(StreamError::NotSent(error)),
            };
            oracle.lock().unwrap().stream_ended(id, outcome);
        }));
    }

    /// Runs the jobs of this node for one turn; whether any is left.
    pub fn work(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.jobs.retain_mut(|job| job.as_mut().poll(&mut cx).is_pending());
        !self.jobs.is_empty()
    }

    /// Takes what came in. `dice` decides what becomes of a call.
    pub fn serve(&mut self, oracle: &Shared, dice: &mut impl FnMut(u64) -> u64) {
        while let Some(inbound) = self.channel.try_recv() {
            self.take(oracle, inbound, dice(100));
        }
        self.receive(oracle, dice);
        while !self.held.is_empty() && dice(3) == 0 {
            let (id, reply) = self.held.swap_remove(0);
            oracle.lock().unwrap().call_executed(id);
            let _ = reply.reply(payload(id, 3));
        }
    }

    fn take(&mut self, oracle: &Shared, inbound: Inbound, roll: u64) {
        let me = self.identity;
        match inbound {
            Inbound::Message { from, lane, body } => {
                let mut oracle = oracle.lock().unwrap();
                oracle.heard(from, me);
                oracle.message_delivered(from, me.node, lane, read_payload(&body));
            }
            Inbound::Datagram { body, .. } => {
                read_payload(&body);
                oracle.lock().unwrap().totals.datagrams_delivered += 1;
            }
            Inbound::Call { from, body, reply } => {
                let id = read_payload(&body);
                oracle.lock().unwrap().heard(from, me);
                match roll {
                    0..50 => {
                        oracle.lock().unwrap().call_executed(id);
                        let _ = reply.reply(payload(id, 3));
                    }
                    50..80 => self.held.push((id, reply)),
                    80..90 => reply.reject(7, Bytes::new()),
                    // Did something, then died.
                    90..95 => {
                        oracle.lock().unwrap().call_executed(id);
                        drop(reply);
                    }
                    _ => drop(reply),
                }
            }
            Inbound::Stream { from, stream } => {
                let id = read_payload(stream.head());
                oracle.lock().unwrap().heard(from, me);
                self.received.insert(id, (stream, Vec::new()));
            }
            other => panic!("{other:?}"),
        }
    }

    /// Reads the streams that came in; takes each whole, or loses interest.
    fn receive(&mut self, oracle: &Shared, dice: &mut impl FnMut(u64) -> u64) {
        for (id, (mut stream, mut bytes)) in std::mem::take(&mut self.received) {
            match read_some(&mut stream, &mut bytes) {
                Poll::Pending if dice(300) > 0 => {
                    self.received.insert(id, (stream, bytes));
                }
                Poll::Ready(true) if dice(10) > 0 => {
                    assert_eq!(read_payload(&bytes), id, "G12");
                    if stream.accept().is_ok() {
                        oracle.lock().unwrap().stream_accepted(id);
                    }
                }
                Poll::Ready(true) => stream.reset(3),
                Poll::Ready(false) | Poll::Pending => drop(stream),
            }
        }
    }

    /// Each fault strikes this often from here on.
    pub fn rage(&self, per_mille: [u16; 8]) {
        self.control.set_delay(Duration::from_millis(1), Duration::from_millis(400));
        for (fault, rate) in Fault::ALL.into_iter().zip(per_mille) {
            self.control.set(fault, rate);
        }
    }

    pub fn calm(&self) {
        self.control.calm();
    }

    /// What happened at this node.
    pub fn count(&self, totals: &mut Totals) {
        let faults = self.control.stats();
        totals.frames_delayed += faults.delayed;
        totals.sessions_broken += faults.breaks;
        totals.black_holes += faults.black_holes;
        totals.frames_swallowed += faults.swallowed;
        totals.queues_full += faults.full;
        totals.datagrams_lost += faults.datagrams_lost;
        totals.datagrams_doubled += faults.datagrams_duplicated;
        totals.datagrams_corrupted += faults.datagrams_corrupted;
        totals.datagrams_delayed += faults.datagrams_delayed;
        let stats = self.endpoint.stats();
        totals.dedup_hits += stats.dedup_hits;
        totals.peers_down += stats.peers_down;
        totals.sessions_up += self.endpoint.transport_stats().sessions;
    }

    /// Calls of this node that are in flight.
    pub fn inflight(&self) -> u64 {
        self.endpoint.stats().calls_inflight
    }
}

/// How a call is made.
#[derive(Clone, Copy)]
pub struct How {
    pub lane: Lane,
    pub len: usize,
    pub within: Duration,
    pub idempotent: bool,
    /// Turns the caller waits before it drops the call.
    pub patience: u32,
}

fn ended(oracle: &Shared, id: Id, outcome: Result<Bytes, CallError>) {
    let outcome = outcome.map(|body| assert_eq!(body, payload(id, 3), "H10: another's answer"));
    oracle.lock().unwrap().call_ended(id, outcome);
}

async fn send_all(mut stream: SendStream, body: Bytes) -> Result<(), StreamError> {
    for chunk in body.chunks(90_000) {
        stream.send(body.slice_ref(chunk)).await?;
    }
    stream.finish().await
}

/// All that is there; `Ready(true)` when the stream is whole, `Ready(false)` when it failed.
fn read_some(stream: &mut RecvStream, bytes: &mut Vec<u8>) -> Poll<bool> {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match stream.poll_chunk(&mut cx) {
            Poll::Ready(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
            Poll::Ready(Ok(None)) => return Poll::Ready(true),
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => return Poll::Pending,
        }
    }
}

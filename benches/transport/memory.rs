//! P4: the memory transport, all on one thread.

use crate::Bench;
use crate::ours::{CHANNEL, Calls, PAYLOAD, SERVER, identity, open, serve};
use crate::peers::tarpc;
use crate::side::{Side, Sides};
use crate::subject::{Caller, Served, Subject};
use bytes::Bytes;
use quorate_benches::sheet::Line;
use quorate_benches::turns::{Contender, take_turns};
use quorate_transport::{Endpoint, EndpointConfig, Inbound, Lane, MemoryNetwork};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

const COUNT: u64 = 20_000;
const QUEUE: &str = "tokio mpsc";
const QUEUES: &str = "tokio mpsc and oneshot";

/// Two endpoints of one network, both on this side.
fn pair(side: &Side) -> (Endpoint, Endpoint) {
    side.run(async {
        let network = MemoryNetwork::new();
        let start = |n| {
            let node = network.node(identity(n, 1));
            Endpoint::start(node, EndpointConfig::default()).expect("first start")
        };
        (start(1), start(2))
    })
}

/// Each message is sent and received before the next.
fn oneway(sides: &Sides) -> Contender<'_> {
    let (client, server) = pair(&sides.client);
    let (sender, mut receiver) = (open(&client, CHANNEL), Some(open(&server, CHANNEL)));
    let (sender, keep) = sender.split();
    Contender::new("ours", move || {
        let _kept = (&client, &server, &keep);
        let (sender, mut channel) = (sender.clone(), receiver.take().expect("given back"));
        let (ns, back) = sides.client.run(async move {
            let (begun, body) = (Instant::now(), Bytes::from_static(PAYLOAD));
            for _ in 0..COUNT {
                sender.send(SERVER, Lane::Data, body.clone()).expect("room");
                let Some(Inbound::Message { body, .. }) = channel.try_recv() else {
                    panic!("a message was lost")
                };
                assert_eq!(body.len(), PAYLOAD.len());
            }
            (begun.elapsed().as_nanos() as f64 / COUNT as f64, channel)
        });
        receiver = Some(back);
        ns
    })
}

fn queue(sides: &Sides) -> Contender<'_> {
    Contender::new(QUEUE, || {
        sides.client.run(async {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let (begun, body) = (Instant::now(), Bytes::from_static(PAYLOAD));
            for _ in 0..COUNT {
                sender.send(body.clone()).expect("open");
                assert_eq!(receiver.try_recv().expect("a message").len(), PAYLOAD.len());
            }
            begun.elapsed().as_nanos() as f64 / COUNT as f64
        })
    })
}

/// What a call needs at least: a queue to a task and a place for its answer.
#[derive(Clone)]
struct Queues(mpsc::UnboundedSender<(Bytes, oneshot::Sender<Bytes>)>);

impl Caller for Queues {
    async fn call(&self) {
        let (answer, answered) = oneshot::channel();
        self.0.send((Bytes::from_static(PAYLOAD), answer)).expect("open");
        assert_eq!(answered.await.expect("an answer").len(), PAYLOAD.len());
    }
}

fn queues(sides: &Sides) -> Subject {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<Bytes>)>();
    let served = Served::default();
    let count = served.clone();
    drop(sides.client.begin(async move {
        while let Some((body, answer)) = receiver.recv().await {
            count.fetch_add(1, Ordering::SeqCst);
            answer.send(body).expect("somebody waits");
        }
    }));
    Subject::new(QUEUES, Queues(sender), served, ())
}

fn calls(sides: &Sides) -> Subject {
    let (client, server) = pair(&sides.client);
    let served = serve(&sides.client, open(&server, CHANNEL));
    let (sender, receiver) = open(&client, CHANNEL).split();
    let calls = Calls::new(sender, Lane::Data);
    Subject::new("ours", calls, served, (client, server, receiver))
}

/// Calls of ours alone, for a profiler; nanoseconds for one.
pub(crate) fn alone(sides: &Sides, time: Duration) -> f64 {
    let taken = calls(sides).turn(sides, 1, time);
    taken.elapsed.as_nanos() as f64 / taken.count as f64
}

/// P4: one-way and calls in memory.
pub(crate) fn memory(bench: &mut Bench) {
    let sides = Sides::new();
    let rounds = take_turns(vec![queue(&sides), oneway(&sides)], bench.rounds);
    let line = Line::times("P4 memory, one-way, send and receive", &rounds, "ours", Some(QUEUE));
    bench.sheet.push(line.goal("≤ 150 ns", rounds.ns("ours") <= 150.0));

    let subjects = vec![queues(&sides), calls(&sides), tarpc::in_memory(&sides)];
    let turn = bench.turn;
    let contender = |mut subject: Subject| {
        let sides = &sides;
        Contender::new(subject.name, move || {
            let taken = subject.turn(sides, 1, turn);
            taken.elapsed.as_nanos() as f64 / taken.count as f64
        })
    };
    let rounds = take_turns(subjects.into_iter().map(contender).collect(), bench.rounds);
    let line = Line::times("P4 memory, a call, depth 1", &rounds, "ours", Some(QUEUES));
    let line = line
        .goal("≤ 1 µs", rounds.ns("ours") <= 1e3)
        .goal("≥ 10× tarpc", rounds.ratio("tarpc (channel)", "ours") >= 10.0);
    bench.sheet.push(line);
}

//! S3: calls of async nodes through `Endpoint`, in the ring of S1.

use crate::Bench;
use crate::flood::{COUNT, DEPTH, LATENCY, NODES};
use crate::peers::turmoil;
use quorate_benches::busy::Busy;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::{Contender, take_turns};
use quorate_sim::{ChannelId, Host, NodeId, Sim, SimConfig};
use quorate_transport::{
    CallOptions, ChannelOptions, ChannelReceiver, Endpoint, EndpointConfig, Inbound,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

const ECHO: ChannelId = ChannelId::new(16);
const WITHIN: Duration = Duration::from_secs(60);
const OURS: &str = "ours";
const PAYLOAD: [u8; 64] = [7; 64];

async fn answer(mut channel: ChannelReceiver) {
    while let Some(inbound) = channel.recv().await {
        if let Inbound::Call { body, reply, .. } = inbound {
            reply.reply(body).expect("its caller waits");
        }
    }
}

/// One node: it answers calls, and `DEPTH` of its tasks call the next one.
async fn node(host: Host, done: Arc<AtomicU64>) {
    let config = EndpointConfig::default();
    let started = Endpoint::start_with(host.transport(), host.runtime(), config);
    let endpoint = started.expect("a transport nobody used");
    let channel = endpoint.channel(ECHO, ChannelOptions::new()).expect("not open yet");
    let (sender, channel) = channel.split();
    let next = NodeId::new(host.id().value() % NODES + 1);
    for _ in 0..DEPTH {
        let (sender, done) = (sender.clone(), done.clone());
        let calls = async move {
            for _ in 0..COUNT / DEPTH {
                let body = bytes::Bytes::copy_from_slice(&PAYLOAD);
                let called = sender.call(next, body, CallOptions::within(WITHIN)).await;
                assert_eq!(called.expect("an answer")[..], PAYLOAD);
                done.fetch_add(1, Relaxed);
            }
        };
        host.runtime().spawn("calls", Box::pin(calls));
    }
    answer(channel).await;
}

/// Nanoseconds of a call.
fn turn() -> f64 {
    let begun = Busy::begin();
    let config = SimConfig::lan(1).latency(LATENCY, LATENCY).build().expect("within the ranges");
    let mut sim = Sim::new(config);
    let done = Arc::new(AtomicU64::new(0));
    for id in 1..=NODES {
        let done = done.clone();
        sim.add_async(NodeId::new(id), move |host| Box::pin(node(host, done.clone())));
    }
    while done.load(Relaxed) < NODES * COUNT {
        sim.run_for(Duration::from_millis(100)).expect("no fault");
    }
    begun.nanos() / (NODES * COUNT) as f64
}

/// S3: beside turmoil.
pub(crate) fn calls(bench: &mut Bench) {
    let contenders =
        vec![Contender::new(OURS, turn), Contender::new(turmoil::CALLS, || turmoil::calls(COUNT))];
    let rounds = take_turns(contenders, bench.rounds);
    let ns = rounds.ns(OURS);
    let text = format!("{:.0} k calls/s, {} a call", 1e6 / ns, time(ns));
    let (peer, ratio) = (rounds.ns(turmoil::CALLS), rounds.ratio(turmoil::CALLS, OURS));
    let line = Line::new("S3 async calls through `Endpoint`, 5 nodes")
        .value(&text, 1e9 / ns, "calls/s")
        .peer(turmoil::CALLS, &time(peer), ratio)
        .goal("≥ 150 k calls/s", ns <= 1e9 / 150e3);
    bench.sheet.push(line.note(&format!("{DEPTH} in flight a node")));
}

/// Calls of ours alone, for a profiler; nanoseconds of one.
pub(crate) fn alone(time: Duration) -> f64 {
    let (begun, mut sum, mut turns) = (Instant::now(), 0.0, 0.0);
    while begun.elapsed() < time {
        sum += turn();
        turns += 1.0;
    }
    sum / turns
}

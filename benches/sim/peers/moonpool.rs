//! moonpool-sim: its world and its executor, without faults.

use crate::flood::{LATENCY, NODES, Window};
use crate::peers::echo::question;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use moonpool_sim::executor::{Executor, spawn, until_stalled};
use moonpool_sim::{
    LatencyDistribution, NetworkConfiguration, NetworkProvider, SimNetworkProvider, SimWorld,
    TcpListenerTrait,
};
use quorate_benches::busy::Busy;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) const NAME: &str = "moonpool-sim";

fn address(id: u64) -> String {
    format!("10.0.0.{id}:9000")
}

/// Asks the next one, as [`echo::ask`](crate::peers::echo::ask) does.
async fn ask(network: SimNetworkProvider, id: u64, window: Window, done: Arc<AtomicU64>) {
    let Window { depth, count } = window;
    let mut stream = network.connect(&address(id % NODES + 1)).await.expect("it listens");
    let mut answer = [0; 64];
    for n in 0..depth.min(count) {
        stream.write_all(&question(n)).await.expect("connected");
    }
    for n in 0..count {
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(answer, question(n));
        done.fetch_add(1, Relaxed);
        if n + depth < count {
            stream.write_all(&question(n + depth)).await.expect("connected");
        }
    }
}

async fn answer(network: SimNetworkProvider, id: u64) {
    let listener = network.bind(&address(id)).await.expect("free");
    let (mut stream, _) = listener.accept().await.expect("somebody comes");
    let mut body = [0; 64];
    while stream.read_exact(&mut body).await.is_ok() {
        if stream.write_all(&body).await.is_err() {
            return;
        }
    }
}

/// Nanoseconds of an echo.
pub(crate) fn flood(window: Window) -> f64 {
    let begun = Busy::begin();
    let write_latency = LatencyDistribution::Uniform { start: LATENCY, end: LATENCY };
    let config = NetworkConfiguration { write_latency, ..NetworkConfiguration::fast_local() };
    let mut world = SimWorld::new_with_network_config_and_seed(config, 1);
    let network = world.network_provider();
    let done = Arc::new(AtomicU64::new(0));
    Executor::new(1).block_on(async {
        for id in 1..=NODES {
            drop(spawn("answer", answer(network.clone(), id)));
            drop(spawn("ask", ask(network.clone(), id, window, done.clone())));
        }
        loop {
            until_stalled().await;
            if done.load(Relaxed) == NODES * window.count {
                break;
            }
            world.step();
        }
    });
    begun.nanos() / (NODES * window.count) as f64
}

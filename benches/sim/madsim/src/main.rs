//! The echo flood of lane S1 in madsim: nanoseconds of an echo, in time of the processor.
//!
//! ```sh
//! RUSTFLAGS="--cfg madsim" cargo build --release --manifest-path benches/sim/madsim/Cargo.toml
//! export QUORATE_MADSIM=$PWD/benches/sim/madsim/target/release/quorate-bench-madsim
//! cargo bench --manifest-path benches/Cargo.toml --bench sim
//! ```
//!
//! A program of its own: madsim is a simulator only with that flag, which holds for every crate of
//! a build, and it takes the place of the C library's clock.

#[expect(dead_code, reason = "the bench needs more of it")]
#[path = "../../../src/busy.rs"]
mod busy;
#[path = "../../peers/echo.rs"]
mod echo;

use busy::Busy;
use madsim::net::{TcpListener, TcpStream};
use madsim::runtime::{NodeHandle, Runtime};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

#[cfg(not(madsim))]
compile_error!("without RUSTFLAGS=\"--cfg madsim\" it is no simulator");

const NODES: u8 = 5;
const LATENCY: Duration = Duration::from_millis(1);

fn ip(node: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node).into()
}

fn address(node: u8) -> SocketAddr {
    (ip(node), 9_000).into()
}

/// The node answers its neighbour.
async fn serve(node: u8) {
    let listener = TcpListener::bind(address(node)).await.expect("free");
    let (stream, _) = listener.accept().await.expect("somebody comes");
    echo::answer(stream).await;
}

/// The node asks the next one.
async fn ask(node: u8, depth: u64, count: u64) {
    // When all listen.
    madsim::time::sleep(LATENCY).await;
    let stream = TcpStream::connect(address(node % NODES + 1)).await.expect("it listens");
    echo::ask(stream, depth, count).await;
}

/// Nanoseconds of an echo.
fn flood(depth: u64, count: u64) -> f64 {
    let begun = Busy::begin();
    let mut config = madsim::Config::default();
    // The range excludes its end.
    config.net.send_latency = LATENCY..LATENCY + Duration::from_nanos(1);
    let runtime = Runtime::with_seed_and_config(1, config);
    let node = |node: u8| (node, runtime.create_node().ip(ip(node)).build());
    let nodes: Vec<(u8, NodeHandle)> = (1..=NODES).map(node).collect();
    runtime.block_on(async {
        let mut asking = Vec::new();
        for (id, node) in &nodes {
            drop(node.spawn(serve(*id)));
            asking.push(node.spawn(ask(*id, depth, count)));
        }
        for asks in asking {
            asks.await.expect("no panic");
        }
    });
    begun.nanos() / (u64::from(NODES) * count) as f64
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    let [depth, count] = numbers[..] else { panic!("two numbers: depth and count") };
    println!("{}", flood(depth, count));
}

//! P11: a server that comes back.

use crate::Bench;
use crate::ours::{CHANNEL, PAYLOAD, SERVER, any_port, identity, node, open, serve};
use crate::side::Side;
use quorate_benches::sheet::{Line, time};
use quorate_benches::turns::quantile;
use quorate_transport::{CallOptions, ChannelSender};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Calls until one is answered.
async fn until_answered(sender: ChannelSender) -> Instant {
    loop {
        let options = CallOptions::within(Duration::from_secs(1));
        if sender.call(SERVER, PAYLOAD, options).await.is_ok() {
            return Instant::now();
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// One life of the server, which ends as a process does: without a word.
fn life(number: u64, at: SocketAddr) -> (Side, SocketAddr, Instant) {
    let side = Side::new("server");
    let (tcp, server) = side.run(async move { node(identity(2, number), at) });
    let back = Instant::now();
    drop(serve(&side, open(&server, CHANNEL)));
    let at = tcp.local_addr().expect("a member listens");
    (side, at, back)
}

/// P11: from the restart, listening again, to the first answered call. A client of its own each
/// time: backoff remembers failures until a session lasted ten seconds.
pub(crate) fn restart(bench: &mut Bench) {
    let mut taken = Vec::new();
    for _ in 0..bench.rounds {
        let side = Side::new("client");
        let (server, at, _) = life(1, any_port());
        let (_, client) = side.run(async { node(identity(1, 1), any_port()) });
        client.set_peer(SERVER, &[at.into()]);
        let (sender, _receiver) = open(&client, CHANNEL).split();
        side.run(until_answered(sender.clone()));
        drop(server);
        let calls = side.begin(until_answered(sender.clone()));
        std::thread::sleep(Duration::from_millis(20));
        let (_server, _, back) = life(2, at);
        let answered = calls.recv().expect("no panic");
        taken.push(answered.duration_since(back).as_nanos() as f64);
    }
    let (middle, worst) = (quantile(taken.clone(), 0.5), quantile(taken, 1.0));
    let line = Line::new("P11 peer listens again → first answered call")
        .value(&time(middle), middle, "ns")
        .note(&format!("worst {}", time(worst)))
        .note(
            "backoff_min 50 ms, jittered, doubled for each failure; the server was away for 20 ms",
        );
    bench.sheet.push(line.goal("≤ 100 ms", middle <= 1e8));
}

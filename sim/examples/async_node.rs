//! Endpoint code as it runs in production, unchanged under the simulator: a server of numbers that
//! crashes, a client that calls it until it has all of them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]
use quorate_sim::{Campaign, ChannelId, Class, Host, NodeId, Sim, Swarm, Workload};
use quorate_transport::{
    CallOptions, ChannelOptions, Endpoint, EndpointConfig, Inbound, Runtime, Transport, sleep,
};
use std::{process::ExitCode, sync::Arc, time::Duration};

const SQUARES: ChannelId = ChannelId::new(16);
const SERVER: NodeId = NodeId::new(1);

/// Production code: it knows a transport and a runtime, and no simulator.
async fn serve(transport: Arc<dyn Transport>, runtime: Arc<dyn Runtime>) {
    let endpoint = Endpoint::start_with(transport, runtime, EndpointConfig::default()).unwrap();
    let mut calls = endpoint.channel(SQUARES, ChannelOptions::new()).unwrap();
    while let Some(inbound) = calls.recv().await {
        if let Inbound::Call { body, reply, .. } = inbound {
            let n: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
            let _nobody_waits = reply.reply((n * n).to_string().into_bytes());
        }
    }
}

/// Production code, too. Squares may be asked for twice, so every failure is tried again.
async fn ask(transport: Arc<dyn Transport>, runtime: Arc<dyn Runtime>, done: impl Fn(u64)) {
    let config = EndpointConfig::default();
    let endpoint = Endpoint::start_with(transport, Arc::clone(&runtime), config).unwrap();
    let squares = endpoint.channel(SQUARES, ChannelOptions::new()).unwrap();
    for n in 0_u64.. {
        loop {
            let within = CallOptions::within(Duration::from_millis(500));
            match squares.call(SERVER, n.to_string().into_bytes(), within).await {
                Ok(answer) => {
                    assert_eq!(answer, (n * n).to_string());
                    break done(n);
                }
                Err(_) => sleep(&*runtime, Duration::from_millis(50)).await,
            }
        }
    }
}

struct Squares;
impl Workload for Squares {
    fn setup(&mut self, sim: &mut Sim) {
        sim.add_async(SERVER, |host: Host| Box::pin(serve(host.transport(), host.runtime())));
        sim.add_async(NodeId::new(2), |host: Host| {
            let (transport, runtime) = (host.transport(), host.runtime());
            let done = move |n: u64| {
                host.fact("asked", 0, n.into());
                host.reached("answered");
            };
            Box::pin(ask(transport, runtime, done))
        });
        sim.add_checker(quorate_sim::Monotone::new("asked"));
        sim.add_checker(quorate_sim::Eventually::new("answered", Duration::from_secs(15)));
    }
}

pub(crate) fn main() -> ExitCode {
    let classes = [Class::Crash, Class::Partition, Class::Break, Class::Pause, Class::Delay];
    println!("50 worlds, each 30 s of faults and then a heal");
    Campaign::new("squares", |_seed| Squares)
        .seeds(50)
        .swarm(Swarm::quiet().only(&classes))
        .require(&["answered"])
        .main()
}

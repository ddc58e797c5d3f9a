//! Async nodes: endpoints unchanged, timers, workers.

mod times;

use quorate_sim::*;
use quorate_transport::{CallOptions, ChannelOptions, Endpoint, EndpointConfig, Inbound};
use std::time::Duration;

const ECHO: ChannelId = ChannelId::new(16);

fn serve(host: Host) -> quorate_transport::Task {
    Box::pin(async move {
        let endpoint =
            Endpoint::start_with(host.transport(), host.runtime(), EndpointConfig::default())
                .unwrap();
        let mut calls = endpoint.channel(ECHO, ChannelOptions::new()).unwrap();
        while let Some(inbound) = calls.recv().await {
            if let Inbound::Call { body, reply, .. } = inbound {
                let _ = reply.reply(body);
            }
        }
    })
}

fn ask(host: Host) -> quorate_transport::Task {
    Box::pin(async move {
        let endpoint =
            Endpoint::start_with(host.transport(), host.runtime(), EndpointConfig::default())
                .unwrap();
        let echo = endpoint.channel(ECHO, ChannelOptions::new()).unwrap();
        loop {
            let options = CallOptions::within(Duration::from_secs(1));
            match echo.call(NodeId::new(1), b"hi", options).await {
                Ok(_) => host.reached("answered"),
                Err(_) => host.reached("not answered"),
            }
            quorate_transport::sleep(&*host.runtime(), Duration::from_millis(100)).await;
        }
    })
}

#[test]
fn an_endpoint_runs_unchanged() {
    let mut sim = Sim::new(SimConfig::lan(7).build().unwrap());
    sim.add_async(NodeId::new(1), serve);
    sim.add_async(NodeId::new(2), ask);
    sim.run_for(Duration::from_secs(5)).unwrap();
    assert!(sim.coverage().mark("answered") > 20, "{}", sim.trace_tail(100));
}

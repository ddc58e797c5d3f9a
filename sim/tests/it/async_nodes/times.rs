//! What takes time in an async node, and who sees it.

use quorate_sim::*;
use quorate_transport::sleep;
use std::time::Duration;

const NODE: NodeId = NodeId::new(1);
const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn world(config: SimConfigBuilder) -> Sim {
    Sim::new(config.build().unwrap())
}

#[test]
fn a_task_that_sleeps_is_woken_whatever_happens_to_its_clock() {
    for fault in [
        Fault::ClockStep { node: NODE, by_ns: 1_000_000 },
        Fault::ClockRate { node: NODE, ppm: 100 },
        Fault::ClockBound { node: NODE, lie_ns: 100 },
    ] {
        let mut sim = world(SimConfig::lan(7));
        sim.add_async(NODE, |host| {
            Box::pin(async move {
                loop {
                    sleep(&*host.runtime(), 100 * MS).await;
                    host.reached("tick");
                }
            })
        });
        sim.run_for(SECOND).unwrap();
        sim.apply(fault.clone());
        sim.run_for(10 * SECOND).unwrap();
        let ticks = sim.coverage().mark("tick");
        assert!((108..=110).contains(&ticks), "{ticks} ticks in 11 s with {fault}");
    }
}

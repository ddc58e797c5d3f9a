//! scratch
use quorate_sim::*;
use std::time::{Duration, Instant};
struct Echo;
impl Node for Echo {
    fn on_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        lane: Lane,
        ch: ChannelId,
        body: Bytes,
    ) {
        let _ = ctx.send(from.node, lane, ch, body);
    }
}
struct Start {
    n: u64,
}
impl Node for Start {
    fn on_message(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: Peer,
        lane: Lane,
        ch: ChannelId,
        body: Bytes,
    ) {
        self.n += 1;
        let _ = ctx.send(from.node, lane, ch, body);
    }
}
fn main() {
    for trace in [true, false] {
        let mut sim = Sim::new(SimConfig::lan(7).trace(trace).wire_check(trace).build().unwrap());
        for i in 1..=4 {
            sim.add(NodeId::new(i), |_| Echo);
        }
        sim.add(NodeId::new(5), |ctx| {
            for i in 1..=4 {
                for _ in 0..64 {
                    ctx.send(NodeId::new(i), Lane::Data, ChannelId::new(16), vec![7u8; 64])
                        .unwrap();
                }
            }
            Start { n: 0 }
        });
        let t = Instant::now();
        sim.run_for(Duration::from_secs(10)).unwrap();
        let n = sim.handled();
        let s = t.elapsed().as_secs_f64();
        println!(
            "{n} handled in {s:.2} s: {:.2} M/s, {}",
            n as f64 / s / 1e6,
            sim.node::<Start>(NodeId::new(5)).unwrap().n
        );
    }
}

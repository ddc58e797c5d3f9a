//! A lease among clocks that drift and holders that stand still: what a margin is for, and a fence.
use quorate_sim::*;
use std::time::Duration;
const LEASE: Duration = Duration::from_secs(2);
const STORE: NodeId = NodeId::new(4);
type Careful = (bool, bool); // whether there is a margin for drift, and a fence
/// Grants the lease to whoever asks once it is free, with a number that rises.
struct Granter(Careful, Monotonic, u64);
impl Node for Granter {
    fn on_call(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: ChannelId, _: Bytes, call: InboundCall) {
        if ctx.now() < self.1 {
            return ctx.reject(call, 1);
        }
        let ((margin, _), drift) = (self.0, ctx.clock().drift());
        let hold = if margin { drift.stretch(LEASE) } else { LEASE };
        (self.1, self.2) = (ctx.now().saturating_add(hold), self.2 + 1);
        ctx.reply(call, self.2.to_be_bytes().to_vec());
    }
}
/// Asks for the lease; then works for half of it, and writes.
struct Holder(Careful, Monotonic, Monotonic);
impl Node for Holder {
    fn on_timeout(&mut self, ctx: &mut Ctx<'_>) {
        (self.1, self.2) = (ctx.now(), ctx.now().saturating_add(LEASE / 20));
        let _ = ctx.call(NodeId::new(1), Lane::Data, ChannelId::new(16), "lease", LEASE / 20);
    }
    fn poll_timeout(&self) -> Option<Monotonic> {
        Some(self.2)
    }
    fn on_reply(&mut self, ctx: &mut Ctx<'_>, _: CallToken, answer: Result<Bytes, CallError>) {
        let Ok(fence) = answer else { return };
        let ((margin, _), drift) = (self.0, ctx.clock().drift());
        let lease = if margin { drift.shrink(LEASE) } else { LEASE };
        self.2 = self.1.saturating_add(lease); // from when it asked: the grant came later
        ctx.believe("lease", 0, self.2);
        let fence = fence.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        ctx.complete_after(Cost::Fixed(LEASE / 2), fence);
    }
    fn on_completion(&mut self, ctx: &mut Ctx<'_>, fence: u64) {
        let _ = ctx.send(STORE, Lane::Data, ChannelId::new(16), fence.to_be_bytes().to_vec());
    }
}
/// What holders write to. Only here it is known that a newer holder has written.
struct Store(Careful, Bytes);
impl Node for Store {
    fn on_message(&mut self, ctx: &mut Ctx<'_>, _: Peer, _: Lane, _: ChannelId, fence: Bytes) {
        if self.0.1 && fence <= self.1 {
            return ctx.reached("refused");
        }
        ctx.fact("written", 0, fence.iter().fold(0, |sum, byte| sum << 8 | u128::from(*byte)));
        self.1 = fence;
    }
}
fn world(careful: Careful) -> Result<u64, Box<dyn std::error::Error>> {
    let mut sim = Sim::new(SimConfig::lan(1).extreme_clocks(true).build()?);
    sim.add(NodeId::new(1), move |ctx| Granter(careful, ctx.now(), 0));
    for id in [2, 3].map(NodeId::new) {
        sim.add(id, move |ctx| Holder(careful, ctx.now(), ctx.now()));
    }
    sim.add(STORE, move |_| Store(careful, Bytes::new()));
    sim.add_checker(Exclusive::new("lease"));
    sim.add_checker(Monotone::new("written"));
    let pause = |n| format!("{}.200s pause n2\n{}.000s resume n2\n", n * 6, n * 6 + 4);
    let pauses: String = (1..10).map(pause).collect();
    sim.plan(format!("1.000s clock-rate n2 ppm=-90000\n{pauses}").parse()?);
    sim.run_for(Duration::from_secs(60))?;
    Ok(sim.coverage().mark("refused"))
}
pub(crate) fn run() -> String {
    let kinds = [(false, true), (true, false), (true, true)];
    let line = |(margin, fence)| match world((margin, fence)) {
        Ok(refused) => format!("margin {margin}, fence {fence}: well, {refused} writes refused\n"),
        Err(wrong) => format!("margin {margin}, fence {fence}: {wrong}\n"),
    };
    kinds.map(line).concat()
}
#[expect(clippy::print_stdout, reason = "an example prints")]
fn main() {
    print!("{}", run());
}

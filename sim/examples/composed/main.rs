//! A user's node of several parts, run through crashes, failed syncs, partitions and clocks that
//! jump: no number that was acknowledged is ever lost.
#![expect(clippy::unwrap_used, reason = "an example")]

mod app;

use app::App;
use quorate_sim::*;
use std::process::ExitCode;

struct Two;
impl Workload for Two {
    fn setup(&mut self, sim: &mut Sim) {
        for id in [1, 2].map(NodeId::new) {
            sim.add(id, App::boot);
        }
        sim.add_checker(Durable::new("acknowledged", "present"));
    }
    /// Everybody hears everybody, and has its log; then each says what it has.
    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        let mut apps = [1, 2].map(|id| sim.node::<App>(NodeId::new(id))).into_iter();
        Ok(apps.all(|app| app.is_some_and(|app| app.log.is_some() && app.heard.len() == 1)))
    }
    fn finish(&mut self, sim: &mut Sim) -> Result<(), String> {
        for id in [1, 2].map(NodeId::new) {
            let say = |app: &mut App, ctx: &mut Ctx<'_>| {
                app.numbers.iter().for_each(|number| ctx.fact("present", *number, 1));
            };
            sim.with_node(id, say).ok_or("a node is down")?;
        }
        Ok(())
    }
}
pub(crate) fn main() -> ExitCode {
    // No sessions between these nodes: none can break.
    let swarm = Swarm::default();
    Campaign::new("composed", |_seed| Two).seeds(50).swarm(swarm).main()
}

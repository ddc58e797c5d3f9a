//! One run of one seed: setup, chaos, heal, verdict.

use crate::coverage::Coverage;
use crate::swarm::Nodes;
use crate::{
    ChannelId, Plan, Sim, SimConfig, SimTime, Swarm, Traffic, Violation, Workload, panics,
};
use quorate_transport::Role;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Between two looks at whether the world has recovered.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Everything that a run depends on besides the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) seed: u64,
    pub(crate) chaos: Duration,
    pub(crate) heal: Duration,
    pub(crate) clients_max: usize,
    pub(crate) operations_max: u64,
    /// Drawn from the swarm if there is none.
    pub(crate) plan: Option<Plan>,
}

impl Setting {
    pub(crate) const fn new(seed: u64, chaos: Duration, heal: Duration) -> Self {
        let (clients_max, operations_max) = (usize::MAX, u64::MAX);
        Self { seed, chaos, heal, clients_max, operations_max, plan: None }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) violation: Option<Violation>,
    pub(crate) plan: Plan,
    pub(crate) hash: u64,
    pub(crate) coverage: Coverage,
    pub(crate) handled: u64,
    pub(crate) virtual_time: SimTime,
    pub(crate) tail: String,
    pub(crate) clients: usize,
    pub(crate) operations_most: u64,
    pub(crate) traffic: BTreeMap<ChannelId, Traffic>,
}

/// Newest events that a failure shows.
const TAIL: usize = 200;

impl Attempt {
    pub(crate) fn run<W: Workload>(
        config: SimConfig,
        setting: &Setting,
        swarm: &Swarm,
        trace: Option<&Path>,
        make: impl FnOnce() -> W,
    ) -> Self {
        let extreme_clocks = config.extreme_clocks;
        let mut sim = Sim::new(config);
        sim.limit_clients(setting.clients_max, setting.operations_max);
        let mut plan = Plan::default();
        // An assertion of the workload is a finding too.
        let ran = panics::caught(|| {
            if let Some(path) = trace {
                sim.world.trace.write_to(path).map_err(|error| {
                    let message = format!("{}: {error}", path.display());
                    Violation::new("trace", message, SimTime::ZERO, None)
                })?;
            }
            let mut workload = make();
            workload.setup(&mut sim);
            let nodes = who(&sim, extreme_clocks);
            let drawn = || swarm.draw(setting.seed, &nodes, setting.chaos);
            plan = setting.plan.clone().unwrap_or_else(drawn);
            sim.plan(plan.clone());
            phases(&mut sim, setting, &mut workload)
        });
        let at = sim.now();
        let result = ran.unwrap_or_else(|panic| Err(Violation::new("panic", panic, at, None)));
        let violation = result.err();
        sim.world.trace.flush();
        let attempt = Self {
            tail: if violation.is_some() { sim.trace_tail(TAIL) } else { String::new() },
            violation,
            plan,
            hash: sim.trace_hash(),
            coverage: sim.coverage(),
            handled: sim.handled(),
            virtual_time: sim.now(),
            clients: sim.world.machines.iter().filter(|m| m.role == Role::Client).count(),
            operations_most: sim.world.operations_most,
            traffic: traffic(&sim),
        };
        // What destructors do when all is over is no finding, and no end of the campaign either.
        for slot in sim.slots.drain(..) {
            let _ = panics::caught(move || drop(slot)); // one by one: two at once would abort
        }
        attempt
    }
}

fn who(sim: &Sim, extreme_clocks: bool) -> Nodes {
    let members = sim.members();
    let clients = sim.nodes().into_iter().filter(|node| !members.contains(node)).collect();
    Nodes { members, clients, extreme_clocks }
}

fn phases<W: Workload>(
    sim: &mut Sim,
    setting: &Setting,
    workload: &mut W,
) -> Result<(), Violation> {
    sim.run_for(setting.chaos)?;
    sim.heal_all();
    sim.say_healed()?;
    let end = sim.now().saturating_add(setting.heal);
    loop {
        let healed = workload.healed(sim).map_err(|why| of("workload", why, sim))?;
        let started = sim.is_started();
        if healed && started && !sim.is_awaited() {
            break;
        }
        if sim.now() >= end {
            let why = format!("not recovered within {:?} of the heal", setting.heal);
            let recovered = healed && started;
            return if recovered { sim.finish() } else { Err(of("liveness", why, sim)) };
        }
        sim.run_for(LOOK_EVERY)?;
    }
    workload.finish(sim).map_err(|why| of("workload", why, sim))?;
    // What the last look did to nodes is judged as well.
    sim.run_for(Duration::ZERO)?;
    sim.finish()
}

fn of(checker: &str, why: String, sim: &Sim) -> Violation {
    Violation::new(checker, why, sim.now(), None)
}

fn traffic(sim: &Sim) -> BTreeMap<ChannelId, Traffic> {
    let mut all: BTreeMap<ChannelId, Traffic> = BTreeMap::new();
    for (channel, more) in sim.world.machines.iter().flat_map(|machine| machine.all_traffic()) {
        all.entry(*channel).or_default().add(more);
    }
    all
}

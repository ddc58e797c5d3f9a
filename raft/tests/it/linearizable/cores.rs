//! The group of the simulation, cores under disks that forget, with clients around it instead of
//! within.

use super::records::{Records, Tally};
use super::server::Server;
use crate::sim::{self, Group};
use quorate_sim::{Campaign, Sim, Workload};
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a campaign must have met to prove anything.
const MUST_HAPPEN: [&str; 9] = [
    "leader elected",
    "crash of a leader",
    "snapshot installed",
    "leadership moved",
    "client redirected",
    "client reads at a leader",
    "client reads through a follower",
    "client reads by lease",
    "client superseded",
];

pub(crate) struct Registers {
    group: Group,
    records: Records,
}

impl Workload for Registers {
    fn setup(&mut self, sim: &mut Sim) {
        let servers = self.group.nodes();
        // Ids of reads, in all lives of all nodes.
        let ids = Rc::new(Cell::new(0));
        for id in servers.clone() {
            let (setup, world) = (self.group.setup.clone(), Rc::clone(&self.group.world));
            let ids = Rc::clone(&ids);
            sim.add(id, move |ctx| {
                Server::boot(ctx, setup.clone(), Rc::clone(&world), Rc::clone(&ids))
            });
        }
        self.records.add_clients(sim, &servers);
    }

    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        self.group.world.borrow_mut().quiet = true;
        Ok(self.records.are_complete(sim))
    }

    fn finish(&mut self, _: &mut Sim) -> Result<(), String> {
        self.records.judge()
    }
}

pub(crate) fn campaign(tally: &Arc<Mutex<Tally>>, folder: Option<PathBuf>) -> Campaign<Registers> {
    let tally = Arc::clone(tally);
    let make = move |seed| Registers {
        group: Group::new(seed),
        records: Records::new("cores", seed, Arc::clone(&tally), folder.clone()),
    };
    Campaign::new("raft-registers", make)
        .config(sim::config)
        .swarm(sim::swarm())
        .chaos(Duration::from_secs(3))
        .heal(Duration::from_secs(20))
        .require(&MUST_HAPPEN)
}

/// For planted bugs: what the clients see must give them away.
#[cfg(mutant)]
pub(crate) fn hunted() -> Campaign<Registers> {
    campaign(&Arc::default(), None).shrink(false)
}

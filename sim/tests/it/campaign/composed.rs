//! A register on disks, under all classes of faults that are on by default.

use crate::toys::register::{self, Client};
use crate::toys::{ms, node};
use quorate_sim::{Campaign, ClosedLoop, Sim, Swarm, Workload};

const CLIENTS: u64 = 3;

#[derive(Default)]
struct Register {
    /// What each client had done when the world was healed.
    done: Option<Vec<u64>>,
}

fn done(sim: &Sim) -> Vec<u64> {
    let clients = (11..11 + CLIENTS).map(|id| sim.node::<ClosedLoop<Client>>(node(id)));
    clients.map(|client| client.unwrap().finished()).collect()
}

impl Workload for Register {
    fn setup(&mut self, sim: &mut Sim) {
        register::setup(sim, CLIENTS, ms(50), false);
    }

    /// Every client gets answers again.
    fn healed(&mut self, sim: &mut Sim) -> Result<bool, String> {
        let now = done(sim);
        let then = self.done.get_or_insert_with(|| now.clone());
        Ok(now.iter().zip(then).all(|(now, then)| now > then))
    }
}

/// `QUORATE_SEEDS` says how many seeds.
#[test]
fn a_register_bears_everything() {
    let seeds = if cfg!(debug_assertions) { 100 } else { 500 };
    let campaign = Campaign::new("register-composed", |_| Register::default())
        .seeds(seeds)
        .swarm(Swarm::default())
        .chaos(ms(20_000))
        .require(&["read", "written"]);
    match campaign.run() {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}"),
    }
}

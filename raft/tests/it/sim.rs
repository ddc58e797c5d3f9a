//! Seeded simulation of whole groups: a faulty network, crashing nodes, disks that forget what was
//! not synced. What must hold is checked after every step; at the end the faults stop and the group
//! must serve.
//!
//! `QUORATE_SEEDS=2000` runs more seeds, `QUORATE_SEED=17` replays one.

pub(crate) mod checks;
pub(crate) mod disk;
pub(crate) mod faults;
pub(crate) mod world;

use checks::Counters;
use world::World;

const SEEDS: u64 = 200;

#[test]
fn sim() {
    let mut total = Counters::default();
    for seed in seeds(SEEDS) {
        match World::campaign(seed) {
            Ok(counters) => total.add(&counters),
            Err(broken) => panic!("{}", failure(seed, &broken)),
        }
    }
    println!("{total}");
    if std::env::var_os("QUORATE_SEED").is_none() {
        total.assert_everything_fired();
    }
}

pub(crate) fn failure(seed: u64, broken: &str) -> String {
    format!(
        "seed {seed}: {broken}\n\
         replay: QUORATE_SEED={seed} cargo test -p quorate-raft --test it sim::sim"
    )
}

pub(crate) fn seeds(default: u64) -> Vec<u64> {
    let number = |name: &str| {
        std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number in the environment"))
    };
    match number("QUORATE_SEED") {
        Some(one) => vec![one],
        None => (1..=number("QUORATE_SEEDS").unwrap_or(default)).collect(),
    }
}

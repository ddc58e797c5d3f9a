//! The hand-over under faults: 5 to 9 nodes, 64 partitions, lost, late and doubled messages, nodes
//! that crash and come back with what was durable, authorities that are replaced, aborts, clients
//! with stale views. Per key a register history is judged by G9, every refusal by G10.
//!
//! `QUORATE_SEEDS=20000 cargo test --release -p quorate-hashring --test it campaign --
//! --nocapture`; `QUORATE_SEED=n` replays one.

mod authority;
mod client;
mod net;
mod replica;
mod world;

use crate::random::seeds;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use world::{Counters, World};

#[test]
fn no_acknowledged_write_is_missed_and_no_unmoved_partition_refuses() {
    let seeds = seeds(300);
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Counters::default()));
    let one = seeds.end - seeds.start == 1;
    let take = || Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end);
    let work = || {
        while let Some(seed) = take() {
            let counters = run(seed);
            total.lock().unwrap_or_else(PoisonError::into_inner).add(&counters);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let total = total.into_inner().unwrap();
    println!("campaign: {} seeds\n{total}", seeds.end - seeds.start);
    assert_eq!((total.violations, total.unmoved_rejects), (0, 0));
    if !one {
        total.assert_all_happened();
    }
}

fn run(seed: u64) -> Counters {
    let mut world = World::new(seed);
    if let Err(what) = world.run() {
        println!("failed: seed {seed}: {what}");
        println!("QUORATE_SEED={seed} cargo test -p quorate-hashring --test it campaign");
        world.counters.violations += 1;
        world.counters.unmoved_rejects += u64::from(what.starts_with("G10"));
    }
    world.counters
}

//! Seeded campaigns: three nodes under faults, everything that happened judged by an oracle.
//!
//! `QUORATE_SEEDS=2000 cargo test --release -p quorate-transport --all-features --test it campaign
//! -- --nocapture`; `QUORATE_SEED=n` replays one.

mod node;
mod oracle;
mod world;

use oracle::Totals;
use std::panic::{AssertUnwindSafe, catch_unwind};
use world::World;

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("QUORATE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("QUORATE_SEEDS").unwrap_or(200)).collect(),
    }
}

#[test]
fn campaign() {
    let seeds = seeds();
    let mut totals = Totals::default();
    for seed in &seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| World::new(*seed).run()));
        match outcome {
            Ok(of_one) => totals.add(&of_one),
            Err(panic) => {
                eprintln!(
                    "seed {seed} failed; replay: QUORATE_SEED={seed} cargo test \
                     -p quorate-transport --all-features --test it campaign"
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("campaign: {} seeds\n{totals}", seeds.len());
    if seeds.len() >= 100 {
        let silent = totals.silent();
        assert!(silent.is_empty(), "never happened: {silent:?}");
    }
}

/// The same seed gives the same run: what fails can be replayed.
#[test]
fn campaign_is_deterministic() {
    let runs = [World::new(7).run(), World::new(7).run()].map(|totals| totals.to_string());
    assert_eq!(runs[0], runs[1]);
}

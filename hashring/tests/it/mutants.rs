//! Negative controls: each planted bug is caught by a named test.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-hashring --all-features --test it mutants
//! --target-dir target/mutant -- --nocapture`

mod handover;
mod placement;
mod routing;

use std::collections::BTreeSet;
use std::process::{Command, Output};

/// The bug, and the test that must fail with it.
type Mutant = (&'static str, &'static str);

fn child(test: &str, bug: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("QUORATE_MUTANT", bug)
        .env_remove("QUORATE_SEED")
        .env_remove("QUORATE_SEEDS")
        .output()
        .unwrap()
}

#[test]
fn mutants() {
    let mut all: Vec<Mutant> = [placement::MUTANTS, routing::MUTANTS, handover::MUTANTS].concat();
    let number = |name: &str| name[1..].split('_').next().unwrap().parse::<u32>().unwrap();
    all.sort_by_key(|(name, _)| number(name));
    let numbers: Vec<u32> = all.iter().map(|(name, _)| number(name)).collect();
    assert_eq!(numbers, (1..=35).collect::<Vec<_>>(), "each of the planted bugs has a test");
    let mut missed = Vec::new();
    let mut pass = BTreeSet::new();
    for (bug, test) in all {
        if pass.insert(test) {
            let clean = child(test, "");
            let ran = String::from_utf8_lossy(&clean.stdout).contains("running 1 test");
            assert!(ran && clean.status.success(), "{test} does not pass without a bug");
        }
        let (name, words) = bug.split_once('_').unwrap();
        let name = name.to_uppercase();
        let words = words.replace('_', " ");
        if child(test, bug).status.success() {
            println!("{name} {words}: MISSED by {test}");
            missed.push(bug);
        } else {
            println!("{name} {words}: caught by {test}");
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

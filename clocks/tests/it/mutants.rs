//! Negative controls: each planted bug is caught by a named test within 50 seeds.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-clocks --test it --target-dir target/mutant
//! mutants -- --nocapture`

use std::process::{Command, Output};

/// The bug, and the test that must fail with it.
const MUTANTS: [(&str, &str); 3] = [
    (
        "generation used before it is durable",
        "generation::h21_a_generation_is_durable_before_it_is_used",
    ),
    ("one slot written instead of two", "mark::a_raise_is_in_both_slots"),
    ("commit-wait with one sleep", "commit_wait::h17_a_bound_that_grows_is_waited_for"),
];

fn child(test: &str, bug: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("QUORATE_MUTANT", bug)
        .env("QUORATE_SEEDS", "50")
        .env_remove("QUORATE_SEED")
        .output()
        .unwrap()
}

#[test]
fn mutants() {
    let mut missed = Vec::new();
    for (bug, test) in MUTANTS {
        let clean = child(test, "");
        let ran = String::from_utf8_lossy(&clean.stdout).contains("running 1 test");
        assert!(ran && clean.status.success(), "{test} does not pass without a bug");
        if !cfg!(mutant) {
            continue; // no bug is compiled in
        }
        let out = child(test, bug);
        let text = String::from_utf8_lossy(&out.stdout);
        if out.status.success() {
            println!("missed {bug} by {test}");
            missed.push(bug);
            continue;
        }
        let seed = text.lines().find_map(|line| line.strip_prefix("failed: seed "));
        println!("caught {bug} by {test}, seed {}", seed.unwrap_or("none needed"));
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

//! Negative controls: each planted bug is caught by a named test within 50 seeds.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-clocks --test it --target-dir target/mutant
//! mutants -- --nocapture`

use std::process::{Command, Output};

/// The bug, and the test that must fail with it.
const MUTANTS: [(&str, &str); 4] = [
    ("compare_by_length", "model::vector_clocks_match_causal_histories"),
    ("zero_entries_kept", "causality::h18_zero_and_missing_entries_are_one_value"),
    ("dvv_keeps_by_list_length", "dvv_model::no_write_is_lost_and_no_ghost_returns"),
    (
        "matrix_known_rows_only",
        "matrix::h30_unheard_members_make_it_empty_and_departed_ones_stall_it",
    ),
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

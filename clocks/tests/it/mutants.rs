//! Negative controls: each planted bug is caught by a named test within 50 seeds.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-clocks --test it --target-dir target/mutant
//! mutants -- --nocapture`

use std::process::{Command, Output};

/// The bug, and the test that must fail with it.
const MUTANTS: &[(&str, &str)] = &[
    ("remote_ignored", "execution::execution"),
    ("no_increment_on_equal", "execution::execution"),
    ("counter_wraps", "hybrid::h03_a_standing_clock_carries_into_the_microseconds"),
    ("skew_abs", "hybrid::h04_old_stamps_are_never_refused"),
    ("check_after_merge", "hybrid::h08_a_poisoned_stamp_is_refused_and_leaves_no_trace"),
    ("staleness_forgotten", "hybrid::h09_a_stale_clock_allows_for_its_staleness"),
    ("horizon_before_write", "execution::execution"),
    ("monotonic_first", "clock::h14_wall_is_read_before_monotonic"),
    ("suspend_not_added", "sources::h23_unslewed_time_includes_the_time_in_suspend"),
    ("generation_used_early", "generation::h21_a_generation_is_durable_before_it_is_used"),
    ("one_slot_written", "mark::a_raise_is_in_both_slots"),
    ("one_sleep", "commit_wait::h17_a_bound_that_grows_is_waited_for"),
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
    for &(bug, test) in MUTANTS {
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

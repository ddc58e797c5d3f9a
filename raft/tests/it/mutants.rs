//! Planted bugs: each must be caught by the simulation within its limit of seeds. That is how we
//! know that the simulation can fail.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test --release -p quorate-raft --test it --target-dir
//! target/mutant mutants -- --nocapture`

use std::process::{Command, Output};

/// The bug, and within how many seeds it must show.
const BY_SIMULATION: [(&str, u64); 8] = [
    ("commit_older_term", 500),
    ("ack_before_durable", 500),
    ("truncate_on_short_append", 500),
    ("read_before_own_commit", 500),
    ("promise_forgotten_at_start", 500),
    ("candidacy_breaks_promise", 500),
    ("promise_dropped_with_the_term", 500),
    ("drift_of_a_crystal", 500),
];

/// The bug, and the test that must fail with it: some interleavings are too rare to wait for. That
/// a candidate leads only once its own vote is durable is not planted against: votes that wait for
/// the same write (`vote_request_before_durable`) already see to it.
const BY_TEST: [(&str, &str); 18] = [
    ("commit_older_term", "hazards::h01_an_entry_of_an_older_term_is_not_committed_by_counting"),
    ("stale_token_counts", "hazards::h06_completed_write_of_an_old_term_marks_nothing_durable"),
    (
        "vote_request_before_durable",
        "lives::h11_a_vote_is_asked_for_only_once_the_candidates_term_and_log_are_durable",
    ),
    ("resend_unbounded", "hazards::h08_a_flood_of_heartbeat_answers_sends_one_append"),
    (
        "session_expiry_local_clock",
        "sessions::nodes::h40_sessions_expire_by_group_time_alike_on_every_replica",
    ),
    (
        "session_repeat_as_new",
        "sessions::nodes::h41_a_forwarded_request_of_a_session_is_repeated_and_takes_effect_once",
    ),
    (
        "sessions_not_restored",
        "sessions::nodes::the_table_survives_snapshot_compaction_and_restart",
    ),
    ("commit_notice_unverified", "hazards::h46_notice_commits_only_what_was_verified"),
    (
        "lease_after_timeout_now",
        "hazards::leases::h27_a_transfer_ends_the_lease_and_a_late_request_cannot_meet_it_again",
    ),
    ("lease_from_receipt", "hazards::leases::h28_a_lease_counts_from_when_the_heartbeat_was_sent"),
    (
        "promise_forgotten_at_start",
        "hazards::leases::h29_a_restart_keeps_the_promise_of_the_life_before",
    ),
    ("clock_not_read_again", "hazards::lease_nodes::h30_the_clock_is_read_again_after_the_state"),
    ("candidacy_breaks_promise", "hazards::leases::h44_the_own_candidacy_keeps_the_promise"),
    (
        "promise_dropped_with_the_term",
        "hazards::leases::h62_a_new_term_without_a_leader_does_not_end_the_promise",
    ),
    (
        "drift_of_a_crystal",
        "hazards::leases::h63_a_lease_holds_between_clocks_slewed_as_far_as_they_may",
    ),
    // Counterexamples of the model checker, which looks at every order of events within bounds.
    ("commit_older_term", "model::model_elections_and_replication"),
    ("joint_counts_as_simple", "model::model_membership"),
    ("read_before_own_commit", "model::model_reads"),
];

/// Runs one process per bug: the choice is made once in a process.
#[test]
fn mutants() {
    let mut missed = Vec::new();
    for (bug, limit) in BY_SIMULATION {
        let out = child("mutants::hunt", bug, limit);
        let text = String::from_utf8_lossy(&out.stdout);
        if let Some(line) = text.lines().find(|line| line.contains("caught")) {
            println!("{line}");
        } else {
            println!("missed {bug} in {limit} seeds");
            missed.push(bug);
        }
    }
    for (bug, test) in BY_TEST {
        let out = child(test, bug, 1);
        let ran = String::from_utf8_lossy(&out.stdout).contains("running 1 test");
        if ran && !out.status.success() {
            println!("caught {bug} by {test}");
        } else {
            println!("missed {bug} by {test}");
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

fn child(test: &str, bug: &str, seeds: u64) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("QUORATE_MUTANT", bug)
        .env("QUORATE_SEEDS", seeds.to_string())
        .env_remove("QUORATE_SEED")
        .output()
        .unwrap()
}

/// The child's part: seeds until one fails. Without a planted bug there is nothing to hunt.
#[test]
fn hunt() {
    let Ok(bug) = std::env::var("QUORATE_MUTANT") else { return };
    let seeds = std::env::var("QUORATE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    if let Ok(caught) = crate::sim::campaign().shrink(false).must_fail(seeds) {
        let why: String = caught.message.chars().take(120).collect();
        println!("caught {bug} by the simulation after {} seeds: {why}", caught.seeds_tried);
    }
}

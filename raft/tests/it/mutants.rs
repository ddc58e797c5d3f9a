//! Planted bugs: each must be caught by the simulation within its limit of seeds. That is how we
//! know that the simulation can fail.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test --release -p quorate-raft --test it --target-dir
//! target/mutant mutants -- --nocapture`

use quorate_sim::{Campaign, Workload};
use std::process::{Command, Output};

/// Where a bug must show.
enum By {
    /// The simulation, within so many seeds.
    Seeds(u64),
    /// What clients saw, judged by the checkers of linearizability, within so many seeds.
    Histories(u64),
    /// This test: some interleavings are too rare to wait for.
    Test(&'static str),
}
use By::{Histories, Seeds, Test};

/// Number, bug, and what must catch it. That a candidate leads only once its own vote is durable is
/// not planted against: votes that wait for the same write (`vote_request_before_durable`) already
/// see to it.
const PLANTED: [(&str, &str, By); 48] = [
    ("M1", "commit_older_term", Seeds(2_000)),
    (
        "M1",
        "commit_older_term",
        Test("hazards::h01_an_entry_of_an_older_term_is_not_committed_by_counting"),
    ),
    (
        "M2",
        "quorum_unsorted",
        Test("hazards::h02_a_majority_is_counted_in_whatever_order_answers_come"),
    ),
    (
        "M3",
        "ack_of_another_log",
        Test("hazards::h03_answers_about_another_log_and_stale_refusals_change_nothing"),
    ),
    (
        "M3",
        "stale_refusal_counts",
        Test("hazards::h03_answers_about_another_log_and_stale_refusals_change_nothing"),
    ),
    ("M4", "truncate_on_short_append", Seeds(2_000)),
    ("M4", "truncate_on_short_append", Test("hazards::h04_a_short_append_never_shortens_the_log")),
    (
        "M5",
        "heartbeat_commit_unbounded",
        Test("hazards::h05_heartbeats_commit_no_more_than_is_known_to_match"),
    ),
    (
        "M6",
        "stale_token_counts",
        Test("hazards::h06_completed_write_of_an_old_term_marks_nothing_durable"),
    ),
    ("M7", "vote_before_durable", Seeds(2_000)),
    (
        "M7",
        "vote_before_durable",
        Test(
            "hazards::elections::h11_a_vote_leaves_only_once_it_is_durable_and_outlives_a_demotion",
        ),
    ),
    ("M8", "ack_before_durable", Seeds(2_000)),
    (
        "M9",
        "two_changes",
        Test("hazards::membership::h18_of_two_changes_the_second_waits_until_the_first_is_applied"),
    ),
    ("M9", "two_changes", Seeds(2_000)),
    (
        "M10",
        "joint_counts_as_simple",
        Test("hazards::membership::h21_one_majority_is_not_enough_in_a_joint_phase"),
    ),
    ("M10", "joint_counts_as_simple", Seeds(2_000)),
    ("M11", "read_before_own_commit", Seeds(2_000)),
    ("also", "read_before_own_commit", Histories(8_000)),
    (
        "M12",
        "any_answer_confirms",
        Test("hazards::h26_an_answer_confirms_only_reads_asked_before_its_heartbeat"),
    ),
    (
        "M13",
        "lease_after_timeout_now",
        Test(concat!(
            "hazards::leases::",
            "h27_a_transfer_ends_the_lease_and_a_late_request_cannot_meet_it_again",
        )),
    ),
    (
        "M14",
        "lease_from_receipt",
        Test("hazards::leases::h28_a_lease_counts_from_when_the_heartbeat_was_sent"),
    ),
    ("M15", "promise_forgotten_at_start", Seeds(2_000)),
    (
        "M15",
        "promise_forgotten_at_start",
        Test("hazards::leases::h29_a_restart_keeps_the_promise_of_the_life_before"),
    ),
    (
        "M16",
        "clock_not_read_again",
        Test("hazards::lease_nodes::h30_the_clock_is_read_again_after_the_state"),
    ),
    (
        "M17",
        "snapshot_goes_back",
        Test("hazards::h09_a_snapshot_never_moves_a_follower_back_nor_drops_its_suffix"),
    ),
    (
        "M18",
        "session_expiry_local_clock",
        Test("hazards::sessions::h40_sessions_expire_by_group_time_alike_on_every_replica"),
    ),
    (
        "M19",
        "resume_of_any_maker",
        Test("hazards::disks::h50_a_transfer_resumes_only_the_snapshot_of_the_same_maker"),
    ),
    (
        "M20",
        "any_disk_will_do",
        Test("hazards::identities::h23_a_blank_disk_under_a_known_id_neither_votes_nor_counts"),
    ),
    (
        "M21",
        "damage_taken_for_absence",
        Test(concat!(
            "hazards::damage::",
            "h36_a_replica_that_lost_entries_does_not_elect_a_leader_that_lacks_them",
        )),
    ),
    ("M21", "damage_taken_for_absence", Seeds(2_000)),
    ("M22", "candidacy_breaks_promise", Seeds(2_000)),
    (
        "M22",
        "candidacy_breaks_promise",
        Test("hazards::leases::h44_the_own_candidacy_keeps_the_promise"),
    ),
    ("M23", "commit_notice_unverified", Test("hazards::h46_notice_commits_only_what_was_verified")),
    (
        "M24",
        "fresh_without_a_quorum",
        Test("hazards::running::h47_bounded_staleness_believes_no_unconfirmed_leader"),
    ),
    (
        "M25",
        "waiter_by_index",
        Test("hazards::running::h48_a_waiter_is_not_answered_for_someone_elses_entry"),
    ),
    (
        "M26",
        "refusals_teach_nothing",
        Test("hazards::elections::h13_refused_pre_votes_teach_the_term"),
    ),
    (
        "M27",
        "leave_joint_before_applied",
        Test(
            "hazards::membership::h20_a_joint_phase_is_left_only_once_it_is_in_force_and_only_once",
        ),
    ),
    (
        "M28",
        "removed_leader_counts",
        Test("hazards::membership::h22_a_removed_leader_is_not_part_of_the_majority"),
    ),
    (
        "M29",
        "promise_dropped_with_the_term",
        Test("hazards::leases::h62_a_new_term_without_a_leader_does_not_end_the_promise"),
    ),
    ("M29", "promise_dropped_with_the_term", Seeds(2_000)),
    (
        "M30",
        "drift_of_a_crystal",
        Test("hazards::leases::h63_a_lease_holds_between_clocks_slewed_as_far_as_they_may"),
    ),
    (
        "also",
        "vote_request_before_durable",
        Test("lives::h11_a_vote_is_asked_for_only_once_the_candidates_term_and_log_are_durable"),
    ),
    (
        "also",
        "resend_unbounded",
        Test("hazards::h08_a_flood_of_heartbeat_answers_sends_one_append"),
    ),
    (
        "also",
        "session_repeat_as_new",
        Test(concat!(
            "sessions::nodes::",
            "h41_a_forwarded_request_of_a_session_is_repeated_and_takes_effect_once",
        )),
    ),
    (
        "also",
        "sessions_not_restored",
        Test("sessions::nodes::the_table_survives_snapshot_compaction_and_restart"),
    ),
    // Counterexamples of the model checker, which looks at every order of events within bounds.
    ("M1", "commit_older_term", Test("model::model_elections_and_replication")),
    ("M10", "joint_counts_as_simple", Test("model::model_membership")),
    ("M11", "read_before_own_commit", Test("model::model_reads")),
];

/// Runs one process per bug: the choice is made once in a process.
#[test]
fn mutants() {
    let mut missed = Vec::new();
    for (number, bug, by) in PLANTED {
        match caught(bug, &by) {
            Some(how) => println!("{number} {bug}: caught by {how}"),
            None => {
                println!("{number} {bug}: MISSED");
                missed.push(bug);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// What caught the bug, if anything did.
fn caught(bug: &str, by: &By) -> Option<String> {
    match by {
        Seeds(limit) => hunted("mutants::hunt", bug, *limit, "the simulation"),
        Histories(limit) => hunted("mutants::hunt_histories", bug, *limit, "histories"),
        Test(test) => {
            let out = child(test, bug, 1);
            let ran = String::from_utf8_lossy(&out.stdout).contains("running 1 test");
            (ran && !out.status.success()).then(|| (*test).to_owned())
        }
    }
}

/// How many seeds it took until a campaign failed.
fn hunted(campaign: &str, bug: &str, limit: u64, by: &str) -> Option<String> {
    let out = child(campaign, bug, limit);
    let text = String::from_utf8_lossy(&out.stdout);
    let after = text.lines().find_map(|line| line.strip_prefix("caught after "))?;
    Some(format!("{by} after {after}"))
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
    hunt_in(&crate::sim::campaign().shrink(false));
}

/// The same, with clients that know only what they were answered.
#[test]
fn hunt_histories() {
    hunt_in(&crate::linearizable::hunted());
}

fn hunt_in<W: Workload>(campaign: &Campaign<W>) {
    if std::env::var("QUORATE_MUTANT").is_err() {
        return;
    }
    let seeds = std::env::var("QUORATE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    if let Ok(caught) = campaign.must_fail(seeds) {
        let why: String = caught.message.chars().take(120).collect();
        println!("caught after {} seeds: {why}", caught.seeds_tried);
    }
}

//! Planted bugs: the checker wrong in one place, and the test that must see it.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-sim --test it --target-dir target/mutant \
//! plants -- --nocapture`

use std::process::{Command, Stdio};

/// The bug, and the test that must fail with it.
pub(crate) const JUDGING: [(&str, &str); 14] = [
    ("unknown_as_failed", "linearizable::agreement::on_cas_registers"),
    ("failed_as_unknown", "linearizable::agreement::on_counters"),
    ("state_forgotten", "linearizable::agreement::on_queues"),
    ("set_forgotten", "linearizable::agreement::on_cas_registers"),
    ("used_turned_round", "linearizable::long::an_unknown_write"),
    ("real_time_ignored", "linearizable::agreement::on_cas_registers"),
    ("first_partition_only", "linearizable::agreement::on_maps"),
    ("unlift_forgets_due", "linearizable::agreement::on_sets"),
    ("prefix_as_it_is", "linearizable::agreement::on_fenced_locks"),
    ("twins_all_skipped", "linearizable::agreement::on_counters"),
    ("undecided_passes", "hazards::judging::h12_"),
    ("truncated_passes", "recorder::"),
    ("abandoned_as_failed", "hazards::judging::h27_"),
    ("failed_cas_dropped", "recorded::"),
];

fn passes(bug: &str, test: &str) -> bool {
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.arg(test).env("QUORATE_MUTANT", bug).env("RUST_BACKTRACE", "0");
    let done = run.stdout(Stdio::piped()).stderr(Stdio::null()).output().unwrap();
    assert!(!String::from_utf8_lossy(&done.stdout).contains("running 0 tests"), "{test}");
    done.status.success()
}

#[test]
fn planted_bugs_of_the_checker_are_caught() {
    let mut missed = Vec::new();
    for (bug, test) in JUDGING {
        assert!(passes("", test), "{test} passes without a bug");
        if passes(bug, test) {
            missed.push(bug);
        } else {
            println!("caught {bug} by {test}");
        }
    }
    assert!(missed.is_empty(), "missed: {missed:?}");
}

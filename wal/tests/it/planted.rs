//! Planted bugs: each is switched on in a child process and must be caught by a named suite.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-wal --test it mutants`

#![cfg(mutant)]

use std::process::{Command, Stdio};

/// The bug, the suite that must fail with it.
const BUGS: [(&str, &str); 9] = [
    ("ack_before_sync", "crash::explorer"),
    ("durable_off_written", "crash::explorer"),
    ("no_sync_at_roll", "hazards::h22"),
    ("no_dir_sync", "hazards::h19"),
    ("slots_not_alternated", "hazards_more::h45"),
    ("retry_failed_sync", "sync_errors::h17"),
    ("evidence_ignored", "hazards::h01"),
    ("salt_left_out", "hazards::h05"),
    ("waiter_forgotten", "sync_errors::h18"),
];

fn run(bug: &str, suite: &str) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .arg(suite)
        .env("QUORATE_MUTANT", bug)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success()
}

#[test]
fn mutants_are_caught() {
    let mut missed = Vec::new();
    for (bug, suite) in BUGS {
        assert!(run("", suite), "{suite} passes without a bug");
        if run(bug, suite) {
            missed.push(bug);
        } else {
            println!("caught {bug} by {suite}");
        }
    }
    assert!(missed.is_empty(), "missed: {missed:?}");
}

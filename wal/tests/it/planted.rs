//! Planted bugs: each is switched on in child processes and must be caught by a named suite.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-wal --test it --target-dir target/mutant \
//! planted -- --nocapture`
//!
//! Not planted alone, because another defence covers it: the chain of checksums (a torn tail is
//! never resumed in place, so nothing discarded can follow what is new; the two together are
//! `torn_tail_resumed`).

#![cfg(mutant)]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// How a bug is looked for.
#[derive(Clone, Copy)]
enum Suite {
    /// One run of the tests of this name.
    Named(&'static str),
    /// Seeds of the crash explorer, one after the other.
    Crash,
}

use Suite::{Crash, Named};

/// Seeds that are tried before a bug counts as missed.
const SEEDS: u64 = 60;

/// The bug, the suite that must fail with it.
const BUGS: [(&str, Suite); 31] = [
    ("ack_before_sync", Crash),
    ("durable_off_written", Crash),
    ("mark_claims_write", Crash),
    ("no_sync_at_roll", Named("hazards::h22")),
    ("no_dir_sync", Named("hazards::h19")),
    ("no_parent_sync", Named("hazards::h20")),
    ("no_dir_sync_at_open", Named("hazards::h25")),
    ("no_anchor", Named("hazards::h09")),
    ("no_end_frame", Named("basics::a_killed_log")),
    ("no_end_of_preparation", Named("basics::a_killed_log")),
    ("evidence_ignored", Named("hazards::h01")),
    ("salt_left_out", Named("hazards::h05")),
    ("torn_tail_resumed", Named("hazards::h04")),
    ("recycle_with_reader", Named("carry::h51")),
    ("unlink_before_manifest", Crash),
    ("reclaim_without_durable_link", Crash),
    ("freed_after_ticket", Named("during::h45")),
    ("place_not_carried", Named("during::h24")),
    ("flush_asked_kept", Named("flush::")),
    ("wake_forgotten", Named("flush::")),
    ("mark_forgotten", Named("hazards_modes::h50")),
    ("carried_after_truncate", Named("carry::h46")),
    ("metadata_not_carried", Crash),
    ("low_as_asked", Crash),
    ("retry_failed_sync", Named("sync_errors::h17")),
    ("waiter_forgotten", Named("sync_errors::h18")),
    ("length_trusted", Named("hazards_more::h36")),
    ("span_closed_early", Named("hazards::h14")),
    ("slots_not_alternated", Crash),
    ("clean_flag_kept", Named("hazards::h04")),
    ("eio_as_end", Named("hazards::h06")),
];

fn passes(bug: &str, suite: &str, seed: Option<u64>) -> bool {
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.arg(suite).env("QUORATE_MUTANT", bug).env("RUST_BACKTRACE", "0");
    if let Some(seed) = seed {
        run.env("QUORATE_SEED", seed.to_string());
    }
    let status = run.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    status.success()
}

/// After how many runs the suite fails with the bug.
fn caught(bug: &str, suite: Suite) -> Option<u64> {
    match suite {
        Named(name) => (!passes(bug, name, None)).then_some(1),
        Crash => (0..SEEDS).find(|&s| !passes(bug, "crash::explorer", Some(s))).map(|s| s + 1),
    }
}

#[test]
fn planted_bugs_are_caught() {
    let mut missed = Vec::new();
    for (bug, suite) in BUGS {
        let name = match suite {
            Named(name) => name,
            Crash => "crash::explorer",
        };
        let healthy = matches!(suite, Crash) || passes("", name, None);
        assert!(healthy, "{name} passes without a bug");
        match caught(bug, suite) {
            Some(n) => {
                let _ = writeln!(std::io::stdout(), "caught {bug} by {name} after {n}");
            }
            None => missed.push(bug),
        }
    }
    assert!(passes("", "crash::explorer", Some(0)), "the explorer passes without a bug");
    assert!(missed.is_empty(), "missed: {missed:?}");
}

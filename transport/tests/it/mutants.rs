//! Negative controls: each planted bug is caught by a named test.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-transport --test it mutants`

use std::process::Command;

const MUTANTS: &[(&str, &str)] = &[
    ("cancel_on_another_lane", "hazards::h08_a_cancel_takes_the_lane_of_its_call"),
    ("generation_not_bumped", "hazards::h10_an_answer_to_a_former_call_of_the_slot_is_ignored"),
    ("unsent_as_maybe", "hazards::h39_frames_for_a_dead_peer_come_back"),
    ("stale_incarnation_accepted", "links::h13_a_stale_life_is_refused_and_named"),
    ("head_crc_after_length", "hazards::h06_a_corrupted_length_is_noticed_with_the_header"),
    ("frame_before_hello_ack", "tcp::nothing_goes_out_before_the_answer_of_the_handshake"),
    #[cfg(feature = "tls")]
    (
        "san_check_skipped",
        "hazards::transports::h23_a_valid_certificate_of_another_node_is_refused",
    ),
];

fn passes(test: &str, mutant: &str) -> bool {
    let exe = std::env::current_exe().unwrap();
    let output =
        Command::new(exe).args(["--exact", test]).env("QUORATE_MUTANT", mutant).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "{test} is not there: {text}");
    output.status.success()
}

#[test]
fn every_planted_bug_is_caught() {
    for &(mutant, test) in MUTANTS {
        assert!(passes(test, ""), "{test} fails without a bug");
        assert!(!passes(test, mutant), "{mutant} is not caught by {test}");
    }
}

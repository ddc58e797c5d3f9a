//! Negative controls: each planted bug is caught by a named test.
//!
//! `RUSTFLAGS="--cfg mutant" cargo test -p quorate-transport --all-features --test it mutants`

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const MUTANTS: &[(&str, &str)] = &[
    ("cancel_on_another_lane", "hazards::h08_a_cancel_takes_the_lane_of_its_call"),
    ("generation_not_bumped", "hazards::h10_an_answer_to_a_former_call_of_the_slot_is_ignored"),
    ("unsent_as_maybe", "hazards::h39_frames_for_a_dead_peer_come_back"),
    ("stale_incarnation_accepted", "links::h13_a_stale_life_is_refused_and_named"),
    (
        "goaway_wait_skipped",
        "hazards::sessions::h12_a_replaced_connection_is_read_to_its_end_first",
    ),
    ("inbox_full_waits", "hazards::h28_a_component_that_does_not_read_delays_only_itself"),
    ("head_crc_after_length", "hazards::h06_a_corrupted_length_is_noticed_with_the_header"),
    ("expired_call_executed", "calls::a_call_that_waited_too_long_is_rejected_unexecuted"),
    ("dedup_any_incarnation", "dedup::a_retry_over_a_restart_is_detected_not_executed"),
    ("label_of_any_lane", "dedup::a_call_names_the_life_its_own_lane_talked_to"),
    (
        "former_life_not_followed",
        "hazards::lives::h13_every_lane_of_a_new_life_waits_for_the_former_one",
    ),
    ("frame_before_hello_ack", "tcp::nothing_goes_out_before_the_answer_of_the_handshake"),
    #[cfg(feature = "tls")]
    (
        "san_check_skipped",
        "hazards::transports::h23_a_valid_certificate_of_another_node_is_refused",
    ),
];

/// How a test ended. One that waits for ever has caught its bug, too.
#[derive(Debug, PartialEq)]
enum Ended {
    Passed,
    Failed,
    Hung,
}

fn run(test: &str, mutant: &str) -> Ended {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("QUORATE_MUTANT", mutant)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let text = read_out(&mut child);
    let Some(text) = text else {
        child.kill().unwrap();
        child.wait().unwrap();
        return Ended::Hung;
    };
    assert!(text.contains("running 1 test"), "{test} is not there: {text}");
    if child.wait().unwrap().success() { Ended::Passed } else { Ended::Failed }
}

/// What the child printed, if it ends in time.
fn read_out(child: &mut Child) -> Option<String> {
    let mut out = child.stdout.take().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut out, &mut text);
        let _ = sender.send(text);
    });
    match receiver.recv_timeout(Duration::from_secs(40)) {
        Ok(text) => Some(text),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
    }
}

#[test]
fn every_planted_bug_is_caught() {
    for &(mutant, test) in MUTANTS {
        assert_eq!(run(test, ""), Ended::Passed, "{test} fails without a bug");
        let ended = run(test, mutant);
        assert_ne!(ended, Ended::Passed, "{mutant} is not caught by {test}");
        println!("{mutant}: caught by {test} ({ended:?})");
    }
}

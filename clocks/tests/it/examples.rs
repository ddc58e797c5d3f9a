//! Each example runs.

#[path = "../../examples/causal_trace.rs"]
mod causal_trace;
#[path = "../../examples/commit_wait.rs"]
mod commit_wait;
#[path = "../../examples/doctor.rs"]
mod doctor;
#[path = "../../examples/hlc.rs"]
mod hlc;
#[path = "../../examples/injected.rs"]
mod injected;
#[path = "../../examples/restart.rs"]
mod restart;
#[path = "../../examples/siblings.rs"]
mod siblings;

#[test]
fn causal_trace_can_be_drawn() {
    causal_trace::main().unwrap();
    let text = String::from_utf8(causal_trace::trace(Vec::new()).unwrap()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("client {\"client\":1}"));
    assert_eq!(lines.next(), Some("put x = 1"));
    let events: Vec<_> = crate::shiviz::check_trace(&text).into_iter().collect();
    assert_eq!(
        events,
        [("client".to_owned(), 3), ("follower".to_owned(), 3), ("leader".to_owned(), 5)]
    );
}

#[test]
fn commit_wait_runs() {
    commit_wait::main().unwrap();
}

#[test]
fn doctor_runs() {
    doctor::main();
}

#[test]
fn hlc_runs() {
    hlc::main().unwrap();
}

#[test]
fn injected_runs() {
    injected::main();
}

#[test]
fn restart_runs() {
    restart::main().unwrap();
}

#[test]
fn siblings_runs() {
    siblings::main();
}

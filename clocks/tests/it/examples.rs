//! Each example runs.

#[path = "../../examples/injected.rs"]
mod injected;

#[test]
fn injected_runs() {
    injected::main();
}

#[path = "../../examples/siblings.rs"]
mod siblings;

#[test]
fn siblings_runs() {
    siblings::main();
}

#[path = "../../examples/causal_trace.rs"]
mod causal_trace;

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

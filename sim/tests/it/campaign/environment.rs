//! The environment: what it can say, and what happens when it cannot be read.

use super::child::{self, run};

#[test]
fn what_does_not_parse_stops_the_campaign_and_is_named() {
    for (name, value, expected) in [
        ("QUORATE_SEEDS", "many", "expected a number from 1 on, found \"many\""),
        ("QUORATE_SEEDS", "0", "expected a number from 1 on, found \"0\""),
        ("QUORATE_SEED", "-1", "expected a number from 0 on, found \"-1\""),
        ("QUORATE_JOBS", "0x2", "expected a number from 1 on, found \"0x2\""),
        ("QUORATE_REPLAY", "", "expected a path, found nothing"),
        ("QUORATE_TRACE", "", "expected a path, found nothing"),
    ] {
        let ending = run("from-thirteen", &[(name, value)]);
        assert_eq!(ending.kind, "environment", "{name}={value}: {ending:?}");
        assert!(ending.text.contains(&format!("{name}: {expected}")), "{ending:?}");
    }
}

#[test]
fn seeds_are_counted_or_chosen() {
    let seeds = |ending: child::Ending| (ending.kind, ending.seed);
    let passed = |n: &str| ("passed".to_owned(), n.to_owned());
    assert_eq!(seeds(run("from-thirteen", &[("QUORATE_SEEDS", "13")])), passed("13"));
    assert_eq!(seeds(run("from-thirteen", &[("QUORATE_SEED", "12")])), passed("1"));
    let failed = |n: &str| ("violation".to_owned(), n.to_owned());
    assert_eq!(seeds(run("from-thirteen", &[("QUORATE_SEEDS", "30")])), failed("13"));
    assert_eq!(seeds(run("from-thirteen", &[("QUORATE_SEED", "20")])), failed("20"));
}

/// One seed alone is not expected to cover everything.
#[test]
fn one_seed_is_not_vacuous() {
    let one = run("pair", &[("QUORATE_SEED", "1")]);
    assert_eq!(one.kind, "passed", "{one:?}");
    let few = run("pair", &[("QUORATE_SEEDS", "1")]);
    assert_eq!(few.kind, "vacuous", "{few:?}");
}

#[test]
fn a_trace_is_written_of_one_seed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trace.jsonl");
    let ending = run("pair", &[("QUORATE_SEED", "3"), ("QUORATE_TRACE", path.to_str().unwrap())]);
    assert_eq!(ending.kind, "passed");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().count() > 100, "{} lines", text.lines().count());
    assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')));
}

/// A path that cannot be written is a finding of the run, not silence.
#[test]
fn a_trace_that_cannot_be_written_is_said() {
    let there = [("QUORATE_SEED", "3"), ("QUORATE_TRACE", "/nowhere/trace.jsonl")];
    let ending = run("pair", &there);
    assert_ne!(ending.kind, "passed");
    assert!(ending.text.contains("/nowhere/trace.jsonl"), "{ending:?}");
}

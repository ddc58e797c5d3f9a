//! The hand-over, explored breadth first over the real `Transition`, `Gate`, `Tally` and `Planner`:
//! one partition, up to six nodes with stores that keep the greatest version, every order of
//! install, acknowledge, copy, publish, admit, apply and delete. Property G9: a read that begins
//! after a write completed returns that write or a newer one.
//!
//! `cargo test -p quorate-hashring --test it model -- --nocapture`; with `QUORATE_SEEDS=20000` and
//! `--release` the long run, with aborts, two transitions and two writes.

mod real;
mod search;
mod set;
mod state;

use search::{Report, explore};
use state::Setup;

const MOVES_ONE: [&[u64]; 3] = [&[0, 1, 2], &[0, 1, 3], &[0, 4, 3]];
const MOVES_TWO: [&[u64]; 3] = [&[0, 1, 2], &[0, 3, 4], &[1, 3, 4]];
const MOVES_ALL: [&[u64]; 3] = [&[0, 1, 2], &[3, 4, 5], &[3, 4, 0]];

fn run(name: &str, setup: &Setup, states_max: usize) -> Report {
    let report = explore(setup, states_max);
    println!(
        "{name}: {} states, {} steps, {}, violations {}",
        report.states,
        report.steps,
        if report.is_complete { "complete" } else { "cut" },
        report.violations.len(),
    );
    for violation in &report.violations {
        println!("  {violation}");
    }
    report
}

fn is_long() -> bool {
    std::env::var("QUORATE_SEEDS").is_ok_and(|seeds| seeds.parse().is_ok_and(|n: u64| n >= 20_000))
}

#[test]
fn every_order_of_steps_keeps_acknowledged_writes_readable() {
    let one = Setup::new(&MOVES_ONE[..2]);
    let two = Setup::new(&MOVES_TWO[..2]);
    let all = Setup::new(&MOVES_ALL[..2]);
    let mut reports = Vec::new();
    if is_long() {
        let more = |setup: &Setup| setup.clone().aborts().writes(2);
        reports.push(run("012 to 013, late", &one.clone().late(), usize::MAX));
        reports.push(run("012 to 034", &two, 6_000_000));
        reports.push(run("012 to 345", &all, 3_000_000));
        reports.push(run("012 to 013, aborts, two writes", &more(&one), 6_000_000));
        reports.push(run("012 to 034, aborts, two writes", &more(&two), 6_000_000));
        let twice = Setup::new(&MOVES_ONE).aborts();
        reports.push(run("012 to 013 to 043, aborts", &twice, 6_000_000));
        let twice = more(&Setup::new(&MOVES_TWO));
        reports.push(run("012 to 034 to 134, aborts, two writes", &twice, 6_000_000));
    } else {
        reports.push(run("012 to 013", &one, usize::MAX));
        reports.push(run("012 to 034", &two, 200_000));
        reports.push(run("012 to 345", &all, 200_000));
        reports.push(run("012 to 034, aborts", &two.aborts(), 100_000));
        reports.push(run("012 to 013 to 043", &Setup::new(&MOVES_ONE), 100_000));
    }
    let states: usize = reports.iter().map(|report| report.states).sum();
    let violations: usize = reports.iter().map(|report| report.violations.len()).sum();
    println!("model: {states} states in all, violations {violations}");
    assert_eq!(violations, 0);
    assert!(reports[0].is_complete);
    assert!(states >= if is_long() { 5_000_000 } else { 500_000 });
}

//! Bugs that were planted: each is caught by the checker that it is meant for, and what is correct
//! stays silent under the same faults.
//!
//! `QUORATE_SEEDS` says how many seeds the correct ones run. Without it they run 500 in a release
//! build, and fewer in a debug build.

use crate::toys::{ALL, Planted};

/// Within so many seeds.
const SEEDS: u64 = 200;
/// With no more steps left of the plan.
const STEPS: usize = 6;

fn each(work: impl Fn(&Planted) -> Result<String, String>) {
    let outcomes = ALL.map(|planted| work(&planted));
    for outcome in &outcomes {
        println!("{}", outcome.as_deref().unwrap_or_else(|wrong| wrong));
    }
    let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn planted_bugs_are_caught() {
    each(|Planted { name, checker, campaign }| {
        let caught = campaign(true).must_fail(SEEDS).map_err(|missed| missed.to_string())?;
        let (by, seeds, steps) = (&caught.checker, caught.seeds_tried, caught.plan.steps.len());
        let line = format!("caught {name} by {by} after {seeds} seeds, plan {steps} steps");
        let well = by == checker && seeds <= SEEDS && steps <= STEPS;
        if well { Ok(line) } else { Err(format!("{line}: expected {checker}\n{}", caught.plan)) }
    });
}

#[test]
fn their_correct_twins_are_silent() {
    let seeds = if cfg!(debug_assertions) { 60 } else { 500 };
    each(|Planted { name, campaign, .. }| match campaign(false).seeds(seeds).run() {
        Ok(report) => Ok(format!("silent {name} over {} seeds", report.seeds)),
        Err(failure) => Err(format!("the correct {name}: {failure}")),
    });
}

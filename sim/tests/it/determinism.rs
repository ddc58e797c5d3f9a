//! The determinism gate (G1): the same code, seed, configuration and plan give the same hash, in
//! one process twice, in another process, and on every machine.

mod breaches;
pub(crate) mod scenarios;

use quorate_sim::Order;
use scenarios::{SCENARIOS, Scenario};
use std::process::Command;

/// The hashes, `scenario order hash`. They may change with any change of the simulator that
/// changes what happens or what of it is recorded; such a change is one of its version, and seeds
/// and plan files written down before it mean nothing after it. They never change by themselves:
/// if they differ on another machine, or from run to run, something is not deterministic. To
/// update them, paste what `cargo test -p quorate-sim --test it determinism -- --nocapture` prints.
const COMMITTED: &str = "\
sans-io random 0xb57971c261730202
sans-io fifo 0x6415ab35a53127d5
async random 0x378280d2964fd09d
async fifo 0x875f79c040a3839a
disk random 0x37fffa5bee83dce4
disk fifo 0x8e1ffd8e69fd4a66
clocks random 0x20a81c214c489316
clocks fifo 0x062dfdfccd517bd0
200-nodes random 0x93873691f47a93d6
200-nodes fifo 0xfea782fbd61fb0df
campaign random 0x3e51d335737a424b
campaign fifo 0x9ea86b6718ecbd55
";

/// The child process runs this scenario alone.
const CHILD: &str = "QUORATE_SIM_GATE";

fn orders() -> [(&'static str, Order); 2] {
    [("random", Order::Random), ("fifo", Order::Fifo)]
}

fn line(name: &str, order: &str, hash: u64) -> String {
    format!("{name} {order} {hash:#018x}")
}

fn all(run: impl Fn(&Scenario, Order) -> u64) -> Vec<String> {
    let mut lines = Vec::new();
    for scenario in &SCENARIOS {
        for (name, order) in orders() {
            lines.push(line(scenario.name, name, run(scenario, order)));
        }
    }
    lines
}

#[test]
fn the_same_run_has_the_same_hash_here_again_elsewhere_and_for_ever() {
    let here = all(|scenario, order| (scenario.run)(order));
    println!();
    for line in &here {
        println!("{line}");
    }
    if std::env::var_os(CHILD).is_some() {
        return;
    }
    let again = all(|scenario, order| (scenario.run)(order));
    assert_eq!(here, again, "twice in one process");
    assert_eq!(here, elsewhere(), "in another process");
    let committed: Vec<&str> = COMMITTED.lines().collect();
    assert_eq!(here, committed, "against the hashes in this file");
    let mut distinct: Vec<&str> = here.iter().filter_map(|line| line.split(' ').nth(2)).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 12, "they are about something");
}

fn elsewhere() -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let filter = "determinism::the_same_run";
    let child = Command::new(this).args([filter, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    let is_line = |line: &&str| line.split(' ').nth(2).is_some_and(|hash| hash.starts_with("0x"));
    text.lines().filter(is_line).map(str::to_owned).collect()
}

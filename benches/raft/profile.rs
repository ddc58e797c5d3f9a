//! Ours alone for some seconds, for a profiler.

use crate::durable;
use crate::group::{latency_turn, propose_turn, read_turn};
use crate::host::{Host, Threads};
use crate::ours_cluster::{self, Setup};
use quorate_benches::device::Place;
use quorate_benches::sheet::time;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(5);

/// `what` may end in a `1`: on one thread.
pub(crate) fn run(what: &str) {
    let kind = if what.ends_with('1') { Threads::One } else { Threads::Two };
    let host = Host::new(kind);
    let setup = |size| Setup { size, lease: false };
    let (what, place) = (what.trim_end_matches('1'), Place::new());
    let ns = match what {
        "durable" | "durable-many" => {
            let group = durable::ours(&host, &place);
            match what {
                "durable" => latency_turn(&host, &group, LONG),
                _ => propose_turn(&host, &group, 256, LONG),
            }
        }
        _ => {
            let group = ours_cluster::in_memory(&host, setup(16));
            match what {
                "one" => propose_turn(&host, &group, 1, LONG),
                "some" => propose_turn(&host, &group, 256, LONG),
                "many" => propose_turn(&host, &group, 4_096, LONG),
                "reads" => read_turn(&host, &group, 1_024, LONG),
                _ => panic!("nothing of that name: {what}"),
            }
        }
    };
    println!("{what}: {}", time(ns));
}

//! `--profile P2`: the loop of ours alone, for some seconds, so that a profiler sees nothing else.

use crate::oneway::messages;
use crate::ours::{self, Pair};
use crate::side::Sides;
use crate::{bulk, decode, memory};
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_secs(5);

/// Runs ours of a lane alone and says what one operation took.
pub(crate) fn run(lane: &str) {
    let sides = Sides::new();
    let calls = |depth| {
        let taken = ours::calls(&sides).turn(&sides, depth, TIME);
        taken.elapsed.as_secs_f64() * 1e9 / taken.count as f64
    };
    let ns = match lane {
        "P1" => calls(1),
        "P2" => calls(64),
        "P2-256" => calls(256),
        "P3" => {
            let (mut send, begun, mut count) = (messages(&sides), Instant::now(), 0);
            while begun.elapsed() < TIME {
                send(&sides, 100_000);
                count += 100_000;
            }
            begun.elapsed().as_secs_f64() * 1e9 / f64::from(count)
        }
        "P4" => memory::alone(&sides, TIME),
        "P5" => bulk::alone(&sides, Pair::new(&sides), TIME),
        "P6" => bulk::alone(&sides, Pair::sealed(&sides), TIME),
        "P9" => decode::alone(TIME),
        other => panic!("nothing to profile in {other}"),
    };
    println!("{lane}: {ns:.0} ns");
}

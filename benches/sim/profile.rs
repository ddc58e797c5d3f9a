//! `--profile S1`: the loop of ours alone, for some seconds, so that a profiler sees nothing else.

use crate::{calls, flood, many};
use std::time::Duration;

const TIME: Duration = Duration::from_secs(5);

/// Runs ours of a lane alone and says what one operation took.
pub(crate) fn run(lane: &str) {
    let ns = match lane {
        "S1" => flood::alone(TIME, false),
        "S1-bare" => flood::alone(TIME, true),
        "S3" => calls::alone(TIME),
        "S4" => many::alone(),
        other => panic!("nothing to profile in {other}"),
    };
    println!("{lane}: {ns:.0} ns");
}

//! Contenders whose operations are too short to look at the clock for each of them.

use quorate_benches::busy::Busy;
use quorate_benches::turns::Contender;
use std::time::{Duration, Instant};

/// `work` again and again for `turn`; it does so many operations at a time. Counts processor time
/// of the thread: nothing here waits.
pub(crate) fn processor_time<'a>(
    name: &str,
    turn: Duration,
    operations: usize,
    mut work: impl FnMut() + 'a,
) -> Contender<'a> {
    Contender::new(name, move || {
        let (begun, busy, mut count) = (Instant::now(), Busy::begin(), 0);
        while begun.elapsed() < turn {
            work();
            count += operations;
        }
        busy.nanos() / count as f64
    })
}

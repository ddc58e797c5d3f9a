//! Time that a thread spent on a processor: for work that never waits it is the time it takes, and
//! whoever else uses the machine does not count.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of a clock of the processor.
fn read(clock: ClockId) -> f64 {
    let now = clock_gettime(clock);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// A stopwatch of this thread's time.
pub struct Busy(f64);

impl Busy {
    /// Starts it.
    pub fn begin() -> Self {
        Self(read(ClockId::ThreadCPUTime))
    }

    /// Nanoseconds of this thread since then.
    pub fn nanos(&self) -> f64 {
        read(ClockId::ThreadCPUTime) - self.0
    }
}

/// Nanoseconds of all threads of this process so far.
pub fn process() -> f64 {
    read(ClockId::ProcessCPUTime)
}

//! A store that shows a result only once its timestamp is in the past on every correct clock: the
//! bound is the kernel's, or the operator's word where nothing disciplines the kernel's clock.

use quorate_clocks::{
    BoundedClock, CommitWait, FixedError, Interval, KernelNtp, SystemClock, Unbounded, Wait,
    WallTime,
};
use std::time::Duration;

/// What the operator vouches for where the kernel cannot.
const OPERATORS_WORD: Duration = Duration::from_millis(2);
/// A wider interval means too long a wait: better to refuse the write.
const WIDTH_MAX: Duration = Duration::from_millis(500);

struct Bounds {
    kernel: KernelNtp,
    word: FixedError<SystemClock>,
}

impl BoundedClock for Bounds {
    fn interval(&self) -> Result<Interval, Unbounded> {
        match self.kernel.interval() {
            Ok(now) if now.width() <= WIDTH_MAX => Ok(now),
            Ok(_) | Err(_) => self.word.interval(),
        }
    }
}

/// Returns when `stamp` is in the past everywhere, and how often it waited.
fn commit(clock: &impl BoundedClock, stamp: WallTime) -> Result<u32, Unbounded> {
    let wait = CommitWait::new(stamp);
    let mut waits = 0;
    // A fresh interval each time: the bound may have grown meanwhile.
    while let Wait::For(left) = wait.poll(&clock.interval()?) {
        std::thread::park_timeout(left);
        waits += 1;
    }
    Ok(waits)
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
pub(crate) fn main() -> Result<(), Unbounded> {
    let clock = Bounds {
        kernel: KernelNtp::new(),
        word: FixedError::new(SystemClock::new(), OPERATORS_WORD),
    };
    let now = clock.interval()?;
    let stamp = now.latest(); // no correct clock has passed it yet
    let waits = commit(&clock, stamp)?;
    let after = clock.interval()?;
    println!("{:?} wide ({:?}), shown after {waits} waits", now.width(), now.quality());
    println!("stamp {stamp}, now at least {}", after.earliest());
    assert!(after.earliest() > stamp);
    Ok(())
}

//! A store that shows a result only once its timestamp is in the past on every correct clock: the
//! bound is the kernel's, or the operator's word where nothing disciplines the kernel's clock.

use quorate_clocks::{
    BoundedClock, CommitWait, ErrorCode, FixedError, Interval, KernelNtp, SystemClock, Unbounded,
    Wait, WallTime,
};
use std::time::Duration;

/// What the operator vouches for where the kernel cannot.
const OPERATORS_WORD: Duration = Duration::from_millis(2);
/// A wider interval means too long a wait: better to refuse the write.
const WIDTH_MAX: Duration = Duration::from_millis(500);

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    TooWide(Duration),
    NoBound(Unbounded),
}

pub(crate) struct Bounds<K, W> {
    pub(crate) kernel: K,
    pub(crate) word: W,
}

impl<K: BoundedClock, W: BoundedClock> Bounds<K, W> {
    /// The operator's word stands in for a kernel that says nothing. It never replaces a bound that
    /// is merely unwelcome, nor an answer that says something is wrong.
    pub(crate) fn interval(&self) -> Result<Interval, Refused> {
        let now = match self.kernel.interval() {
            Err(Unbounded::Unsynchronized | Unbounded::Source(ErrorCode::Unsupported)) => {
                self.word.interval()
            }
            answer => answer,
        };
        match now.map_err(Refused::NoBound)? {
            now if now.width() > WIDTH_MAX => Err(Refused::TooWide(now.width())),
            now => Ok(now),
        }
    }
}

/// Returns when `stamp` is in the past everywhere, and how often it waited.
fn commit<K: BoundedClock, W: BoundedClock>(
    clock: &Bounds<K, W>,
    stamp: WallTime,
) -> Result<u32, Refused> {
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
pub(crate) fn main() -> Result<(), Refused> {
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

//! What the clocks of this machine are worth: source, suspend, drift, the kernel's error, cost.

use quorate_clocks::{
    BoundedClock, Clock, KernelNtp, KernelStatus, Monotonic, SystemClock, WallTime,
};
use std::hint::black_box;
use std::time::Duration;

const READS: u32 = 100_000;

/// Nanoseconds of one call.
fn cost<T>(clock: &SystemClock, reads: u32, read: impl Fn() -> T) -> f64 {
    let start = clock.monotonic();
    for _ in 0..reads {
        black_box(read());
    }
    clock.monotonic().since(start).as_secs_f64() * 1e9 / f64::from(reads)
}

/// The clock source of Linux; `tsc` and `kvm-clock` are cheap, others may cost a system call.
fn source() -> String {
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let text = std::fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned());
    text.trim().to_owned()
}

fn uptime(now: Monotonic) -> Duration {
    now.since(Monotonic::ZERO)
}

#[allow(clippy::print_stdout, reason = "an example talks to its reader")]
pub(crate) fn main() {
    let clock = SystemClock::new();
    println!("clock source      {}", source());
    println!("suspend aware     {}", clock.is_suspend_aware());
    println!("drift             {} (slewed by NTP)", clock.drift());
    println!("up for            {:?}", uptime(clock.monotonic()));
    println!("wall clock        {}", clock.wall());

    match KernelStatus::read() {
        Ok(kernel) => {
            println!("maxerror          {} us", kernel.maxerror_us);
            println!("kernel status     {:#06x}, code {}", kernel.status, kernel.code);
            match kernel.bound(Duration::ZERO) {
                Ok(error) => println!("synchronisation   yes, within {error:?}"),
                Err(why) => println!("synchronisation   no: {why}"),
            }
        }
        Err(why) => println!("synchronisation   unknown: {why}"),
    }

    // The cost of a bound that is cached, also where this kernel has none.
    let answered = KernelNtp::with_source(clock, || Ok(KernelStatus::new(0, 0, 1_000)));
    println!("cost of wall      {:.1} ns", cost(&clock, READS, || clock.wall()));
    println!("cost of monotonic {:.1} ns", cost(&clock, READS, || clock.monotonic()));
    println!("cost of interval  {:.1} ns", cost(&clock, READS, || answered.interval()));
    println!("cost of adjtimex  {:.1} ns", cost(&clock, READS / 100, KernelStatus::read));
    assert!(clock.wall() > WallTime::EPOCH);
}

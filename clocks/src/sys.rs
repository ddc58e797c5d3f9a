//! The only `unsafe` of the crate: `clock_gettime` of the C library that std links anyway.

use core::ffi::{c_int, c_long};

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
struct Timespec {
    seconds: i64,
    nanos: c_long,
}

/// Counts while the machine is suspended; slewed by NTP like `CLOCK_MONOTONIC`.
const CLOCK_BOOTTIME: c_int = 7;

unsafe extern "C" {
    fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
}

/// Nanoseconds since boot including suspended time; `None` if the kernel refuses the clock.
pub(crate) fn boottime_nanos() -> Option<u64> {
    let mut t = Timespec { seconds: 0, nanos: 0 };
    // SAFETY: `t` is a valid, writable `timespec` for the duration of the call, with the layout the
    // 64-bit Linux ABI prescribes.
    let status = unsafe { clock_gettime(CLOCK_BOOTTIME, &raw mut t) };
    if status != 0 {
        return None;
    }
    let seconds = u64::try_from(t.seconds).ok()?;
    let nanos = u64::try_from(t.nanos).ok()?;
    Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

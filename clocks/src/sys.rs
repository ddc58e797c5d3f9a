//! The only `unsafe` of the crate: `clock_gettime`, `adjtimex` and `flock` of the C library that
//! std links anyway.

#[cfg(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64"))]
pub(crate) use linux::*;

#[cfg(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64"))]
mod linux {
    use core::ffi::{c_int, c_long};

    /// `struct timespec` of 64-bit Linux.
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanos: c_long,
    }

    /// The wall clock.
    pub(crate) const CLOCK_REALTIME: c_int = 0;
    /// Slewed by NTP; stands still while the machine is suspended.
    pub(crate) const CLOCK_MONOTONIC: c_int = 1;
    /// The oscillator as it runs: never slewed; stands still while the machine is suspended.
    pub(crate) const CLOCK_MONOTONIC_RAW: c_int = 4;
    /// The wall clock at the last tick of the kernel.
    pub(crate) const CLOCK_REALTIME_COARSE: c_int = 5;
    /// Counts while the machine is suspended; slewed by NTP like `CLOCK_MONOTONIC`.
    pub(crate) const CLOCK_BOOTTIME: c_int = 7;

    /// `struct timex` of 64-bit Linux, as far as it is read here. (Not Android: old versions of its
    /// C library lack the call.)
    #[cfg(target_os = "linux")]
    #[repr(C)]
    struct Timex {
        modes: u32,
        offset: c_long,
        freq: c_long,
        maxerror: c_long,
        esterror: c_long,
        status: c_int,
        rest: [c_long; 20],
    }

    #[cfg(target_os = "linux")]
    const _: () = {
        assert!(size_of::<Timex>() == 208);
        assert!(core::mem::offset_of!(Timex, maxerror) == 24);
        assert!(core::mem::offset_of!(Timex, status) == 40);
    };

    /// What the kernel keeps about its clock.
    #[cfg(target_os = "linux")]
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Ntp {
        /// What the call returned: `TIME_OK` to `TIME_ERROR`.
        pub(crate) code: i32,
        /// `STA_…` bits.
        pub(crate) status: i32,
        /// In microseconds.
        pub(crate) maxerror: i64,
    }

    unsafe extern "C" {
        fn clock_gettime(clock: c_int, out: *mut Timespec) -> c_int;
        fn clock_getres(clock: c_int, out: *mut Timespec) -> c_int;
        #[cfg(target_os = "linux")]
        #[link_name = "adjtimex"]
        fn adjtimex_c(buffer: *mut Timex) -> c_int;
    }

    impl Timespec {
        /// `None` before 1970.
        #[inline]
        fn as_nanos(&self) -> Option<u64> {
            let seconds = u64::try_from(self.seconds).ok()?;
            let nanos = u64::try_from(self.nanos).ok()?;
            Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
        }
    }

    /// Nanoseconds of the clock `clock`; `None` if the kernel refuses it, or it is before 1970.
    #[inline]
    pub(crate) fn clock_nanos(clock: c_int) -> Option<u64> {
        let mut t = Timespec { seconds: 0, nanos: 0 };
        // SAFETY: `t` is a valid, writable `timespec` for the duration of the call, with the layout
        // the 64-bit Linux ABI prescribes.
        let status = unsafe { clock_gettime(clock, &raw mut t) };
        if status == 0 { t.as_nanos() } else { None }
    }

    /// How far apart two readings of the clock `clock` are at least.
    pub(crate) fn clock_resolution_nanos(clock: c_int) -> Option<u64> {
        let mut t = Timespec { seconds: 0, nanos: 0 };
        // SAFETY: as in `clock_nanos`.
        let status = unsafe { clock_getres(clock, &raw mut t) };
        if status == 0 { t.as_nanos() } else { None }
    }

    /// Reads the kernel's clock discipline; needs no privilege, for it changes nothing.
    #[cfg(target_os = "linux")]
    pub(crate) fn adjtimex() -> std::io::Result<Ntp> {
        let mut t = Timex {
            modes: 0,
            offset: 0,
            freq: 0,
            maxerror: 0,
            esterror: 0,
            status: 0,
            rest: [0; 20],
        };
        // SAFETY: `t` is a valid, writable `timex` of the size and layout the 64-bit Linux ABI
        // prescribes (asserted above); `modes` 0 makes the call read only.
        let code = unsafe { adjtimex_c(&raw mut t) };
        if code < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Ntp { code, status: t.status, maxerror: t.maxerror })
    }
}

/// Takes the lock of an open file for this handle alone, without waiting; false if another handle,
/// of this process or not, has it. The lock goes when the handle is closed.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_vendor = "apple"
))]
pub(crate) fn lock_exclusive(file: &std::fs::File) -> std::io::Result<bool> {
    use core::ffi::c_int;
    use std::os::fd::AsRawFd;

    const LOCK_EX: c_int = 2;
    const LOCK_NB: c_int = 4;
    unsafe extern "C" {
        fn flock(fd: c_int, operation: c_int) -> c_int;
    }
    // SAFETY: the descriptor is open for the duration of the call, since `file` is borrowed.
    if unsafe { flock(file.as_raw_fd(), LOCK_EX | LOCK_NB) } == 0 {
        return Ok(true);
    }
    let error = std::io::Error::last_os_error();
    if error.kind() == std::io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

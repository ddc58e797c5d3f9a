//! [`ClockBoundSegment`]: what a clock-bound daemon publishes, version 2, as data.

use crate::{ErrorCode, Interval, Quality, Unbounded, WallTime};
use core::time::Duration;

/// Length of the segment that is read.
pub(crate) const SEGMENT_BYTES: usize = 80;
const MAGIC: [u32; 2] = [0x414D_5A4E, 0x4342_0200];
const VERSION: u16 = 2;
const NANOS_PER_SEC: u64 = 1_000_000_000;
/// A coarse clock may be behind a fine one by so much. // H15
const BLUR_NS: u64 = 1_000;
/// An answer older than this is no longer taken for synchronised.
const FRESH_NS: u64 = 5 * NANOS_PER_SEC;

/// A segment that is well formed: the bound that a daemon measured, when, and how it grows.
///
/// # Shape
/// Times are of `CLOCK_MONOTONIC`, which stands still while the machine is suspended: a caller that
/// reads segments by itself must watch for suspends ([`ClockBoundFile`](crate::ClockBoundFile)
/// does). Numbers are in the byte order of the machine.
///
/// # Examples
/// ```
/// use quorate_clocks::{ClockBoundSegment, Quality, Unbounded, WallTime};
///
/// assert_eq!(ClockBoundSegment::parse(&[0; 4]), Err(Unbounded::Malformed("length")));
/// # fn sample() -> Vec<u8> {
/// #     let mut b = Vec::new();
/// #     b.extend(0x414D_5A4E_u32.to_ne_bytes());
/// #     b.extend(0x4342_0200_u32.to_ne_bytes());
/// #     b.extend(80_u32.to_ne_bytes());
/// #     b.extend([2_u16, 4].iter().flat_map(|n| n.to_ne_bytes()));
/// #     b.extend([100_i64, 0, 1_100, 0, 50_000].iter().flat_map(|n| n.to_ne_bytes()));
/// #     b.extend(0_u64.to_ne_bytes());
/// #     b.extend(1_000_u32.to_ne_bytes());
/// #     b.extend(1_i32.to_ne_bytes());
/// #     b.extend([0; 8]);
/// #     b
/// # }
/// let segment = ClockBoundSegment::parse(&sample())?; // 50 µs at 100 s, growing by 1 ppm
/// let wall = WallTime::from_nanos(1_700_000_000_000_000_000);
/// let now = segment.interval_at(wall, 101_000_000_000, None)?;
/// assert_eq!(now.width().as_nanos(), 2 * (50_000 + 1_000));
/// assert_eq!(now.quality(), Quality::Synchronized);
/// # Ok::<(), Unbounded>(())
/// ```
///
/// # Source
/// `ClockBound` shared-memory protocol, version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockBoundSegment {
    generation: u16,
    as_of: u64,
    void_after: u64,
    bound: u64,
    marker: Option<u64>,
    drift_ppb: u64,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Unknown,
    Synchronized,
    FreeRunning,
    Disrupted,
}

impl ClockBoundSegment {
    /// From the bytes of a segment; what follows its first 80 is not looked at.
    ///
    /// # Errors
    /// [`Unbounded::Unsynchronized`] if the daemon has not filled it yet (generation or version 0);
    /// [`Unbounded::Source`] with [`ErrorCode::Unstable`] if it is being written (odd generation),
    /// read it again; else [`Unbounded::Malformed`] with the field that makes no sense.
    pub fn parse(bytes: &[u8]) -> Result<Self, Unbounded> {
        let bytes: &[u8; SEGMENT_BYTES] =
            bytes.first_chunk().ok_or(Unbounded::Malformed("length"))?;
        if [u32_at(bytes, 0), u32_at(bytes, 4)] != MAGIC {
            return Err(Unbounded::Malformed("magic"));
        }
        let (version, generation) = (u16_at(bytes, 12), u16_at(bytes, 14));
        if version == 0 || generation == 0 {
            return Err(Unbounded::Unsynchronized);
        }
        if version != VERSION {
            return Err(Unbounded::Malformed("version"));
        }
        if usize::try_from(u32_at(bytes, 8)).is_ok_and(|size| size < SEGMENT_BYTES) {
            return Err(Unbounded::Malformed("segment size"));
        }
        if generation % 2 != 0 {
            return Err(Unbounded::Source(ErrorCode::Unstable));
        }
        let bound = i64_at(bytes, 48);
        let drift_ppb = u64::from(u32_at(bytes, 64));
        if drift_ppb >= NANOS_PER_SEC {
            return Err(Unbounded::Malformed("drift"));
        }
        Ok(Self {
            generation,
            as_of: time_at(bytes, 16).ok_or(Unbounded::Malformed("as-of time"))?,
            void_after: time_at(bytes, 32).ok_or(Unbounded::Malformed("void-after time"))?,
            bound: u64::try_from(bound).map_err(|_| Unbounded::Malformed("bound"))?,
            marker: (bytes[72] != 0).then(|| u64_at(bytes, 56)),
            drift_ppb,
            status: status(u32_at(bytes, 68))?,
        })
    }

    /// The interval around `wall`, where `mono_ns` is `CLOCK_MONOTONIC` read *after* it, in
    /// nanoseconds, and `marker` the disruption marker of this machine, if there is one.
    ///
    /// # Errors
    /// [`Unbounded::Unsynchronized`]: the daemon says so. [`Unbounded::Disrupted`]: the daemon says
    /// so, or it watches for disruptions and `marker` is not given or another. // H13
    /// [`Unbounded::Causality`]: the segment is more than 1 µs younger than `mono_ns`.
    /// [`Unbounded::Stale`]: it is void.
    pub fn interval_at(
        &self,
        wall: WallTime,
        mono_ns: u64,
        marker: Option<u64>,
    ) -> Result<Interval, Unbounded> {
        let published = match self.status {
            Status::Unknown => return Err(Unbounded::Unsynchronized),
            Status::Disrupted => return Err(Unbounded::Disrupted),
            Status::Synchronized => Quality::Synchronized,
            Status::FreeRunning => Quality::FreeRunning,
        };
        if self.marker.is_some() && self.marker != marker {
            return Err(Unbounded::Disrupted);
        }
        let ahead = self.as_of.saturating_sub(mono_ns);
        if ahead > BLUR_NS {
            return Err(Unbounded::Causality { by: Duration::from_nanos(ahead) });
        }
        let age = mono_ns.saturating_sub(self.as_of);
        let quality = if age < FRESH_NS {
            published
        } else if mono_ns < self.void_after {
            Quality::FreeRunning
        } else {
            return Err(Unbounded::Stale { age: Duration::from_nanos(age) });
        };
        Ok(Interval::around(wall, self.half_width(age), quality))
    }

    /// The bound and its growth since, rounded up. // H16
    fn half_width(&self, age: u64) -> Duration {
        let growth = (u128::from(self.drift_ppb) * u128::from(age)).div_ceil(1_000_000_000);
        // Below 10⁹ ppb it grows slower than the age, which fits.
        let growth = u64::try_from(growth).unwrap_or(u64::MAX);
        Duration::from_nanos(self.bound).saturating_add(Duration::from_nanos(growth))
    }

    /// When the daemon made it, in nanoseconds of `CLOCK_MONOTONIC`.
    #[must_use]
    pub const fn as_of_ns(&self) -> u64 {
        self.as_of
    }

    /// The daemon's counter of updates; even.
    #[must_use]
    pub const fn generation(&self) -> u16 {
        self.generation
    }
}

fn status(number: u32) -> Result<Status, Unbounded> {
    match number {
        0 => Ok(Status::Unknown),
        1 => Ok(Status::Synchronized),
        2 => Ok(Status::FreeRunning),
        3 => Ok(Status::Disrupted),
        _ => Err(Unbounded::Malformed("status")),
    }
}

/// Seconds and nanoseconds, as nanoseconds.
fn time_at(bytes: &[u8; SEGMENT_BYTES], at: usize) -> Option<u64> {
    let seconds = u64::try_from(i64_at(bytes, at)).ok()?;
    let nanos = u64::try_from(i64_at(bytes, at + 8)).ok()?;
    if nanos >= NANOS_PER_SEC {
        return None;
    }
    seconds.checked_mul(NANOS_PER_SEC)?.checked_add(nanos)
}

fn field<const N: usize>(bytes: &[u8; SEGMENT_BYTES], at: usize) -> [u8; N] {
    core::array::from_fn(|i| bytes[at + i])
}

pub(crate) fn u16_at(bytes: &[u8; SEGMENT_BYTES], at: usize) -> u16 {
    u16::from_ne_bytes(field(bytes, at))
}

fn u32_at(bytes: &[u8; SEGMENT_BYTES], at: usize) -> u32 {
    u32::from_ne_bytes(field(bytes, at))
}

fn u64_at(bytes: &[u8; SEGMENT_BYTES], at: usize) -> u64 {
    u64::from_ne_bytes(field(bytes, at))
}

fn i64_at(bytes: &[u8; SEGMENT_BYTES], at: usize) -> i64 {
    i64::from_ne_bytes(field(bytes, at))
}

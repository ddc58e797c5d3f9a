//! [`ClockBoundFile`]: bounded time from the file that a clock-bound daemon keeps.

use crate::clockbound::{SEGMENT_BYTES, u16_at};
use crate::{
    BoundedClock, ClockBoundSegment, ErrorCode, Interval, RefreshOutOfRange, Unbounded, WallTime,
};
use core::fmt;
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const HEADER_BYTES: usize = 16;
/// How often a segment that is being written is read again.
const ATTEMPTS: u32 = 100;
/// Suspended time that grew by less is the noise of reading two clocks.
const SUSPEND_NS: u64 = 1_000_000;

/// The clocks of the machine, read one right after the other, the wall clock first.
#[derive(Clone, Copy, Debug)]
struct Instants {
    wall: WallTime,
    /// `CLOCK_MONOTONIC`: stands still in suspend.
    monotonic: u64,
    /// How long the machine was suspended since it was booted.
    suspended: u64,
}

type ReadClocks = Box<dyn Fn() -> Result<Instants, Unbounded> + Send + Sync>;
type ReadMarker = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Bounded time from a clock-bound daemon's shared memory.
///
/// # Shape
/// The daemon's bound, grown by its stated drift. An answer is [`Unbounded::Disrupted`] from a
/// suspend of the machine until the daemon's next update, since neither the bound nor
/// `CLOCK_MONOTONIC` ages in suspend. On a machine that was suspended before the file was opened
/// that holds for what the daemon wrote before, too.
///
/// # Cost
/// Four clock readings; the file is opened and read three times once a `refresh` (10 ms).
///
/// # Limits
/// 64-bit Linux; elsewhere every answer is `Unbounded::Source(ErrorCode::Unsupported)`.
///
/// # Examples
/// ```
/// use quorate_clocks::{BoundedClock, ClockBoundFile};
///
/// let clock = ClockBoundFile::new(ClockBoundFile::DEFAULT_PATH);
/// match clock.interval() {
///     Ok(now) => println!("true time is within {:?}", now.width()),
///     Err(why) => println!("no daemon to ask: {why}"),
/// }
/// ```
pub struct ClockBoundFile {
    path: PathBuf,
    refresh: Duration,
    clocks: ReadClocks,
    marker: ReadMarker,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The segment, and when it was read by `CLOCK_MONOTONIC`.
    cached: Option<(ClockBoundSegment, u64)>,
    suspends: Option<Suspends>,
}

/// What is known of suspends: segments made before the last one are void.
#[derive(Clone, Copy, Debug)]
struct Suspends {
    suspended: u64,
    void_before: u64,
}

impl ClockBoundFile {
    /// Where the daemon keeps its file unless told otherwise.
    pub const DEFAULT_PATH: &'static str = "/var/run/clockbound/shm0";

    /// The segment in the file `path`, which need not be there yet.
    #[must_use]
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            refresh: Duration::from_millis(10),
            clocks: Box::new(read_clocks),
            marker: Box::new(|| None),
            state: Mutex::default(),
        }
    }

    /// How long a segment is used before the file is read again.
    ///
    /// default 10 ms · range 0 to 1 s · too small → three reads at every call · too large → a
    /// disruption that only the daemon sees is seen later.
    ///
    /// # Errors
    /// [`RefreshOutOfRange`]; nothing is built.
    pub fn refresh(mut self, refresh: Duration) -> Result<Self, RefreshOutOfRange> {
        RefreshOutOfRange::check(refresh, Duration::ZERO, Duration::from_secs(1))?;
        self.refresh = refresh;
        Ok(self)
    }

    /// Where to read the disruption marker of this machine (the hypervisor's, on virtual machines
    /// that have one). It is asked at every call. Without it a segment of a daemon that watches for
    /// disruptions is [`Unbounded::Disrupted`].
    #[must_use]
    pub fn marker(mut self, read: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.marker = Box::new(read);
        self
    }

    /// With clocks of a test: wall, `CLOCK_MONOTONIC`, suspended time.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_clocks(
        mut self,
        read: impl Fn() -> (WallTime, u64, u64) + Send + Sync + 'static,
    ) -> Self {
        self.clocks = Box::new(move || {
            let (wall, monotonic, suspended) = read();
            Ok(Instants { wall, monotonic, suspended })
        });
        self
    }

    fn segment(&self, state: &mut State, now: Instants) -> Result<ClockBoundSegment, Unbounded> {
        if let Some((segment, read_at)) = state.cached {
            let age = now.monotonic.checked_sub(read_at);
            if age.is_some_and(|age| u128::from(age) < self.refresh.as_nanos()) {
                return Ok(segment);
            }
        }
        // What was good before is not good after a failure.
        state.cached = None;
        let segment = ClockBoundSegment::parse(&read_segment(&self.path)?)?;
        state.cached = Some((segment, now.monotonic));
        Ok(segment)
    }
}

impl Suspends {
    /// At the first look: what the daemon wrote before it is good only if there was no suspend.
    const fn first(now: Instants) -> Self {
        let void_before = if now.suspended > SUSPEND_NS { now.monotonic } else { 0 };
        Self { suspended: now.suspended, void_before }
    }

    /// H13: after a suspend only a later segment counts.
    const fn look(self, now: Instants) -> Self {
        if now.suspended <= self.suspended.saturating_add(SUSPEND_NS) {
            return self;
        }
        Self { suspended: now.suspended, void_before: now.monotonic }
    }
}

impl BoundedClock for ClockBoundFile {
    fn interval(&self) -> Result<Interval, Unbounded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = (self.clocks)()?;
        let suspends = state.suspends.map_or_else(|| Suspends::first(before), |s| s.look(before));
        state.suspends = Some(suspends);
        let segment = self.segment(&mut state, before)?;
        // Again: the daemon may have written the segment after the first look.
        let now = (self.clocks)()?;
        let suspends = suspends.look(now);
        state.suspends = Some(suspends);
        drop(state);
        if segment.as_of_ns() < suspends.void_before {
            return Err(Unbounded::Disrupted);
        }
        segment.interval_at(now.wall, now.monotonic, (self.marker)())
    }
}

impl fmt::Debug for ClockBoundFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClockBoundFile")
            .field("path", &self.path)
            .field("refresh", &self.refresh)
            .finish_non_exhaustive()
    }
}

/// Header, body, header again: what stands between two equal headers was not written meanwhile.
#[cfg(unix)]
fn read_segment(path: &Path) -> Result<[u8; SEGMENT_BYTES], Unbounded> {
    use std::os::unix::fs::FileExt;

    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Unbounded::Malformed("length"),
        _ => Unbounded::Source(error.into()),
    };
    // Opened anew, since a daemon that was started again may have made another file.
    let file = std::fs::File::open(path).map_err(failed)?;
    for _ in 0..ATTEMPTS {
        let (mut bytes, mut again) = ([0; SEGMENT_BYTES], [0; HEADER_BYTES]);
        file.read_exact_at(&mut bytes[..HEADER_BYTES], 0).map_err(failed)?;
        file.read_exact_at(&mut bytes[HEADER_BYTES..], HEADER_BYTES as u64).map_err(failed)?;
        file.read_exact_at(&mut again, 0).map_err(failed)?;
        let being_written = !u16_at(&bytes, 14).is_multiple_of(2);
        if bytes[..HEADER_BYTES] == again && !being_written {
            return Ok(bytes);
        }
        std::thread::yield_now();
    }
    Err(Unbounded::Source(ErrorCode::Unstable))
}

#[cfg(not(unix))]
fn read_segment(_path: &Path) -> Result<[u8; SEGMENT_BYTES], Unbounded> {
    Err(Unbounded::Source(ErrorCode::Unsupported))
}

#[cfg(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64"))]
fn read_clocks() -> Result<Instants, Unbounded> {
    use crate::sys::{CLOCK_BOOTTIME, CLOCK_MONOTONIC, clock_nanos};
    use crate::{Clock, SystemClock};

    /// Two readings further apart than this were interrupted.
    const APART_NS: u64 = 100_000;
    let nanos = |clock| clock_nanos(clock).ok_or(Unbounded::Source(ErrorCode::Unknown));
    for _ in 0..ATTEMPTS {
        let wall = SystemClock::new().wall(); // H14: first
        let before = nanos(CLOCK_MONOTONIC)?;
        let boottime = nanos(CLOCK_BOOTTIME)?;
        let monotonic = nanos(CLOCK_MONOTONIC)?;
        if monotonic.saturating_sub(before) < APART_NS {
            let suspended = boottime.saturating_sub(monotonic);
            return Ok(Instants { wall, monotonic, suspended });
        }
    }
    Err(Unbounded::Source(ErrorCode::Unstable))
}

#[cfg(not(all(any(target_os = "linux", target_os = "android"), target_pointer_width = "64")))]
fn read_clocks() -> Result<Instants, Unbounded> {
    Err(Unbounded::Source(ErrorCode::Unsupported))
}

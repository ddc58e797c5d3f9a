//! A clock-bound daemon's segment: golden bytes, each field, each age; and its file.

use quorate_clocks::{
    BoundedClock, ClockBoundFile, ClockBoundSegment, ErrorCode, Interval, Quality, Unbounded,
    WallTime,
};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const SEC: u64 = 1_000_000_000;
const WALL: WallTime = WallTime::from_nanos(1_700_000_000 * SEC);

/// The fields of a segment, in a daemon's hand.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    magic: [u32; 2],
    size: u32,
    version: u16,
    pub(crate) generation: u16,
    pub(crate) as_of: [i64; 2],
    void_after: [i64; 2],
    pub(crate) bound: i64,
    marker: u64,
    drift_ppb: u32,
    status: i32,
    disruption: u8,
}

impl Fields {
    /// Made at 100 s, void after 1,100 s, 50 µs and 1 ppm.
    pub(crate) fn good() -> Self {
        Self {
            magic: [0x414D_5A4E, 0x4342_0200],
            size: 80,
            version: 2,
            generation: 4,
            as_of: [100, 0],
            void_after: [1_100, 0],
            bound: 50_000,
            marker: 0,
            drift_ppb: 1_000,
            status: 1,
            disruption: 0,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.magic.iter().flat_map(|n| n.to_ne_bytes()));
        bytes.extend(self.size.to_ne_bytes());
        bytes.extend(self.version.to_ne_bytes());
        bytes.extend(self.generation.to_ne_bytes());
        let times = self.as_of.iter().chain(&self.void_after).chain([&self.bound]);
        bytes.extend(times.flat_map(|n| n.to_ne_bytes()));
        bytes.extend(self.marker.to_ne_bytes());
        bytes.extend(self.drift_ppb.to_ne_bytes());
        bytes.extend(self.status.to_ne_bytes());
        bytes.extend([self.disruption, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn parse(&self) -> Result<ClockBoundSegment, Unbounded> {
        ClockBoundSegment::parse(&self.bytes())
    }

    fn at(&self, mono: u64, marker: Option<u64>) -> Result<Interval, Unbounded> {
        self.parse()?.interval_at(WALL, mono, marker)
    }
}

fn with(edit: impl FnOnce(&mut Fields)) -> Fields {
    let mut fields = Fields::good();
    edit(&mut fields);
    fields
}

#[test]
fn a_good_segment_bounds_time() {
    let interval = Fields::good().at(101 * SEC, None).unwrap();
    assert_eq!(interval.quality(), Quality::Synchronized);
    assert_eq!(interval.width(), Duration::from_nanos(2 * 51_000));
    assert!(interval.contains(WALL));
    // What follows the 80 bytes is the daemon's business.
    let mut longer = with(|f| f.size = 96).bytes();
    longer.extend([0xFF; 16]);
    assert!(ClockBoundSegment::parse(&longer).is_ok());
}

type Edit = fn(&mut Fields);

#[test]
fn a_malformed_segment_is_refused_by_its_field() {
    let rows: [(&str, Edit); 17] = [
        ("magic", |f| f.magic[0] ^= 1),
        ("magic", |f| f.magic[1] ^= 1),
        ("version", |f| f.version = 1),
        ("version", |f| f.version = 3),
        ("segment size", |f| f.size = 79),
        ("segment size", |f| f.size = 0),
        ("drift", |f| f.drift_ppb = 1_000_000_000),
        ("bound", |f| f.bound = -1),
        ("as-of time", |f| f.as_of[1] = -1),
        ("as-of time", |f| f.as_of[1] = 1_000_000_000),
        ("as-of time", |f| f.as_of[0] = -1),
        ("as-of time", |f| f.as_of[0] = i64::MAX),
        ("void-after time", |f| f.void_after[1] = 1_000_000_000),
        ("void-after time", |f| f.void_after[1] = i64::MIN),
        ("void-after time", |f| f.void_after[0] = -1),
        ("status", |f| f.status = 4),
        ("status", |f| f.status = -1),
    ];
    for (field, edit) in rows {
        let fields = with(edit);
        assert_eq!(fields.parse(), Err(Unbounded::Malformed(field)), "{fields:?}");
    }
    for length in 0..80 {
        let short = &Fields::good().bytes()[..length];
        assert_eq!(ClockBoundSegment::parse(short), Err(Unbounded::Malformed("length")));
    }
    assert!(with(|f| f.drift_ppb = 999_999_999).at(101 * SEC, None).is_ok());
}

#[test]
fn a_segment_that_is_not_ready_is_unsynchronised() {
    for fields in [with(|f| f.version = 0), with(|f| f.generation = 0), with(|f| f.status = 0)] {
        assert_eq!(fields.at(101 * SEC, None), Err(Unbounded::Unsynchronized), "{fields:?}");
    }
    let unstable = Err(Unbounded::Source(ErrorCode::Unstable));
    assert_eq!(with(|f| f.generation = 5).parse(), unstable);
}

/// H15: the daemon's coarse clock may be ahead of a fine reading by the noise, not by more.
#[test]
fn h15_a_segment_from_the_future_is_refused() {
    let good = Fields::good();
    for mono in [100 * SEC, 100 * SEC - 1, 100 * SEC - 1_000] {
        assert_eq!(good.at(mono, None).unwrap().width(), Duration::from_nanos(100_000));
    }
    for (mono, by) in [(100 * SEC - 1_001, 1_001), (0, 100 * SEC)] {
        let by = Duration::from_nanos(by);
        assert_eq!(good.at(mono, None), Err(Unbounded::Causality { by }));
    }
}

/// H16: the bound grows with the drift, rounded up, and nothing overflows.
#[test]
fn h16_the_daemons_bound_grows_with_its_age() {
    let good = Fields::good();
    for (age, growth) in [(0, 0), (1, 1), (1_000_000, 1), (1_000_001, 2), (SEC, 1_000)] {
        let width = good.at(100 * SEC + age, None).unwrap().width();
        assert_eq!(width, 2 * Duration::from_nanos(50_000 + growth), "{age} ns");
    }
    let wide = with(|f| {
        f.bound = i64::MAX;
        f.drift_ppb = 999_999_999;
        f.as_of = [0, 0];
        f.void_after = [18_446_744_072, 0];
    });
    let interval = wide.at(18_446_744_071 * SEC, None).unwrap();
    assert_eq!(interval.earliest(), WallTime::EPOCH);
    assert_eq!(interval.latest(), WallTime::from_nanos(u64::MAX));
}

#[test]
fn a_segment_ages() {
    let running = with(|f| f.status = 2);
    let quality = |fields: &Fields, mono| fields.at(mono, None).map(|now| now.quality());
    for (mono, expected) in [
        (105 * SEC - 1, Ok(Quality::Synchronized)),
        (105 * SEC, Ok(Quality::FreeRunning)),
        (1_100 * SEC - 1, Ok(Quality::FreeRunning)),
        (1_100 * SEC, Err(Unbounded::Stale { age: Duration::from_secs(1_000) })),
        (u64::MAX, Err(Unbounded::Stale { age: Duration::from_nanos(u64::MAX - 100 * SEC) })),
    ] {
        assert_eq!(quality(&Fields::good(), mono), expected, "at {mono}");
        let expected = expected.map(|_| Quality::FreeRunning);
        assert_eq!(quality(&running, mono), expected, "free running, at {mono}");
    }
}

/// H13: a machine that was moved, or a daemon that says so.
#[test]
fn h13_a_disruption_voids_the_bound() {
    let disrupted = Err(Unbounded::Disrupted);
    assert_eq!(with(|f| f.status = 3).at(101 * SEC, None), disrupted);
    let watched = with(|f| {
        f.disruption = 1;
        f.marker = 7;
    });
    assert_eq!(watched.at(101 * SEC, None), disrupted, "nobody knows whether it was moved");
    assert_eq!(watched.at(101 * SEC, Some(8)), disrupted);
    assert!(watched.at(101 * SEC, Some(7)).is_ok());
    // Not watched for: the marker says nothing.
    assert!(with(|f| f.marker = 7).at(101 * SEC, Some(8)).is_ok());
}

/// A file that a test writes, under clocks that it sets.
struct Rig {
    _dir: tempfile::TempDir,
    path: PathBuf,
    /// `CLOCK_MONOTONIC`, suspended time.
    clocks: Arc<Mutex<(u64, u64)>>,
}

impl Rig {
    fn new(fields: &Fields) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shm0");
        std::fs::write(&path, fields.bytes()).unwrap();
        Self { _dir: dir, path, clocks: Arc::new(Mutex::new((101 * SEC, 0))) }
    }

    fn file(&self) -> ClockBoundFile {
        let clocks = self.clocks.clone();
        ClockBoundFile::new(&self.path).with_clocks(move || {
            let (mono, suspended) = *clocks.lock().unwrap();
            (WALL, mono, suspended)
        })
    }

    fn at(&self, mono: u64, suspended: u64) {
        *self.clocks.lock().unwrap() = (mono, suspended);
    }

    fn write(&self, fields: &Fields) {
        std::fs::write(&self.path, fields.bytes()).unwrap();
    }
}

/// H13: `CLOCK_MONOTONIC` does not age in suspend, so the daemon's bound is void until it wrote a
/// new one.
#[test]
fn h13_a_suspend_voids_the_file_until_it_changes() {
    let rig = Rig::new(&Fields::good());
    let file = rig.file();
    assert!(file.interval().is_ok());
    rig.at(101 * SEC + 5, 1_000_000); // the noise of two readings
    assert!(file.interval().is_ok());
    rig.at(102 * SEC, 3_600 * SEC);
    assert_eq!(file.interval(), Err(Unbounded::Disrupted));
    // Written before the suspend, seen after it.
    rig.write(&with(|f| f.as_of = [101, 900_000_000]));
    rig.at(103 * SEC, 3_600 * SEC);
    assert_eq!(file.interval(), Err(Unbounded::Disrupted));
    rig.write(&with(|f| f.as_of = [103, 0]));
    rig.at(104 * SEC, 3_600 * SEC);
    assert!(file.interval().is_ok());
}

/// H13: the same for a file that is opened after the machine slept.
#[test]
fn h13_a_file_from_before_a_suspend_is_void() {
    let rig = Rig::new(&Fields::good());
    rig.at(102 * SEC, 3_600 * SEC);
    let file = rig.file();
    assert_eq!(file.interval(), Err(Unbounded::Disrupted));
    rig.write(&with(|f| f.as_of = [102, 500_000_000]));
    rig.at(103 * SEC, 3_600 * SEC);
    assert!(file.interval().is_ok());
}

#[test]
fn the_marker_comes_from_the_caller() {
    let rig = Rig::new(&with(|f| {
        f.disruption = 1;
        f.marker = 7;
    }));
    assert_eq!(rig.file().interval(), Err(Unbounded::Disrupted));
    let now = Arc::new(Mutex::new(7));
    let read = now.clone();
    let file = rig.file().marker(move || Some(*read.lock().unwrap()));
    assert!(file.interval().is_ok());
    *now.lock().unwrap() = 8; // the machine was moved: noticed at the next call
    assert_eq!(file.interval(), Err(Unbounded::Disrupted));
}

#[test]
fn the_file_is_read_once_a_refresh() {
    let rig = Rig::new(&Fields::good());
    let file = rig.file();
    let width = |file: &ClockBoundFile| file.interval().unwrap().width();
    let before = width(&file);
    rig.write(&with(|f| f.bound = 90_000));
    assert_eq!(width(&file), before);
    rig.at(101 * SEC + 10_000_000, 0);
    assert_eq!(width(&file), Duration::from_nanos(2 * (90_000 + 1_010)));
    let error = rig.file().refresh(Duration::from_millis(1_001)).unwrap_err();
    assert_eq!((error.min, error.max), (Duration::ZERO, Duration::from_secs(1)));
    let eager = rig.file().refresh(Duration::ZERO).unwrap();
    let before = width(&eager);
    rig.write(&Fields::good());
    assert!(width(&eager) < before);
}

/// After a failure the last good segment is not used again.
#[test]
fn a_failure_ends_the_segment_before_it() {
    let rig = Rig::new(&Fields::good());
    let file = rig.file();
    type Fail<'a> = &'a dyn Fn(&Path);
    let failures: [(Fail<'_>, Unbounded); 5] = [
        (&|p| std::fs::remove_file(p).unwrap(), Unbounded::Source(ErrorCode::Os(2))),
        (&|p| std::fs::write(p, [0; 80]).unwrap(), Unbounded::Malformed("magic")),
        (&|p| std::fs::write(p, [0; 40]).unwrap(), Unbounded::Malformed("length")),
        (
            &|p| std::fs::write(p, with(|f| f.generation = 7).bytes()).unwrap(),
            Unbounded::Source(ErrorCode::Unstable),
        ),
        (
            &|p| std::fs::write(p, with(|f| f.generation = 0).bytes()).unwrap(),
            Unbounded::Unsynchronized,
        ),
    ];
    let mut mono = 101 * SEC;
    for (fail, expected) in failures {
        rig.write(&Fields::good());
        rig.at(mono, 0);
        assert!(file.interval().is_ok());
        fail(&rig.path);
        mono += 10_000_000;
        rig.at(mono, 0);
        assert_eq!(file.interval(), Err(expected));
        assert_eq!(file.interval(), Err(expected), "within the refresh of the good one");
        mono += 1;
    }
}

/// A daemon that writes all the time, in the order of the protocol: no mixture of two segments is
/// ever read.
#[cfg(unix)]
#[test]
fn a_segment_that_is_being_written_is_read_whole() {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicBool, Ordering};

    let rig = Rig::new(&Fields::good());
    let file = rig.file().refresh(Duration::ZERO).unwrap();
    let shm = std::fs::File::options().write(true).open(&rig.path).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut generation = 4_u16;
            while !done.load(Ordering::SeqCst) {
                generation = generation.wrapping_add(1);
                shm.write_all_at(&generation.to_ne_bytes(), 14).unwrap();
                // The bound and the drift belong together: 10 µs at 1 ppm, 20 µs at 2 ppm.
                let part = 1 + u32::from(generation % 4 == 1);
                let fields = with(|f| {
                    f.bound = i64::from(part) * 10_000;
                    f.drift_ppb = part * 1_000;
                });
                shm.write_all_at(&fields.bytes()[16..52], 16).unwrap();
                shm.write_all_at(&fields.bytes()[52..], 52).unwrap();
                generation = generation.wrapping_add(1).max(2);
                shm.write_all_at(&generation.to_ne_bytes(), 14).unwrap();
            }
        });
        let mut whole = 0;
        for _ in 0..5_000 {
            match file.interval() {
                Ok(now) => {
                    let half = now.width().as_nanos() / 2;
                    assert!(half == 11_000 || half == 22_000 || half == 51_000, "{half}");
                    whole += 1;
                }
                Err(why) => assert_eq!(why, Unbounded::Source(ErrorCode::Unstable)),
            }
        }
        done.store(true, Ordering::SeqCst);
        assert!(whole > 0);
    });
}

/// With the clocks of this machine, a segment that was made now.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn the_clocks_of_this_machine_are_read() {
    // No daemon has written since the start of the machine's clock, or 5 s ago.
    let rig = Rig::new(&with(|f| {
        f.as_of = [0, 0];
        f.void_after = [i64::from(i32::MAX), 0];
    }));
    match ClockBoundFile::new(&rig.path).interval() {
        Ok(now) => assert!(now.width() > Duration::from_micros(100)),
        Err(why) => assert_eq!(why, Unbounded::Disrupted, "this machine was suspended before"),
    }
}

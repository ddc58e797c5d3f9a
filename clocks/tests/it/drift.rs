//! Rate error bounds.

use quorate_clocks::Drift;
use std::time::Duration;

#[test]
fn range_is_checked() {
    assert_eq!(Drift::from_ppm(0), Some(Drift::NONE));
    assert_eq!(Drift::from_ppm(500_000).map(Drift::as_ppm), Some(500_000));
    assert_eq!(Drift::from_ppm(500_001), None);
    assert_eq!(Drift::from_ppm(u32::MAX), None);
    assert_eq!(Drift::SLEWED.to_string(), "100500 ppm");
}

#[test]
fn rounds_against_the_caller() {
    // One nanosecond at 1 ppm is an error of a millionth of a nanosecond: rounded up to a whole
    // one.
    let one_ppm = Drift::from_ppm(1).unwrap();
    assert_eq!(one_ppm.shrink(Duration::from_nanos(1)), Duration::ZERO);
    assert_eq!(one_ppm.stretch(Duration::from_nanos(1)), Duration::from_nanos(2));
    assert_eq!(one_ppm.stretch(Duration::ZERO), Duration::ZERO);
    assert_eq!(
        Drift::SLEWED.shrink(Duration::from_secs(10)),
        Duration::from_secs(10) - Duration::from_millis(1005)
    );
}

#[test]
fn extremes_saturate() {
    assert_eq!(Drift::SLEWED.stretch(Duration::MAX), Duration::MAX);
    assert!(Drift::SLEWED.shrink(Duration::MAX) < Duration::MAX);
    let half = Drift::from_ppm(500_000).unwrap();
    assert_eq!(half.shrink(Duration::from_secs(2)), Duration::from_secs(1));
}

/// A clock whose rate is off by r ppm shows `d·(1 + r/10⁶)` in `d` of true time. For each rate
/// within the bound: after `shrink(d)` of local time at most `d` of true time went by, after
/// `stretch(d)` at least `d` did.
#[test]
fn shrink_and_stretch_bound_true_time() {
    const MILLION: i128 = 1_000_000;
    for bound in [0_u32, 1, 200, 83_333, 100_500, 500_000] {
        let drift = Drift::from_ppm(bound).unwrap();
        for nanos in [1_u64, 999, 1_000_000, 1_234_567_891, 3_600_000_000_000] {
            let d = Duration::from_nanos(nanos);
            let shrunk = i128::try_from(drift.shrink(d).as_nanos()).unwrap();
            let stretched = i128::try_from(drift.stretch(d).as_nanos()).unwrap();
            for rate in [-i128::from(bound), 0, i128::from(bound)] {
                // true time of a local span = span · 10⁶ / (10⁶ + rate)
                assert!(shrunk * MILLION <= i128::from(nanos) * (MILLION + rate), "{bound} {rate}");
                assert!(
                    stretched * MILLION >= i128::from(nanos) * (MILLION + rate),
                    "{bound} {rate}"
                );
            }
        }
    }
}

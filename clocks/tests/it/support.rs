//! Seeds, and a generator of numbers that repeats.

use std::ops::RangeInclusive;
use std::panic::RefUnwindSafe;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v}")))
}

/// `QUORATE_SEED` alone, or 1 to `QUORATE_SEEDS`, or 1 to `default`.
pub(crate) fn seeds(default: u64) -> RangeInclusive<u64> {
    range(number("QUORATE_SEED"), number("QUORATE_SEEDS"), default)
}

fn range(seed: Option<u64>, seeds: Option<u64>, default: u64) -> RangeInclusive<u64> {
    seed.map_or_else(|| 1..=seeds.unwrap_or(default), |seed| seed..=seed)
}

/// Prints also where the harness keeps the output of tests that pass to itself: what a campaign did
/// is part of its result.
pub(crate) fn say(text: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Runs `case` with each seed; a failure prints the seed and how to replay it.
pub(crate) fn each_seed(default: u64, test: &str, case: impl Fn(u64) + RefUnwindSafe) {
    run(seeds(default), test, case);
}

/// [`each_seed`] of a test whose name states a number: `QUORATE_SEEDS` raises it only.
pub(crate) fn at_least(least: u64, test: &str, case: impl Fn(u64) + RefUnwindSafe) {
    let seeds = number("QUORATE_SEEDS");
    run(range_at_least(number("QUORATE_SEED"), seeds, least), test, case);
}

fn range_at_least(seed: Option<u64>, seeds: Option<u64>, least: u64) -> RangeInclusive<u64> {
    range(seed, seeds.map(|seeds| seeds.max(least)), least)
}

#[test]
fn a_stated_number_of_seeds_is_only_raised() {
    assert_eq!(range(None, Some(2_000), 10_000), 1..=2_000);
    assert_eq!(range_at_least(None, Some(2_000), 10_000), 1..=10_000);
    assert_eq!(range_at_least(None, Some(20_000), 10_000), 1..=20_000);
    assert_eq!(range_at_least(None, None, 10_000), 1..=10_000);
    assert_eq!(range_at_least(Some(7), Some(2_000), 10_000), 7..=7);
}

fn run(seeds: RangeInclusive<u64>, test: &str, case: impl Fn(u64) + RefUnwindSafe) {
    for seed in seeds {
        if let Err(panic) = std::panic::catch_unwind(|| case(seed)) {
            println!(
                "failed: seed {seed}\nreplay: QUORATE_SEED={seed} cargo test -p quorate-clocks \
                 --test it {test} -- --exact --nocapture"
            );
            std::panic::resume_unwind(panic);
        }
    }
}

/// `SplitMix64`: every seed gives a full-period sequence.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// 256 cases, times `QUORATE_SEEDS`, at most 10,000.
pub(crate) fn cases() -> proptest::test_runner::Config {
    let factor = number("QUORATE_SEEDS").unwrap_or(1).clamp(1, 10_000);
    proptest::test_runner::Config {
        cases: 256 * u32::try_from(factor).unwrap(),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

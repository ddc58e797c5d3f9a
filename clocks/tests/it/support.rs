//! Seeds, and a generator of numbers that repeats.

/// `QUORATE_SEED` alone, or 1 to `QUORATE_SEEDS`, or 1 to `default`.
pub(crate) fn seeds(default: u64) -> std::ops::RangeInclusive<u64> {
    let number = |name: &str| {
        std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap_or_else(|_| panic!("{name}={v}")))
    };
    if let Some(seed) = number("QUORATE_SEED") {
        return seed..=seed;
    }
    1..=number("QUORATE_SEEDS").unwrap_or(default)
}

/// Runs `case` with each seed; a failure prints the seed and how to replay it.
pub(crate) fn each_seed(default: u64, test: &str, case: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in seeds(default) {
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

/// 256 cases, times `QUORATE_SEEDS`.
pub(crate) fn cases() -> proptest::test_runner::Config {
    let factor = std::env::var("QUORATE_SEEDS").ok().and_then(|v| v.parse().ok()).unwrap_or(1_u32);
    proptest::test_runner::Config {
        cases: 256 * factor.clamp(1, 10_000),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

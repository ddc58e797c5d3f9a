//! How many cases a property is tried with: 256, times `QUORATE_SEEDS` if that is set.

use proptest::test_runner::Config;

pub(crate) fn cases() -> Config {
    let times = std::env::var("QUORATE_SEEDS").ok().map_or(1, |n| n.parse().unwrap());
    Config { cases: 256_u32.saturating_mul(times), failure_persistence: None, ..Config::default() }
}

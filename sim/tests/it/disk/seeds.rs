//! Seeds of the campaigns, and a small generator that shares nothing with the crate's.

/// The seeds: `QUORATE_SEED` replays one, `QUORATE_SEEDS` says how many.
pub(crate) fn seeds(default: u64) -> Vec<u64> {
    let read = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    match read("QUORATE_SEED") {
        Some(seed) => vec![seed],
        None => (0..read("QUORATE_SEEDS").unwrap_or(default)).collect(),
    }
}

/// Prints how to replay when a seeded test panics.
pub(crate) struct Replay {
    pub(crate) test: &'static str,
    pub(crate) seed: u64,
}

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed } = self;
            eprintln!("replay: QUORATE_SEED={seed} cargo test -p quorate-sim --test it {test}");
        }
    }
}

/// A linear congruential generator.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(2).wrapping_add(1))
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

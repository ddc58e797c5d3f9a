//! Planted bugs: negative controls of the tests, compiled only under `cfg(mutant)`.

/// Whether the bug `name` was asked for by the environment variable `QUORATE_MUTANT`.
#[cfg(all(mutant, feature = "std"))]
pub(crate) fn planted(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("QUORATE_MUTANT").unwrap_or_default());
    chosen == name
}

/// Without `cfg(mutant)` no bug is compiled in.
#[cfg(not(all(mutant, feature = "std")))]
#[inline(always)]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

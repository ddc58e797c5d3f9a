//! Planted bugs: negative controls of the tests, compiled only under `cfg(mutant)`.

/// Whether the bug `name` was asked for by the environment variable `QUORATE_MUTANT`.
#[cfg(all(mutant, feature = "std"))]
pub(crate) fn on(name: &str) -> bool {
    std::env::var("QUORATE_MUTANT").is_ok_and(|chosen| chosen == name)
}

/// Without `cfg(mutant)` no bug is compiled in.
#[cfg(not(all(mutant, feature = "std")))]
#[inline(always)]
pub(crate) const fn on(_name: &str) -> bool {
    false
}

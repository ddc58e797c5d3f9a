//! Planted bugs: negative controls of the tests, present only under `cfg(mutant)`.

/// Whether the named bug is switched on by `QUORATE_MUTANT`; always `false` in a normal build.
#[cfg(not(mutant))]
#[inline(always)]
#[expect(clippy::inline_always, reason = "the branch must vanish from normal builds")]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}

/// Whether the named bug is switched on by `QUORATE_MUTANT`.
#[cfg(mutant)]
pub(crate) fn planted(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("QUORATE_MUTANT").unwrap_or_default()) == name
}

//! Planted bugs: negative controls that prove the tests can fail. Only with `--cfg mutant`, chosen
//! by name in `QUORATE_MUTANT`; otherwise a constant `false` that costs nothing.

/// Whether the bug `name` is planted in this process.
#[cfg(mutant)]
pub(crate) fn planted(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    CHOSEN.get_or_init(|| std::env::var("QUORATE_MUTANT").ok()).as_deref() == Some(name)
}

/// Whether the bug `name` is planted in this process: never.
#[cfg(not(mutant))]
pub(crate) const fn planted(_name: &str) -> bool {
    false
}
